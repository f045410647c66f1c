//! What follows from an answer: of the table to a write, of a consumer that ended, of the stream that was listed.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Action, Note, Protocol, REST,
    held::{Held, Phase},
};
use crate::model::{
    lease::{Finish, LeaseRow, LeaseWrite, Written},
    position::{Checkpoint, ShardId, ShardInfo},
};

impl Protocol {
    pub(super) fn written(
        &mut self,
        now: Duration,
        write: &LeaseWrite,
        outcome: Option<Written>,
        out: &mut Vec<Action>,
    ) {
        let shard = &write.shard;
        self.writing.remove(shard);
        let held = self.held.get_mut(shard);
        let same = |held: &&mut Held| held.writing.as_ref().is_some_and(|(sent, _)| sent == write);
        let Some(held) = held.filter(same) else {
            // Dropped at the fence meanwhile. Whatever the write did, the next read of the table shows it.
            return;
        };
        match outcome {
            // It stays, and goes out again at the next step.
            None => {}
            Some(Written::Applied) => {
                let Some((write, children)) = held.writing.take() else {
                    return;
                };
                self.applied(now, write, children, out);
            }
            Some(Written::Conflict(row)) => {
                self.lose(shard, out);
                match row {
                    Some(row) => self.view.learn(row, now),
                    None => self.view.forget(shard),
                }
                // It may be ours in another way: given to us while we took it from who gave it.
                self.step(now, out);
            }
        }
    }

    /// Whether a lease that is held is no longer this worker's, by a read of the table: somebody deleted or released the row.
    pub(super) fn is_lost(&self, shard: &ShardId) -> bool {
        let known = |held: &Held| {
            let taking = matches!(held.phase, Phase::Taking { .. });
            let row = self.view.lease(shard);
            !taking
                && held.writing.is_none()
                && row.is_none_or(|row| row.owner.as_ref() != Some(&self.me))
        };
        self.held.get(shard).is_some_and(known)
    }

    pub(super) fn lose(&mut self, shard: &ShardId, out: &mut Vec<Action>) {
        let Some(held) = self.held.remove(shard) else {
            return;
        };
        if matches!(held.phase, Phase::Running | Phase::Stopping) {
            out.push(Action::Abort(shard.clone()));
        }
        if !matches!(held.phase, Phase::Taking { .. }) {
            out.push(Action::Note(shard.clone(), Note::Lost));
        }
    }

    pub(super) fn applied(
        &mut self,
        now: Duration,
        write: LeaseWrite,
        children: Vec<LeaseRow>,
        out: &mut Vec<Action>,
    ) {
        let shard = write.shard.clone();
        if let Some(row) = self.view.lease(&shard) {
            let checkpoint = write
                .checkpoint
                .clone()
                .unwrap_or_else(|| row.checkpoint.clone());
            let counter = write.counter_was + 1;
            let row = LeaseRow {
                owner: write.owner.clone(),
                counter,
                checkpoint,
                ..row.clone()
            };
            self.view.learn(row, now);
        }
        let Some(held) = self.held.get_mut(&shard) else {
            return;
        };
        match &held.phase {
            Phase::Taking { ours } => {
                let note = if *ours { Note::Received } else { Note::Taken };
                out.push(Action::Note(shard.clone(), note));
                self.start(now, &shard, out);
            }
            Phase::Running | Phase::Stopping | Phase::Resting(_) => {
                out.push(Action::Note(shard, Note::Checkpointed));
            }
            Phase::Giving => match write.owner {
                // A checkpoint that was under way when the consumer finished: the lease is still ours.
                Some(owner) if owner == self.me => self.give(now, &shard, out),
                owner => {
                    self.held.remove(&shard);
                    let note = owner.map_or(Note::Released, Note::Given);
                    out.push(Action::Note(shard, note));
                    out.push(Action::Ring);
                }
            },
            Phase::Ending(_) if write.checkpoint != Some(Checkpoint::ShardEnd) => {
                self.end(now, &shard, out);
            }
            Phase::Ending(_) => {
                self.held.remove(&shard);
                out.push(Action::Note(shard, Note::Ended));
                out.push(Action::Ring);
                for child in children {
                    if self.view.lease(&child.shard).is_none() {
                        self.view.learn(child, now);
                    }
                }
                self.step(now, out);
            }
        }
    }

    pub(super) fn finished(
        &mut self,
        now: Duration,
        shard: &ShardId,
        run: u64,
        finish: Finish,
        out: &mut Vec<Action>,
    ) {
        let Some(held) = self.held.get_mut(shard).filter(|held| held.run == run) else {
            return;
        };
        held.gone = matches!(finish, Finish::Gone(_));
        held.phase = match finish {
            Finish::ShardEnd(children) => Phase::Ending(children),
            Finish::Drained => Phase::Giving,
            Finish::Fenced => Phase::Resting(now),
            Finish::Gone(why) | Finish::Halted(why) => {
                held.halted = true;
                out.push(Action::Note(shard.clone(), Note::Halted(why)));
                Phase::Resting(now + REST)
            }
        };
        self.step(now, out);
    }

    /// The stream was listed. A shard that it no longer lists, and says it does not have, ended without a last page.
    pub(super) fn listed(&mut self, now: Duration, shards: &[ShardInfo], out: &mut Vec<Action>) {
        if shards.is_empty() {
            return;
        }
        let names: BTreeSet<ShardId> = shards.iter().map(|shard| shard.id.clone()).collect();
        for (shard, held) in &mut self.held {
            let resting = matches!(held.phase, Phase::Resting(_));
            if resting && held.gone && !names.contains(shard) {
                held.phase = Phase::Ending(Vec::new());
            }
        }
        self.view.observe_listed(names);
        self.remove_ended(now, shards, out);
        self.step(now, out);
    }
}
