//! The swipe stream is split and merged while swipes flow.

use std::collections::BTreeMap;

use crate::fixture::{Settings, World};

const SHARDS: [&str; 5] = [
    "shardId-000000000000",
    "shardId-000000000001",
    "shardId-000000000002",
    "shardId-000000000003",
    "shardId-000000000004",
];

/// The middle of the first of two shards.
const QUARTER: u128 = 1 << 126;

#[tokio::test]
async fn a_split_and_a_merge_under_traffic_lose_nothing_and_keep_each_cards_order() {
    let world = World::new(2, 60).await;
    let settings = Settings {
        retrieval: "polling",
        ..Settings::default()
    };
    let mut one = world.start("one", &settings);
    let mut two = world.start_ready("two", &settings).await;
    world.wait_for_owners(&[("one", 1), ("two", 1)]).await;
    let traffic = world.traffic(&world.cards(), 10);
    let mut decisions = world.decisions().await;
    let from = |shard: &'static str| {
        move |events: &[crate::fixture::Event]| {
            events.iter().any(|event| event.source.shard == shard)
        }
    };
    decisions
        .wait("the first shard is read", from(SHARDS[0]))
        .await;
    let kinesis = &world.clients.kinesis;
    let split = kinesis
        .split_shard()
        .stream_name("swipes")
        .shard_to_split(SHARDS[0]);
    let split = split
        .new_starting_hash_key(QUARTER.to_string())
        .send()
        .await;
    split.expect("the first shard is split");
    decisions
        .wait("its first child is read", from(SHARDS[2]))
        .await;
    decisions
        .wait("its second child is read", from(SHARDS[3]))
        .await;
    let merge = kinesis
        .merge_shards()
        .stream_name("swipes")
        .shard_to_merge(SHARDS[3]);
    let merge = merge.adjacent_shard_to_merge(SHARDS[1]).send().await;
    merge.expect("the second child is merged with the other shard");
    decisions
        .wait("the merged shard is read", from(SHARDS[4]))
        .await;
    let sent = traffic.stop().await;

    let audit = world.audit(&sent).await;
    assert_eq!(audit.duplicates, 0);
    // A page may be put in several writes at once, so the order on the decision stream says nothing; when it was decided does.
    let decided: BTreeMap<_, _> = audit
        .events
        .iter()
        .map(|event| ((&event.card_id, event.device_seq), event.decided_at_ms))
        .collect();
    for (one, next) in decided.iter().zip(decided.iter().skip(1)) {
        let same_card = one.0.0 == next.0.0;
        assert!(
            !same_card || one.1 <= next.1,
            "out of its card's order: {one:?}, {next:?}"
        );
    }

    one.stop().await;
    two.stop().await;
    let leases = world.leases().await;
    let table: Vec<_> = leases
        .iter()
        .map(|lease| {
            let ended = lease.checkpoint == "SHARD_END";
            (
                lease.shard.as_str(),
                ended,
                lease.set("parentShardId"),
                lease.set("childShardIds"),
            )
        })
        .collect();
    let names = |shards: &[usize]| {
        shards
            .iter()
            .map(|shard| SHARDS[*shard].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        table,
        [
            (SHARDS[0], true, names(&[]), names(&[2, 3])),
            (SHARDS[1], true, names(&[]), names(&[4])),
            (SHARDS[2], false, names(&[0]), names(&[])),
            (SHARDS[3], true, names(&[0]), names(&[4])),
            (SHARDS[4], false, names(&[1, 3]), names(&[])),
        ]
    );
}
