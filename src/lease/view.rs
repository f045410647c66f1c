//! What this worker last saw of the lease and workers tables, and when it saw each counter move. Pure.
//!
//! No wall clock is compared between hosts. Evidence that a worker is dead is time on the *observer's* monotonic clock:
//! from when the reply that first showed its counter was received, to when the read that last showed the same counter was
//! sent. So a slow reply, or a pause of the observer itself, makes nobody look dead.
//!
//! Every `now` and `at` here is time since this process started.

use std::{collections::BTreeMap, time::Duration};

use crate::model::{
    lease::{LeaseRow, WorkerId, WorkerRow},
    position::{Checkpoint, ShardId},
};

/// How long an owner without a heartbeat row counts as alive after its lease's counter last moved. Such an owner is a KCL
/// worker; its default is to renew each 3.3 s and to be failed over after 10 s.
pub const STRANGER_FAILOVER: Duration = Duration::from_secs(15);

/// How long a worker that removed its row is remembered as gone: by then nobody takes it for living any more, and gives
/// it a lease.
const LEFT_KEPT: Duration = Duration::from_secs(60);

/// When a read of a table was sent, and when its reply came.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When the read was sent: what it shows was true at this instant or later.
    pub asked: Duration,
    /// When the reply came.
    pub replied: Duration,
}

/// A counter, and how long it is known not to have moved.
#[derive(Clone, Debug)]
struct Pulse {
    count: u64,
    since: Duration,
    still: Duration,
    /// It was seen to move: whoever moves it is not just a row left behind.
    moved: bool,
}

impl Pulse {
    fn first(count: u64, seen: Seen) -> Self {
        Self {
            count,
            since: seen.replied,
            still: Duration::ZERO,
            moved: false,
        }
    }

    fn observe(&mut self, count: u64, seen: Seen) {
        if count == self.count {
            self.still = seen.asked.saturating_sub(self.since);
        } else {
            *self = Self {
                moved: true,
                ..Self::first(count, seen)
            };
        }
    }
}

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

/// Both tables as last seen.
#[derive(Debug)]
pub struct View {
    me: WorkerId,
    failover: Duration,
    workers: BTreeMap<WorkerId, (Pulse, bool)>,
    /// Workers whose row is gone, and when that was seen: a worker removes it when it has nothing left to write.
    left: BTreeMap<WorkerId, Duration>,
    /// When the read that `workers` is from was sent.
    workers_asked: Duration,
    /// When the read was sent that the last rows are from.
    leases_asked: Duration,
    leases: BTreeMap<ShardId, (LeaseRow, Pulse)>,
}

impl View {
    /// Nothing seen yet, by worker `me`; others are dead after `failover` without a heartbeat.
    pub fn new(me: WorkerId, failover: Duration) -> Self {
        Self {
            me,
            failover,
            workers: BTreeMap::new(),
            left: BTreeMap::new(),
            workers_asked: Duration::ZERO,
            leases_asked: Duration::ZERO,
            leases: BTreeMap::new(),
        }
    }

    /// The workers table was read.
    pub fn observe_workers(&mut self, seen: Seen, rows: &[WorkerRow]) {
        self.workers_asked = seen.asked;
        let listed = |id: &WorkerId| rows.iter().any(|row| row.id == *id);
        let gone = self.workers.extract_if(.., |id, _| !listed(id));
        self.left.extend(gone.map(|(id, _)| (id, seen.replied)));
        self.left
            .retain(|id, at| !listed(id) && seen.replied.saturating_sub(*at) < LEFT_KEPT);
        for row in rows {
            let first = || (Pulse::first(row.heartbeat, seen), row.leaving);
            let (pulse, leaving) = self.workers.entry(row.id.clone()).or_insert_with(first);
            pulse.observe(row.heartbeat, seen);
            *leaving = row.leaving;
        }
    }

    /// The lease table was read.
    pub fn observe_leases(&mut self, seen: Seen, rows: Vec<LeaseRow>) {
        self.leases_asked = seen.asked;
        let mut before = std::mem::take(&mut self.leases);
        for row in rows {
            let known = before.remove(&row.shard);
            // A read that was sent before a write of ours was answered may show the row before it.
            let entry = match known {
                Some((newer, pulse)) if newer.counter > row.counter => (newer, pulse),
                Some((_, mut pulse)) => {
                    pulse.observe(row.counter, seen);
                    (row, pulse)
                }
                None => {
                    let pulse = Pulse::first(row.counter, seen);
                    (row, pulse)
                }
            };
            self.leases.insert(entry.0.shard.clone(), entry);
        }
        // Nor does it show a row that was made after it was sent.
        before.retain(|_, (_, pulse)| pulse.since > seen.asked);
        self.leases.append(&mut before);
    }

    /// One row is known to be this now, by a write or by the reply to one.
    pub fn learn(&mut self, row: LeaseRow, at: Duration) {
        let seen = Seen {
            asked: at,
            replied: at,
        };
        let known = self.leases.remove(&row.shard);
        let mut pulse = known.map_or_else(|| Pulse::first(row.counter, seen), |(_, pulse)| pulse);
        pulse.observe(row.counter, seen);
        self.leases.insert(row.shard.clone(), (row, pulse));
    }

    /// The row is gone.
    pub fn forget(&mut self, shard: &ShardId) {
        self.leases.remove(shard);
    }

    /// The rows, by shard.
    pub fn leases(&self) -> impl Iterator<Item = &LeaseRow> {
        self.leases.values().map(|(row, _)| row)
    }

    /// The row of a shard.
    pub fn lease(&self, shard: &ShardId) -> Option<&LeaseRow> {
        self.leases.get(shard).map(|(row, _)| row)
    }

    /// Workers to give leases to: seen to move lately and staying; `me` belongs to them as long as `staying`.
    pub fn targets(&self, staying: bool) -> Vec<WorkerId> {
        let others = self.workers.iter().filter(|(id, (pulse, leaving))| {
            **id != self.me && pulse.moved && pulse.still < self.failover && !leaving
        });
        let mut targets: Vec<_> = others.map(|(id, _)| id.clone()).collect();
        if staying {
            targets.push(self.me.clone());
            targets.sort();
        }
        targets
    }

    /// Workers whose row has not moved for so long that nobody needs it.
    pub fn long_dead(&self, after: Duration) -> Vec<WorkerId> {
        let dead = self
            .workers
            .iter()
            .filter(|(id, (pulse, _))| **id != self.me && pulse.still > after);
        dead.map(|(id, _)| id.clone()).collect()
    }

    /// Where the lease of `row` stands.
    pub fn standing(&self, row: &LeaseRow) -> Standing {
        if row.checkpoint == Checkpoint::ShardEnd {
            return Standing::Ended;
        }
        let ended = |parent: &ShardId| match self.lease(parent) {
            Some(parent) => parent.checkpoint == Checkpoint::ShardEnd,
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

    /// Whether the workers are not known from before the leases. A plan of newer leases and older workers would give
    /// what a worker that leaves has just given away back to it.
    pub fn knows_the_living(&self) -> bool {
        self.workers_asked >= self.leases_asked
    }

    /// When the read was sent that the last rows are from.
    pub fn leases_asked(&self) -> Duration {
        self.leases_asked
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
            Some((pulse, _)) => pulse.still < self.failover || self.is_newer_than_workers(shard),
            None if self.left.contains_key(owner) => self.is_newer_than_workers(shard),
            None => self
                .leases
                .get(shard)
                .is_some_and(|(_, pulse)| pulse.still < STRANGER_FAILOVER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILOVER: Duration = Duration::from_secs(3);

    fn at(asked: u64, replied: u64) -> Seen {
        Seen {
            asked: Duration::from_millis(asked),
            replied: Duration::from_millis(replied),
        }
    }

    fn worker(name: &str, heartbeat: u64) -> WorkerRow {
        WorkerRow {
            id: WorkerId::new(name),
            heartbeat,
            leaving: false,
        }
    }

    fn lease(shard: &str, owner: Option<&str>, counter: u64, parents: &[&str]) -> LeaseRow {
        LeaseRow {
            shard: ShardId::new(shard),
            owner: owner.map(WorkerId::new),
            counter,
            checkpoint: Checkpoint::TrimHorizon,
            parents: parents.iter().map(|parent| ShardId::new(parent)).collect(),
            hash_range: None,
        }
    }

    fn view() -> View {
        View::new(WorkerId::new("me"), FAILOVER)
    }

    #[test]
    fn a_worker_is_dead_when_its_counter_stood_still_for_the_whole_failover_time() {
        let mut view = view();
        let row = lease("s", Some("other"), 1, &[]);
        view.observe_leases(at(0, 1), vec![row.clone()]);
        view.observe_workers(at(0, 10), &[worker("other", 7)]);
        for (asked, heartbeat, standing) in [
            (1000, 7, Standing::Elsewhere),
            (3009, 7, Standing::Elsewhere),
            (3010, 7, Standing::Orphaned),
            (3500, 8, Standing::Elsewhere),
            (6500, 8, Standing::Elsewhere),
            (6600, 8, Standing::Orphaned),
        ] {
            view.observe_workers(at(asked, asked + 20), &[worker("other", heartbeat)]);
            assert_eq!(view.standing(&row), standing, "asked at {asked}");
        }
    }

    #[test]
    fn an_owner_that_wrote_its_row_anew_is_not_judged_by_an_older_look_at_its_heartbeat() {
        let mut view = view();
        let row = |counter| lease("s", Some("other"), counter, &[]);
        view.observe_leases(at(0, 1), vec![row(1)]);
        view.observe_workers(at(0, 10), &[worker("other", 7)]);
        view.observe_workers(at(4000, 4010), &[worker("other", 7)]);
        assert_eq!(view.standing(&row(1)), Standing::Orphaned);
        view.observe_leases(at(4020, 4030), vec![row(2)]);
        assert_eq!(view.standing(&row(2)), Standing::Elsewhere);
        view.observe_workers(at(4040, 4050), &[worker("other", 7)]);
        assert_eq!(view.standing(&row(2)), Standing::Orphaned, "it died again");
    }

    #[test]
    fn a_reply_that_lay_unread_while_this_worker_was_suspended_proves_nothing() {
        let mut view = view();
        let row = lease("s", Some("other"), 1, &[]);
        view.observe_leases(at(0, 1), vec![row.clone()]);
        view.observe_workers(at(0, 10), &[worker("other", 7)]);
        view.observe_workers(at(900, 30_000), &[worker("other", 7)]);
        assert_eq!(view.standing(&row), Standing::Elsewhere);
    }

    #[test]
    fn a_worker_that_removed_its_row_is_gone_at_once() {
        let mut view = view();
        let row = |counter| lease("s", Some("other"), counter, &[]);
        view.observe_leases(at(0, 1), vec![row(1)]);
        view.observe_workers(at(0, 10), &[worker("other", 7)]);
        view.observe_workers(at(1000, 1010), &[]);
        assert_eq!(view.standing(&row(1)), Standing::Orphaned);
        view.observe_leases(at(1020, 1030), vec![row(2)]);
        assert_eq!(view.standing(&row(2)), Standing::Elsewhere, "until looked");
        view.observe_workers(at(2000, 2010), &[]);
        assert_eq!(view.standing(&row(2)), Standing::Orphaned, "given too late");
        view.observe_workers(at(3000, 3010), &[worker("other", 8)]);
        assert_eq!(view.standing(&row(2)), Standing::Elsewhere, "it is back");
    }

    #[test]
    fn a_worker_counts_as_a_target_only_once_it_was_seen_to_move() {
        let mut view = view();
        view.observe_workers(at(0, 1), &[worker("left-behind", 7), worker("new", 1)]);
        assert_eq!(view.targets(true), [WorkerId::new("me")]);
        view.observe_workers(
            at(1000, 1001),
            &[worker("left-behind", 7), worker("new", 2)],
        );
        assert_eq!(
            view.targets(true),
            [WorkerId::new("me"), WorkerId::new("new")]
        );
        assert_eq!(view.targets(false), [WorkerId::new("new")]);
        let leaving = WorkerRow {
            leaving: true,
            ..worker("new", 3)
        };
        view.observe_workers(at(2000, 2001), &[leaving]);
        assert_eq!(view.targets(true), [WorkerId::new("me")]);
    }

    #[test]
    fn a_child_waits_for_all_its_parents_and_a_parent_that_is_gone_counts_as_ended() {
        let mut view = view();
        let merged = lease("c", None, 0, &["a", "b"]);
        let ended = |shard| LeaseRow {
            checkpoint: Checkpoint::ShardEnd,
            ..lease(shard, None, 9, &[])
        };
        view.observe_leases(
            at(0, 1),
            vec![ended("a"), lease("b", None, 0, &[]), merged.clone()],
        );
        assert_eq!(view.standing(&merged), Standing::Waiting);
        view.learn(ended("b"), Duration::from_secs(1));
        assert_eq!(view.standing(&merged), Standing::Orphaned);
        view.forget(&ShardId::new("a"));
        assert_eq!(view.standing(&merged), Standing::Waiting, "seen once");
        view.observe_leases(at(1000, 1001), vec![ended("b"), merged.clone()]);
        assert_eq!(view.standing(&merged), Standing::Orphaned);
    }

    #[test]
    fn an_owner_without_a_heartbeat_lives_by_its_lease_counter() {
        let mut view = view();
        let row = |counter| lease("s", Some("a-kcl-worker"), counter, &[]);
        view.observe_leases(at(0, 1), vec![row(1)]);
        view.observe_leases(at(14_000, 14_001), vec![row(1)]);
        assert_eq!(view.standing(&row(1)), Standing::Elsewhere);
        view.observe_leases(at(14_500, 14_501), vec![row(2)]);
        view.observe_leases(at(29_000, 29_001), vec![row(2)]);
        assert_eq!(view.standing(&row(2)), Standing::Elsewhere);
        view.observe_leases(at(30_000, 30_001), vec![row(2)]);
        assert_eq!(view.standing(&row(2)), Standing::Orphaned);
    }

    #[test]
    fn a_read_that_was_sent_before_a_row_was_made_does_not_remove_it() {
        let mut view = view();
        view.learn(lease("s", None, 0, &[]), Duration::from_millis(5));
        for (asked, known) in [(2, true), (6, false)] {
            view.observe_leases(at(asked, 10), Vec::new());
            assert_eq!(view.lease(&ShardId::new("s")).is_some(), known);
        }
    }

    #[test]
    fn a_read_that_was_sent_before_an_own_write_does_not_undo_it() {
        let mut view = view();
        view.observe_leases(at(0, 1), vec![lease("s", None, 1, &[])]);
        view.learn(lease("s", Some("me"), 2, &[]), Duration::from_millis(5));
        view.observe_leases(at(2, 6), vec![lease("s", None, 1, &[])]);
        assert_eq!(
            view.lease(&ShardId::new("s")).map(|row| row.counter),
            Some(2)
        );
    }
}
