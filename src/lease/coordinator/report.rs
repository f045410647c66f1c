//! What the coordinator tells: the status page, the metrics, and a log line for each change of a lease.

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Coordinator;
use crate::{
    lease::{protocol::Note, view::Standing},
    metrics::{CheckpointOutcome, LeaseEvent, LeaseState},
    model::position::{Checkpoint, ShardId},
    ports::{DecisionTable, EventStream, LeaseTable, SwipeStream},
};

/// A shard that this worker reads, for the status page.
#[derive(Clone, Debug)]
pub struct HeldShard {
    /// The shard.
    pub shard: ShardId,
    /// The stored checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// How far its last page was behind the tip, in milliseconds.
    pub behind_latest_ms: i64,
    /// It stands still until a person acts.
    pub halted: bool,
}

/// What this worker holds and sees, for the status page.
#[derive(Clone, Debug, Default)]
pub struct LeaseReport {
    /// The shards it reads.
    pub held: Vec<HeldShard>,
    /// How many workers live, itself included.
    pub workers: usize,
}

impl<L, S, E, T> Coordinator<L, S, E, T>
where
    L: LeaseTable,
    S: SwipeStream,
    E: EventStream,
    T: DecisionTable,
{
    pub(super) fn note(&self, shard: &ShardId, note: &Note) {
        let event = match note {
            Note::Checkpointed => return self.metrics.checkpoint(CheckpointOutcome::Stored),
            Note::Taken => LeaseEvent::Taken,
            Note::Received => LeaseEvent::Received,
            Note::Given(_) => LeaseEvent::Given,
            Note::Released => LeaseEvent::Released,
            Note::Fenced => LeaseEvent::Fenced,
            Note::Lost => LeaseEvent::Lost,
            Note::Ended => LeaseEvent::Ended,
            Note::Halted(why) => {
                return error!(%shard, why, "SHARD HALTED: nothing is read from it until this is repaired");
            }
        };
        self.metrics.event(event);
        match note {
            Note::Given(to) => info!(%shard, %to, "lease given"),
            Note::Fenced => warn!(%shard, "lease dropped: this worker's heartbeat is late"),
            Note::Lost => warn!(%shard, "lease lost: another worker has it"),
            _ => info!(%shard, "lease {}", event.as_label()),
        }
    }

    pub(super) fn publish(&self) {
        let view = self.protocol.view();
        let mut count = [0; LeaseState::ALL.len()];
        for row in view.leases() {
            let state = match view.standing(row) {
                Standing::Mine => LeaseState::Held,
                Standing::Elsewhere => LeaseState::Elsewhere,
                Standing::Orphaned => LeaseState::Orphaned,
                Standing::Waiting => LeaseState::Waiting,
                Standing::Ended => LeaseState::Ended,
            };
            count[state as usize] += 1;
        }
        self.metrics.leases(&count);
        let workers = view.targets(!self.row.leaving).len();
        self.metrics.workers(workers as u64);
        self.metrics
            .halted(self.protocol.held().filter(|(_, halted)| *halted).count() as u64);
        if let Some(fence) = self.protocol.fence() {
            let sent =
                fence.saturating_sub(self.limits.timing.failover - self.limits.timing.margin);
            self.metrics
                .heartbeat_age(self.since_start(Instant::now()).saturating_sub(sent));
        }
        let held = self.protocol.held().map(|(shard, halted)| HeldShard {
            shard: shard.clone(),
            checkpoint: view.lease(shard).map(|row| row.checkpoint.clone()),
            behind_latest_ms: self
                .running
                .get(shard)
                .map_or(0, |running| running.progress.borrow().behind_latest_ms),
            halted,
        });
        let held = held.collect();
        self.status.send_replace(LeaseReport { held, workers });
    }
}
