//! Everything that Kinesis may do to its callers, again and again.

use loadgen::standin::kinesis::Fault;

use crate::fixture::{Settings, World, until};

/// What goes wrong with the call of that number, counted for each operation.
fn trouble(operation: &str, call: u64) -> Option<Fault> {
    const WRITES: [Fault; 7] = [
        Fault::FailEntries { every: 3 },
        Fault::None,
        Fault::Throttle,
        Fault::DropReply,
        Fault::None,
        Fault::InternalFailure,
        Fault::FailEntries { every: 1 },
    ];
    const READS: [Fault; 9] = [
        Fault::None,
        Fault::Throttle,
        Fault::None,
        Fault::DropReply,
        Fault::EmptyPage,
        Fault::None,
        Fault::ExpireIterator,
        Fault::None,
        Fault::InternalFailure,
    ];
    const OTHERS: [Fault; 3] = [Fault::None, Fault::Throttle, Fault::DropReply];
    let script = match operation {
        "PutRecords" => &WRITES[..],
        "GetRecords" => &READS,
        "GetShardIterator" | "ListShards" => &OTHERS,
        _ => return None,
    };
    Some(script[call as usize % script.len()].clone())
}

#[tokio::test]
async fn through_failed_entries_throttles_lost_replies_and_expired_iterators_nothing_is_lost() {
    let world = World::new(3, 30).await;
    world.standins.faults.set_rule(trouble);
    let settings = Settings {
        shard_sync_ms: 500,
        // Iterators expire where shards are polled.
        retrieval: "polling",
        ..Settings::default()
    };
    let mut one = world.start("one", &settings);
    let mut two = world.start("two", &settings);
    one.ready().await;
    two.ready().await;
    let traffic = world.traffic(&world.cards(), 10);
    let decided = async || {
        one.metric("swiped_decisions_total").await + two.metric("swiped_decisions_total").await
    };
    until("swipes are decided in spite of it", async || {
        decided().await > 300.0
    })
    .await;
    for card in world.cards().iter().step_by(2) {
        world.set_card(card, "revoked").await;
    }
    let enough = decided().await + 300.0;
    until("more swipes are decided", async || decided().await > enough).await;
    let sent = traffic.stop().await;
    world.standins.faults.clear();

    let audit = world.audit(&sent).await;
    let uncertain = sent.iter().filter(|sent| sent.position.is_none()).count();
    assert!(
        uncertain > 0 && audit.duplicates > 0,
        "no reply was lost, so nothing was shown"
    );
    for metric in [
        "swiped_write_failed_entries_total",
        "swiped_iterator_refreshes_total",
        "swiped_aws_faults_total",
    ] {
        let met = one.metric(metric).await + two.metric(metric).await;
        assert!(met > 0.0, "{metric} says that nothing went wrong");
    }
    one.stop().await;
    two.stop().await;
}
