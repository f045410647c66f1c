//! Which worker should hold which lease: the same answer on every worker that sees the same rows. Pure.
//!
//! Balanced: no two workers' shares differ by more than one. Minimal movement: a worker keeps what it holds up to its
//! share, and the larger shares go to those that hold more. The plan is advice about targets, not permission: a lease
//! still moves only by a conditional write of its owner, or of the worker named here when the owner is dead.

use std::collections::BTreeMap;

use crate::model::{lease::WorkerId, position::ShardId};

/// The worker that should hold each of `leases`, given who holds them now (nobody, when the holder is dead). `workers` are
/// those that live and stay. Without any there is no plan.
pub fn plan(
    leases: &BTreeMap<ShardId, Option<WorkerId>>,
    workers: &[WorkerId],
) -> BTreeMap<ShardId, WorkerId> {
    let mut shares: BTreeMap<&WorkerId, Vec<&ShardId>> =
        workers.iter().map(|worker| (worker, Vec::new())).collect();
    if shares.is_empty() {
        return BTreeMap::new();
    }
    let mut pool = Vec::new();
    for (shard, owner) in leases {
        match owner.as_ref().and_then(|owner| shares.get_mut(owner)) {
            Some(share) => share.push(shard),
            None => pool.push(shard),
        }
    }
    let (base, extra) = (leases.len() / shares.len(), leases.len() % shares.len());
    let mut order: Vec<&WorkerId> = shares.keys().copied().collect();
    order.sort_by_key(|worker| (std::cmp::Reverse(shares[*worker].len()), *worker));
    let quota: BTreeMap<&WorkerId, usize> = order
        .into_iter()
        .enumerate()
        .map(|(rank, worker)| (worker, base + usize::from(rank < extra)))
        .collect();
    for (worker, share) in &mut shares {
        pool.extend(share.drain(quota[worker].min(share.len())..));
    }
    pool.sort();
    let mut pool = pool.into_iter();
    for (worker, share) in &mut shares {
        let room = quota[worker] - share.len();
        share.extend(pool.by_ref().take(room));
    }
    let assigned = shares.into_iter().flat_map(|(worker, share)| {
        share
            .into_iter()
            .map(move |shard| (shard.clone(), worker.clone()))
    });
    assigned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn worker(index: usize) -> WorkerId {
        WorkerId::new(&format!("w{index:03}"))
    }

    fn leases(owners: &[Option<usize>]) -> BTreeMap<ShardId, Option<WorkerId>> {
        let leases = owners.iter().enumerate();
        leases
            .map(|(index, owner)| (ShardId::new(&format!("s{index:05}")), owner.map(worker)))
            .collect()
    }

    fn moved(
        before: &BTreeMap<ShardId, Option<WorkerId>>,
        after: &BTreeMap<ShardId, WorkerId>,
    ) -> usize {
        before
            .iter()
            .filter(|(shard, owner)| owner.as_ref() != after.get(*shard))
            .count()
    }

    #[test]
    fn a_worker_that_joins_gets_its_share_and_nothing_else_moves() {
        let before = leases(&[
            Some(0),
            Some(0),
            Some(0),
            Some(0),
            Some(1),
            Some(1),
            Some(1),
            Some(1),
        ]);
        let after = plan(&before, &[worker(0), worker(1), worker(2)]);
        assert_eq!(moved(&before, &after), 2);
    }

    #[test]
    fn the_leases_of_the_dead_are_spread_and_no_other_moves() {
        let before = leases(&[Some(0), Some(1), Some(2), Some(0), Some(1), Some(2)]);
        let after = plan(&before, &[worker(0), worker(1)]);
        assert_eq!(moved(&before, &after), 2);
    }

    #[test]
    fn nobody_alive_means_no_plan() {
        assert!(plan(&leases(&[None]), &[]).is_empty());
    }

    proptest! {
        #[test]
        fn every_lease_has_a_worker_shares_differ_by_one_and_a_second_plan_moves_nothing(
            owners in proptest::collection::vec(proptest::option::of(0_usize..8), 0..60),
            alive in 1_usize..6,
        ) {
            let workers: Vec<_> = (0..alive).map(worker).collect();
            let before = leases(&owners);
            let after = plan(&before, &workers);
            prop_assert_eq!(after.len(), before.len());
            let count = |worker: &WorkerId| after.values().filter(|owner| *owner == worker).count();
            let counts: Vec<_> = workers.iter().map(count).collect();
            let (low, high) = (counts.iter().min(), counts.iter().max());
            prop_assert!(high.zip(low).is_some_and(|(high, low)| high - low <= 1), "{:?}", counts);
            let settled = after.iter().map(|(shard, owner)| (shard.clone(), Some(owner.clone()))).collect();
            prop_assert_eq!(moved(&settled, &plan(&settled, &workers)), 0);
            // Minimal: what moves is what has no living owner or is above the fair share of its owner.
            let excess: usize = workers
                .iter()
                .map(|worker| {
                    let held = before.values().flatten().filter(|owner| *owner == worker).count();
                    held.saturating_sub(count(worker))
                })
                .sum();
            let orphans = before.values().filter(|owner| owner.as_ref().is_none_or(|owner| !workers.contains(owner)));
            prop_assert_eq!(moved(&before, &after), excess + orphans.count());
        }
    }
}
