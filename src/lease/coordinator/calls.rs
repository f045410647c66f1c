//! The calls of the coordinator, and what follows when one comes back. All of them run side by side.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Coordinator;
use crate::{
    lease::{audit, protocol::Input, sync, view::Seen},
    metrics::{self, CheckpointOutcome, LeaseEvent},
    model::{
        lease::{LeaseRow, LeaseWrite, WorkerRow, Written},
        position::{Checkpoint, ShardInfo},
    },
    ports::{DecisionTable, EventStream, Fault, LeaseTable, SwipeStream},
};

/// After this a silent worker's row is removed from the workers table.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Lease rows a second that a worker reads while nothing changes: a table of 10 000 leases each 30 s. Whoever waits for a row
/// learns of it by the bells in the small workers table.
const ROWS_A_SECOND: usize = 200;

/// After so many audits in a row with a hole, each of which made the rows that were missing, a person is told.
const HOLES_TOLD: u32 = 3;

/// In heartbeats, how often the lease table is read at least.
const LOOK_AT_LEAST: u32 = 30;

/// What came back.
pub(super) enum Event {
    Heartbeat(Instant, WorkerRow, Result<bool, Fault>),
    Workers(Instant, Result<Vec<WorkerRow>, Fault>),
    Leases(Instant, Result<Vec<LeaseRow>, Fault>),
    Shards(Result<Vec<ShardInfo>, Fault>),
    Created(usize, Result<Checkpoint, Fault>),
    Written(Box<LeaseWrite>, Result<Written, Fault>),
    Forgotten,
}

impl<L, S, E, T> Coordinator<L, S, E, T>
where
    L: LeaseTable,
    S: SwipeStream,
    E: EventStream,
    T: DecisionTable,
{
    pub(super) fn tick(&mut self) {
        self.send_heartbeat();
        // The leases first: who lives is then known from after them (`View::knows_the_living`).
        let rows = u32::try_from(self.protocol.view().leases().count() / ROWS_A_SECOND);
        let calm = self.limits.heartbeat * rows.unwrap_or(u32::MAX).clamp(1, LOOK_AT_LEAST);
        // A tick that comes a little early belongs to the round all the same.
        let due = |at: Instant| at.elapsed() + self.limits.heartbeat / 2 >= calm;
        if self.leases_asked.is_none_or(due) {
            self.read_leases();
        }
        self.read_workers();
        let hole = self.holes > 0 && self.holes < HOLES_TOLD;
        let due = self
            .synced_at
            .is_none_or(|at| hole || at.elapsed() >= self.limits.shard_sync);
        if self.table_seen && due && !std::mem::replace(&mut self.under_way.shards, true) {
            let shared = Arc::clone(&self.shared);
            self.calls.push(Box::pin(async move {
                Event::Shards(shared.stream.shards().await)
            }));
        }
        for worker in self.protocol.view().long_dead(FORGET_AFTER) {
            let table = Arc::clone(&self.table);
            self.calls.push(Box::pin(async move {
                // Nothing depends on it; the next round tries again.
                let _forgotten = table.forget(&worker).await;
                Event::Forgotten
            }));
        }
        self.collect_progress();
        self.apply(Input::Tick);
        self.publish();
    }

    pub(super) fn read_leases(&mut self) {
        if !std::mem::replace(&mut self.under_way.leases, true) {
            let (table, asked) = (Arc::clone(&self.table), Instant::now());
            self.leases_asked = Some(asked);
            self.calls.push(Box::pin(async move {
                Event::Leases(asked, table.leases().await)
            }));
        } else {
            // What it will show may be from before what is to be seen.
            self.look_again = true;
        }
    }

    pub(super) fn read_workers(&mut self) {
        if !std::mem::replace(&mut self.under_way.workers, true) {
            let (table, asked) = (Arc::clone(&self.table), Instant::now());
            self.calls.push(Box::pin(async move {
                Event::Workers(asked, table.workers().await)
            }));
        }
    }

    /// One heartbeat is under way at a time.
    pub(super) fn send_heartbeat(&mut self) {
        if std::mem::replace(&mut self.under_way.heartbeat, true) {
            return;
        }
        self.row.heartbeat += 1;
        let row = self.row.clone();
        let (table, sent) = (Arc::clone(&self.table), Instant::now());
        self.calls.push(Box::pin(async move {
            let stored = table.heartbeat(&row, None).await;
            Event::Heartbeat(sent, row, stored)
        }));
    }

    pub(super) fn came_back(&mut self, event: Event) {
        match event {
            Event::Heartbeat(sent, row, reply) => {
                self.under_way.heartbeat = false;
                match self.succeeded("heartbeat not stored", reply) {
                    Some(true) => {
                        self.apply(Input::Heartbeat(self.since_start(sent)));
                        if (row.bell, row.leaving) != (self.row.bell, self.row.leaving) {
                            self.send_heartbeat();
                        }
                    }
                    Some(false) => self.displaced = true,
                    None => {}
                }
            }
            Event::Workers(asked, reply) => {
                self.under_way.workers = false;
                if let Some(rows) = self.succeeded("workers table not read", reply) {
                    self.apply(Input::Workers(self.seen(asked), rows));
                }
            }
            Event::Leases(asked, reply) => {
                self.under_way.leases = false;
                if let Some(rows) = self.succeeded("lease table not read", reply) {
                    self.table_seen = true;
                    self.apply(Input::Leases(self.seen(asked), rows));
                }
                if std::mem::take(&mut self.look_again) {
                    self.read_leases();
                }
            }
            Event::Shards(reply) => {
                self.under_way.shards = false;
                self.synced_at = Some(Instant::now());
                if let Some(shards) = self.succeeded("stream not listed", reply) {
                    self.sync(&shards);
                }
            }
            Event::Created(count, reply) => {
                if let Some(start) = self.succeeded("lease rows not made", reply) {
                    info!(count, ?start, "lease rows made");
                    for _ in 0..count {
                        self.metrics.event(LeaseEvent::Created);
                    }
                    self.read_leases();
                    self.ring();
                } else {
                    self.synced_at = None;
                }
            }
            Event::Written(write, reply) => {
                let written = self.succeeded("lease not written, trying again", reply);
                if written.is_none() {
                    self.metrics.checkpoint(CheckpointOutcome::Failed);
                }
                self.apply(Input::Written(write, written));
            }
            Event::Forgotten => {}
        }
    }

    pub(super) fn seen(&self, asked: Instant) -> Seen {
        Seen {
            asked: self.since_start(asked),
            replied: self.since_start(Instant::now()),
        }
    }

    pub(super) fn succeeded<R>(&self, what: &'static str, reply: Result<R, Fault>) -> Option<R> {
        match reply {
            Ok(reply) => Some(reply),
            Err(fault) => {
                metrics::fault(&fault);
                warn!(%fault, "{what}");
                None
            }
        }
    }

    pub(super) fn sync(&mut self, shards: &[ShardInfo]) {
        let rows = || self.protocol.view().leases();
        let holes = audit::uncovered(&rows().collect::<Vec<_>>(), shards);
        // The first look at an empty table is no hole.
        let empty = rows().next().is_none();
        self.holes = match holes.is_empty() || empty {
            true => 0,
            false => self.holes.saturating_add(1),
        };
        self.metrics.uncovered(match self.holes {
            0 => 0.0,
            _ => audit::share(&holes),
        });
        if self.holes == HOLES_TOLD {
            error!(
                ?holes,
                "HASH KEYS NOT READ: no lease covers them, though every shard that needs one has it; see `swiped leases list` for one \
                 that ended too early, and `swiped leases rewind` it"
            );
        }
        // Where there are rows but no start is known, the stream was begun by another program: nothing may be missed.
        let proposed = match empty {
            true => self.limits.start.clone(),
            false => Checkpoint::TrimHorizon,
        };
        let mut missing = sync::missing(shards, rows(), &proposed);
        if !missing.is_empty() {
            let table = Arc::clone(&self.table);
            self.calls.push(Box::pin(async move {
                let made = async {
                    let start = table.start(&proposed).await?;
                    for row in &mut missing {
                        row.checkpoint.clone_from(&start);
                    }
                    table.create(&missing).await?;
                    Ok(start)
                };
                let made = made.await;
                Event::Created(missing.len(), made)
            }));
        }
        self.apply(Input::Listed(shards.to_vec()));
    }

    pub(super) fn remove(&mut self, row: LeaseRow) {
        let table = Arc::clone(&self.table);
        self.calls.push(Box::pin(async move {
            // Nothing depends on it; the next sync tries again.
            let _removed = table.remove(&row).await;
            Event::Forgotten
        }));
    }

    pub(super) fn write(&mut self, write: LeaseWrite, children: Vec<LeaseRow>) {
        let table = Arc::clone(&self.table);
        self.calls.push(Box::pin(async move {
            let ends = write.checkpoint == Some(Checkpoint::ShardEnd);
            let written = if ends {
                table.end_shard(&write, &children).await
            } else {
                table.write(&write).await
            };
            Event::Written(Box::new(write), written)
        }));
    }
}
