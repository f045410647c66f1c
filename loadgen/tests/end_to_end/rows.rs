//! Lease and worker rows that are not as they should be: two processes with one id, rows deleted by hand.

use crate::fixture::{Settings, World, until};

const SHORT: Settings = Settings {
    failover_ms: 3000,
    shard_sync_ms: 1000,
    ..Settings::DEFAULT
};

#[tokio::test]
async fn of_two_processes_with_one_id_the_second_ends_and_the_first_goes_on() {
    let world = World::new(2, 10).await;
    let settings = Settings {
        worker_id: Some("same"),
        ..Settings::default()
    };
    let mut first = world.start_ready("first", &settings).await;
    world.wait_for_owners(&[("same", 2)]).await;
    let traffic = world.traffic(&world.cards(), 10);
    let mut second = world.start("second", &settings);
    let status = second.ended().await;
    assert_eq!(status.code(), Some(1));
    let log = std::fs::read_to_string(world.directory().join("second.log")).expect("a log");
    assert!(log.contains("worker id same is in use"), "{log}");
    let audit = world.audit(&traffic.stop().await).await;
    assert_eq!(audit.duplicates, 0, "the first was not disturbed");
    first.stop().await;
}

#[tokio::test]
async fn a_worker_that_died_and_comes_back_under_its_id_takes_up_its_leases() {
    let world = World::new(2, 10).await;
    let settings = Settings {
        worker_id: Some("same"),
        ..SHORT
    };
    let mut first = world.start_ready("first", &settings).await;
    world.wait_for_owners(&[("same", 2)]).await;
    let traffic = world.traffic(&world.cards(), 10);
    let mut decisions = world.decisions().await;
    decisions
        .wait("it decides", |events| events.len() > 50)
        .await;
    first.kill();
    let mut second = world.start_ready("second", &settings).await;
    let known = decisions.events.len();
    decisions
        .wait("the second decides", |events| events.len() > known + 50)
        .await;
    world.audit(&traffic.stop().await).await;
    second.stop().await;
}

#[tokio::test]
async fn a_row_that_is_deleted_under_a_running_worker_is_made_again_and_nothing_is_lost() {
    let world = World::new(2, 10).await;
    let mut worker = world.start_ready("worker", &SHORT).await;
    world.wait_for_owners(&[("worker", 2)]).await;
    let traffic = world.traffic(&world.cards(), 10);
    let shard = "shardId-000000000001";
    world.delete_lease(shard).await;
    world.wait_for_owners(&[("worker", 2)]).await;
    let sent = traffic.stop().await;
    world.audit(&sent).await;
    until("the audit finds no hole any more", async || {
        worker.metric("swiped_lease_uncovered_ratio").await == 0.0
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_stream_that_was_begun_at_its_tip_is_not_begun_anew_when_rows_are_lost() {
    let world = World::new(2, 10).await;
    let settings = Settings {
        start: "latest",
        ..SHORT
    };
    let cards = world.cards();
    let before = world.send(&cards[0]).await;
    let mut worker = world.start_ready("first", &settings).await;
    world.wait_for_owners(&[("first", 2)]).await;
    worker.stop().await;
    for lease in world.leases().await {
        assert_eq!(lease.checkpoint, "AT_TIMESTAMP");
        world.delete_lease(&lease.shard).await;
    }
    let mut sent = Vec::new();
    for card in &cards {
        sent.push(world.send(card).await);
    }
    let mut worker = world.start_ready("second", &settings).await;
    let audit = world.audit(&sent).await;
    assert_eq!(audit.duplicates, 0);
    let mut decisions = world.decisions().await;
    decisions.wait_for(&sent).await;
    assert!(
        decisions.of(&before).await.is_none(),
        "it was not asked for"
    );
    worker.stop().await;
}
