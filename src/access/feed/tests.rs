//! Scenes of the feed over a scripted table, on a paused clock.

use std::sync::Arc;

use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    task::JoinHandle,
    time::Instant,
};

use super::{
    scripted::{SCAN_LATENCY, Scripted},
    *,
};
use crate::model::card::CardStatus;

const EPOCH_MS: i64 = 1_772_438_400_000;

/// A feed that runs over a scripted table, on a paused clock.
struct Scene {
    table: Scripted,
    cache: Arc<AccessCache>,
    clock: Clock,
    ready: oneshot::Receiver<()>,
    feed: JoinHandle<Result<(), FeedError>>,
    stop: CancellationToken,
}

impl Scene {
    /// Runs the feed over a table that the test set up.
    fn of(setup: impl FnOnce(&Scripted)) -> Self {
        let clock = Clock::Simulated {
            epoch_ms: EPOCH_MS,
            start: Instant::now(),
        };
        let table = Scripted::new(clock);
        setup(&table);
        let cache = Arc::new(AccessCache::new());
        let limits = FeedLimits {
            segments: 3,
            ..FeedLimits::default()
        };
        let feed = AccessFeed::new(table.clone(), Arc::clone(&cache), limits, clock);
        let (tell, ready) = oneshot::channel();
        let stop = CancellationToken::new();
        let feed = tokio::spawn(feed.run(tell, stop.clone()));
        Self {
            table,
            cache,
            clock,
            ready,
            feed,
            stop,
        }
    }

    /// Runs the feed over cards of these ids, all issued, and waits until it is ready.
    async fn ready_with(cards: &[&str]) -> Self {
        let mut scene = Self::of(|table| {
            for card in cards {
                table.card(card, "issued");
            }
        });
        scene.until_ready().await;
        scene
    }

    async fn until_ready(&mut self) {
        let waited = tokio::time::timeout(Duration::from_secs(300), &mut self.ready).await;
        waited.expect("ready in time").expect("the feed says so");
    }

    fn is_ready(&mut self) -> bool {
        self.ready.try_recv() != Err(TryRecvError::Empty)
    }

    fn staleness_ms(&self) -> i64 {
        self.cache.staleness_ms(self.clock.now_ms())
    }

    /// The statuses of cards, `-` for one that is absent.
    fn cards(&self, ids: &str) -> String {
        let view = self.cache.view();
        let status = |id| match view.card(id).map(|card| card.status) {
            None => "-",
            Some(CardStatus::Issued) => "issued",
            Some(CardStatus::Revoked) => "revoked",
            Some(_) => "other",
        };
        ids.split(' ').map(status).collect::<Vec<_>>().join(" ")
    }

    fn opened(&self) -> Vec<String> {
        self.table.world().opened.clone()
    }
}

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

async fn milliseconds(count: u64) {
    sleep(Duration::from_millis(count)).await;
}

#[tokio::test(start_paused = true)]
async fn the_table_is_loaded_before_the_feed_is_ready_and_changes_follow_within_a_poll() {
    let mut scene = Scene::of(|table| {
        for card in ["1", "2", "3", "4", "5", "6", "7"] {
            table.card(card, "issued");
        }
    });
    assert!(!scene.is_ready());
    assert_eq!(scene.staleness_ms(), i64::MAX);
    scene.until_ready().await;
    assert_eq!(scene.cache.cards(), 7);
    scene.table.card("1", "revoked");
    scene.table.remove("2");
    scene.table.card("8", "issued");
    milliseconds(270).await;
    assert_eq!(scene.cards("1 2 3 8"), "revoked - issued issued");
    seconds(60).await;
    assert!(scene.staleness_ms() <= 260, "{}", scene.staleness_ms());
}

#[tokio::test(start_paused = true)]
async fn the_stream_is_opened_at_its_tip_before_the_scan_and_polled_four_times_a_second() {
    let scene = Scene::ready_with(&["1"]).await;
    assert_eq!(scene.opened(), ["a latest"]);
    let before = scene.table.world().reads.len();
    seconds(10).await;
    let reads = scene.table.world().reads.len() - before;
    assert!((38..=41).contains(&reads), "{reads} reads in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn what_changes_during_the_scan_wins_over_what_the_scan_saw() {
    let mut scene = Scene::of(|table| {
        for card in ["1", "2", "3", "4", "5", "6"] {
            table.card(card, "issued");
        }
    });
    // The first pages are read already and arrive later.
    milliseconds(SCAN_LATENCY.as_millis() as u64 / 2).await;
    assert!(scene.table.world().scans > 0);
    for card in ["1", "2", "3"] {
        scene.table.remove(card);
        scene.table.card(&format!("new-{card}"), "issued");
    }
    for card in ["4", "5", "6"] {
        scene.table.card(card, "revoked");
    }
    scene.until_ready().await;
    assert_eq!(scene.cards("1 2 3 4 5 6"), "- - - revoked revoked revoked");
    assert_eq!(scene.cards("new-1 new-2 new-3"), "issued issued issued");
}

#[tokio::test(start_paused = true)]
async fn a_child_is_read_from_its_beginning_after_all_of_its_parent() {
    let scene = Scene::ready_with(&["1"]).await;
    // All before the next poll: the parent's last change and the child's first are of one card.
    for _ in 0..5 {
        scene.table.card("1", "issued");
    }
    scene.table.close("a");
    scene.table.shard("b", Some("a"));
    scene.table.card("1", "revoked");
    seconds(1).await;
    assert_eq!(scene.cards("1"), "revoked");
    assert_eq!(scene.opened(), ["a latest", "b trim_horizon"]);
    assert!(scene.staleness_ms() <= 260);
    assert_eq!(scene.cache.cards(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_listed_early_waits_for_its_living_parent() {
    let scene = Scene::ready_with(&["1"]).await;
    scene.table.shard("b", Some("a"));
    seconds(25).await;
    assert_eq!(scene.opened(), ["a latest"]);
    scene.table.close("a");
    seconds(1).await;
    assert_eq!(scene.opened(), ["a latest", "b trim_horizon"]);
}

#[tokio::test(start_paused = true)]
async fn staleness_grows_from_a_shards_end_until_its_children_are_read() {
    let scene = Scene::ready_with(&["1"]).await;
    scene.table.shard("b", Some("a"));
    scene.table.list("b", false);
    scene.table.close("a");
    seconds(60).await;
    assert!(
        (60_000..60_600).contains(&scene.staleness_ms()),
        "{}",
        scene.staleness_ms()
    );
    scene.table.list("b", true);
    seconds(1).await;
    assert!(scene.staleness_ms() <= 260, "{}", scene.staleness_ms());
}

#[tokio::test(start_paused = true)]
async fn a_roll_during_the_scan_delays_ready_until_the_child_is_read() {
    let mut scene = Scene::of(|table| table.card("1", "issued"));
    milliseconds(50).await;
    scene.table.shard("b", Some("a"));
    scene.table.list("b", false);
    scene.table.close("a");
    scene.table.card("1", "revoked");
    seconds(30).await;
    assert!(!scene.is_ready());
    scene.table.list("b", true);
    scene.until_ready().await;
    assert_eq!(scene.cards("1"), "revoked");
}

#[tokio::test(start_paused = true)]
async fn an_expired_iterator_goes_on_after_the_last_change_without_a_scan() {
    let scene = Scene::ready_with(&["1"]).await;
    scene.table.card("1", "revoked");
    seconds(1).await;
    let scans = scene.table.world().scans;
    scene.table.card("2", "issued");
    scene.table.age_iterators(FaultKind::IteratorExpired);
    seconds(1).await;
    assert_eq!(scene.cards("1 2"), "revoked issued");
    assert_eq!(scene.opened(), ["a latest", "a after 2"]);
    assert_eq!(scene.table.world().scans, scans);
}

/// A feed whose place in the stream is lost serves the old map, stale, until a fresh one is swapped in.
async fn check_a_fresh_map_after(fault: FaultKind) {
    let scene = Scene::ready_with(&["1", "2", "3", "4", "5", "6", "7", "8"]).await;
    seconds(5).await;
    scene.table.card_unseen("1", "revoked");
    scene.table.age_iterators(fault);
    let scans = scene.table.world().scans;
    milliseconds(700).await;
    assert!(scene.table.world().scans > scans, "{fault:?}");
    assert_eq!(scene.cards("1 2 3"), "issued issued issued", "{fault:?}");
    let stale = scene.staleness_ms();
    assert!((700..=960).contains(&stale), "{fault:?}: {stale}");
    // The map that serves learns of changes while the fresh one is built.
    scene.table.card("2", "revoked");
    milliseconds(260).await;
    assert_eq!(scene.cards("1 2 3"), "issued revoked issued", "{fault:?}");
    assert!(
        scene.staleness_ms() >= stale + 260,
        "{fault:?}: {}",
        scene.staleness_ms()
    );
    seconds(5).await;
    assert_eq!(scene.cards("1 2 3"), "revoked revoked issued", "{fault:?}");
    assert!(
        scene.staleness_ms() <= 260,
        "{fault:?}: {}",
        scene.staleness_ms()
    );
    assert!(!scene.feed.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_read_on_means_a_fresh_map_and_no_freshness_over_the_gap() {
    for fault in [
        FaultKind::Trimmed,
        FaultKind::NotFound,
        FaultKind::Refused,
        FaultKind::IteratorExpired,
    ] {
        check_a_fresh_map_after(fault).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_continues_nothing_means_a_fresh_map() {
    let scene = Scene::ready_with(&["1"]).await;
    scene.table.card_unseen("1", "revoked");
    scene.table.shard("z", Some("y"));
    seconds(15).await;
    assert_eq!(scene.cards("1"), "revoked");
    assert_eq!(scene.opened(), ["a latest", "a latest", "z latest"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_gave_way_to_another_means_a_fresh_map() {
    let scene = Scene::ready_with(&["1"]).await;
    scene.table.card_unseen("1", "revoked");
    let trimmed = FaultKind::Trimmed;
    scene
        .table
        .world()
        .failing
        .insert("DescribeStream", trimmed);
    seconds(11).await;
    assert!(scene.staleness_ms() > 500, "{}", scene.staleness_ms());
    scene.table.world().failing.clear();
    seconds(5).await;
    assert_eq!(scene.cards("1"), "revoked");
    assert_eq!(scene.opened(), ["a latest", "a latest"]);
    assert!(scene.staleness_ms() <= 260, "{}", scene.staleness_ms());
}

#[tokio::test(start_paused = true)]
async fn a_malformed_item_counts_as_absent_whether_scanned_or_changed() {
    let mut scene = Scene::of(|table| {
        table.card("1", "no such status");
        table.card("2", "issued");
        table.card("3", "issued");
    });
    scene.until_ready().await;
    assert_eq!(scene.cards("1 2 3"), "- issued issued");
    scene.table.card("2", "no such status");
    scene.table.card("3", "revoked");
    seconds(1).await;
    assert_eq!(scene.cards("1 2 3"), "- - revoked");
}

#[tokio::test(start_paused = true)]
async fn throttling_lets_staleness_grow_and_loses_nothing() {
    for kind in [FaultKind::Throttled, FaultKind::Transient] {
        let scene = Scene::ready_with(&["1"]).await;
        scene.table.world().failing.insert("GetRecords", kind);
        scene.table.card("1", "revoked");
        let before = scene.table.world().reads.len();
        seconds(60).await;
        let tries = scene.table.world().reads.len() - before;
        assert!(
            (10..120).contains(&tries),
            "{kind:?}: {tries} tries in a minute"
        );
        assert!(
            (60_000..60_300).contains(&scene.staleness_ms()),
            "{}",
            scene.staleness_ms()
        );
        assert_eq!(scene.cards("1"), "issued");
        scene.table.world().failing.clear();
        seconds(6).await;
        assert_eq!(scene.cards("1"), "revoked");
        assert!(scene.staleness_ms() <= 260, "{}", scene.staleness_ms());
        assert_eq!(scene.opened(), ["a latest"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_out_throttling_and_a_stream_without_shards() {
    let mut scene = Scene::of(|table| {
        table.card("1", "issued");
        table.world().failing.insert("Scan", FaultKind::Throttled);
        table.list("a", false);
    });
    seconds(60).await;
    assert!(!scene.is_ready());
    scene.table.list("a", true);
    seconds(60).await;
    assert!(!scene.is_ready());
    scene.table.world().failing.clear();
    scene.until_ready().await;
    assert_eq!(scene.cards("1"), "issued");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_a_start_and_says_what_to_do_but_never_ends_a_running_feed() {
    for operation in ["DescribeStream", "GetShardIterator", "GetRecords", "Scan"] {
        let scene = Scene::of(|table| {
            table.card("1", "issued");
            table.world().failing.insert(operation, FaultKind::Refused);
        });
        let error = scene.feed.await.expect("no panic").expect_err(operation);
        assert!(error.to_string().contains("allow Scan"), "{error}");

        let scene = Scene::ready_with(&["1"]).await;
        scene
            .table
            .world()
            .failing
            .insert(operation, FaultKind::Refused);
        scene.table.age_iterators(FaultKind::Trimmed);
        scene.table.card_unseen("1", "revoked");
        seconds(120).await;
        assert!(!scene.feed.is_finished(), "{operation}");
        assert_eq!(scene.cards("1"), "issued", "{operation}");
        assert!(scene.staleness_ms() >= 120_000, "{operation}");
        scene.table.world().failing.clear();
        seconds(60).await;
        assert_eq!(scene.cards("1"), "revoked", "{operation}");
        assert!(
            scene.staleness_ms() <= 260,
            "{operation}: {}",
            scene.staleness_ms()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_table_ends_a_start_and_names_the_key_to_check() {
    let scene = Scene::of(|table| {
        table
            .world()
            .failing
            .insert("DescribeStream", FaultKind::NotFound);
    });
    let error = scene
        .feed
        .await
        .expect("no panic")
        .expect_err("nothing to load");
    assert!(error.to_string().contains("check access.table"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_feed_at_once_loading_or_loaded() {
    let scene = Scene::of(|table| table.card("1", "issued"));
    milliseconds(50).await;
    scene.stop.cancel();
    assert!(scene.feed.await.expect("no panic").is_ok());
    let scene = Scene::ready_with(&["1"]).await;
    scene.stop.cancel();
    assert!(scene.feed.await.expect("no panic").is_ok());
}
