//! What the loops may say about themselves in numbers: handles that are bound once and used once a page.
//!
//! A caller says `metrics.page(&tally)` and never names a series or a label: names stand in [`catalogue`], label values
//! are the closed enums below. Binding a handle makes its series, at 0, so that a rate sees the first error. Nothing
//! here is called once a swipe: a cached counter costs 10 ns and a histogram keeps 16 bytes a sample until the upkeep
//! of `telemetry` folds it.
//!
//! Series of a shard are bound when its lease is got; its gauges leave `/metrics` when the handle is dropped (they
//! become NaN, which [`crate::telemetry`] does not render). Its counters stay, as counters do.

#![allow(clippy::disallowed_macros, reason = "the one module that may")]

pub mod catalogue;

use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::{
    model::{decision::Reason, position::ShardId, reject::RejectKind},
    ports::{Fault, FaultKind},
};
pub use catalogue::{CATALOGUE, Entry, Kind, describe};

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every value; the index is `value as usize`.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The label.
            pub const fn as_label(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

labels! {
    /// Where pages are written.
    Sink {
        /// The decision stream.
        DecisionStream = "decision_stream",
        /// The decision table.
        DecisionTable = "decision_table",
        /// The dead-letter stream.
        RejectStream = "reject_stream",
    }
}

labels! {
    /// What happened to a lease.
    LeaseEvent {
        /// Its row was made.
        Created = "created",
        /// An orphan was taken.
        Taken = "taken",
        /// It was handed to another worker.
        Given = "given",
        /// Another worker handed it over.
        Received = "received",
        /// It was left without an owner, at a drain.
        Released = "released",
        /// This worker stopped by itself because its heartbeat was late.
        Fenced = "fenced",
        /// A write showed that another worker has it.
        Lost = "lost",
        /// Its shard ended.
        Ended = "ended",
    }
}

labels! {
    /// How a write of a checkpoint ended.
    CheckpointOutcome {
        /// It is in the table.
        Stored = "stored",
        /// The lease is another worker's.
        Refused = "refused",
        /// The call failed; it is sent again.
        Failed = "failed",
    }
}

labels! {
    /// Where a lease stands.
    LeaseState {
        /// This worker has it.
        Held = "held",
        /// Another living worker has it.
        Elsewhere = "elsewhere",
        /// Nobody alive has it.
        Orphaned = "orphaned",
        /// Its shard is read to the end.
        Ended = "ended",
        /// Its shard's parents are not read to the end.
        Waiting = "waiting",
    }
}

labels! {
    /// What a change of the access table did to the cache.
    ChangeEffect {
        /// The entity is new or different.
        Applied = "applied",
        /// The entity is gone.
        Removed = "removed",
        /// Older than what is known: dropped.
        Stale = "stale",
        /// The item cannot be read: the entity counts as absent.
        Malformed = "malformed",
        /// An item of a key that means nothing here.
        Ignored = "ignored",
    }
}

labels! {
    /// What an item of the access table describes.
    AccessEntity {
        /// A card.
        Card = "card",
        /// An access point.
        AccessPoint = "access_point",
        /// An area.
        Area = "area",
        /// A site.
        Site = "site",
        /// An access profile.
        Profile = "profile",
        /// A schedule.
        Schedule = "schedule",
        /// A day of a calendar.
        Calendar = "calendar",
        /// A device.
        Device = "device",
    }
}

labels! {
    /// What made a fresh scan necessary.
    RebuildReason {
        /// The start of the daemon.
        Start = "start",
        /// The stream no longer keeps what comes next.
        Trimmed = "trimmed",
        /// An iterator expired and cannot be resumed.
        IteratorExpired = "iterator_expired",
        /// A shard of the stream disappeared before it was read to its end.
        LostShard = "lost_shard",
    }
}

/// Operations that a fault may name; any other counts as `Other`, so that the label stays closed.
pub const OPERATIONS: [&str; 20] = [
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DescribeStream",
    "DescribeStreamSummary",
    "DescribeTable",
    "GetItem",
    "GetRecords",
    "GetShardIterator",
    "ListShards",
    "PutItem",
    "PutRecords",
    "Query",
    "Scan",
    "SubscribeToShard",
    "TransactWriteItems",
    "UpdateItem",
    "UpdateTimeToLive",
    "Other",
];

const FAULT_KINDS: [FaultKind; 6] = [
    FaultKind::Throttled,
    FaultKind::Transient,
    FaultKind::IteratorExpired,
    FaultKind::Trimmed,
    FaultKind::NotFound,
    FaultKind::Refused,
];

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
    decisions: std::sync::Arc<[Counter]>,
    rejects: std::sync::Arc<[Counter]>,
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
    transient: Counter,
}

impl SinkMetrics {
    /// Binds the series of a sink.
    pub fn new(sink: Sink) -> Self {
        let failed = |kind: FaultKind| counter!(catalogue::WRITE_FAILED_ENTRIES, "sink" => sink.as_label(), "kind" => kind.as_label());
        Self {
            writes: counter!(catalogue::WRITES, "sink" => sink.as_label()),
            throttled: failed(FaultKind::Throttled),
            transient: failed(FaultKind::Transient),
        }
    }

    /// A batch call was made.
    pub fn write(&self) {
        self.writes.increment(1);
    }

    /// Entries of a batch were not stored; `kind` is throttled or counts as transient.
    pub fn failed_entries(&self, kind: FaultKind, count: u64) {
        match kind {
            FaultKind::Throttled => self.throttled.increment(count),
            _ => self.transient.increment(count),
        }
    }
}

/// Counts a failed call to AWS. Not bound: a fault is rare and has waited for a network.
pub fn fault(fault: &Fault) {
    let known = OPERATIONS
        .into_iter()
        .find(|operation| *operation == fault.operation);
    let operation = known.unwrap_or("Other");
    counter!(catalogue::AWS_FAULTS, "operation" => operation, "kind" => fault.kind.as_label())
        .increment(1);
}

/// What the coordinator says. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LeaseMetrics {
    held: Gauge,
    states: [Gauge; LeaseState::ALL.len()],
    events: [Counter; LeaseEvent::ALL.len()],
    checkpoints: [Counter; CheckpointOutcome::ALL.len()],
    heartbeat_age: Gauge,
    workers: Gauge,
    halted: Gauge,
}

impl LeaseMetrics {
    /// Binds.
    pub fn new() -> Self {
        Self {
            held: gauge!(catalogue::LEASES_HELD),
            states: LeaseState::ALL
                .map(|state| gauge!(catalogue::LEASES, "state" => state.as_label())),
            events: LeaseEvent::ALL
                .map(|event| counter!(catalogue::LEASE_EVENTS, "event" => event.as_label())),
            checkpoints: CheckpointOutcome::ALL
                .map(|outcome| counter!(catalogue::CHECKPOINTS, "outcome" => outcome.as_label())),
            heartbeat_age: gauge!(catalogue::HEARTBEAT_AGE),
            workers: gauge!(catalogue::WORKERS),
            halted: gauge!(catalogue::SHARDS_HALTED),
        }
    }

    /// How many leases stand where, by `state as usize`.
    pub fn leases(&self, count: &[u64; LeaseState::ALL.len()]) {
        self.held.set(count[LeaseState::Held as usize] as f64);
        for (gauge, count) in self.states.iter().zip(count) {
            gauge.set(*count as f64);
        }
    }

    /// Something happened to a lease.
    pub fn event(&self, event: LeaseEvent) {
        self.events[event as usize].increment(1);
    }

    /// A write of a checkpoint ended.
    pub fn checkpoint(&self, outcome: CheckpointOutcome) {
        self.checkpoints[outcome as usize].increment(1);
    }

    /// Time since this worker's last stored heartbeat.
    pub fn heartbeat_age(&self, age: Duration) {
        self.heartbeat_age.set(age.as_secs_f64());
    }

    /// How many workers live.
    pub fn workers(&self, count: u64) {
        self.workers.set(count as f64);
    }

    /// How many shards of this worker stopped rather than lose a record.
    pub fn halted(&self, count: u64) {
        self.halted.set(count as f64);
    }
}

impl Default for LeaseMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// What the access feed says. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FeedMetrics {
    cards: Gauge,
    staleness: Gauge,
    changes: [Counter; ChangeEffect::ALL.len()],
    malformed: [Counter; AccessEntity::ALL.len()],
    rebuilds: [Counter; RebuildReason::ALL.len()],
    scan: Histogram,
}

impl FeedMetrics {
    /// Binds.
    pub fn new() -> Self {
        Self {
            cards: gauge!(catalogue::ACCESS_CARDS),
            staleness: gauge!(catalogue::ACCESS_STALENESS),
            changes: ChangeEffect::ALL
                .map(|effect| counter!(catalogue::ACCESS_CHANGES, "effect" => effect.as_label())),
            malformed: AccessEntity::ALL
                .map(|entity| counter!(catalogue::ACCESS_MALFORMED, "entity" => entity.as_label())),
            rebuilds: RebuildReason::ALL
                .map(|reason| counter!(catalogue::ACCESS_REBUILDS, "reason" => reason.as_label())),
            scan: histogram!(catalogue::ACCESS_SCAN),
        }
    }

    /// How many cards the cache holds.
    pub fn cards(&self, count: u64) {
        self.cards.set(count as f64);
    }

    /// How old what the cache knows is.
    pub fn staleness(&self, age: Duration) {
        self.staleness.set(age.as_secs_f64());
    }

    /// Changes that had this effect.
    pub fn changes(&self, effect: ChangeEffect, count: u64) {
        self.changes[effect as usize].increment(count);
    }

    /// An item cannot be read.
    pub fn malformed(&self, entity: AccessEntity) {
        self.malformed[entity as usize].increment(1);
    }

    /// A fresh scan begins.
    pub fn rebuild(&self, reason: RebuildReason) {
        self.rebuilds[reason as usize].increment(1);
    }

    /// A scan and its replay are done.
    pub fn scanned(&self, took: Duration) {
        self.scan.record(took);
    }
}

impl Default for FeedMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Sets whether the daemon is ready.
pub fn ready(ready: bool) {
    gauge!(catalogue::READY).set(f64::from(u8::from(ready)));
}

/// Makes every series that does not wait for a shard, at 0.
pub fn start_at_zero() {
    PageMetrics::new();
    DecisionMetrics::new();
    LeaseMetrics::new();
    FeedMetrics::new();
    for sink in Sink::ALL {
        SinkMetrics::new(sink);
    }
    for operation in OPERATIONS {
        for kind in FAULT_KINDS {
            counter!(catalogue::AWS_FAULTS, "operation" => operation, "kind" => kind.as_label())
                .increment(0);
        }
    }
    ready(false);
    gauge!(catalogue::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}
