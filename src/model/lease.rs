//! Leases: which worker may read which shard, and how far it is.

use std::{fmt, sync::Arc};

use super::position::{Checkpoint, ChildShard, ShardId};

/// One running process. Unique for its life: two processes never share an id. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(Arc<str>);

impl WorkerId {
    /// The worker of that name.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A row of the lease table: one a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// The shard, and the row's key.
    pub shard: ShardId,
    /// Who holds it; during a hand-over of KCL's, who still does.
    pub owner: Option<WorkerId>,
    /// Rises with every write of owner or checkpoint; the condition of the next one.
    pub counter: u64,
    /// How far the shard is done.
    pub checkpoint: Checkpoint,
    /// The shards it continues: read only after they have all ended.
    pub parents: Vec<ShardId>,
    /// First and last hash key, inclusive, decimal, when known.
    pub hash_range: Option<(String, String)>,
}

/// A conditional write: applies only to the row as this worker last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseWrite {
    /// The row.
    pub shard: ShardId,
    /// Who must hold it before.
    pub owner_was: Option<WorkerId>,
    /// What its counter must be before; one more after.
    pub counter_was: u64,
    /// Who holds it after.
    pub owner: Option<WorkerId>,
    /// How far the shard was done before, as this worker knows it; no condition, but part of what it leaves.
    pub checkpoint_was: Checkpoint,
    /// How far the shard is done after, when that changes.
    pub checkpoint: Option<Checkpoint>,
    /// The shards that continue it, kept on its row; none unless it ends.
    pub children: Vec<ShardId>,
}

impl LeaseWrite {
    /// Whether `row`, found where the condition failed, is what this very write left: its reply was lost. Whoever gives
    /// a lease leaves the owner that its taker would, but also how far it came.
    pub fn made(&self, row: &LeaseRow) -> bool {
        row.counter == self.counter_was + 1
            && row.owner == self.owner
            && *self.checkpoint.as_ref().unwrap_or(&self.checkpoint_was) == row.checkpoint
    }
}

/// How a conditional write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It applies, by this call or by an earlier one whose reply was lost.
    Applied,
    /// The row is another now; this is what it is, or nothing when it is gone.
    Conflict(Option<LeaseRow>),
}

/// A row of the workers table: a worker's own heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRow {
    /// Whose.
    pub id: WorkerId,
    /// A random number of the process that writes the row: tells two processes apart that were given one id.
    pub process: u64,
    /// Rises with every heartbeat.
    pub heartbeat: u64,
    /// It is stopping and takes no more leases.
    pub leaving: bool,
    /// Rises when it wrote a lease row that others wait for: gave a lease away, or made the rows of children. Whoever
    /// sees it move reads the lease table.
    pub bell: u64,
}

/// Why the consumer of a shard ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Everything in the shard is stored; these shards continue it.
    ShardEnd(Vec<ChildShard>),
    /// It was told to stop, and what it had begun is stored.
    Drained,
    /// It may no longer write.
    Fenced,
    /// The stream has no such shard.
    Gone(String),
    /// It stopped rather than lose a record.
    Halted(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_recognises_the_row_it_left_and_no_other() {
        let me = Some(WorkerId::new("me"));
        let write = LeaseWrite {
            shard: ShardId::new("s"),
            owner_was: None,
            counter_was: 4,
            owner: me.clone(),
            checkpoint_was: Checkpoint::TrimHorizon,
            checkpoint: None,
            children: Vec::new(),
        };
        let left = LeaseRow {
            shard: ShardId::new("s"),
            owner: me,
            counter: 5,
            checkpoint: Checkpoint::TrimHorizon,
            parents: Vec::new(),
            hash_range: None,
        };
        assert!(write.made(&left));
        assert!(!write.made(&LeaseRow {
            counter: 6,
            ..left.clone()
        }));
        assert!(!write.made(&LeaseRow {
            owner: Some(WorkerId::new("other")),
            ..left.clone()
        }));
        assert!(
            !write.made(&LeaseRow {
                checkpoint: Checkpoint::Latest,
                ..left.clone()
            }),
            "given by another, with more done"
        );
        let ending = LeaseWrite {
            checkpoint: Some(Checkpoint::ShardEnd),
            ..write
        };
        assert!(!ending.made(&left), "another checkpoint");
    }
}
