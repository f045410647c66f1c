//! The fence of a worker: from when on it may no longer write, and what it then drops.

use std::time::Duration;

use super::{Action, Note, Protocol, held::Phase};
use crate::model::position::{Position, ShardId};

/// How far a shard was that was dropped. Everything up to there is stored; so if nobody wrote the row since, the shard goes
/// on from there. Otherwise a worker whose heartbeats are late again and again would read the same records for ever.
#[derive(Debug)]
pub(super) struct Kept {
    /// The row's counter when the shard was dropped.
    counter: u64,
    done: Position,
}

impl Protocol {
    /// How often this worker dropped what it held. What was started before may not write any more, whatever the fence
    /// says later.
    pub fn times_fenced(&self) -> u64 {
        self.fenced
    }

    /// Until when this worker may write.
    pub fn fence(&self) -> Option<Duration> {
        self.heartbeat_sent
            .map(|sent| sent + self.timing.failover - self.timing.margin)
    }

    pub(super) fn is_fenced(&self, now: Duration) -> bool {
        self.fence().is_none_or(|deadline| now >= deadline)
    }

    pub(super) fn drop_all(&mut self, now: Duration, out: &mut Vec<Action>) {
        if self.held.is_empty() {
            return;
        }
        self.fenced += 1;
        // What its consumers had under way has the margin to take effect, for this worker as for others.
        self.rows_from = now + self.timing.margin;
        for (shard, held) in std::mem::take(&mut self.held) {
            if matches!(held.phase, Phase::Running | Phase::Stopping) {
                out.push(Action::Abort(shard.clone()));
            }
            if let (Some(done), Some(row)) = (held.done, self.view.lease(&shard)) {
                let counter = row.counter;
                self.kept.insert(shard.clone(), Kept { counter, done });
            }
            out.push(Action::Note(shard, Note::Fenced));
        }
    }

    /// How far `shard` was when it was dropped, if its row is still as it was then.
    pub(super) fn take_up(&mut self, shard: &ShardId) -> Option<Position> {
        let kept = self.kept.remove(shard)?;
        let row = self.view.lease(shard)?;
        let untouched = row.counter == kept.counter && row.owner.as_ref() == Some(&self.me);
        untouched.then_some(kept.done)
    }
}
