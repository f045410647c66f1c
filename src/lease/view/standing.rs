//! Where each lease stands, by what was seen of both tables.

use super::{STRANGER_FAILOVER, View};
use crate::model::{
    lease::{LeaseRow, WorkerId},
    position::{Checkpoint, ShardId},
};

/// Where a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This worker's row.
    Mine,
    /// A living worker's row.
    Elsewhere,
    /// Nobody alive has it.
    Orphaned,
    /// Its parents have not all ended.
    Waiting,
    /// It is read to its end.
    Ended,
}

impl View {
    /// Where the lease of `row` stands.
    pub fn standing(&self, row: &LeaseRow) -> Standing {
        if row.checkpoint == Checkpoint::ShardEnd {
            return Standing::Ended;
        }
        let ended = |parent: &ShardId| match self.lease(parent) {
            Some(parent) => parent.checkpoint == Checkpoint::ShardEnd,
            // A child that was never read and whose parent the stream still has: that parent's row was lost (ended ones
            // are kept until their children were read), and the next shard sync makes it again.
            None if row.checkpoint == Checkpoint::TrimHorizon
                && self.may_be_listed(parent)
                && !self.was_followed(parent) =>
            {
                false
            }
            // Its row is gone because it ended; but a scan is no snapshot, and one that met the child alone may have
            // passed the parent's place before both were made.
            None => self.was_seen_before(&row.shard),
        };
        if !row.parents.iter().all(ended) {
            return Standing::Waiting;
        }
        match &row.owner {
            Some(owner) if *owner == self.me => Standing::Mine,
            Some(owner) if self.is_alive(owner, &row.shard) => Standing::Elsewhere,
            _ => Standing::Orphaned,
        }
    }

    /// Whether another look that shows nothing new may change where the lease of `row` stands: it was seen once and has a parent
    /// without a row, its owner is no worker of ours, or was dead before it wrote the row. With thousands of leases this
    /// has to be rare: a dead worker's leases are in no doubt.
    pub fn is_in_doubt(&self, row: &LeaseRow) -> bool {
        if row.checkpoint == Checkpoint::ShardEnd {
            return false;
        }
        let unknown = |parent: &ShardId| !self.leases.contains_key(parent);
        let seen_once = !self.was_seen_before(&row.shard);
        let owner = row.owner.as_ref().filter(|owner| **owner != self.me);
        (seen_once && row.parents.iter().any(unknown))
            || owner.is_some_and(|owner| match self.workers.get(owner) {
                Some(peer) => {
                    peer.pulse.still >= self.failover && self.is_newer_than_workers(&row.shard)
                }
                None if self.left.contains_key(owner) => self.is_newer_than_workers(&row.shard),
                None => true,
            })
    }

    /// Whether the stream has the shard, as far as is known.
    fn may_be_listed(&self, shard: &ShardId) -> bool {
        let listed = self.listed.as_ref();
        listed.is_none_or(|shards| shards.contains(shard))
    }

    /// Whether a child of the shard was begun: then it had ended, and no sync makes its row again.
    fn was_followed(&self, parent: &ShardId) -> bool {
        self.leases()
            .any(|row| row.checkpoint != Checkpoint::TrimHorizon && row.parents.contains(parent))
    }

    /// Whether more than one read showed the row.
    fn was_seen_before(&self, shard: &ShardId) -> bool {
        let lease = self.leases.get(shard);
        lease.is_some_and(|(_, pulse)| pulse.moved || !pulse.still.is_zero())
    }

    fn is_newer_than_workers(&self, shard: &ShardId) -> bool {
        let lease = self.leases.get(shard);
        lease.is_some_and(|(_, pulse)| pulse.since > self.workers_asked)
    }

    fn is_alive(&self, owner: &WorkerId, shard: &ShardId) -> bool {
        match self.workers.get(owner) {
            // A worker that was silent and is back writes its rows before it reads on: what is known of it has to be
            // newer than the row, or an old silence would count against a lease that was taken anew.
            Some(peer) => peer.pulse.still < self.failover || self.is_newer_than_workers(shard),
            None if self.left.contains_key(owner) => self.is_newer_than_workers(shard),
            None => self
                .leases
                .get(shard)
                .is_some_and(|(_, pulse)| pulse.still < STRANGER_FAILOVER),
        }
    }
}
