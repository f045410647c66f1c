//! One id, one process: a worker id that is configured may be used by a process that still runs, or by one that died.
//!
//! A row of another process has to stand still for the failover time before it is taken over; then that process, should it
//! only have been suspended, has fenced itself. After that, each heartbeat of it is refused.

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Coordinator;
use crate::{
    model::lease::{WorkerId, WorkerRow},
    ports::{DecisionTable, EventStream, LeaseTable, SwipeStream},
};

/// A worker id is used by two processes.
#[derive(Debug, thiserror::Error)]
#[error(
    "worker id {0} is in use by another process: give each process its own `leases.worker_id`, or leave it empty"
)]
pub struct IdInUse(pub WorkerId);

impl<L, S, E, T> Coordinator<L, S, E, T>
where
    L: LeaseTable,
    S: SwipeStream,
    E: EventStream,
    T: DecisionTable,
{
    /// Makes the row of this worker's id this process's own. Returns also when `drain` is cancelled.
    pub(super) async fn claim(
        &mut self,
        drain: &CancellationToken,
        beat: &impl Fn(),
    ) -> Result<(), IdInUse> {
        let mut seen: Option<(WorkerRow, Instant)> = None;
        while !drain.is_cancelled() {
            beat();
            let asked = Instant::now();
            let reply = self.table.workers().await;
            let rows = self.succeeded("workers table not read", reply);
            let Some(rows) = rows else {
                sleep(self.limits.heartbeat).await;
                continue;
            };
            let mut others = rows.into_iter().filter(|row| row.id == self.me);
            let Some(other) = others.find(|row| row.process != self.row.process) else {
                return Ok(());
            };
            match &seen {
                None => {
                    info!(worker = %self.me, "the worker id has a row; waiting to see whether its process lives");
                    seen = Some((other, Instant::now()));
                }
                Some((before, _)) if *before != other => return Err(IdInUse(self.me.clone())),
                Some((_, since))
                    if asked.saturating_duration_since(*since) < self.limits.timing.failover => {}
                Some(_) => {
                    self.row.heartbeat = other.heartbeat + 1;
                    let taken = self.table.heartbeat(&self.row, Some(&other)).await;
                    match self.succeeded("heartbeat not stored", taken) {
                        Some(true) => {
                            warn!(worker = %self.me, "the row of a dead process of this worker id is taken over");
                            return Ok(());
                        }
                        Some(false) => return Err(IdInUse(self.me.clone())),
                        // Whether it is stored is seen at the next look.
                        None => {}
                    }
                }
            }
            sleep(self.limits.heartbeat).await;
        }
        Ok(())
    }
}
