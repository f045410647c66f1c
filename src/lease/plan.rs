//! Which worker should hold which lease: the same answer on every worker that sees the same rows. Pure.
//!
//! Balanced: no two workers' shares differ by more than one. Minimal movement: a worker keeps what it holds up to its
//! share, and the larger shares go to those that hold so much. Steady: it stays the same while it is carried out, lease by
//! lease in any order, so that workers which see different stages of it agree. The plan is advice about targets, not
//! permission: a lease still moves only by a conditional write of its owner, or of the worker named here when the owner
//! is dead.

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
    // By id, not by how much each holds: else the larger shares would go round while leases are on their way, and two workers
    // that see different stages would both take the last one of a share.
    order.sort_by_key(|worker| (shares[*worker].len() <= base, *worker));
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
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

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

    /// The fewest leases that have to move: every balanced spread has shares of `base`, and `extra` ones of one more, so no
    /// worker keeps more than that of what it holds.
    fn fewest_moves(before: &BTreeMap<ShardId, Option<WorkerId>>, workers: &[WorkerId]) -> usize {
        let (base, extra) = (before.len() / workers.len(), before.len() % workers.len());
        let held = |worker: &WorkerId| {
            let owners = before.values().flatten();
            owners.filter(|owner| *owner == worker).count()
        };
        let kept: usize = workers.iter().map(|worker| held(worker).min(base)).sum();
        let above = workers.iter().filter(|worker| held(worker) > base).count();
        before.len() - kept - above.min(extra)
    }

    fn settled(after: &BTreeMap<ShardId, WorkerId>) -> BTreeMap<ShardId, Option<WorkerId>> {
        let owned = after.iter();
        owned
            .map(|(shard, owner)| (shard.clone(), Some(owner.clone())))
            .collect()
    }

    proptest! {
        #[test]
        fn every_lease_has_a_worker_and_shares_differ_by_one_at_most(
            owners in proptest::collection::vec(proptest::option::of(0_usize..8), 0..60),
            alive in 1_usize..12,
        ) {
            let workers: Vec<_> = (0..alive).map(worker).collect();
            let before = leases(&owners);
            let after = plan(&before, &workers);
            prop_assert_eq!(after.len(), before.len());
            let count = |worker: &WorkerId| after.values().filter(|owner| *owner == worker).count();
            let counts: Vec<_> = workers.iter().map(count).collect();
            prop_assert_eq!(counts.iter().sum::<usize>(), before.len(), "somebody else has some");
            let (low, high) = (counts.iter().min(), counts.iter().max());
            prop_assert!(high.zip(low).is_some_and(|(high, low)| high - low <= 1), "{:?}", counts);
        }

        #[test]
        fn as_few_leases_move_as_can_and_then_none(
            owners in proptest::collection::vec(proptest::option::of(0_usize..8), 0..60),
            alive in 1_usize..12,
        ) {
            let workers: Vec<_> = (0..alive).map(worker).collect();
            let before = leases(&owners);
            let after = plan(&before, &workers);
            prop_assert_eq!(moved(&before, &after), fewest_moves(&before, &workers));
            prop_assert_eq!(moved(&settled(&after), &plan(&settled(&after), &workers)), 0);
        }

        #[test]
        fn the_order_in_which_workers_are_listed_means_nothing(
            owners in proptest::collection::vec(proptest::option::of(0_usize..8), 0..60),
            listed in proptest::sample::subsequence((0_usize..12).collect::<Vec<_>>(), 1..12).prop_shuffle(),
            again in 0_usize..3,
        ) {
            let before = leases(&owners);
            let mut workers: Vec<_> = listed.iter().copied().map(worker).collect();
            let shuffled = plan(&before, &workers);
            workers.sort();
            prop_assert_eq!(&shuffled, &plan(&before, &workers));
            workers.extend_from_within(..again.min(workers.len()));
            prop_assert_eq!(shuffled, plan(&before, &workers), "one is listed twice");
        }

        // Each hand-over happens at its own time, and after each of them everybody plans anew.
        #[test]
        fn the_plan_stays_what_it_is_while_it_is_carried_out(
            owners in proptest::collection::vec(proptest::option::of(0_usize..8), 0..40),
            alive in 1_usize..8,
            order in proptest::collection::vec(any::<proptest::sample::Index>(), 40),
        ) {
            let workers: Vec<_> = (0..alive).map(worker).collect();
            let mut now = leases(&owners);
            let (mut moves, fewest) = (0, fewest_moves(&now, &workers));
            let first = plan(&now, &workers);
            for index in order {
                let waiting: Vec<_> = now.iter().filter(|(shard, owner)| owner.as_ref() != first.get(*shard)).collect();
                let Some(shard) = (!waiting.is_empty()).then(|| index.get(&waiting).0.clone()) else { break };
                now.insert(shard.clone(), first.get(&shard).cloned());
                prop_assert_eq!(&plan(&now, &workers), &first);
                moves += 1;
            }
            prop_assert_eq!(moves, fewest);
            prop_assert_eq!(fewest_moves(&now, &workers), 0);
        }
    }

    /// The fleet of the performance goals: 10 000 leases, 200 workers; and at most so much CPU for a plan of theirs.
    const GOAL: Duration = Duration::from_millis(50);

    /// Plans that are made to know the cost of one.
    const TIMES: u32 = 25;

    /// CPU time of this thread, or the clock's where the system does not tell.
    fn cpu(began: Instant) -> Duration {
        let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
        let nanos = told.and_then(|told| told.split(' ').next()?.parse().ok());
        nanos.map_or_else(|| began.elapsed(), Duration::from_nanos)
    }

    /// Plans many times, because the system counts in steps of some milliseconds, and checks what one costs.
    #[track_caller]
    #[expect(
        clippy::disallowed_methods,
        reason = "it is this machine's time that is measured"
    )]
    fn is_quick(
        what: &str,
        before: &BTreeMap<ShardId, Option<WorkerId>>,
        workers: &[WorkerId],
    ) -> BTreeMap<ShardId, WorkerId> {
        let began = Instant::now();
        let from = cpu(began);
        let mut after = BTreeMap::new();
        for _ in 0..TIMES {
            after = plan(before, workers);
        }
        let cost = (cpu(began) - from) / TIMES;
        let moves = moved(before, &after);
        println!(
            "plan of 10000 leases on {}, {what}: {cost:?}, {moves} move",
            workers.len()
        );
        assert!(cost <= GOAL, "{what}: {cost:?}");
        after
    }

    #[test]
    fn ten_thousand_leases_on_two_hundred_workers_are_planned_in_fifty_milliseconds() {
        let workers: Vec<_> = (0..200).map(worker).collect();
        let first = is_quick("a first start", &leases(&[None; 10_000]), &workers);
        let mut now = settled(&first);
        assert_eq!(moved(&now, &is_quick("nothing new", &now, &workers)), 0);
        let lost = &workers[77];
        now.values_mut().for_each(|owner| {
            owner.take_if(|owner| owner == lost);
        });
        let others: Vec<_> = workers
            .iter()
            .filter(|worker| *worker != lost)
            .cloned()
            .collect();
        let after = is_quick("one worker lost", &now, &others);
        assert_eq!(
            moved(&now, &after),
            50,
            "what the lost one had, and nothing else"
        );
        let rejoined = is_quick("it is back", &settled(&after), &workers);
        assert_eq!(moved(&settled(&after), &rejoined), 50);
    }
}
