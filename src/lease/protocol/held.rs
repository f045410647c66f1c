//! A lease that this worker holds, and what it is doing.

use std::time::Duration;

use crate::model::{
    lease::{LeaseRow, LeaseWrite},
    position::{Checkpoint, ChildShard, Position},
};

/// What a lease that this worker holds is doing.
#[derive(Debug)]
pub(super) enum Phase {
    /// The write that makes it ours is under way; the flag: it was ours by name before (given, or kept over a fence).
    Taking { ours: bool },
    /// Its consumer runs.
    Running,
    /// Its consumer finishes a page.
    Stopping,
    /// No consumer runs; the lease is to be given away.
    Giving,
    /// No consumer runs; one may start at this instant.
    Resting(Duration),
    /// Its shard is read to its end, and continued by these.
    Ending(Vec<ChildShard>),
}

/// A lease that this worker holds, or is about to.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) phase: Phase,
    pub(super) run: u64,
    pub(super) done: Option<Position>,
    /// The write whose outcome is awaited, or unknown: then it is not among those under way, and goes out again.
    pub(super) writing: Option<(LeaseWrite, Vec<LeaseRow>)>,
    pub(super) saved_at: Duration,
    /// When its consumer started.
    pub(super) started_at: Duration,
    pub(super) halted: bool,
    /// The stream said that it has no such shard.
    pub(super) gone: bool,
}

/// The progress that the row does not have yet.
pub(super) fn unsaved(held: &Held, row: &LeaseRow) -> Option<Checkpoint> {
    let done = Checkpoint::At(held.done.clone()?);
    (done > row.checkpoint).then_some(done)
}

/// The row of a shard that continues one that ended.
pub(super) fn child_row(child: &ChildShard) -> LeaseRow {
    LeaseRow {
        shard: child.id.clone(),
        owner: None,
        counter: 0,
        checkpoint: Checkpoint::TrimHorizon,
        parents: child.parents.clone(),
        hash_range: Some(child.hash_range.clone()),
    }
}
