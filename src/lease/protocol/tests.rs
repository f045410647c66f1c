//! Transcripts: what one worker is told, and what it then asks for, in order.

use super::*;
use crate::model::position::{ChildShard, SequenceNumber};

const TIMING: Timing = Timing {
    failover: Duration::from_secs(3),
    margin: Duration::from_millis(750),
    checkpoint: Duration::from_secs(5),
    notice: Duration::from_millis(1200),
    keep_ended: Duration::from_secs(60),
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn shard(name: &str) -> ShardId {
    ShardId::new(name)
}

fn worker(name: &str) -> WorkerId {
    WorkerId::new(name)
}

fn at(digits: u64) -> Position {
    let sequence = SequenceNumber::parse(&digits.to_string()).expect("digits");
    Position { sequence, sub: 0 }
}

fn row(name: &str, owner: Option<&str>, counter: u64) -> LeaseRow {
    LeaseRow {
        shard: shard(name),
        owner: owner.map(worker),
        counter,
        checkpoint: Checkpoint::TrimHorizon,
        parents: Vec::new(),
        hash_range: None,
    }
}

fn write(
    name: &str,
    was: (Option<&str>, u64),
    owner: Option<&str>,
    done: Option<Checkpoint>,
) -> Action {
    let write = LeaseWrite {
        shard: shard(name),
        owner_was: was.0.map(worker),
        counter_was: was.1,
        owner: owner.map(worker),
        checkpoint_was: Checkpoint::TrimHorizon,
        checkpoint: done,
        children: Vec::new(),
    };
    Action::Write(write, Vec::new())
}

/// One worker, `me`, and the second it is.
struct Told {
    protocol: Protocol,
    now: Duration,
    /// The last write of each shard.
    sent: BTreeMap<ShardId, LeaseWrite>,
}

impl Told {
    fn new() -> Self {
        Self {
            protocol: Protocol::new(worker("me"), TIMING),
            now: seconds(0),
            sent: BTreeMap::new(),
        }
    }

    fn tell(&mut self, input: Input) -> Vec<Action> {
        let mut out = Vec::new();
        self.protocol.apply(self.now, input, &mut out);
        for action in &out {
            if let Action::Write(write, _) = action {
                self.sent.insert(write.shard.clone(), write.clone());
            }
        }
        out
    }

    fn leases(&mut self, rows: &[LeaseRow]) -> Vec<Action> {
        let seen = Seen {
            asked: self.now,
            replied: self.now,
        };
        self.tell(Input::Leases(seen, rows.to_vec()))
    }

    fn workers(&mut self, rows: &[(&str, u64)]) -> Vec<Action> {
        let seen = Seen {
            asked: self.now,
            replied: self.now,
        };
        let rows = rows.iter().map(|(name, heartbeat)| WorkerRow {
            id: worker(name),
            process: 1,
            heartbeat: *heartbeat,
            leaving: false,
            bell: 0,
        });
        self.tell(Input::Workers(seen, rows.collect()))
    }

    fn beat(&mut self) -> Vec<Action> {
        self.tell(Input::Heartbeat(self.now))
    }

    /// A heartbeat a second until this one; what the last asked for.
    fn beat_until(&mut self, second: u64) -> Vec<Action> {
        let mut asked = Vec::new();
        while self.now < seconds(second) {
            self.now += seconds(1);
            asked = self.beat();
        }
        asked
    }

    fn written(&mut self, name: &str, outcome: Option<Written>) -> Vec<Action> {
        let write = self.sent[&shard(name)].clone();
        self.tell(Input::Written(Box::new(write), outcome))
    }

    fn applied(&mut self, name: &str) -> Vec<Action> {
        self.written(name, Some(Written::Applied))
    }

    /// Holds shard `a` since second 0, in run 1, with counter 1.
    fn holding() -> Self {
        let mut told = Self::new();
        told.beat();
        told.leases(&[row("a", None, 0)]);
        told.applied("a");
        told
    }
}

#[test]
fn an_orphan_is_taken_by_a_write_and_only_then_read() {
    let mut told = Told::new();
    assert_eq!(
        told.leases(&[row("a", None, 0)]),
        [],
        "no heartbeat is stored yet"
    );
    assert_eq!(told.beat(), [write("a", (None, 0), Some("me"), None)]);
    assert_eq!(told.tell(Input::Tick), [], "one outstanding write a lease");
    assert_eq!(
        told.applied("a"),
        [
            Action::Note(shard("a"), Note::Taken),
            Action::Start(shard("a"), 1, Checkpoint::TrimHorizon),
        ]
    );
}

#[test]
fn a_take_that_another_worker_won_is_dropped_without_a_word() {
    let mut told = Told::new();
    told.beat();
    told.leases(&[row("a", None, 0)]);
    let theirs = row("a", Some("other"), 1);
    told.workers(&[("other", 1)]);
    let lost = told.written("a", Some(Written::Conflict(Some(theirs))));
    assert_eq!(lost, []);
    assert_eq!(told.tell(Input::Tick), [], "it has a living owner now");
}

#[test]
fn a_write_without_an_answer_goes_out_again_unchanged() {
    let mut told = Told::new();
    told.beat();
    let take = told.leases(&[row("a", None, 0)]);
    assert_eq!(told.written("a", None), []);
    assert_eq!(told.tell(Input::Tick), take);
}

#[test]
fn progress_is_written_every_few_seconds_and_not_when_there_is_none() {
    let mut told = Told::holding();
    for second in 1..=4 {
        told.now = seconds(second);
        told.beat();
        told.tell(Input::Progress(shard("a"), at(second)));
        assert_eq!(told.tell(Input::Tick), []);
    }
    told.now = seconds(5);
    let saved = Some(Checkpoint::At(at(4)));
    assert_eq!(
        told.beat(),
        [write("a", (Some("me"), 1), Some("me"), saved)]
    );
    assert_eq!(
        told.applied("a"),
        [Action::Note(shard("a"), Note::Checkpointed)]
    );
    for second in 6..=12 {
        told.now = seconds(second);
        assert_eq!(told.beat(), [], "nothing new at second {second}");
    }
}

#[test]
fn a_lease_that_the_plan_gives_to_a_newcomer_is_drained_then_given_with_its_checkpoint() {
    let mut told = Told::new();
    told.beat();
    told.leases(&[row("a", None, 0), row("b", None, 0)]);
    told.applied("a");
    told.applied("b");
    told.workers(&[("me", 1), ("new", 1)]);
    told.now = seconds(1);
    told.beat();
    assert_eq!(
        told.workers(&[("me", 2), ("new", 2)]),
        [Action::Look, Action::Stop(shard("b"))]
    );
    told.tell(Input::Progress(shard("b"), at(7)));
    let given = Some(Checkpoint::At(at(7)));
    assert_eq!(
        told.tell(Input::Finished(shard("b"), 2, Finish::Drained)),
        [write("b", (Some("me"), 1), Some("new"), given)]
    );
    assert_eq!(
        told.applied("b"),
        [
            Action::Note(shard("b"), Note::Given(worker("new"))),
            Action::Ring
        ]
    );
    assert_eq!(told.protocol.held().count(), 1);
}

#[test]
fn a_lease_that_was_given_to_this_worker_is_written_before_it_is_read() {
    let mut told = Told::new();
    told.beat();
    let given = LeaseRow {
        checkpoint: Checkpoint::At(at(7)),
        ..row("a", Some("me"), 9)
    };
    let asked = told.leases(std::slice::from_ref(&given));
    let [Action::Write(take, _)] = &asked[..] else {
        panic!("{asked:?}")
    };
    let was = (&take.owner_was, take.counter_was, &take.checkpoint_was);
    assert_eq!(was, (&given.owner, 9, &given.checkpoint));
    assert_eq!((&take.owner, &take.checkpoint), (&given.owner, &None));
    assert_eq!(
        told.applied("a"),
        [
            Action::Note(shard("a"), Note::Received),
            Action::Start(shard("a"), 1, Checkpoint::At(at(7))),
        ]
    );
}

#[test]
fn a_lease_that_is_ours_by_name_and_planned_for_another_is_taken_and_then_given() {
    let mut told = Told::new();
    told.workers(&[("new", 1)]);
    told.workers(&[("new", 2)]);
    told.beat();
    told.now = seconds(1);
    let mine = ["a", "b"].map(|name| row(name, Some("me"), 3));
    assert_eq!(
        told.leases(&mine),
        ["a", "b"].map(|name| write(name, (Some("me"), 3), Some("me"), None))
    );
    told.applied("a");
    told.applied("b");
    assert_eq!(told.workers(&[("new", 3)]), [], "it just came");
    told.now += STAY;
    assert_eq!(told.tell(Input::Tick), [Action::Stop(shard("b"))]);
}

#[test]
fn a_lease_that_was_given_to_a_worker_that_leaves_is_passed_on() {
    let mut told = Told::new();
    told.workers(&[("new", 1)]);
    told.workers(&[("new", 2)]);
    told.beat();
    told.leases(&[]);
    told.tell(Input::Drain);
    assert_eq!(
        told.leases(&[row("a", Some("me"), 3)]),
        [write("a", (Some("me"), 3), Some("new"), None)]
    );
    assert_eq!(
        told.applied("a"),
        [
            Action::Note(shard("a"), Note::Given(worker("new"))),
            Action::Ring
        ]
    );
}

#[test]
fn nothing_moves_by_a_plan_whose_workers_were_asked_for_before_the_leases() {
    let mut told = Told::holding();
    told.workers(&[("new", 1)]);
    told.now = seconds(1);
    told.beat();
    told.workers(&[("new", 2)]);
    let rows = [row("a", Some("me"), 1), row("b", Some("me"), 3)];
    told.leases(&rows);
    told.applied("b");
    told.now = seconds(2);
    let rows = [row("a", Some("me"), 1), row("b", Some("me"), 4)];
    assert_eq!(told.leases(&rows), []);
    assert_eq!(told.workers(&[("new", 3)]), [Action::Stop(shard("b"))]);
}

#[test]
fn past_the_fence_everything_is_dropped_and_taken_again_by_a_write() {
    let mut told = Told::holding();
    told.now = Duration::from_millis(2249);
    assert_eq!(told.tell(Input::Tick), []);
    told.now = Duration::from_millis(2250);
    assert_eq!(
        told.tell(Input::Tick),
        [
            Action::Abort(shard("a")),
            Action::Note(shard("a"), Note::Fenced)
        ]
    );
    told.now = seconds(30);
    assert_eq!(told.beat(), [], "the row may be another by now");
    assert_eq!(
        told.leases(&[row("a", Some("me"), 1)]),
        [write("a", (Some("me"), 1), Some("me"), None)]
    );
}

#[test]
fn a_shard_that_was_dropped_at_the_fence_goes_on_from_what_was_stored_unless_its_row_was_written() {
    for (counter, saved, from) in [
        (1, Some(Checkpoint::At(at(3))), Checkpoint::At(at(3))),
        (2, None, Checkpoint::TrimHorizon),
    ] {
        let mut told = Told::holding();
        told.tell(Input::Progress(shard("a"), at(3)));
        told.now = seconds(3);
        told.tell(Input::Tick);
        told.now = seconds(30);
        told.beat();
        assert_eq!(
            told.leases(&[row("a", Some("me"), counter)]),
            [write("a", (Some("me"), counter), Some("me"), saved)]
        );
        let started = told.applied("a").pop();
        assert_eq!(started, Some(Action::Start(shard("a"), 2, from)));
    }
}

#[test]
fn after_the_fence_a_row_is_read_again_before_it_is_written() {
    let mut told = Told::new();
    told.beat();
    let first = told.leases(&[row("a", None, 0)]);
    assert_eq!(first, [write("a", (None, 0), Some("me"), None)]);
    told.now = seconds(4);
    told.tell(Input::Tick);
    let old = Seen {
        asked: seconds(3),
        replied: seconds(4),
    };
    assert_eq!(told.beat(), [], "that write may have taken effect");
    assert_eq!(told.tell(Input::Leases(old, vec![row("a", None, 0)])), []);
    assert_eq!(
        told.leases(&[row("a", Some("me"), 1)]),
        [],
        "writes of decisions may be under way"
    );
    assert_eq!(told.written("a", None), []);
    told.now = Duration::from_millis(4750);
    assert_eq!(
        told.leases(&[row("a", Some("me"), 1)]),
        [write("a", (Some("me"), 1), Some("me"), None)]
    );
}

#[test]
fn a_late_reply_to_a_heartbeat_does_not_open_the_fence_for_what_was_held() {
    let mut told = Told::holding();
    told.now = Duration::from_millis(3100);
    assert_eq!(
        told.tell(Input::Heartbeat(Duration::from_millis(2200))),
        [
            Action::Abort(shard("a")),
            Action::Note(shard("a"), Note::Fenced),
        ]
    );
    assert_eq!(told.protocol.times_fenced(), 1);
}

#[test]
fn a_heartbeat_counts_from_when_it_was_sent() {
    let mut told = Told::new();
    told.now = seconds(2);
    told.tell(Input::Heartbeat(seconds(1)));
    assert_eq!(
        told.protocol.fence(),
        Some(seconds(1) + Duration::from_millis(2250))
    );
    told.tell(Input::Heartbeat(seconds(0)));
    assert_eq!(
        told.protocol.fence(),
        Some(seconds(1) + Duration::from_millis(2250)),
        "late reply"
    );
}

#[test]
fn the_end_of_a_shard_and_its_children_are_one_write_and_the_children_are_taken_at_once() {
    let mut told = Told::holding();
    let child = ChildShard {
        id: shard("b"),
        parents: vec![shard("a")],
        hash_range: ("0".to_owned(), "9".to_owned()),
    };
    let asked = told.tell(Input::Finished(
        shard("a"),
        1,
        Finish::ShardEnd(vec![child]),
    ));
    let [Action::Write(end, children)] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert_eq!(
        (&end.checkpoint, &end.owner),
        (&Some(Checkpoint::ShardEnd), &None)
    );
    assert_eq!(children.len(), 1);
    assert_eq!(
        told.applied("a"),
        [
            Action::Note(shard("a"), Note::Ended),
            Action::Ring,
            write("b", (None, 0), Some("me"), None)
        ]
    );
}

#[test]
fn the_child_of_a_merge_gets_a_row_only_when_both_its_parents_have_one() {
    for (rows, made) in [
        (&[row("a", None, 0)][..], 0),
        (&[row("a", None, 0), row("z", None, 0)], 1),
    ] {
        let mut told = Told::new();
        told.beat();
        told.leases(rows);
        told.applied("a");
        let child = ChildShard {
            id: shard("m"),
            parents: vec![shard("a"), shard("z")],
            hash_range: ("0".to_owned(), "9".to_owned()),
        };
        let ended = Finish::ShardEnd(vec![child]);
        let asked = told.tell(Input::Finished(shard("a"), 1, ended));
        let children = asked.iter().find_map(|action| match action {
            Action::Write(end, children) => Some((end.children.clone(), children.len())),
            _ => None,
        });
        let named = vec![shard("m")];
        assert_eq!(children, Some((named, made)), "its parent names it always");
    }
}

#[test]
fn a_drain_gives_to_the_living_or_leaves_the_lease_for_whoever_comes() {
    let mut told = Told::holding();
    assert_eq!(told.tell(Input::Drain), [Action::Stop(shard("a"))]);
    assert!(!told.protocol.is_drained());
    assert_eq!(
        told.tell(Input::Finished(shard("a"), 1, Finish::Drained)),
        [write("a", (Some("me"), 1), None, None)]
    );
    assert_eq!(
        told.applied("a"),
        [Action::Note(shard("a"), Note::Released), Action::Ring]
    );
    assert!(told.protocol.is_drained());
    assert_eq!(
        told.leases(&[row("a", None, 2)]),
        [],
        "nothing is taken while draining"
    );
}

#[test]
fn a_halted_shard_rests_and_is_tried_again_and_an_old_run_says_nothing() {
    let mut told = Told::holding();
    let halted = Finish::Halted("no".to_owned());
    assert_eq!(
        told.tell(Input::Finished(shard("a"), 7, halted.clone())),
        [],
        "another run"
    );
    assert_eq!(
        told.tell(Input::Finished(shard("a"), 1, halted)),
        [Action::Note(shard("a"), Note::Halted("no".to_owned()))]
    );
    assert_eq!(told.beat_until(29), []);
    assert_eq!(
        told.beat_until(30),
        [Action::Start(shard("a"), 2, Checkpoint::TrimHorizon)]
    );
}

#[test]
fn a_checkpoint_that_another_owner_forestalled_loses_the_lease() {
    let mut told = Told::holding();
    told.beat_until(4);
    told.tell(Input::Progress(shard("a"), at(4)));
    told.beat_until(5);
    let theirs = row("a", Some("other"), 2);
    assert_eq!(
        told.written("a", Some(Written::Conflict(Some(theirs)))),
        [
            Action::Abort(shard("a")),
            Action::Note(shard("a"), Note::Lost)
        ]
    );
}

#[test]
fn a_lease_that_an_operator_took_away_is_dropped_and_its_new_owner_is_not_robbed() {
    let dropped = [
        Action::Abort(shard("a")),
        Action::Note(shard("a"), Note::Lost),
    ];
    let mut told = Told::holding();
    told.beat();
    told.tell(Input::Progress(shard("a"), at(4)));
    assert_eq!(told.leases(&[row("a", Some("other"), 3)]), dropped);
    assert_eq!(told.beat_until(2), [], "not its lease");

    let mut told = Told::holding();
    told.beat();
    told.tell(Input::Progress(shard("a"), at(4)));
    assert_eq!(told.leases(&[row("a", None, 2)]), dropped);
    let taken = [write("a", (None, 2), Some("me"), None)];
    assert_eq!(told.tell(Input::Tick), taken);
    let started = told.applied("a").pop();
    assert_eq!(
        started,
        Some(Action::Start(shard("a"), 2, Checkpoint::TrimHorizon)),
        "from the row: an operator may have moved it"
    );
}

#[test]
fn a_worker_that_leaves_reads_on_until_the_others_have_noticed() {
    let mut told = Told::holding();
    told.workers(&[("me", 1), ("other", 1)]);
    told.now += seconds(1);
    told.beat();
    told.workers(&[("me", 2), ("other", 2)]);
    assert_eq!(told.tell(Input::Drain), []);
    assert_eq!(told.protocol.held().count(), 1);
    told.now += TIMING.notice - Duration::from_millis(1);
    assert_eq!(told.tell(Input::Tick), []);
    told.now += Duration::from_millis(1);
    assert_eq!(told.tell(Input::Tick), [Action::Stop(shard("a"))]);
    assert_eq!(
        told.tell(Input::Finished(shard("a"), 1, Finish::Drained)),
        [write("a", (Some("me"), 1), Some("other"), None)]
    );
}

#[test]
fn a_bell_that_rings_and_a_worker_that_comes_or_goes_make_this_one_look_at_the_leases() {
    let mut told = Told::new();
    let tell = |told: &mut Told, rows: &[(u64, u64, bool)]| {
        let seen = Seen {
            asked: told.now,
            replied: told.now,
        };
        let rows = rows.iter().map(|(heartbeat, bell, leaving)| WorkerRow {
            id: worker("other"),
            process: 1,
            heartbeat: *heartbeat,
            leaving: *leaving,
            bell: *bell,
        });
        let asked = told.tell(Input::Workers(seen, rows.collect()));
        asked == [Action::Look]
    };
    for (what, rows, looks) in [
        ("it came", vec![(1, 0, false)], true),
        ("nothing is new", vec![(1, 0, false)], false),
        ("it moved for the first time", vec![(2, 0, false)], true),
        ("it moved", vec![(3, 0, false)], false),
        ("it rang", vec![(4, 1, false)], true),
        ("it is leaving", vec![(5, 1, true)], true),
        ("it left", vec![], true),
        ("it is still gone", vec![], false),
    ] {
        assert_eq!(tell(&mut told, &rows), looks, "{what}");
    }
}

#[test]
fn leases_are_expected_from_the_living_and_from_those_that_leave() {
    let mut told = Told::new();
    told.beat();
    told.leases(&[row("a", Some("other"), 1), row("b", Some("other"), 1)]);
    assert!(told.protocol.expects(), "alone as far as it knows");
    told.workers(&[("other", 1)]);
    told.now += seconds(1);
    told.beat();
    told.workers(&[("other", 2)]);
    assert!(told.protocol.expects(), "one of two is to come");
    assert_eq!(told.protocol.planned(), 1);
    told.leases(&[row("a", Some("other"), 1), row("b", Some("me"), 2)]);
    assert!(!told.protocol.expects(), "balanced");
    told.now += TIMING.failover / 2;
    told.workers(&[("other", 2)]);
    assert!(told.protocol.expects(), "it is late");
}

/// A lease that ended a minute ago, of shard `p`, and a listing of the stream.
#[track_caller]
fn check_removed(children: &[LeaseRow], listed: &[(&str, &str)], removed: &[&str]) {
    let mut told = Told::new();
    let parent = LeaseRow {
        checkpoint: Checkpoint::ShardEnd,
        ..row("p", None, 9)
    };
    let rows: Vec<_> = children.iter().cloned().chain([parent]).collect();
    told.beat();
    told.leases(&rows);
    told.now += TIMING.keep_ended;
    told.beat();
    told.leases(&rows);
    let listed = listed.iter().map(|(name, parents)| ShardInfo {
        id: shard(name),
        parents: parents.split_terminator(' ').map(shard).collect(),
        hash_range: ("0".to_owned(), "9".to_owned()),
    });
    let asked = told.tell(Input::Listed(listed.collect()));
    let gone: Vec<_> = asked
        .iter()
        .filter_map(|action| match action {
            Action::Remove(row) => Some(row.shard.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(gone, removed);
}

#[test]
fn the_row_of_an_ended_lease_goes_when_its_children_were_begun_or_the_stream_forgot_it() {
    let child = |name, checkpoint| LeaseRow {
        checkpoint,
        parents: vec![shard("p")],
        ..row(name, None, 1)
    };
    let begun = || child("c", Checkpoint::At(at(7)));
    let fresh = || child("d", Checkpoint::TrimHorizon);
    let (p, c, d) = (("p", ""), ("c", "p"), ("d", "p"));
    check_removed(&[begun()], &[p, c], &["p"]);
    check_removed(&[begun(), fresh()], &[p, c, d], &[]);
    check_removed(&[begun()], &[p, c, d], &[]);
    check_removed(&[], &[p], &[]);
    check_removed(&[begun(), fresh()], &[c, d], &["p"]);
    check_removed(&[], &[], &[]);
}

#[test]
fn a_machine_that_slept_drops_everything_until_a_heartbeat_sent_afterwards_is_stored() {
    let mut told = Told::holding();
    told.now += Duration::from_millis(10);
    assert_eq!(
        told.tell(Input::Slept),
        [
            Action::Abort(shard("a")),
            Action::Note(shard("a"), Note::Fenced)
        ]
    );
    assert_eq!(told.protocol.times_fenced(), 1);
    told.tell(Input::Heartbeat(told.now - Duration::from_millis(5)));
    assert_eq!(told.protocol.fence(), None, "it was sent before the sleep");
    told.now += seconds(1);
    told.beat();
    assert_eq!(
        told.leases(&[row("a", Some("me"), 1)]),
        [write("a", (Some("me"), 1), Some("me"), None)]
    );
}

#[test]
fn a_row_that_was_deleted_or_released_by_hand_is_lost_as_soon_as_that_is_seen() {
    for rows in [vec![], vec![row("a", None, 2)]] {
        let mut told = Told::holding();
        told.now += Duration::from_millis(10);
        let asked = told.leases(&rows);
        assert_eq!(
            asked[..2],
            [
                Action::Abort(shard("a")),
                Action::Note(shard("a"), Note::Lost)
            ],
            "{rows:?}"
        );
    }
}

#[test]
fn the_answer_to_a_write_of_a_lease_that_was_dropped_is_not_taken_for_that_to_a_newer_one() {
    let mut told = Told::holding();
    told.tell(Input::Progress(shard("a"), at(7)));
    told.beat_until(5);
    let old = told.sent[&shard("a")].clone();
    assert_eq!(old.checkpoint, Some(Checkpoint::At(at(7))));
    // Its heartbeats stop, the lease is dropped, and the write is still under way.
    told.now += seconds(3);
    told.tell(Input::Tick);
    assert_eq!(told.protocol.held().count(), 0);
    told.now += seconds(1);
    told.beat();
    assert_eq!(
        told.leases(&[row("a", Some("me"), 1)]),
        [],
        "one write of a lease at a time"
    );
    let answer = Input::Written(Box::new(old.clone()), Some(Written::Applied));
    assert_eq!(told.tell(answer), []);
    let asked = told.leases(&[row("a", Some("me"), 2)]);
    assert_eq!(asked, [write("a", (Some("me"), 2), Some("me"), None)]);
    let late = Input::Written(Box::new(old), Some(Written::Applied));
    assert_eq!(told.tell(late), [], "nothing starts by it");
    assert!(matches!(
        told.applied("a")[..],
        [Action::Note(_, Note::Received), Action::Start(..)]
    ));
}
