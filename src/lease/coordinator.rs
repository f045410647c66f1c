//! The lease coordinator: carries out what the protocol asks for. It waits, calls and starts; it decides nothing.
//!
//! It is the only writer of lease rows. Consumers report how far they are; it reads those reports once a heartbeat and lets the
//! protocol decide what to write. Every call runs beside the others, so that a slow scan delays no heartbeat, and
//! none is repeated below this loop.

mod calls;
mod claim;
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
        lease::{Finish, WorkerId, WorkerRow},
        position::{Checkpoint, ShardId},
    },
    pipeline::{
        consumer::{Progress, Shared},
        fence::Fence,
    },
    ports::{DecisionTable, EventStream, LeaseTable, SwipeStream},
};

use calls::Event;
pub use claim::IdInUse;
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

/// How often in a heartbeat the workers table is looked at when something is about to change: a lease that is given waits so
/// much longer at most.
const LOOKS_A_HEARTBEAT: u32 = 5;

/// In heartbeats, for how long.
const LOOK_CLOSELY: u32 = 10;

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
    /// The next heartbeat is this row, one higher.
    row: WorkerRow,
    /// Another process writes the row of this worker's id.
    displaced: bool,
    /// Whether the lease table was read at least once.
    table_seen: bool,
    leases_asked: Option<Instant>,
    /// Since when leases are expected that do not come.
    expecting: Option<Instant>,
    /// The lease table is to be read once more after the read that is under way.
    look_again: bool,
    synced_at: Option<Instant>,
    /// Audits in a row that found hash keys without a lease.
    holes: u32,
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
    /// The coordinator of worker `me`; `process` is a random number of this process.
    pub fn new(
        me: WorkerId,
        process: u64,
        table: Arc<L>,
        shared: Arc<Shared<S, E, T>>,
        limits: LeaseLimits,
        status: watch::Sender<LeaseReport>,
    ) -> Self {
        let base = Instant::now();
        let fence = Fence::closed(base, shared.clock);
        Self {
            protocol: Protocol::new(me.clone(), limits.timing),
            row: WorkerRow {
                id: me.clone(),
                process,
                heartbeat: 0,
                leaving: false,
                bell: 0,
            },
            me,
            table,
            shared,
            limits,
            base,
            fence,
            times_fenced: 0,
            displaced: false,
            table_seen: false,
            leases_asked: None,
            expecting: None,
            look_again: false,
            synced_at: None,
            holes: 0,
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
    ///
    /// # Errors
    /// Another process has this worker's id.
    pub async fn run(mut self, drain: CancellationToken, beat: impl Fn()) -> Result<(), IdInUse> {
        self.claim(&drain, &beat).await?;
        let mut ticks = interval(self.limits.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = interval(self.limits.heartbeat / LOOKS_A_HEARTBEAT);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                _ = looks.tick(), if self.looks_closely() => {
                    self.read_workers();
                    // A drain goes on when the others have had time to notice.
                    self.apply(Input::Tick);
                }
                () = drain.cancelled(), if !self.row.leaving => {
                    self.row.leaving = true;
                    self.send_heartbeat();
                    self.apply(Input::Drain);
                }
            }
            if self.displaced {
                return Err(IdInUse(self.me));
            }
            if self.protocol.is_drained() {
                break;
            }
        }
        // One that is under way would make the row again.
        while self.under_way.heartbeat
            && let Some(event) = self.calls.next().await
        {
            self.came_back(event);
        }
        if let Err(fault) = self.table.forget(&self.row).await {
            warn!(%fault, "could not remove this worker's heartbeat row; others notice within the failover time");
        }
        info!(worker = %self.me, "every lease is given away");
        Ok(())
    }

    /// Whether something is about to change, so that the workers table is looked at more often. Not for ever: an owner that
    /// cannot give what the plan says would keep everybody busy.
    fn looks_closely(&mut self) -> bool {
        if !self.row.leaving && !self.protocol.expects() {
            self.expecting = None;
            return false;
        }
        let since = *self.expecting.get_or_insert_with(Instant::now);
        since.elapsed() < self.limits.heartbeat * LOOK_CLOSELY
    }

    /// Others wait for a row that was just written.
    fn ring(&mut self) {
        self.row.bell += 1;
        self.send_heartbeat();
    }

    fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.base)
    }

    fn apply(&mut self, input: Input) {
        let mut actions = Vec::new();
        let now = self.since_start(Instant::now());
        if self.fence.slept() {
            warn!("the machine slept: every lease is dropped");
            self.protocol.apply(now, Input::Slept, &mut actions);
            self.fence = Fence::closed(self.base, self.shared.clock);
        }
        self.protocol.apply(now, input, &mut actions);
        if self.protocol.times_fenced() != self.times_fenced {
            // The old fence is never moved again: an aborted consumer that still runs on another thread stays fenced.
            self.times_fenced = self.protocol.times_fenced();
            self.fence = Fence::closed(self.base, self.shared.clock);
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
            Action::Remove(row) => self.remove(row),
            Action::Look => self.read_leases(),
            Action::Ring => self.ring(),
            Action::Note(shard, note) => self.note(&shard, &note),
        }
    }
}
