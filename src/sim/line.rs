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

use serde_json::Value;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    model::{
        decision::{Answer, Decision, Event as StreamEvent},
        lease::{LeaseRow, LeaseWrite, WorkerId, WorkerRow, Written},
        position::{Begin, Checkpoint, Page, ShardId, ShardInfo, ShardIterator},
        presence::{Move, Presence},
    },
    ports::{DecisionTable, EventStream, Failed, Fault, FaultKind, LeaseTable, SwipeStream},
    sim::{
        faults::{Call, Outcome, Trip},
        fleet::FAILOVER,
        log::{Event, Ms},
        subscriptions::{Held, Sent},
        world::{Caller, Lie, Moved, Row, World, fault, number},
    },
};

/// How a worker is.
#[derive(Clone, Copy, Debug)]
struct Health {
    alive: bool,
    paused_until: Ms,
    cut_off_until: Ms,
    /// What its wall clock said at time 0 of the run.
    zero_ms: i64,
}

/// Calls that a worker has under way: by its name, the call's, and the shard it is about.
type UnderWay = BTreeMap<(WorkerId, &'static str, ShardId), usize>;

/// The services and what lies between them and the fleet.
#[derive(Debug)]
pub struct Network {
    start: Instant,
    world: Mutex<World>,
    health: Mutex<BTreeMap<WorkerId, Health>>,
    under_way: Mutex<UnderWay>,
}

/// A call that is under way until its caller has the answer, or no longer waits for it.
struct Waiting<'n> {
    network: &'n Network,
    key: (WorkerId, &'static str, ShardId),
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut under_way = self.network.under_way();
        if let Some(open) = under_way.get_mut(&self.key) {
            *open -= 1;
        }
    }
}

impl Network {
    /// A network to `world`, whose time begins now.
    pub fn new(world: World) -> Self {
        Self {
            start: Instant::now(),
            world: Mutex::new(world),
            health: Mutex::default(),
            under_way: Mutex::default(),
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

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn wall_clock(&self, worker: &WorkerId) -> i64 {
        let zero_ms = self.health()[worker].zero_ms;
        zero_ms + i64::try_from(self.now()).expect("a short run")
    }

    /// A worker that is well, and whose wall clock said `zero_ms` when the run began.
    pub fn born(&self, worker: &WorkerId, zero_ms: i64) {
        let health = Health {
            alive: true,
            paused_until: 0,
            cut_off_until: 0,
            zero_ms,
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

/// How often a subscription looks for something to send.
const EVENT_TICK: Duration = Duration::from_millis(50);

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

    /// Says that a call about `shard` leaves, and counts it until what is returned is dropped.
    fn asks(&self, call: &'static str, shard: &ShardId, entries: usize) -> Waiting<'_> {
        let key = (self.worker.clone(), call, shard.clone());
        let open = {
            let mut under_way = self.network.under_way();
            let open = under_way.entry(key.clone()).or_default();
            *open += 1;
            *open
        };
        self.network.world().tell(Event::Asked {
            worker: self.worker.clone(),
            call,
            shard: shard.clone(),
            entries,
            open,
        });
        let network = &self.network;
        Waiting { network, key }
    }

    fn trip(&self, call: Call, name: &'static str, cut_off_until: Ms) -> (Trip, Caller) {
        let (now, wall_ms) = (self.network.now(), self.network.wall_clock(&self.worker));
        let mut world = self.network.world();
        if name == "PutItem heartbeat" {
            world.stamp(&self.worker, wall_ms);
        }
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

    /// The write, or what a lie makes of it.
    fn planted(&self, write: &LeaseWrite) -> LeaseWrite {
        let gives =
            write.owner_was.as_ref() == Some(&self.worker) && write.owner != write.owner_was;
        let behind = gives && self.lie() == Some(Lie::GivenBehind);
        LeaseWrite {
            checkpoint: write.checkpoint.clone().filter(|_| !behind),
            ..write.clone()
        }
    }
}

impl SwipeStream for Line {
    type Subscription = Subscription;

    async fn subscribe(&self, shard: &ShardId, from: &Begin) -> Result<Subscription, Fault> {
        self.subscription(shard, from).await
    }

    async fn event(&self, subscription: &mut Subscription) -> Result<Option<Page>, Fault> {
        self.sent(subscription).await
    }

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
        let _waiting = self.asks("GetRecords", shard, 1);
        let id = shard.clone();
        let page = self.call(Call::Read, "GetRecords", move |world, from| {
            world.read(from, &id, &iterator)
        });
        let page = page.await;
        let held_back = self.network.world().held_back(shard);
        if held_back > 0 {
            sleep(Duration::from_millis(held_back)).await;
        }
        page
    }
}

/// A subscription that a worker holds.
#[derive(Debug)]
pub struct Subscription {
    line: Line,
    shard: ShardId,
    held: Held,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // The services do not notice that a worker is dead.
        if self.line.network.health()[&self.line.worker].alive {
            self.line
                .network
                .world()
                .unsubscribe(&self.shard, &self.held);
        }
    }
}

impl Line {
    async fn subscription(&self, shard: &ShardId, from: &Begin) -> Result<Subscription, Fault> {
        let (id, from) = (shard.clone(), from.clone());
        let held = self.call(Call::Ask, "SubscribeToShard", move |world, _| {
            world.subscribe(&id, &from)
        });
        Ok(Subscription {
            held: held.await?,
            line: self.clone(),
            shard: shard.clone(),
        })
    }

    /// What comes next by a subscription: now and then an error, or nothing any more.
    async fn sent(&self, subscription: &mut Subscription) -> Result<Option<Page>, Fault> {
        let asked = self.network.now();
        loop {
            self.awake().await;
            let from = Caller {
                worker: self.worker.clone(),
                sent: self.network.world().log.mark(),
            };
            let (shard, held) = (&subscription.shard, &mut subscription.held);
            let sent = self.network.world().send(&from, shard, held, asked);
            match sent {
                Sent::Nothing => sleep(EVENT_TICK).await,
                Sent::Silence => std::future::pending().await,
                Sent::Cut => return Err(fault(FaultKind::Transient, "connection reset")),
                Sent::End => return Ok(None),
                Sent::Page(page) => {
                    sleep(EVENT_TICK / 10).await;
                    self.awake().await;
                    return Ok(Some(page));
                }
            }
        }
    }
}

impl EventStream for Line {
    async fn put(&self, events: &[StreamEvent<'_>]) -> Result<Vec<Failed>, Fault> {
        let events: Vec<Vec<u8>> = events.iter().map(|event| event.data.to_vec()).collect();
        let rejects = self.sink == Sink::Rejects;
        let name = if rejects {
            "PutRecords rejects"
        } else {
            "PutRecords"
        };
        let _waiting = self.asks(name, &shard_of(&events[0]), events.len());
        self.put_batch(name, move |world, from| {
            world.put_events(from, &events, rejects)
        })
        .await
    }
}

/// On which page of a scan the row of a shard is.
fn is_odd(shard: &ShardId) -> bool {
    let bytes = shard.as_str().bytes();
    bytes.fold(7_u8, |hash, byte| hash.wrapping_mul(31) ^ byte) & 2 != 0
}

/// The shard whose record an event answers.
fn shard_of(event: &[u8]) -> ShardId {
    let event: Value = serde_json::from_slice(event).expect("an event is JSON");
    ShardId::new(event["source"]["shard"].as_str().unwrap_or_default())
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
        let _waiting = self.asks("BatchWriteItem", &rows[0].shard, rows.len());
        self.put_batch("BatchWriteItem", move |world, from| {
            world.put_rows(from, &rows)
        })
        .await
    }

    async fn stored(&self, decisions: &[Decision<'_>]) -> Result<Vec<Option<Answer>>, Fault> {
        let keys: Vec<String> = decisions.iter().map(key).collect();
        let shard = ShardId::new(decisions[0].source.shard);
        let _waiting = self.asks("BatchGetItem", &shard, keys.len());
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

    async fn put_presences(&self, moves: &[Move<'_>]) -> Result<(), Fault> {
        let moves: Vec<Moved> = moves
            .iter()
            .map(|moved| Moved {
                card: Box::from(&*moved.swipe.card_id),
                group: Arc::clone(moved.group),
                presence: moved.presence(),
                id: moved.decision_id(),
            })
            .collect();
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

    async fn count_inside(&self, areas: &[Arc<str>]) -> Result<Option<u64>, Fault> {
        let areas = areas.to_vec();
        self.call(Call::Look, "Query presence", move |world, _| {
            Ok(Some(world.count_inside(&areas)))
        })
        .await
    }
}

impl Line {
    /// Workers, as who trusts the wall clock sees them: those whose last heartbeat is younger than the failover time.
    async fn workers_by_wall_clock(&self) -> Result<Vec<WorkerRow>, Fault> {
        let (now_ms, age) = (self.network.wall_clock(&self.worker), FAILOVER.as_millis());
        let age = i64::try_from(age).expect("seconds");
        self.call(Call::Lease, "Scan workers", move |world, _| {
            Ok(world.workers_by_wall_clock(now_ms, age))
        })
        .await
    }
}

impl LeaseTable for Line {
    async fn leases(&self) -> Result<Vec<LeaseRow>, Fault> {
        // A scan is no snapshot: its pages are of different instants, and in the order of a hash.
        let page = |name, odd: bool| {
            self.call(Call::Lease, name, move |world, _| {
                let rows = world.leases().into_iter();
                Ok(rows.filter(|row| is_odd(&row.shard) == odd).collect())
            })
        };
        let mut rows: Vec<LeaseRow> = page("Scan leases", false).await?;
        rows.extend(page("Scan leases, page 2", true).await?);
        Ok(rows)
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
        let _waiting = self.asks("lease write", &write.shard, 1);
        let write = self.planted(write);
        if self.lie() == Some(Lie::WritesTwice) {
            let (line, write) = (self.clone(), write.clone());
            tokio::spawn(async move {
                let _waiting = line.asks("lease write", &write.shard, 1);
                let call = line.call(Call::Lease, "UpdateItem lease", move |world, from| {
                    Ok(world.write(from, &write, &[]))
                });
                let _unheard = call.await;
            });
        }
        self.call(Call::Lease, "UpdateItem lease", move |world, from| {
            Ok(world.write(from, &write, &[]))
        })
        .await
    }

    async fn end_shard(&self, write: &LeaseWrite, children: &[LeaseRow]) -> Result<Written, Fault> {
        let _waiting = self.asks("lease write", &write.shard, 1 + children.len());
        let (write, children) = (write.clone(), children.to_vec());
        self.call(Call::Lease, "TransactWriteItems", move |world, from| {
            Ok(world.write(from, &write, &children))
        })
        .await
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, Fault> {
        let me = self.worker.clone();
        if self.lie() == Some(Lie::WallClock) {
            return self.workers_by_wall_clock().await;
        }
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
