//! kill -9, while cards are revoked, so that whoever decides a swipe a second time would answer differently.

use loadgen::standin::kinesis::Fault;

use crate::fixture::{FAILOVER_MS, Settings, World, until};

/// Longer than any scene: what a killed worker decided is all read again.
const NO_CHECKPOINT: u64 = 600_000;

/// A worker that is killed.
fn doomed() -> Settings {
    Settings {
        checkpoint_ms: NO_CHECKPOINT,
        ..lasting()
    }
}

/// A worker that is not.
fn lasting() -> Settings {
    Settings {
        failover_ms: FAILOVER_MS,
        checkpoint_ms: 1000,
        ..Settings::default()
    }
}

#[tokio::test]
async fn one_of_two_workers_is_killed_and_every_swipe_keeps_its_one_answer() {
    let world = World::new(4, 40).await;
    let mut victim = world.start("victim", &doomed());
    let survivor = world.start_ready("survivor", &lasting()).await;
    world
        .wait_for_owners(&[("victim", 2), ("survivor", 2)])
        .await;

    let traffic = world.traffic(&world.cards(), 10);
    let mut decisions = world.decisions().await;
    decisions
        .wait("both workers decide", |events| events.len() > 200)
        .await;
    victim.kill();
    for card in world.cards() {
        world.set_card(&card, "revoked").await;
    }
    world.wait_for_owners(&[("survivor", 4)]).await;
    let sent = traffic.stop().await;

    let audit = world.audit(&sent).await;
    assert!(
        audit.duplicates > 0,
        "nothing was decided twice, so nothing was shown"
    );
    let recovered = survivor.metric("swiped_recovered_decisions_total").await;
    assert!(
        recovered >= audit.duplicates as f64,
        "{recovered} answers were found stored"
    );
    let last = audit.events.last().expect("some");
    assert_eq!(last.reason, "CredentialRevoked", "the answers did change");
}

#[tokio::test]
async fn the_only_worker_is_killed_and_the_next_one_repeats_what_was_answered() {
    let world = World::new(2, 20).await;
    let mut victim = world.start_ready("victim", &doomed()).await;
    let traffic = world.traffic(&world.cards(), 5);
    let mut decisions = world.decisions().await;
    decisions
        .wait("the worker decides", |events| events.len() > 100)
        .await;
    victim.kill();
    for card in world.cards() {
        world.set_card(&card, "revoked").await;
    }
    let next = world.start("next", &lasting());
    world.wait_for_owners(&[("next", 2)]).await;
    let sent = traffic.stop().await;

    let audit = world.audit(&sent).await;
    assert!(
        audit.duplicates > 0,
        "nothing was decided twice, so nothing was shown"
    );
    let recovered = next.metric("swiped_recovered_decisions_total").await;
    assert!(
        recovered >= audit.duplicates as f64,
        "{recovered} answers were found stored"
    );
}

#[tokio::test]
async fn an_answer_that_was_stored_in_the_table_alone_is_the_one_the_stream_gets() {
    let world = World::new(1, 10).await;
    let mut victim = world.start_ready("victim", &doomed()).await;
    world.wait_for_owners(&[("victim", 1)]).await;
    // The daemon writes by PutRecords and gets nowhere; swipes go in by PutRecord.
    world
        .standins
        .faults
        .set_rule(|operation, _| (operation == "PutRecords").then_some(Fault::Throttle));
    let mut sent = Vec::new();
    for card in world.cards() {
        sent.push(world.send(&card).await);
    }
    until("the table has an answer", async || {
        !world.stored().await.is_empty()
    })
    .await;
    let granted = world.stored().await;
    victim.kill();
    for card in world.cards() {
        world.set_card(&card, "revoked").await;
    }
    world.standins.faults.clear();
    let _next = world.start("next", &lasting());

    let audit = world.audit(&sent).await;
    for before in &granted {
        let now = audit
            .events
            .iter()
            .find(|event| event.decision_id == before.decision_id);
        let now = now.expect("it is on the stream");
        assert_eq!((now.reason.as_str(), now.actuate), ("Granted", false));
    }
}
