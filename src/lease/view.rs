//! What this worker last saw of the lease and workers tables, and when it saw each counter move. Pure.
//!
//! No wall clock is compared between hosts. Evidence that a worker is dead is time on the *observer's* monotonic clock:
//! from when the reply that first showed its counter was received, to when the read that last showed the same counter was
//! sent. So a slow reply, or a pause of the observer itself, makes nobody look dead.
//!
//! Every `now` and `at` here is time since this process started.

mod standing;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::model::{
    lease::{LeaseRow, WorkerId, WorkerRow},
    position::{Checkpoint, ShardId},
};

pub use standing::Standing;

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

/// A worker as last seen.
#[derive(Debug)]
struct Peer {
    row: WorkerRow,
    pulse: Pulse,
}

/// Both tables as last seen.
#[derive(Debug)]
pub struct View {
    me: WorkerId,
    failover: Duration,
    workers: BTreeMap<WorkerId, Peer>,
    /// Workers whose row is gone, and when that was seen: a worker removes it when it has nothing left to write.
    left: BTreeMap<WorkerId, Duration>,
    /// When the read that `workers` is from was sent.
    workers_asked: Duration,
    /// When the read was sent that the last rows are from.
    leases_asked: Duration,
    leases: BTreeMap<ShardId, (LeaseRow, Pulse)>,
    /// The shards that the stream has, once it was listed.
    listed: Option<BTreeSet<ShardId>>,
    changes: u64,
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
            listed: None,
            changes: 0,
        }
    }

    /// The workers table was read. Whether it says that lease rows changed or are about to: a worker came, left, died or
    /// is leaving, or rang its bell.
    pub fn observe_workers(&mut self, seen: Seen, rows: Vec<WorkerRow>) -> bool {
        self.workers_asked = seen.asked;
        let mut changed = false;
        let mut before = std::mem::take(&mut self.workers);
        let mut rung = false;
        for row in rows {
            let known = before.remove(&row.id);
            let was = known.as_ref().map(|peer| self.says(peer));
            rung |= known.as_ref().is_some_and(|peer| peer.row.bell != row.bell);
            let mut pulse =
                known.map_or_else(|| Pulse::first(row.heartbeat, seen), |peer| peer.pulse);
            pulse.observe(row.heartbeat, seen);
            let peer = Peer { row, pulse };
            changed |= was != Some(self.says(&peer));
            self.left.remove(&peer.row.id);
            self.workers.insert(peer.row.id.clone(), peer);
        }
        changed |= !before.is_empty();
        let gone = before.into_keys().map(|id| (id, seen.replied));
        self.left.extend(gone);
        self.left
            .retain(|_, at| seen.replied.saturating_sub(*at) < LEFT_KEPT);
        self.changes += u64::from(changed);
        changed || rung
    }

    /// What the plan needs to know of a worker: whether it lives, moves, and leaves.
    fn says(&self, peer: &Peer) -> (bool, bool, bool) {
        let lives = peer.pulse.still < self.failover;
        (lives, peer.pulse.moved, peer.row.leaving)
    }

    /// The stream was listed.
    pub fn observe_listed(&mut self, shards: BTreeSet<ShardId>) {
        if self.listed.as_ref() != Some(&shards) {
            self.listed = Some(shards);
            self.changes += 1;
        }
    }

    /// Rises whenever something changed that the plan depends on.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The lease table was read.
    pub fn observe_leases(&mut self, seen: Seen, rows: Vec<LeaseRow>) {
        self.leases_asked = seen.asked;
        let mut before = std::mem::take(&mut self.leases);
        for row in rows {
            let known = before.remove(&row.shard);
            self.changes += u64::from(is_news(known.as_ref().map(|(row, _)| row), &row));
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
        let gone = before.len();
        before.retain(|_, (_, pulse)| pulse.since > seen.asked);
        self.changes += u64::from(gone != before.len());
        self.leases.append(&mut before);
    }

    /// One row is known to be this now, by a write or by the reply to one.
    pub fn learn(&mut self, row: LeaseRow, at: Duration) {
        let seen = Seen {
            asked: at,
            replied: at,
        };
        let known = self.leases.remove(&row.shard);
        self.changes += u64::from(is_news(known.as_ref().map(|(row, _)| row), &row));
        let mut pulse = known.map_or_else(|| Pulse::first(row.counter, seen), |(_, pulse)| pulse);
        pulse.observe(row.counter, seen);
        self.leases.insert(row.shard.clone(), (row, pulse));
    }

    /// The row is gone.
    pub fn forget(&mut self, shard: &ShardId) {
        self.changes += u64::from(self.leases.remove(shard).is_some());
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
        let others = self.others().filter(|peer| {
            peer.pulse.moved && peer.pulse.still < self.failover && !peer.row.leaving
        });
        let mut targets: Vec<_> = others.map(|peer| peer.row.id.clone()).collect();
        if staying {
            targets.push(self.me.clone());
            targets.sort();
        }
        targets
    }

    /// Whether another worker is leaving, or silent for so long that it may soon count as dead.
    pub fn is_about_to_change(&self) -> bool {
        self.others().any(|peer| {
            let still = peer.pulse.still;
            still < self.failover && (peer.row.leaving || still >= self.failover / 2)
        })
    }

    /// Workers whose row has not moved for so long that nobody needs it.
    pub fn long_dead(&self, after: Duration) -> Vec<WorkerRow> {
        let dead = self.others().filter(|peer| peer.pulse.still > after);
        dead.map(|peer| peer.row.clone()).collect()
    }

    fn others(&self) -> impl Iterator<Item = &Peer> {
        self.workers.values().filter(|peer| peer.row.id != self.me)
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

    /// How long the row of a shard is known to have been as it is.
    pub fn still(&self, shard: &ShardId) -> Duration {
        let lease = self.leases.get(shard);
        lease.map_or(Duration::ZERO, |(_, pulse)| pulse.still)
    }
}

/// Whether `row` differs from what was known in what the plan depends on.
fn is_news(known: Option<&LeaseRow>, row: &LeaseRow) -> bool {
    known.is_none_or(|known| {
        let ended = |row: &LeaseRow| row.checkpoint == Checkpoint::ShardEnd;
        // Begun at all: whether a sibling's parent had ended can hang on that.
        let begun = |row: &LeaseRow| row.checkpoint != Checkpoint::TrimHorizon;
        known.owner != row.owner
            || ended(known) != ended(row)
            || begun(known) != begun(row)
            || known.parents != row.parents
    })
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
            process: 1,
            heartbeat,
            leaving: false,
            bell: 0,
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
        view.observe_workers(at(0, 10), vec![worker("other", 7)]);
        for (asked, heartbeat, standing) in [
            (1000, 7, Standing::Elsewhere),
            (3009, 7, Standing::Elsewhere),
            (3010, 7, Standing::Orphaned),
            (3500, 8, Standing::Elsewhere),
            (6500, 8, Standing::Elsewhere),
            (6600, 8, Standing::Orphaned),
        ] {
            view.observe_workers(at(asked, asked + 20), vec![worker("other", heartbeat)]);
            assert_eq!(view.standing(&row), standing, "asked at {asked}");
        }
    }

    #[test]
    fn an_owner_that_wrote_its_row_anew_is_not_judged_by_an_older_look_at_its_heartbeat() {
        let mut view = view();
        let row = |counter| lease("s", Some("other"), counter, &[]);
        view.observe_leases(at(0, 1), vec![row(1)]);
        view.observe_workers(at(0, 10), vec![worker("other", 7)]);
        view.observe_workers(at(4000, 4010), vec![worker("other", 7)]);
        assert_eq!(view.standing(&row(1)), Standing::Orphaned);
        view.observe_leases(at(4020, 4030), vec![row(2)]);
        assert_eq!(view.standing(&row(2)), Standing::Elsewhere);
        view.observe_workers(at(4040, 4050), vec![worker("other", 7)]);
        assert_eq!(view.standing(&row(2)), Standing::Orphaned, "it died again");
    }

    #[test]
    fn a_reply_that_lay_unread_while_this_worker_was_suspended_proves_nothing() {
        let mut view = view();
        let row = lease("s", Some("other"), 1, &[]);
        view.observe_leases(at(0, 1), vec![row.clone()]);
        view.observe_workers(at(0, 10), vec![worker("other", 7)]);
        view.observe_workers(at(900, 30_000), vec![worker("other", 7)]);
        assert_eq!(view.standing(&row), Standing::Elsewhere);
    }

    #[test]
    fn a_worker_that_removed_its_row_is_gone_at_once() {
        let mut view = view();
        let row = |counter| lease("s", Some("other"), counter, &[]);
        view.observe_leases(at(0, 1), vec![row(1)]);
        view.observe_workers(at(0, 10), vec![worker("other", 7)]);
        view.observe_workers(at(1000, 1010), vec![]);
        assert_eq!(view.standing(&row(1)), Standing::Orphaned);
        view.observe_leases(at(1020, 1030), vec![row(2)]);
        assert_eq!(view.standing(&row(2)), Standing::Elsewhere, "until looked");
        view.observe_workers(at(2000, 2010), vec![]);
        assert_eq!(view.standing(&row(2)), Standing::Orphaned, "given too late");
        view.observe_workers(at(3000, 3010), vec![worker("other", 8)]);
        assert_eq!(view.standing(&row(2)), Standing::Elsewhere, "it is back");
    }

    #[test]
    fn a_worker_counts_as_a_target_only_once_it_was_seen_to_move() {
        let mut view = view();
        view.observe_workers(at(0, 1), vec![worker("left-behind", 7), worker("new", 1)]);
        assert_eq!(view.targets(true), [WorkerId::new("me")]);
        view.observe_workers(
            at(1000, 1001),
            vec![worker("left-behind", 7), worker("new", 2)],
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
        view.observe_workers(at(2000, 2001), vec![leaving]);
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
        view.observe_listed(BTreeSet::from([ShardId::new("b"), ShardId::new("c")]));
        assert_eq!(view.standing(&merged), Standing::Waiting, "seen once");
        view.observe_leases(at(1000, 1001), vec![ended("b"), merged.clone()]);
        assert_eq!(view.standing(&merged), Standing::Orphaned);
    }

    #[test]
    fn a_child_that_was_never_begun_waits_for_a_parent_that_lost_its_row() {
        let mut view = view();
        let child = lease("c", None, 0, &["a"]);
        let begun = LeaseRow {
            checkpoint: Checkpoint::Latest,
            ..child.clone()
        };
        for second in 0..2 {
            view.observe_leases(at(second * 1000, second * 1000 + 1), vec![child.clone()]);
        }
        assert_eq!(view.standing(&child), Standing::Waiting, "not listed yet");
        view.observe_listed(BTreeSet::from([ShardId::new("a"), ShardId::new("c")]));
        assert_eq!(view.standing(&child), Standing::Waiting);
        assert_eq!(view.standing(&begun), Standing::Orphaned);
        let sibling = LeaseRow {
            shard: ShardId::new("d"),
            ..begun
        };
        view.learn(sibling, Duration::from_secs(2));
        assert_eq!(
            view.standing(&child),
            Standing::Orphaned,
            "its sibling was begun, so the parent had ended"
        );
        view.forget(&ShardId::new("d"));
        assert_eq!(view.standing(&child), Standing::Waiting);
        view.observe_listed(BTreeSet::from([ShardId::new("c")]));
        assert_eq!(view.standing(&child), Standing::Orphaned);
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
