//! Who should hold what, kept from one change of the view to the next: with thousands of leases the plan is not made anew at
//! every tick.

use std::{collections::BTreeMap, time::Duration};

use super::Protocol;
use crate::{
    lease::{plan::plan, view::Standing},
    model::{lease::WorkerId, position::ShardId},
};

/// The plan, and what follows from it for this worker.
#[derive(Debug, Default)]
pub(super) struct Targets {
    of: BTreeMap<ShardId, WorkerId>,
    /// Leases that are this worker's by name, or by the plan and without a living owner.
    pub(super) free: Vec<ShardId>,
    /// Leases that the plan gives this worker.
    mine: usize,
    /// A living worker holds a lease that the plan gives this one.
    expects: bool,
    /// A lease stands where it does for want of evidence: another look may change it.
    in_doubt: bool,
    /// The view's count of changes that this is from, and whether this worker was leaving.
    made_from: Option<(u64, bool)>,
}

impl Targets {
    /// Who should hold a lease.
    pub(super) fn of(&self, shard: &ShardId) -> Option<&WorkerId> {
        self.of.get(shard)
    }
}

impl Protocol {
    /// How many leases the plan gives this worker.
    pub fn planned(&self) -> usize {
        self.targets.mine
    }

    /// Whether leases are about to come to this worker, or another is about to leave or to be found dead: worth a closer
    /// look at the tables.
    pub fn expects(&self) -> bool {
        self.targets.expects || self.view.is_about_to_change()
    }

    /// Whether the time has come to give everything away: the others have noticed, or there are none.
    pub(super) fn leaves(&self, now: Duration) -> bool {
        self.leaving.is_some_and(|told| {
            now.saturating_sub(told) >= self.timing.notice || self.view.targets(false).is_empty()
        })
    }

    pub(super) fn replan(&mut self) {
        let leaving = self.leaving.is_some();
        let from = Some((self.view.changes(), leaving));
        if self.targets.made_from == from && !self.targets.in_doubt {
            return;
        }
        let (mut active, mut free, mut in_doubt) = (BTreeMap::new(), Vec::new(), false);
        let mut elsewhere = Vec::new();
        for row in self.view.leases() {
            in_doubt |= self.view.is_in_doubt(row);
            let owner = match self.view.standing(row) {
                Standing::Mine => {
                    free.push(&row.shard);
                    row.owner.clone()
                }
                Standing::Elsewhere => {
                    elsewhere.push(&row.shard);
                    row.owner.clone()
                }
                Standing::Orphaned => {
                    free.push(&row.shard);
                    None
                }
                Standing::Waiting | Standing::Ended => continue,
            };
            active.insert(row.shard.clone(), owner);
        }
        let of = plan(&active, &self.view.targets(!leaving));
        let is_mine = |shard: &&ShardId| of.get(*shard) == Some(&self.me);
        let by_name = |shard: &ShardId| active.get(shard).is_some_and(Option::is_some);
        free.retain(|shard| by_name(shard) || is_mine(shard));
        self.targets = Targets {
            free: free.into_iter().cloned().collect(),
            mine: of.values().filter(|owner| **owner == self.me).count(),
            expects: elsewhere.iter().any(is_mine),
            in_doubt,
            made_from: from,
            of,
        };
    }
}
