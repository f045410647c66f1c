//! What the protocol writes to the table: taking, giving, checkpointing and ending a lease.

use std::time::Duration;

use super::{
    Action, Protocol,
    held::{Held, Phase, child_row, unsaved},
};
use crate::model::{
    lease::{LeaseWrite, WorkerId},
    position::{Checkpoint, ChildShard, ShardId},
};

impl Protocol {
    pub(super) fn take(&mut self, now: Duration, shard: &ShardId, out: &mut Vec<Action>) {
        let ours = self
            .view
            .lease(shard)
            .is_some_and(|row| row.owner.as_ref() == Some(&self.me));
        self.hold(now, shard, Phase::Taking { ours });
        self.write(now, shard, Some(self.me.clone()), out);
    }

    /// Gives a lease away that is ours by name alone: its last owner named us while we were told to leave.
    pub(super) fn pass_on(&mut self, now: Duration, shard: &ShardId, out: &mut Vec<Action>) {
        self.hold(now, shard, Phase::Giving);
        self.give(now, shard, out);
    }

    fn hold(&mut self, now: Duration, shard: &ShardId, phase: Phase) {
        let held = Held {
            phase,
            run: 0,
            done: self.take_up(shard),
            writing: None,
            saved_at: now,
            started_at: now,
            halted: false,
            gone: false,
        };
        self.held.insert(shard.clone(), held);
    }

    pub(super) fn give(&mut self, now: Duration, shard: &ShardId, out: &mut Vec<Action>) {
        let target = self.targets.of(shard).cloned();
        if target.as_ref() == Some(&self.me) {
            // The plan changed its mind while the consumer finished.
            return self.start(now, shard, out);
        }
        self.write(now, shard, target, out);
    }

    pub(super) fn start(&mut self, now: Duration, shard: &ShardId, out: &mut Vec<Action>) {
        let (Some(held), Some(row)) = (self.held.get_mut(shard), self.view.lease(shard)) else {
            return;
        };
        self.runs += 1;
        (held.phase, held.run, held.halted) = (Phase::Running, self.runs, false);
        held.started_at = now;
        let from = held
            .done
            .clone()
            .map_or_else(|| row.checkpoint.clone(), Checkpoint::At);
        out.push(Action::Start(shard.clone(), held.run, from));
    }

    /// Writes owner and progress of a lease that is held.
    pub(super) fn write(
        &mut self,
        now: Duration,
        shard: &ShardId,
        owner: Option<WorkerId>,
        out: &mut Vec<Action>,
    ) {
        let (Some(held), Some(row)) = (self.held.get_mut(shard), self.view.lease(shard)) else {
            return;
        };
        let write = LeaseWrite {
            shard: shard.clone(),
            owner_was: row.owner.clone(),
            counter_was: row.counter,
            checkpoint_was: row.checkpoint.clone(),
            owner,
            checkpoint: unsaved(held, row),
            children: Vec::new(),
        };
        held.saved_at = now;
        held.writing = Some((write.clone(), Vec::new()));
        self.writing.insert(shard.clone());
        out.push(Action::Write(write, Vec::new()));
    }

    pub(super) fn end(&mut self, now: Duration, shard: &ShardId, out: &mut Vec<Action>) {
        let (Some(held), Some(row)) = (self.held.get_mut(shard), self.view.lease(shard)) else {
            return;
        };
        let Phase::Ending(children) = &held.phase else {
            return;
        };
        // A merge whose other parent has no row yet would look as if that one had ended: that parent's end makes it, or
        // the next shard sync.
        let complete = |child: &&ChildShard| {
            let mut parents = child.parents.iter();
            parents.all(|parent| self.view.lease(parent).is_some())
        };
        let names = children.iter().map(|child| child.id.clone()).collect();
        let children: Vec<_> = children.iter().filter(complete).map(child_row).collect();
        let write = LeaseWrite {
            shard: shard.clone(),
            owner_was: row.owner.clone(),
            counter_was: row.counter,
            checkpoint_was: row.checkpoint.clone(),
            owner: None,
            checkpoint: Some(Checkpoint::ShardEnd),
            children: names,
        };
        held.saved_at = now;
        held.writing = Some((write.clone(), children.clone()));
        self.writing.insert(shard.clone());
        out.push(Action::Write(write, children));
    }
}
