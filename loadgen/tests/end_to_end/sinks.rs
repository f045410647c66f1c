//! A decision stream that is slow, or that refuses most: what is behind is made up for by the same process, and nothing twice.

use std::time::Duration;

use loadgen::standin::kinesis::Fault;
use tokio::time::Instant;

use crate::fixture::{Settings, World, until};

/// How long it lasts.
const LASTING: Duration = Duration::from_secs(4);

/// From its end on: a throttled lane is open again after ten seconds, and grows fast before.
const MADE_UP_WITHIN: Duration = Duration::from_secs(20);

/// Plays it, and says how often the daemon's requests were made and how many of their entries were refused.
async fn play(fault: Fault) -> (f64, f64) {
    let world = World::new(2, 40).await;
    let mut worker = world.start_ready("one", &Settings::default()).await;
    world.wait_for_owners(&[("one", 2)]).await;
    let traffic = world.traffic(&world.cards(), 10);
    let decided = async || worker.metric("swiped_decisions_total").await;
    until("some are decided", async || decided().await > 50.0).await;

    let faults = &world.standins.faults;
    faults.spell_on("swipe-decisions", "PutRecords", fault, LASTING);
    let began = Instant::now();
    tokio::time::sleep(LASTING).await;
    let before = decided().await;
    let sent = traffic.stop().await;
    let all = sent.len() as f64;
    println!("{:.0} of {all} were decided meanwhile", before);
    assert!(
        all - before > 50.0,
        "nothing was held up, so nothing was shown"
    );
    until("all are decided", async || decided().await >= all).await;
    let took = began.elapsed().saturating_sub(LASTING);
    println!("made up for within {} ms", took.as_millis());
    assert!(took < MADE_UP_WITHIN, "made up for only after {took:?}");

    let audit = world.audit(&sent).await;
    assert_eq!(audit.duplicates, 0);
    assert!(worker.runs(), "it is the same process all along");
    let writes = worker.metric("swiped_writes_total").await;
    let refused = worker.metric("swiped_write_failed_entries_total").await;
    worker.stop().await;
    (writes, refused)
}

#[tokio::test]
async fn a_slow_sink_holds_swipes_up_and_nothing_is_lost_or_sent_twice() {
    // Longer than an event of a subscription takes to come, shorter than what an attempt may take.
    let (_, refused) = play(Fault::Delay(Duration::from_millis(1500))).await;
    assert_eq!(refused, 0.0);
}

#[tokio::test]
async fn a_sink_that_throttles_everything_is_asked_seldom_and_then_made_up_for() {
    let (writes, refused) = play(Fault::ThrottleEntries { every: 1 }).await;
    assert!(refused > 0.0, "nothing was refused, so nothing was shown");
    println!("{writes} writes, {refused} entries refused");
}
