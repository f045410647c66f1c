//! The consumers that the coordinator starts, listens to, and buries.

use tokio::{
    sync::watch,
    task::{Id, JoinError},
};
use tokio_util::sync::CancellationToken;

use super::{Coordinator, Running};
use crate::{
    lease::protocol::Input,
    model::{
        lease::Finish,
        position::{Checkpoint, ShardId},
    },
    pipeline::consumer::{Progress, ShardConsumer, Start},
    ports::{DecisionTable, EventStream, LeaseTable, SwipeStream},
};

impl<L, S, E, T> Coordinator<L, S, E, T>
where
    L: LeaseTable,
    S: SwipeStream,
    E: EventStream,
    T: DecisionTable,
{
    pub(super) fn collect_progress(&mut self) {
        let mut reports = Vec::new();
        for (shard, running) in &mut self.running {
            if let Some(done) = running.progress.borrow_and_update().done.clone() {
                reports.push((shard.clone(), done));
            }
        }
        for (shard, done) in reports {
            self.apply(Input::Progress(shard, done));
        }
    }

    pub(super) fn consumer_ended(&mut self, ended: Result<(Id, Finish), JoinError>) {
        let (id, finish) = match ended {
            Ok((id, finish)) => (id, finish),
            // Aborted: whoever aborted it has dropped the lease already.
            Err(error) if error.is_cancelled() => {
                self.tasks.remove(&error.id());
                return;
            }
            Err(error) => (
                error.id(),
                Finish::Halted(format!("the consumer panicked: {error}")),
            ),
        };
        let Some((shard, run)) = self.tasks.remove(&id) else {
            return;
        };
        if self
            .running
            .get(&shard)
            .is_some_and(|running| running.run == run)
            && let Some(running) = self.running.remove(&shard)
            && let Some(done) = running.progress.borrow().done.clone()
        {
            self.apply(Input::Progress(shard.clone(), done));
        }
        self.apply(Input::Finished(shard, run, finish));
    }

    pub(super) fn start(&mut self, shard: ShardId, run: u64, from: Checkpoint) {
        let (report, progress) = watch::channel(Progress::default());
        let fence = self.fence.clone();
        let row = self.protocol.view().lease(&shard);
        let root = row.is_some_and(|row| row.parents.is_empty());
        let start = Start { from, root };
        let consumer = ShardConsumer::new(&self.shared, shard.clone(), start, fence, report);
        let stop = CancellationToken::new();
        let abort = self.consumers.spawn(consumer.run(stop.clone()));
        self.tasks.insert(abort.id(), (shard.clone(), run));
        self.running.insert(
            shard,
            Running {
                run,
                stop,
                abort,
                progress,
            },
        );
    }
}
