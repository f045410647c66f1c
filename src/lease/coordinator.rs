//! The lease coordinator: carries out what the protocol asks for. It waits, calls and starts; it decides nothing.
//!
//! It is the only writer of lease rows. Consumers report how far they are; it reads those reports once a heartbeat and lets the
//! protocol decide what to write. Every call runs beside the others, so that a slow scan delays no heartbeat, and
//! none is repeated below this loop.

mod calls;
mod consumers;
mod report;

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    task::{AbortHandle, Id, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    lease::protocol::{Action, Input, Protocol, Timing},
    metrics::LeaseMetrics,
    model::{
        lease::{Finish, WorkerId},
        position::{Checkpoint, ShardId},
    },
    pipeline::{
        consumer::{Progress, Shared},
        fence::Fence,
    },
    ports::{DecisionTable, EventStream, LeaseTable, SwipeStream},
};

use calls::Event;
pub use report::{HeldShard, LeaseReport};

/// The coordinator's times, and where a stream without leases begins.
#[derive(Clone, Debug)]
pub struct LeaseLimits {
    /// Between two heartbeats; also how often the tables are read.
    pub heartbeat: Duration,
    /// The protocol's times.
    pub timing: Timing,
    /// Between two listings of the stream.
    pub shard_sync: Duration,
    /// Where every shard begins when there is no lease yet.
    pub start: Checkpoint,
}

type Call = Pin<Box<dyn Future<Output = Event> + Send>>;

/// A consumer that runs.
struct Running {
    run: u64,
    stop: CancellationToken,
    abort: AbortHandle,
    progress: watch::Receiver<Progress>,
}

/// Which of the repeated calls are under way.
#[derive(Default)]
struct UnderWay {
    heartbeat: bool,
    workers: bool,
    leases: bool,
    shards: bool,
}

/// Holds the leases of one worker.
pub struct Coordinator<L, S, E, T> {
    me: WorkerId,
    table: Arc<L>,
    shared: Arc<Shared<S, E, T>>,
    limits: LeaseLimits,
    protocol: Protocol,
    base: Instant,
    fence: Fence,
    times_fenced: u64,
    heartbeats: u64,
    draining: bool,
    /// Whether the lease table was read at least once.
    table_seen: bool,
    synced_at: Option<Instant>,
    under_way: UnderWay,
    calls: FuturesUnordered<Call>,
    consumers: JoinSet<Finish>,
    tasks: BTreeMap<Id, (ShardId, u64)>,
    running: BTreeMap<ShardId, Running>,
    metrics: LeaseMetrics,
    orphans: report::Orphans,
    status: watch::Sender<LeaseReport>,
}

impl<L, S, E, T> Coordinator<L, S, E, T>
where
    L: LeaseTable,
    S: SwipeStream,
    E: EventStream,
    T: DecisionTable,
{
    /// The coordinator of worker `me`.
    pub fn new(
        me: WorkerId,
        table: Arc<L>,
        shared: Arc<Shared<S, E, T>>,
        limits: LeaseLimits,
        status: watch::Sender<LeaseReport>,
    ) -> Self {
        let base = Instant::now();
        Self {
            protocol: Protocol::new(me.clone(), limits.timing),
            me,
            table,
            shared,
            limits,
            base,
            fence: Fence::closed(base),
            times_fenced: 0,
            heartbeats: 0,
            draining: false,
            table_seen: false,
            synced_at: None,
            under_way: UnderWay::default(),
            calls: FuturesUnordered::new(),
            consumers: JoinSet::new(),
            tasks: BTreeMap::new(),
            running: BTreeMap::new(),
            metrics: LeaseMetrics::new(),
            orphans: report::Orphans::default(),
            status,
        }
    }

    /// Holds leases until `drain` is cancelled, then gives all of them away and returns. `beat` is called once a round.
    pub async fn run(mut self, drain: CancellationToken, beat: impl Fn()) {
        let mut ticks = interval(self.limits.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // In this order and not at random, so that one seed of the simulation gives one history.
                biased;
                Some(event) = self.calls.next(), if !self.calls.is_empty() => self.came_back(event),
                Some(ended) = self.consumers.join_next_with_id(), if !self.consumers.is_empty() => {
                    self.consumer_ended(ended);
                }
                _ = ticks.tick() => {
                    beat();
                    self.tick();
                }
                () = drain.cancelled(), if !self.draining => {
                    self.draining = true;
                    self.send_heartbeat();
                    self.apply(Input::Drain);
                }
            }
            if self.protocol.is_drained() {
                break;
            }
        }
        if let Err(fault) = self.table.forget(&self.me).await {
            warn!(%fault, "could not remove this worker's heartbeat row; others notice within the failover time");
        }
        info!(worker = %self.me, "every lease is given away");
    }

    fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.base)
    }

    fn apply(&mut self, input: Input) {
        let mut actions = Vec::new();
        let now = self.since_start(Instant::now());
        self.protocol.apply(now, input, &mut actions);
        if self.protocol.times_fenced() != self.times_fenced {
            // The old fence is never moved again: an aborted consumer that still runs on another thread stays fenced.
            self.times_fenced = self.protocol.times_fenced();
            self.fence = Fence::closed(self.base);
        }
        if let Some(deadline) = self.protocol.fence() {
            self.fence.extend(self.base + deadline);
        }
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(shard, run, from) => self.start(shard, run, from),
            Action::Stop(shard) => {
                if let Some(running) = self.running.get(&shard) {
                    running.stop.cancel();
                }
            }
            Action::Abort(shard) => {
                if let Some(running) = self.running.remove(&shard) {
                    running.abort.abort();
                }
            }
            Action::Write(write, children) => self.write(write, children),
            Action::Note(shard, note) => self.note(&shard, &note),
        }
    }
}
