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
mod feed;
mod labels;
mod lease;
mod path;
mod read;

use ::metrics::{counter, gauge};

use crate::ports::{Fault, FaultKind};
pub use catalogue::{CATALOGUE, Entry, Kind, describe};
pub use feed::FeedMetrics;
pub use labels::{
    AccessEntity, ChangeEffect, CheckpointOutcome, LeaseEvent, LeaseState, RebuildReason, Sink,
    Stage, SubscriptionEnd, Way,
};
pub use lease::LeaseMetrics;
pub use path::{
    DecisionMetrics, DecisionTally, FlowMetrics, PageMetrics, PageTally, RejectTally, ShardMetrics,
    SinkMetrics, StageMetrics,
};
pub use read::{BudgetMetrics, ReadMetrics};

/// Operations that a fault may name; any other counts as `Other`, so that the label stays closed.
pub const OPERATIONS: [&str; 22] = [
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DescribeStream",
    "DescribeStreamConsumer",
    "DescribeStreamSummary",
    "DescribeTable",
    "GetItem",
    "GetRecords",
    "GetShardIterator",
    "ListShards",
    "PutItem",
    "PutRecords",
    "Query",
    "RegisterStreamConsumer",
    "Scan",
    "SubscribeToShard",
    "TransactWriteItems",
    "UpdateItem",
    "UpdateTimeToLive",
    "Other",
];

/// Every kind of fault.
const FAULT_KINDS: [FaultKind; 8] = [
    FaultKind::Throttled,
    FaultKind::InUse,
    FaultKind::HotKey,
    FaultKind::Transient,
    FaultKind::IteratorExpired,
    FaultKind::Trimmed,
    FaultKind::NotFound,
    FaultKind::Refused,
];

/// Counts a failed call to AWS. Not bound: a fault is rare and has waited for a network.
pub fn fault(fault: &Fault) {
    let known = OPERATIONS
        .into_iter()
        .find(|known| *known == fault.operation);
    let operation = known.unwrap_or("Other");
    counter!(catalogue::AWS_FAULTS, "operation" => operation, "kind" => fault.kind.as_label())
        .increment(1);
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
    StageMetrics::new();
    FlowMetrics::new();
    for sink in Sink::ALL {
        SinkMetrics::new(sink);
    }
    for operation in OPERATIONS {
        for kind in FAULT_KINDS {
            counter!(catalogue::AWS_FAULTS, "operation" => operation, "kind" => kind.as_label())
                .increment(0);
        }
    }
    read::start_at_zero();
    ready(false);
    gauge!(catalogue::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}
