//! The path of a swipe: shards, pages, answers, sinks. Every call is once a page or rarer.

use std::{sync::Arc, time::Duration};

use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::{
    catalogue,
    labels::{Sink, Stage},
};
use crate::{
    model::{decision::Reason, position::ShardId, reject::RejectKind},
    ports::FaultKind,
};

/// What one page held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageTally {
    /// Kinesis records.
    pub records: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// User records, which are more than `records` when some are aggregates.
    pub swipes: u64,
    /// How far the end of the page is behind the tip of the shard, in milliseconds.
    pub behind_latest_ms: i64,
}

/// What a shard's consumer says. Bound when the lease is got; dropping it retires the shard's gauges.
#[derive(Debug)]
pub struct ShardMetrics {
    records: Counter,
    bytes: Counter,
    swipes: Counter,
    behind_latest: Gauge,
    checkpoint_age: Gauge,
}

impl ShardMetrics {
    /// Binds the series of a shard.
    pub fn new(shard: &ShardId) -> Self {
        let shard = shard.as_str();
        let bound = Self {
            records: counter!(catalogue::RECORDS, "shard" => shard.to_owned()),
            bytes: counter!(catalogue::RECORD_BYTES, "shard" => shard.to_owned()),
            swipes: counter!(catalogue::SWIPES, "shard" => shard.to_owned()),
            behind_latest: gauge!(catalogue::BEHIND_LATEST, "shard" => shard.to_owned()),
            checkpoint_age: gauge!(catalogue::CHECKPOINT_AGE, "shard" => shard.to_owned()),
        };
        bound.behind_latest.set(0.0);
        bound.checkpoint_age.set(0.0);
        bound
    }

    /// A page was read.
    pub fn page(&self, tally: &PageTally) {
        self.records.increment(tally.records);
        self.bytes.increment(tally.bytes);
        self.swipes.increment(tally.swipes);
        self.behind_latest
            .set(tally.behind_latest_ms as f64 / 1000.0);
    }

    /// Time since the stored checkpoint covered everything decided; zero when nothing waits.
    pub fn checkpoint_age(&self, age: Duration) {
        self.checkpoint_age.set(age.as_secs_f64());
    }
}

impl Drop for ShardMetrics {
    fn drop(&mut self) {
        self.behind_latest.set(f64::NAN);
        self.checkpoint_age.set(f64::NAN);
    }
}

/// What every consumer of this worker says about pages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PageMetrics {
    read: Histogram,
    decide: Histogram,
    write: Histogram,
    added: Histogram,
    duplicates: Counter,
    recovered: Counter,
    refreshes: Counter,
    losses: Counter,
}

impl PageMetrics {
    /// Binds.
    pub fn new() -> Self {
        Self {
            read: histogram!(catalogue::PAGE_READ),
            decide: histogram!(catalogue::PAGE_DECIDE),
            write: histogram!(catalogue::PAGE_WRITE),
            added: histogram!(catalogue::ADDED_LATENCY),
            duplicates: counter!(catalogue::DUPLICATE_SWIPES),
            recovered: counter!(catalogue::RECOVERED_DECISIONS),
            refreshes: counter!(catalogue::ITERATOR_REFRESHES),
            losses: counter!(catalogue::DATA_LOSS_EVENTS),
        }
    }

    /// From the call to the page.
    pub fn read(&self, took: Duration) {
        self.read.record(took);
    }

    /// From the page's arrival to its first write being sent.
    pub fn decided(&self, took: Duration) {
        self.decide.record(took);
    }

    /// From the first write being sent to everything being stored.
    pub fn written(&self, took: Duration) {
        self.write.record(took);
    }

    /// From the page's arrival to everything being stored.
    pub fn stored(&self, took: Duration) {
        self.added.record(took);
    }

    /// Swipes that repeat one of the same page.
    pub fn duplicates(&self, count: u64) {
        self.duplicates.increment(count);
    }

    /// Decisions that a replay kept as they were stored.
    pub fn recovered(&self, count: u64) {
        self.recovered.increment(count);
    }

    /// An expired iterator was renewed.
    pub fn iterator_refreshed(&self) {
        self.refreshes.increment(1);
    }

    /// A checkpoint was older than what the stream keeps.
    pub fn data_lost(&self) {
        self.losses.increment(1);
    }
}

impl Default for PageMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers and rejects, counted once a page from arrays that the page filled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DecisionMetrics {
    decisions: Arc<[Counter]>,
    rejects: Arc<[Counter]>,
}

/// Decisions of one page by `reason as usize`.
pub type DecisionTally = [u32; Reason::ALL.len()];

/// Rejects of one page by `kind as usize`.
pub type RejectTally = [u32; RejectKind::ALL.len()];

impl DecisionMetrics {
    /// Binds one series for each reason and each kind of reject.
    pub fn new() -> Self {
        let of_reason = |reason: Reason| {
            let decision = reason.outcome().as_str();
            counter!(catalogue::DECISIONS, "decision" => decision, "reason" => reason.as_str())
        };
        let of_reject = |kind: RejectKind| counter!(catalogue::REJECTS, "error" => kind.as_str());
        Self {
            decisions: Reason::ALL.into_iter().map(of_reason).collect(),
            rejects: RejectKind::ALL.into_iter().map(of_reject).collect(),
        }
    }

    /// Adds the decisions of a page.
    pub fn add(&self, tally: &DecisionTally) {
        add(&self.decisions, tally);
    }

    /// Adds the rejects of a page.
    pub fn add_rejects(&self, tally: &RejectTally) {
        add(&self.rejects, tally);
    }
}

impl Default for DecisionMetrics {
    fn default() -> Self {
        Self::new()
    }
}

fn add(counters: &[Counter], tally: &[u32]) {
    for (counter, count) in counters.iter().zip(tally) {
        if *count > 0 {
            counter.increment(u64::from(*count));
        }
    }
}

/// What a sink says. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SinkMetrics {
    writes: Counter,
    throttled: Counter,
    hot_key: Counter,
    transient: Counter,
    window: Gauge,
}

impl SinkMetrics {
    /// Binds the series of a sink.
    pub fn new(sink: Sink) -> Self {
        let failed = |kind: FaultKind| counter!(catalogue::WRITE_FAILED_ENTRIES, "sink" => sink.as_label(), "kind" => kind.as_label());
        let bound = Self {
            writes: counter!(catalogue::WRITES, "sink" => sink.as_label()),
            throttled: failed(FaultKind::Throttled),
            hot_key: failed(FaultKind::HotKey),
            transient: failed(FaultKind::Transient),
            window: gauge!(catalogue::WRITE_WINDOW, "sink" => sink.as_label()),
        };
        bound.window(None);
        bound
    }

    /// A batch call was made.
    pub fn write(&self) {
        self.writes.increment(1);
    }

    /// Entries of a batch were not stored; what is neither throttled nor a hot key counts as transient.
    pub fn failed_entries(&self, kind: FaultKind, count: u64) {
        match kind {
            FaultKind::Throttled => self.throttled.increment(count),
            FaultKind::HotKey => self.hot_key.increment(count),
            _ => self.transient.increment(count),
        }
    }

    /// How many units a second the sink is sent at most; nothing: without bound.
    pub fn window(&self, units: Option<f64>) {
        self.window.set(units.unwrap_or(f64::INFINITY));
    }
}

/// What all sinks share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FlowMetrics {
    in_flight: Gauge,
}

impl FlowMetrics {
    /// Binds.
    pub fn new() -> Self {
        Self {
            in_flight: gauge!(catalogue::IN_FLIGHT),
        }
    }

    /// So many bytes more are under way, or fewer.
    pub fn in_flight(&self, change: f64) {
        self.in_flight.increment(change);
    }
}

impl Default for FlowMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the time of pages goes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StageMetrics {
    stages: Arc<[Histogram]>,
}

impl StageMetrics {
    /// Binds one series for each stage.
    pub fn new() -> Self {
        let of = |stage: Stage| histogram!(catalogue::PRESSURE, "stage" => stage.as_label());
        Self {
            stages: Stage::ALL.into_iter().map(of).collect(),
        }
    }

    /// A stage took so long.
    pub fn took(&self, stage: Stage, time: Duration) {
        self.stages[stage as usize].record(time);
    }
}

impl Default for StageMetrics {
    fn default() -> Self {
        Self::new()
    }
}
