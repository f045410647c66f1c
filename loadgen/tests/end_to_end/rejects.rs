//! Rejects where there is no dead-letter stream.

use crate::fixture::{Settings, World, until};

/// The first hash key of the second of two shards.
const SECOND: &str = "170141183460469231731687303715884105728";

/// The first shard.
const FIRST_SHARD: &str = "shardId-000000000000";

#[tokio::test]
async fn without_a_dead_letter_stream_a_shard_stops_at_a_bad_record_unless_told_to_skip() {
    let world = World::new(2, 1).await;
    let card = world.cards().remove(0);
    let before = world.send_to(&card, Some("0")).await;
    let bad = world.put("bad", Some("0"), b"no swipe").await;
    let after = world.send_to(&card, Some("0")).await;
    let mut elsewhere = vec![world.send_to(&card, Some(SECOND)).await];

    let stop = Settings {
        rejects: false,
        checkpoint_ms: 100,
        ..Settings::default()
    };
    let mut halts = world.start_ready("halts", &stop).await;
    until("the shard halts", async || {
        halts.metric("swiped_shards_halted").await == 1.0
    })
    .await;
    // Two more round trips of the other shard: time enough to pass over the bad record, for one that would.
    let mut decisions = world.decisions().await;
    for _ in 0..2 {
        elsewhere.push(world.send_to(&card, Some(SECOND)).await);
        decisions.wait_for(&elsewhere).await;
    }
    assert_eq!(
        decisions.of(&after).await,
        None,
        "nothing after the bad record is decided"
    );
    assert!(
        decisions.of(&before).await.is_some(),
        "what came before it is decided"
    );
    halts.stop().await;
    let checkpoint = world.lease(FIRST_SHARD).await.checkpoint;
    let stored = before
        .position
        .as_ref()
        .map(|position| position.sequence.as_str());
    assert_eq!(
        Some(checkpoint.as_str()),
        stored,
        "the checkpoint is before {bad:?}"
    );

    let skip = Settings {
        on_reject: "skip",
        ..stop
    };
    let skips = world.start_ready("skips", &skip).await;
    decisions.wait_for(std::slice::from_ref(&after)).await;
    assert_eq!(skips.metric("swiped_rejects_total").await, 1.0);
    assert_eq!(skips.metric("swiped_shards_halted").await, 0.0);
    elsewhere.extend([before, after]);
    world.audit(&elsewhere).await;
}
