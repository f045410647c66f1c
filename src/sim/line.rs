//! The line of one worker to the services: the ports, simulated.
//!
//! A call leaves the worker, travels, takes effect, and its answer travels back. Once it has left it goes its way whether
//! or not the caller still waits or lives: an abandoned write may well take effect, as with a real network. While a
//! worker is paused nothing leaves it and no answer reaches it; a dead worker's calls never leave.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    model::{
        decision::{Answer, Decision, Event as StreamEvent},
        lease::{LeaseRow, LeaseWrite, WorkerId, WorkerRow, Written},
        position::{Checkpoint, Page, ShardId, ShardInfo, ShardIterator},
        presence::{Move, Presence},
    },
    ports::{DecisionTable, EventStream, Failed, Fault, FaultKind, LeaseTable, SwipeStream},
    sim::{
        faults::{Call, Outcome, Trip},
        log::{Event, Ms},
        world::{Caller, Lie, Row, World, fault, number},
    },
};

/// How a worker is.
#[derive(Clone, Copy, Debug)]
struct Health {
    alive: bool,
    paused_until: Ms,
    cut_off_until: Ms,
}

/// The services and what lies between them and the fleet.
#[derive(Debug)]
pub struct Network {
    start: Instant,
    world: Mutex<World>,
    health: Mutex<BTreeMap<WorkerId, Health>>,
}

impl Network {
    /// A network to `world`, whose time begins now.
    pub fn new(world: World) -> Self {
        Self {
            start: Instant::now(),
            world: Mutex::new(world),
            health: Mutex::default(),
        }
    }

    /// Virtual time.
    pub fn now(&self) -> Ms {
        u64::try_from(self.start.elapsed().as_millis()).expect("a short run")
    }

    /// The instant of a virtual time.
    pub fn instant(&self, at: Ms) -> Instant {
        self.start + Duration::from_millis(at)
    }

    /// The services, at this time.
    pub fn world(&self) -> MutexGuard<'_, World> {
        let now = self.now();
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.at(now);
        world
    }

    fn health(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker that is well.
    pub fn born(&self, worker: &WorkerId) {
        let health = Health {
            alive: true,
            paused_until: 0,
            cut_off_until: 0,
        };
        self.health().insert(worker.clone(), health);
    }

    fn change(&self, worker: &WorkerId, change: impl FnOnce(&mut Health)) {
        if let Some(health) = self.health().get_mut(worker) {
            change(health);
        }
    }

    /// The worker is no more.
    pub fn died(&self, worker: &WorkerId) {
        self.change(worker, |health| health.alive = false);
    }

    /// The worker stands still until then.
    pub fn pause(&self, worker: &WorkerId, until: Ms) {
        self.change(worker, |health| health.paused_until = until);
    }

    /// The worker does not reach the lease tables until then.
    pub fn cut_off(&self, worker: &WorkerId, until: Ms) {
        self.change(worker, |health| health.cut_off_until = until);
    }
}

/// What a sink of events is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// The decision stream, and every other port.
    Decisions,
    /// The stream of rejects.
    Rejects,
}

/// The line of one worker.
#[derive(Clone, Debug)]
pub struct Line {
    network: Arc<Network>,
    worker: WorkerId,
    sink: Sink,
}

impl Line {
    /// The line of `worker`, whose events go to `sink`.
    pub fn new(network: &Arc<Network>, worker: &WorkerId, sink: Sink) -> Self {
        Self {
            network: Arc::clone(network),
            worker: worker.clone(),
            sink,
        }
    }

    /// Waits while the worker is paused, for ever when it is dead. Returns until when it is cut off.
    async fn awake(&self) -> Ms {
        loop {
            let health = self.network.health()[&self.worker];
            if !health.alive {
                return std::future::pending().await;
            }
            if health.paused_until <= self.network.now() {
                return health.cut_off_until;
            }
            sleep_until(self.network.instant(health.paused_until)).await;
        }
    }

    fn trip(&self, call: Call, name: &'static str, cut_off_until: Ms) -> (Trip, Caller) {
        let now = self.network.now();
        let mut world = self.network.world();
        let rates = world.rates;
        let mut trip = rates.trip(call, &mut world.dice);
        if call == Call::Lease && now < cut_off_until {
            (trip.outcome, trip.fault) = (Outcome::RequestLost, Some("cut off"));
        }
        if call == Call::Put && world.lie == Some(Lie::WritesConfirmedEarly) {
            trip.there = Duration::from_millis(3_000);
        }
        if let Some(how) = trip.fault {
            let (worker, call) = (self.worker.clone(), name);
            world.tell(Event::Fault { worker, call, how });
        }
        let from = Caller {
            worker: self.worker.clone(),
            sent: world.log.mark(),
        };
        (trip, from)
    }

    async fn call<R: Send + 'static>(
        &self,
        call: Call,
        name: &'static str,
        effect: impl FnOnce(&mut World, &Caller) -> Result<R, Fault> + Send + 'static,
    ) -> Result<R, Fault> {
        let cut_off_until = self.awake().await;
        let (trip, from) = self.trip(call, name, cut_off_until);
        let (answer, answered) = oneshot::channel();
        let network = Arc::clone(&self.network);
        tokio::spawn(async move {
            sleep(trip.there).await;
            let reply = match trip.outcome {
                Outcome::Served => Some(effect(&mut network.world(), &from)),
                Outcome::Refused(kind) => Some(Err(fault(kind, name))),
                Outcome::RequestLost => None,
                Outcome::ReplyLost => {
                    let _unheard = effect(&mut network.world(), &from);
                    None
                }
            };
            sleep(trip.back).await;
            match reply {
                Some(reply) => drop(answer.send(reply)),
                None if trip.silent => sleep(call.patience()).await,
                None => {}
            }
        });
        let reply = match timeout(call.patience(), answered).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Err(fault(FaultKind::Transient, "connection reset")),
            Err(_) => Err(fault(FaultKind::Transient, "timed out")),
        };
        self.awake().await;
        reply
    }

    /// Sends a batch; under the lie of early confirmation nobody waits for it.
    async fn put_batch(
        &self,
        name: &'static str,
        effect: impl FnOnce(&mut World, &Caller) -> Vec<Failed> + Send + 'static,
    ) -> Result<Vec<Failed>, Fault> {
        if self.lie() == Some(Lie::WritesConfirmedEarly) {
            let line = self.clone();
            tokio::spawn(async move {
                let call = line.call(Call::Put, name, |world, from| Ok(effect(world, from)));
                let _unheard = call.await;
            });
            sleep(Duration::from_millis(2)).await;
            return Ok(Vec::new());
        }
        self.call(Call::Put, name, |world, from| Ok(effect(world, from)))
            .await
    }

    fn lie(&self) -> Option<Lie> {
        self.network.world().lie
    }
}

impl SwipeStream for Line {
    async fn shards(&self) -> Result<Vec<ShardInfo>, Fault> {
        self.call(Call::Ask, "ListShards", |world, _| Ok(world.list()))
            .await
    }

    async fn iterator(&self, shard: &ShardId, from: &Checkpoint) -> Result<ShardIterator, Fault> {
        let (shard, from) = (shard.clone(), from.clone());
        self.call(Call::Ask, "GetShardIterator", move |world, _| {
            world.iterator(&shard, &from)
        })
        .await
    }

    async fn read(&self, shard: &ShardId, iterator: ShardIterator) -> Result<Page, Fault> {
        let shard = shard.clone();
        self.call(Call::Read, "GetRecords", move |world, from| {
            world.read(from, &shard, &iterator)
        })
        .await
    }
}

impl EventStream for Line {
    async fn put(&self, events: &[StreamEvent<'_>]) -> Result<Vec<Failed>, Fault> {
        let events: Vec<Vec<u8>> = events.iter().map(|event| event.data.to_vec()).collect();
        let rejects = self.sink == Sink::Rejects;
        self.put_batch("PutRecords", move |world, from| {
            world.put_events(from, &events, rejects)
        })
        .await
    }
}

fn key(decision: &Decision<'_>) -> String {
    format!("{}/{}", decision.partition_key(), decision.sort_key())
}

impl DecisionTable for Line {
    async fn put(&self, decisions: &[&Decision<'_>]) -> Result<Vec<Failed>, Fault> {
        let rows: Vec<Row> = decisions
            .iter()
            .map(|decision| Row {
                key: key(decision),
                id: decision.id(),
                shard: ShardId::new(decision.source.shard),
                place: (number(decision.source.sequence), decision.source.sub),
                answer: decision.answer,
            })
            .collect();
        self.put_batch("BatchWriteItem", move |world, from| {
            world.put_rows(from, &rows)
        })
        .await
    }

    async fn stored(&self, decisions: &[Decision<'_>]) -> Result<Vec<Option<Answer>>, Fault> {
        let keys: Vec<String> = decisions.iter().map(key).collect();
        self.call(Call::Look, "BatchGetItem", move |world, _| {
            Ok(world.look(&keys))
        })
        .await
    }

    async fn presences(
        &self,
        asked: &[(Box<str>, Arc<str>)],
    ) -> Result<Vec<Option<Presence>>, Fault> {
        let asked = asked.to_vec();
        self.call(Call::Look, "BatchGetItem presence", move |world, _| {
            Ok(world.presences(&asked))
        })
        .await
    }

    async fn put_presences(&self, moves: &[Move]) -> Result<(), Fault> {
        let moves = moves.to_vec();
        self.call(
            Call::Put,
            "TransactWriteItems presence",
            move |world, from| {
                world.put_presences(from, &moves);
                Ok(())
            },
        )
        .await
    }

    async fn count_inside(&self, area: &str) -> Result<Option<u64>, Fault> {
        let area = area.to_owned();
        self.call(Call::Look, "Query presence", move |world, _| {
            Ok(Some(world.count_inside(&area)))
        })
        .await
    }
}

impl LeaseTable for Line {
    async fn leases(&self) -> Result<Vec<LeaseRow>, Fault> {
        self.call(Call::Lease, "Scan leases", |world, _| Ok(world.leases()))
            .await
    }

    async fn create(&self, rows: &[LeaseRow]) -> Result<(), Fault> {
        let rows = rows.to_vec();
        self.call(Call::Lease, "PutItem lease", move |world, from| {
            world.create(from, &rows);
            Ok(())
        })
        .await
    }

    async fn write(&self, write: &LeaseWrite) -> Result<Written, Fault> {
        let write = write.clone();
        self.call(Call::Lease, "UpdateItem lease", move |world, from| {
            Ok(world.write(from, &write, &[]))
        })
        .await
    }

    async fn end_shard(&self, write: &LeaseWrite, children: &[LeaseRow]) -> Result<Written, Fault> {
        let (write, children) = (write.clone(), children.to_vec());
        self.call(Call::Lease, "TransactWriteItems", move |world, from| {
            Ok(world.write(from, &write, &children))
        })
        .await
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, Fault> {
        let me = self.worker.clone();
        self.call(Call::Lease, "Scan workers", move |world, _| {
            let mut rows = world.workers();
            if world.lie == Some(Lie::OldHeartbeats) {
                // Each heartbeat but one's own is shown as it was up to five seconds ago.
                for row in rows.iter_mut().filter(|row| row.id != me) {
                    row.heartbeat -= row.heartbeat % 5;
                }
            }
            Ok(rows)
        })
        .await
    }

    async fn heartbeat(
        &self,
        row: &WorkerRow,
        in_place_of: Option<&WorkerRow>,
    ) -> Result<bool, Fault> {
        let (row, dead) = (row.clone(), in_place_of.cloned());
        let stored = self
            .call(Call::Lease, "PutItem heartbeat", move |world, _| {
                Ok(world.heartbeat(&row, dead.as_ref()))
            })
            .await;
        if self.lie() == Some(Lie::FenceNeverCloses) {
            return Ok(true);
        }
        stored
    }

    async fn forget(&self, row: &WorkerRow) -> Result<(), Fault> {
        let row = row.clone();
        self.call(Call::Lease, "DeleteItem worker", move |world, from| {
            world.forget(from, &row);
            Ok(())
        })
        .await
    }

    async fn remove(&self, row: &LeaseRow) -> Result<(), Fault> {
        let row = row.clone();
        self.call(Call::Lease, "DeleteItem lease", move |world, from| {
            world.remove(from, &row);
            Ok(())
        })
        .await
    }

    async fn start(&self, proposed: &Checkpoint) -> Result<Checkpoint, Fault> {
        let proposed = proposed.clone();
        self.call(Call::Lease, "PutItem start", move |world, _| {
            Ok(world.start(&proposed))
        })
        .await
    }
}
