//! What the protocol tells of a lease, for the log and the metrics.

use crate::model::lease::WorkerId;

/// What happened to a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Taken: it had no living owner.
    Taken,
    /// Received from the worker that gave it.
    Received,
    /// Given to that worker.
    Given(WorkerId),
    /// Left without an owner.
    Released,
    /// Dropped by this worker itself, whose heartbeat is late.
    Fenced,
    /// Another worker has it, found out by a write.
    Lost,
    /// Its shard ended.
    Ended,
    /// A checkpoint is stored.
    Checkpointed,
    /// The consumer stopped rather than lose a record, or found no shard.
    Halted(String),
}
