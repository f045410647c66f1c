//! The lease protocol of one worker as a pure state machine: rows, replies and ticks in; writes and orders out.
//!
//! What it holds to:
//! * A lease changes hands in two ways only: its owner gives it, or its owner is dead. Nobody takes from the living.
//! * A consumer runs only after a conditional write of this worker on the row, so that a take-over that another worker
//!   has under way cannot apply afterwards.
//! * One outstanding write a lease. A write whose reply is lost is sent again unchanged until its outcome is known.
//! * Past the fence (the last stored heartbeat was *sent* longer ago than `failover − margin`) everything held is dropped
//!   and its consumers are aborted; what is still this worker's afterwards is taken again by a write.
//!
//! It knows no clock, no I/O and no randomness; every `now` is time since this process started.

mod answers;
mod ended;
mod fence;
mod held;
mod note;
mod targets;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use note::Note;

use fence::Kept;
use held::{Held, Phase, unsaved};
use targets::Targets;

use crate::{
    lease::view::{Seen, Standing, View},
    model::{
        lease::{Finish, LeaseRow, LeaseWrite, WorkerId, WorkerRow, Written},
        position::{Checkpoint, Position, ShardId, ShardInfo},
    },
};

/// How long a shard rests whose consumer halted or found no such shard: a person has to act, and reads the log.
const REST: Duration = Duration::from_secs(30);

/// A lease stays so long where it came, unless that worker leaves: pages are read between two hand-overs in a row.
const STAY: Duration = Duration::from_millis(500);

/// The protocol's times.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A silent worker is dead after this.
    pub failover: Duration,
    /// How much earlier than others may call it dead a worker fences itself.
    pub margin: Duration,
    /// How often the progress of a busy shard is written.
    pub checkpoint: Duration,
    /// How long a worker that was told to leave reads on after it has said so: until then the others have noticed, and
    /// look out for what it gives them.
    pub notice: Duration,
    /// How long the row of a lease that ended is kept at least.
    pub keep_ended: Duration,
}

/// What the state machine is told.
#[derive(Debug)]
pub enum Input {
    /// Time passed.
    Tick,
    /// The lease table was read.
    Leases(Seen, Vec<LeaseRow>),
    /// The workers table was read.
    Workers(Seen, Vec<WorkerRow>),
    /// The stream was listed.
    Listed(Vec<ShardInfo>),
    /// A heartbeat that was sent at this instant is stored.
    Heartbeat(Duration),
    /// This write ended; `None`: its reply was lost or it was refused for now.
    Written(Box<LeaseWrite>, Option<Written>),
    /// A consumer stored everything up to here.
    Progress(ShardId, Position),
    /// The consumer that was started as this run ended.
    Finished(ShardId, u64, Finish),
    /// Give everything away and take nothing more.
    Drain,
    /// The machine slept for a time that no clock here shows.
    Slept,
}

/// What the state machine asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run a consumer that goes on after this checkpoint; its end is reported with this run number.
    Start(ShardId, u64, Checkpoint),
    /// Let the consumer finish its page.
    Stop(ShardId),
    /// Drop the consumer at once.
    Abort(ShardId),
    /// Write the row; an end of shard makes these children too.
    Write(LeaseWrite, Vec<LeaseRow>),
    /// Remove the row, which ended.
    Remove(LeaseRow),
    /// Read the lease table now.
    Look,
    /// Tell the others that rows changed which they wait for.
    Ring,
    /// Say what happened.
    Note(ShardId, Note),
}

/// The state machine.
#[derive(Debug)]
pub struct Protocol {
    me: WorkerId,
    timing: Timing,
    view: View,
    held: BTreeMap<ShardId, Held>,
    /// Leases of which a write is under way, whether they are still held or were dropped meanwhile.
    writing: BTreeSet<ShardId>,
    targets: Targets,
    heartbeat_sent: Option<Duration>,
    /// Rows read before this are not acted on.
    rows_from: Duration,
    /// When this machine woke up last: heartbeats that were sent before count no more.
    slept_at: Duration,
    /// When it was told to leave.
    leaving: Option<Duration>,
    runs: u64,
    fenced: u64,
    /// How far the shards were that were dropped at the fence, until they are taken again.
    kept: BTreeMap<ShardId, Kept>,
}

impl Protocol {
    /// The protocol of worker `me`, which has seen nothing yet.
    pub fn new(me: WorkerId, timing: Timing) -> Self {
        let view = View::new(me.clone(), timing.failover);
        Self {
            me,
            timing,
            view,
            held: BTreeMap::new(),
            writing: BTreeSet::new(),
            targets: Targets::default(),
            heartbeat_sent: None,
            rows_from: Duration::ZERO,
            slept_at: Duration::ZERO,
            leaving: None,
            runs: 0,
            fenced: 0,
            kept: BTreeMap::new(),
        }
    }

    /// What was last seen of the tables.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The shards this worker holds, and whether each stands still until a person acts.
    pub fn held(&self) -> impl Iterator<Item = (&ShardId, bool)> {
        let mine = self
            .held
            .iter()
            .filter(|(_, held)| !matches!(held.phase, Phase::Taking { .. }));
        mine.map(|(shard, held)| (shard, held.halted))
    }

    /// Whether a drain is complete.
    pub fn is_drained(&self) -> bool {
        self.leaving.is_some() && self.held.is_empty()
    }

    /// Takes `input` in and adds to `out` what is to be done now.
    pub fn apply(&mut self, now: Duration, input: Input, out: &mut Vec<Action>) {
        // Before anything else: a heartbeat whose reply comes after the fence closed must not open it again for what is
        // held, because another worker may have taken it in between.
        if self.is_fenced(now) {
            self.drop_all(now, out);
        }
        match input {
            Input::Tick => {}
            Input::Leases(seen, rows) => self.view.observe_leases(seen, rows),
            Input::Workers(seen, rows) => {
                if self.view.observe_workers(seen, rows) {
                    out.push(Action::Look);
                }
            }
            Input::Listed(shards) => return self.listed(now, &shards, out),
            Input::Heartbeat(sent) => {
                if self.heartbeat_sent.is_some() && self.is_fenced(now) {
                    // A row from before an own unanswered write would let the same write pass for a new one.
                    self.rows_from = self.rows_from.max(now);
                }
                if sent >= self.slept_at {
                    self.heartbeat_sent = self.heartbeat_sent.max(Some(sent));
                }
            }
            Input::Written(write, outcome) => return self.written(now, &write, outcome, out),
            Input::Progress(shard, done) => {
                if let Some(held) = self.held.get_mut(&shard) {
                    held.done = Some(done);
                }
                return;
            }
            Input::Finished(shard, run, finish) => {
                return self.finished(now, &shard, run, finish, out);
            }
            Input::Slept => {
                // Until a heartbeat that is sent from now on is stored.
                self.heartbeat_sent = None;
                self.slept_at = now;
                self.drop_all(now, out);
            }
            Input::Drain => self.leaving = self.leaving.or(Some(now)),
        }
        self.step(now, out);
    }

    /// Moves every lease on as far as it can go now.
    fn step(&mut self, now: Duration, out: &mut Vec<Action>) {
        if self.is_fenced(now) || self.view.leases_asked() < self.rows_from {
            return;
        }
        self.replan();
        let free = self.targets.free.iter();
        let free = free.filter(|shard| !self.held.contains_key(*shard));
        let shards: Vec<ShardId> = self.held.keys().chain(free).cloned().collect();
        for shard in shards {
            self.step_lease(now, &shard, out);
        }
    }

    fn step_lease(&mut self, now: Duration, shard: &ShardId, out: &mut Vec<Action>) {
        if self.writing.contains(shard) {
            return;
        }
        if self.is_lost(shard) {
            return self.lose(shard, out);
        }
        let Some(row) = self.view.lease(shard) else {
            return;
        };
        let keep = self.targets.of(shard) == Some(&self.me);
        let leaves = self.leaves(now);
        let Some(held) = self.held.get_mut(shard) else {
            match self.view.standing(row) {
                Standing::Mine if self.leaving.is_some() => self.pass_on(now, shard, out),
                // Whatever the plan: nobody else may take it, and it is read before it moves on.
                Standing::Mine => self.take(now, shard, out),
                Standing::Orphaned if keep => self.take(now, shard, out),
                _ => {}
            }
            return;
        };
        if let Some((write, children)) = &held.writing {
            // It is not under way any more and still here, so its outcome is unknown.
            self.writing.insert(shard.clone());
            out.push(Action::Write(write.clone(), children.clone()));
            return;
        }
        let settled = now.saturating_sub(held.started_at) >= STAY && self.view.knows_the_living();
        let may_go = !keep
            && match self.leaving {
                Some(_) => leaves,
                None => settled,
            };
        match &held.phase {
            Phase::Taking { .. } | Phase::Stopping => {}
            Phase::Running if may_go => {
                held.phase = Phase::Stopping;
                out.push(Action::Stop(shard.clone()));
            }
            Phase::Running => {
                let due = now.saturating_sub(held.saved_at) >= self.timing.checkpoint;
                if due && unsaved(held, row).is_some() {
                    self.write(now, shard, Some(self.me.clone()), out);
                }
            }
            Phase::Resting(_) if may_go => {
                held.phase = Phase::Giving;
                self.give(now, shard, out);
            }
            Phase::Resting(until) if now >= *until => self.start(now, shard, out),
            Phase::Resting(_) => {}
            Phase::Giving => self.give(now, shard, out),
            Phase::Ending(_) => self.end(now, shard, out),
        }
    }
}

#[cfg(test)]
mod tests;
