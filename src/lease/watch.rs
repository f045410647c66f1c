//! Which owners live, for somebody who holds no lease: heartbeats watched for a while. Pure.
//!
//! As in [`super::view`], no wall clock is compared between hosts. A heartbeat row says nothing about time; what can be
//! known is whether its counter moves while it is watched. An owner without a heartbeat row is a KCL worker, or long
//! gone: the counters of its leases tell.
//!
//! Every `now` and `at` here is time since the watch began.

use std::{collections::BTreeMap, time::Duration};

use super::view::{STRANGER_FAILOVER, Seen};
use crate::model::{
    lease::{LeaseRow, WorkerId, WorkerRow},
    position::ShardId,
};

/// What a watch knows of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It was seen to write, the last time at most so long ago.
    Alive(Duration),
    /// It is known not to have written for at least so long; nobody calls it dead yet.
    Still(Duration),
    /// As [`Life::Still`], and for so long that any worker may take its leases.
    Dead(Duration),
}

/// A counter that is watched.
#[derive(Debug)]
struct Pulse {
    /// A process and its heartbeat; for an owner without a heartbeat, how many writes were seen.
    count: (u64, u64),
    /// When the reply came that showed this count first.
    since: Duration,
    /// When the last read that showed it was sent.
    asked: Duration,
    /// When the last read was sent that did not show this count yet, if it was seen to move.
    written_after: Option<Duration>,
}

impl Pulse {
    fn first(count: (u64, u64), seen: Seen, written_after: Option<Duration>) -> Self {
        Self {
            count,
            since: seen.replied,
            asked: seen.asked,
            written_after,
        }
    }

    fn observe(&mut self, count: (u64, u64), seen: Seen) {
        if count == self.count {
            self.asked = seen.asked;
        } else {
            *self = Self::first(count, seen, Some(self.asked));
        }
    }

    fn life(&self, now: Duration, failover: Duration) -> Life {
        let still = self.asked.saturating_sub(self.since);
        match self.written_after {
            _ if still >= failover => Life::Dead(still),
            Some(after) => Life::Alive(now.saturating_sub(after)),
            None => Life::Still(still),
        }
    }
}

/// A watch over all workers and leases of one application.
#[derive(Debug)]
pub struct Watch {
    failover: Duration,
    workers: BTreeMap<WorkerId, Pulse>,
    /// When the last read of the workers table was sent.
    workers_asked: Option<Duration>,
    /// Who owned each lease, and its counter.
    leases: BTreeMap<ShardId, (WorkerId, u64)>,
    /// What the leases say of their owners; its count is how many writes were seen.
    owners: BTreeMap<WorkerId, Pulse>,
}

impl Watch {
    /// Nothing seen yet; a worker is dead after `failover` without a heartbeat.
    pub fn new(failover: Duration) -> Self {
        Self {
            failover,
            workers: BTreeMap::new(),
            workers_asked: None,
            leases: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// The workers table was read.
    pub fn observe_workers(&mut self, seen: Seen, rows: &[WorkerRow]) {
        let before = self.workers_asked.replace(seen.asked);
        self.workers
            .retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows {
            // A row that was not there at the last look was written since.
            let count = (row.process, row.heartbeat);
            let first = || Pulse::first(count, seen, before);
            let pulse = self.workers.entry(row.id.clone()).or_insert_with(first);
            pulse.observe(count, seen);
        }
    }

    /// The lease table was read.
    pub fn observe_leases(&mut self, seen: Seen, rows: &[LeaseRow]) {
        let before = std::mem::take(&mut self.leases);
        let mut writes: BTreeMap<WorkerId, u64> = BTreeMap::new();
        for row in rows {
            let Some(owner) = &row.owner else { continue };
            let moved = before.get(&row.shard).is_some_and(|(was, counter)| {
                // A row that changed hands says nothing of the one, and the other has a heartbeat.
                was == owner && *counter != row.counter
            });
            *writes.entry(owner.clone()).or_default() += u64::from(moved);
            let entry = (owner.clone(), row.counter);
            self.leases.insert(row.shard.clone(), entry);
        }
        for (owner, more) in writes {
            let first = || Pulse::first((0, 0), seen, None);
            let pulse = self.owners.entry(owner).or_insert_with(first);
            pulse.observe((0, pulse.count.1 + more), seen);
        }
    }

    /// Whether this owner has a heartbeat row.
    pub fn has_heartbeat(&self, owner: &WorkerId) -> bool {
        self.workers.contains_key(owner)
    }

    /// What is known of an owner; nothing when no read showed it.
    pub fn life(&self, owner: &WorkerId, now: Duration) -> Option<Life> {
        match self.workers.get(owner) {
            Some(pulse) => Some(pulse.life(now, self.failover)),
            None => {
                let pulse = self.owners.get(owner)?;
                Some(pulse.life(now, STRANGER_FAILOVER))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::position::Checkpoint;

    const FAILOVER: Duration = Duration::from_secs(3);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(asked: u64) -> Seen {
        Seen {
            asked: ms(asked),
            replied: ms(asked + 10),
        }
    }

    fn beat(heartbeat: u64) -> [WorkerRow; 1] {
        [WorkerRow {
            id: WorkerId::new("w"),
            process: 1,
            heartbeat,
            leaving: false,
            bell: 0,
        }]
    }

    fn lease(owner: Option<&str>, counter: u64) -> [LeaseRow; 1] {
        [LeaseRow {
            shard: ShardId::new("s"),
            owner: owner.map(WorkerId::new),
            counter,
            checkpoint: Checkpoint::TrimHorizon,
            parents: Vec::new(),
            hash_range: None,
        }]
    }

    /// What is known at `now` of the worker whose heartbeat was read as (asked, counter).
    #[track_caller]
    fn check(reads: &[(u64, u64)], now: u64, expected: Life) {
        let mut watch = Watch::new(FAILOVER);
        for (asked, heartbeat) in reads {
            watch.observe_workers(at(*asked), &beat(*heartbeat));
        }
        let life = watch.life(&WorkerId::new("w"), ms(now));
        assert_eq!(life, Some(expected), "{reads:?}");
    }

    #[test]
    fn a_heartbeat_that_moves_is_as_old_as_the_last_look_that_showed_the_one_before() {
        check(&[(0, 7), (500, 8)], 510, Life::Alive(ms(510)));
        check(&[(0, 7), (500, 7), (1000, 8)], 1010, Life::Alive(ms(510)));
        check(
            &[(0, 7), (500, 8), (1000, 8), (1500, 9)],
            1510,
            Life::Alive(ms(510)),
        );
    }

    #[test]
    fn a_heartbeat_that_stands_is_dead_after_the_failover_time_and_not_before() {
        check(&[(0, 7)], 20, Life::Still(ms(0)));
        check(&[(0, 7), (2000, 7)], 2010, Life::Still(ms(1990)));
        check(&[(0, 7), (3009, 7)], 3020, Life::Still(ms(2999)));
        check(&[(0, 7), (3010, 7)], 3020, Life::Dead(ms(3000)));
        let stopped = [(0, 7), (500, 8), (3600, 8)];
        check(&stopped, 3610, Life::Dead(ms(3090)));
    }

    #[test]
    fn a_heartbeat_row_that_appears_was_written_meanwhile() {
        let (mut watch, worker) = (Watch::new(FAILOVER), WorkerId::new("w"));
        watch.observe_workers(at(0), &[]);
        assert_eq!(watch.life(&worker, ms(10)), None);
        watch.observe_workers(at(500), &beat(1));
        assert_eq!(watch.life(&worker, ms(510)), Some(Life::Alive(ms(510))));
    }

    #[test]
    fn the_counters_of_its_leases_speak_for_an_owner_without_a_heartbeat() {
        let worker = WorkerId::new("kcl");
        for (second, expected) in [
            (lease(Some("kcl"), 2), Life::Alive(ms(3010))),
            (lease(Some("kcl"), 1), Life::Still(ms(2990))),
            (lease(None, 2), Life::Still(ms(0))),
        ] {
            let mut watch = Watch::new(FAILOVER);
            watch.observe_workers(at(0), &[]);
            watch.observe_leases(at(0), &lease(Some("kcl"), 1));
            watch.observe_leases(at(3000), &second);
            assert_eq!(watch.life(&worker, ms(3010)), Some(expected));
        }
        let mut watch = Watch::new(FAILOVER);
        watch.observe_leases(at(0), &lease(Some("kcl"), 1));
        watch.observe_leases(at(15_010), &lease(Some("kcl"), 1));
        assert_eq!(
            watch.life(&worker, ms(15_020)),
            Some(Life::Dead(STRANGER_FAILOVER))
        );
    }
}
