//! What the coordinator tells: the status page, the metrics, and a log line for each change of a lease.

use std::{collections::BTreeMap, time::Duration};

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

/// The leases that nobody alive has, and since when this worker has seen them so.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    since: BTreeMap<ShardId, Instant>,
}

impl Orphans {
    /// These are all there are now. How long the one is orphaned that is it longest.
    fn are<'a>(&mut self, now: Instant, shards: impl Iterator<Item = &'a ShardId>) -> Duration {
        // Hardly ever more than none: what is looked up is few, and what is kept is less.
        let mut before = std::mem::take(&mut self.since);
        for shard in shards {
            let since = before.remove_entry(shard);
            let (shard, since) = since.unwrap_or_else(|| (shard.clone(), now));
            self.since.insert(shard, since);
        }
        let oldest = self.since.values().min();
        oldest.map_or(Duration::ZERO, |since| {
            now.saturating_duration_since(*since)
        })
    }
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

    pub(super) fn publish(&mut self) {
        let view = self.protocol.view();
        let mut count = [0; LeaseState::ALL.len()];
        let mut orphans = Vec::new();
        for row in view.leases() {
            let state = match view.standing(row) {
                Standing::Mine => LeaseState::Held,
                Standing::Elsewhere => LeaseState::Elsewhere,
                Standing::Orphaned => {
                    orphans.push(&row.shard);
                    LeaseState::Orphaned
                }
                Standing::Waiting => LeaseState::Waiting,
                Standing::Ended => LeaseState::Ended,
            };
            count[state as usize] += 1;
        }
        self.metrics.leases(&count);
        self.metrics.planned(self.protocol.planned() as u64);
        let oldest = self.orphans.are(Instant::now(), orphans.into_iter());
        self.metrics.orphan_age(oldest);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_is_as_old_as_the_first_look_that_showed_it_and_begins_anew_when_it_had_a_reader() {
        let (mut orphans, start) = (Orphans::default(), Instant::now());
        let shards = ["a", "b"].map(ShardId::new);
        let [a, b] = &shards;
        for (second, now, oldest) in [
            (0, &[][..], 0),
            (1, &[a], 0),
            (2, &[a, b], 1),
            (4, &[a, b], 3),
            (5, &[b], 3),
            (6, &[a, b], 4),
            (7, &[a], 1),
            (8, &[], 0),
        ] {
            let at = start + Duration::from_secs(second);
            let age = orphans.are(at, now.iter().copied());
            assert_eq!(age, Duration::from_secs(oldest), "at {second} s");
        }
    }
}
