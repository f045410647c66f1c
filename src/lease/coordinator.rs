//! The lease coordinator: carries out what the protocol asks for. It waits, calls and starts; it decides nothing.
//!
//! It is the only writer of lease rows. Consumers report how far they are; it reads those reports once a heartbeat and lets the
//! protocol decide what to write. Every call runs beside the others, so that a slow scan delays no heartbeat, and
//! none is repeated below this loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    lease::{
        protocol::{Action, Input, Note, Protocol, Timing},
        sync,
        view::{Seen, Standing},
    },
    metrics::{self, CheckpointOutcome, LeaseEvent, LeaseMetrics, LeaseState},
    model::{
        lease::{LeaseRow, LeaseWrite, WorkerId, WorkerRow, Written},
        position::{Checkpoint, ShardId},
    },
    pipeline::{
        consumer::{Finish, Progress, ShardConsumer, Shared},
        fence::Fence,
    },
    ports::{DecisionTable, EventStream, Fault, LeaseTable, ShardInfo, SwipeStream},
};

/// After this a silent worker's row is removed from the workers table.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

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

/// What came back.
enum Event {
    Heartbeat(Instant, Result<(), Fault>),
    Workers(Instant, Result<Vec<WorkerRow>, Fault>),
    Leases(Instant, Result<Vec<LeaseRow>, Fault>),
    Shards(Result<Vec<ShardInfo>, Fault>),
    Created(usize, Result<(), Fault>),
    Written(ShardId, Result<Written, Fault>),
    Forgotten,
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
            status,
        }
    }

    /// Holds leases until `drain` is cancelled, then gives all of them away and returns. `beat` is called once a round.
    pub async fn run(mut self, drain: CancellationToken, beat: impl Fn()) {
        let mut ticks = interval(self.limits.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
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

    fn tick(&mut self) {
        if !self.under_way.heartbeat {
            self.send_heartbeat();
        }
        let table = &self.table;
        if !std::mem::replace(&mut self.under_way.workers, true) {
            let (table, asked) = (Arc::clone(table), Instant::now());
            self.calls.push(Box::pin(async move {
                Event::Workers(asked, table.workers().await)
            }));
        }
        if !std::mem::replace(&mut self.under_way.leases, true) {
            let (table, asked) = (Arc::clone(&self.table), Instant::now());
            self.calls.push(Box::pin(async move {
                Event::Leases(asked, table.leases().await)
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

    fn send_heartbeat(&mut self) {
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

    fn came_back(&mut self, event: Event) {
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

    fn seen(&self, asked: Instant) -> Seen {
        Seen {
            asked: self.since_start(asked),
            replied: self.since_start(Instant::now()),
        }
    }

    fn succeeded<R>(&self, what: &'static str, reply: Result<R, Fault>) -> Option<R> {
        match reply {
            Ok(reply) => Some(reply),
            Err(fault) => {
                metrics::fault(&fault);
                warn!(%fault, "{what}");
                None
            }
        }
    }

    fn sync(&mut self, shards: &[ShardInfo]) {
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

    fn collect_progress(&mut self) {
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

    fn consumer_ended(&mut self, ended: Result<(Id, Finish), JoinError>) {
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

    fn apply(&mut self, input: Input) {
        let mut actions = Vec::new();
        let now = self.since_start(Instant::now());
        self.protocol.apply(now, input, &mut actions);
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

    fn start(&mut self, shard: ShardId, run: u64, from: Checkpoint) {
        let (report, progress) = watch::channel(Progress::default());
        let fence = self.fence.clone();
        let consumer = ShardConsumer::new(&self.shared, shard.clone(), from, fence, report);
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

    fn write(&mut self, write: LeaseWrite, children: Vec<LeaseRow>) {
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

    fn note(&self, shard: &ShardId, note: &Note) {
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

    fn publish(&self) {
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
        let workers = view.targets(!self.draining).len();
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
