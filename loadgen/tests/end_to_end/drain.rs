//! SIGTERM.

use std::time::Duration;

use loadgen::standin::kinesis::Fault;
use tokio::time::Instant;

use crate::fixture::{FAILOVER_MS, Settings, World, until};

/// A deploy may leave shards idle for about a second. A busy machine gets some more, but far less than the 15 s after which
/// a worker that had just gone would be given up.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn one_of_two_workers_is_stopped_and_the_other_goes_on_without_a_repeat() {
    let world = World::new(4, 40).await;
    let settings = Settings {
        retrieval: "polling",
        ..Settings::default()
    };
    let mut leaving = world.start("leaving", &settings);
    let _staying = world.start_ready("staying", &settings).await;
    world
        .wait_for_owners(&[("leaving", 2), ("staying", 2)])
        .await;
    let traffic = world.traffic(&world.cards(), 10);
    let mut decisions = world.decisions().await;
    decisions
        .wait("both workers decide", |events| events.len() > 200)
        .await;

    let asked = Instant::now();
    leaving.terminate();
    let status = leaving.ended().await;
    world.wait_for_owners(&[("staying", 4)]).await;
    let took = asked.elapsed();
    println!("handed over within {} ms", took.as_millis());
    assert_eq!(status.code(), Some(0));
    assert!(took < HANDED_OVER_WITHIN, "handed over only after {took:?}");

    let known = decisions.events.len();
    decisions
        .wait("all shards are read", |events| events.len() > known + 200)
        .await;
    let audit = world.audit(&traffic.stop().await).await;
    assert_eq!(audit.duplicates, 0);
}

#[tokio::test]
async fn a_drain_is_not_ready_and_a_second_signal_ends_it_at_once_and_loses_nothing() {
    let world = World::new(1, 5).await;
    let settings = Settings {
        failover_ms: FAILOVER_MS,
        ..Settings::default()
    };
    let mut stuck = world.start_ready("stuck", &settings).await;
    world.wait_for_owners(&[("stuck", 1)]).await;
    // The daemon writes by PutRecords and gets nowhere, so that it cannot finish its page; swipes go in by PutRecord.
    world
        .standins
        .faults
        .set_rule(|operation, _| (operation == "PutRecords").then_some(Fault::Throttle));
    let mut sent = Vec::new();
    for card in world.cards() {
        sent.push(world.send(&card).await);
    }
    until("a page is stuck", async || !world.stored().await.is_empty()).await;
    stuck.terminate();
    until("the drain is not ready", async || {
        let reply = stuck.readyz().await;
        reply.is_some_and(|(status, body)| status == 503 && body.contains("not_draining"))
    })
    .await;
    assert!(stuck.runs(), "it still waits for its page");

    let asked = Instant::now();
    stuck.terminate();
    let status = stuck.ended().await;
    assert_eq!(status.code(), Some(143));
    assert!(asked.elapsed() < Duration::from_secs(2), "not at once");

    world.standins.faults.clear();
    let _next = world.start("next", &settings);
    world.audit(&sent).await;
}
