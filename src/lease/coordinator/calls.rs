//! The calls of the coordinator, and what follows when one comes back. All of them run side by side.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{info, warn};

use super::Coordinator;
use crate::{
    lease::{protocol::Input, sync, view::Seen},
    metrics::{self, CheckpointOutcome, LeaseEvent},
    model::{
        lease::{LeaseRow, LeaseWrite, WorkerRow, Written},
        position::{Checkpoint, ShardId, ShardInfo},
    },
    ports::{DecisionTable, EventStream, Fault, LeaseTable, SwipeStream},
};

/// After this a silent worker's row is removed from the workers table.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// What came back.
pub(super) enum Event {
    Heartbeat(Instant, Result<(), Fault>),
    Workers(Instant, Result<Vec<WorkerRow>, Fault>),
    Leases(Instant, Result<Vec<LeaseRow>, Fault>),
    Shards(Result<Vec<ShardInfo>, Fault>),
    Created(usize, Result<(), Fault>),
    Written(ShardId, Result<Written, Fault>),
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
        if !self.under_way.heartbeat {
            self.send_heartbeat();
        }
        // The leases first: who lives is then known from after them (`View::knows_the_living`).
        self.read_leases();
        let table = &self.table;
        if !std::mem::replace(&mut self.under_way.workers, true) {
            let (table, asked) = (Arc::clone(table), Instant::now());
            self.calls.push(Box::pin(async move {
                Event::Workers(asked, table.workers().await)
            }));
        }
        let due = self
            .synced_at
            .is_none_or(|at| at.elapsed() >= self.limits.shard_sync);
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

    fn read_leases(&mut self) {
        if !std::mem::replace(&mut self.under_way.leases, true) {
            let (table, asked) = (Arc::clone(&self.table), Instant::now());
            self.calls.push(Box::pin(async move {
                Event::Leases(asked, table.leases().await)
            }));
        }
    }

    pub(super) fn send_heartbeat(&mut self) {
        self.heartbeats += 1;
        self.under_way.heartbeat = true;
        let row = WorkerRow {
            id: self.me.clone(),
            heartbeat: self.heartbeats,
            leaving: self.draining,
        };
        let (table, sent) = (Arc::clone(&self.table), Instant::now());
        self.calls.push(Box::pin(async move {
            Event::Heartbeat(sent, table.heartbeat(&row).await)
        }));
    }

    pub(super) fn came_back(&mut self, event: Event) {
        match event {
            Event::Heartbeat(sent, reply) => {
                self.under_way.heartbeat = false;
                if self.succeeded("heartbeat not stored", reply).is_some() {
                    self.apply(Input::Heartbeat(self.since_start(sent)));
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
            }
            Event::Shards(reply) => {
                self.under_way.shards = false;
                self.synced_at = Some(Instant::now());
                if let Some(shards) = self.succeeded("stream not listed", reply) {
                    self.sync(&shards);
                }
            }
            Event::Created(count, reply) => {
                if self.succeeded("lease rows not made", reply).is_some() {
                    info!(count, "lease rows made");
                    for _ in 0..count {
                        self.metrics.event(LeaseEvent::Created);
                    }
                    self.read_leases();
                } else {
                    self.synced_at = None;
                }
            }
            Event::Written(shard, reply) => {
                let written = self.succeeded("lease not written, trying again", reply);
                if written.is_none() {
                    self.metrics.checkpoint(CheckpointOutcome::Failed);
                }
                self.apply(Input::Written(shard, written));
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
        let known: BTreeSet<ShardId> = self
            .protocol
            .view()
            .leases()
            .map(|row| row.shard.clone())
            .collect();
        let missing = sync::missing(shards, &known, &self.limits.start);
        if !missing.is_empty() {
            let table = Arc::clone(&self.table);
            self.calls.push(Box::pin(async move {
                Event::Created(missing.len(), table.create(&missing).await)
            }));
        }
        self.apply(Input::Listed(
            shards.iter().map(|shard| shard.id.clone()).collect(),
        ));
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
            Event::Written(write.shard, written)
        }));
    }
}
