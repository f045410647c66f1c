//! A fleet: real coordinators and real consumers over simulated lines, producers, and what happens to them in time.
//!
//! A worker is the task of its coordinator; its consumers live and die with it. A crash marks the line dead and drops the
//! task, so that nothing more leaves it, while what is on its way still arrives. Clocks of different rates are given as
//! limits of different lengths, which is the same thing seen from outside.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use md5::{Digest, Md5};
use tokio::{sync::watch, task::JoinHandle, time::sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{
        cache::{AccessCache, Snapshot},
        fixtures::{item, list, map, n, put, s},
    },
    lease::{
        coordinator::{Coordinator, LeaseLimits, LeaseReport},
        protocol::Timing,
    },
    model::{item::Item, lease::WorkerId, position::Checkpoint},
    pipeline::{
        aggregate::MAGIC,
        batch::BatchLimits,
        consumer::{ConsumerLimits, Shared},
        decide::Policy,
        reader::{ByteBudget, FanOutLimits, Pace, ReadLimits},
        writer::{Sinks, WriteLimits},
    },
    ports::Clock,
    sim::{
        faults::Rates,
        line::{Line, Network, Sink},
        log::{Event, Fate, Log, Ms},
        world::{HASH_KEYS, Lie, World},
    },
};

/// When the simulated world begins: Monday 2 March 2026.
const EPOCH_MS: i64 = 1_772_438_321_123;

/// Cards that are used.
const CARDS: u32 = 9;

/// The fleet's failover time, in its workers' own clocks.
pub const FAILOVER: Duration = Duration::from_secs(3);

/// A quarter of it, as the daemon has it.
const MARGIN: Duration = Duration::from_millis(750);

/// Small batches, so that a page takes several.
pub const WRITES: WriteLimits = WriteLimits {
    events: BatchLimits {
        entries: 5,
        bytes: 100_000,
    },
    table_puts: 4,
    table_gets: 6,
    table_moves: 5,
    in_flight: 2,
    table_in_flight: 3,
};

/// Ten times as fast as the service's times, but for the five seconds in which a subscription cannot be replaced.
const FAN_OUT: FanOutLimits = FanOutLimits {
    renew: Duration::from_secs(6),
    idle: Duration::from_millis(1500),
    room: Duration::from_secs(2),
    fall_back: Duration::from_secs(4),
};

/// Something done to the world or the fleet.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Worker of that number starts.
    Start(u32),
    /// It is gone at once.
    Crash(u32),
    /// It is told to stop.
    Drain(u32),
    /// It stands still for so long.
    Pause(u32, Ms),
    /// It does not reach the lease tables for so long.
    CutOff(u32, Ms),
    /// A shard is split.
    Split(usize),
    /// Two shards are merged.
    Merge(usize),
    /// The stream gets twice as many shards, or half as many.
    Scale(bool),
    /// The lease table is as an application of KCL left it a while ago.
    KclRows,
    /// The lease table is as the same workers, so many, left it a moment ago.
    OwnRows(u32),
    /// A shard on which no record ever was is read as seldom as this.
    IdlePace(Ms),
    /// A worker of that application renews its leases.
    KclRenews(u32),
    /// Records older than this are forgotten.
    Trim(Ms),
    /// From now on calls fail so often.
    Weather(Rates),
}

/// What a run consists of.
#[derive(Clone, Debug)]
pub struct Course {
    /// Shards at the beginning.
    pub shards: u32,
    /// Swipes that are made.
    pub swipes: u32,
    /// During how long.
    pub made_within: Ms,
    /// How many of a thousand swipes a producer sends again.
    pub sent_again: u32,
    /// How many times some card changes.
    pub card_changes: u32,
    /// Whether the workers' clocks differ in rate and in time of day.
    pub clocks_differ: bool,
    /// Between two lists of the stream's shards.
    pub shard_sync: Duration,
    /// Between two checkpoints of a busy shard.
    pub checkpoint: Duration,
    /// What happens when.
    pub acts: Vec<(Ms, Act)>,
    /// When it stops to go wrong.
    pub quiet_at: Ms,
    /// When the run ends.
    pub end_at: Ms,
    /// The bug that is planted.
    pub lie: Option<Lie>,
    /// Whether shards are read by fan-out, and with how many bytes of events a worker at once.
    pub fan_out: Option<u32>,
}

/// What happens next.
pub enum Step {
    /// Something is done to the world or the fleet.
    Act(Act),
    /// A record is put on the shard of this hash key, with the decision id of each of its users.
    Append(u32, Vec<u8>, Vec<Option<String>>),
    /// A card is changed.
    Card(u32, &'static str),
    /// From now on nothing fails.
    Quiet,
}

/// Runs `course` with the dice of `seed` and returns what happened.
pub fn run(course: &Course, seed: u64) -> Log {
    let mut dice = Rng::with_seed(seed ^ 0x5eed);
    let steps = steps(course, &mut dice);
    play(course, seed, dice, steps)
}

/// Runs `course` with these steps in place of its own.
pub fn play(course: &Course, seed: u64, dice: Rng, steps: Vec<(Ms, Step)>) -> Log {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    // The jitter of the loops comes from the thread's own dice.
    fastrand::seed(seed);
    runtime.block_on(async {
        let mut world = World::new(seed, course.shards, EPOCH_MS);
        world.lie = course.lie;
        let network = Arc::new(Network::new(world));
        let mut fleet = Fleet {
            network: Arc::clone(&network),
            dice,
            course,
            cards: (0..CARDS).map(|card| (card, ("issued", 1))).collect(),
            workers: BTreeMap::new(),
        };
        for (at, step) in steps {
            sleep_until(network.instant(at)).await;
            fleet.step(step);
        }
        sleep_until(network.instant(course.end_at)).await;
        std::mem::take(&mut network.world().log)
    })
}

fn steps(course: &Course, dice: &mut Rng) -> Vec<(Ms, Step)> {
    let mut steps: Vec<(Ms, Step)> = course
        .acts
        .iter()
        .map(|(at, act)| (*at, Step::Act(*act)))
        .collect();
    steps.push((course.quiet_at, Step::Quiet));
    for _ in 0..course.card_changes {
        let (card, at) = (dice.u32(..CARDS), dice.u64(..course.quiet_at));
        let status = *dice.choice(&["issued", "revoked", "lost"]).expect("three");
        steps.push((at, Step::Card(card, status)));
    }
    let mut made = 0;
    while made < course.swipes {
        let (card, at) = (dice.u32(..CARDS), dice.u64(..course.made_within));
        let users = if dice.u32(..20) == 0 {
            dice.u32(2..5)
        } else {
            1
        };
        let mut payloads = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..users {
            made += 1;
            let (payload, id) = payload(card, made, at, dice);
            payloads.push(payload);
            ids.push(id);
        }
        let data = if users == 1 {
            payloads.remove(0)
        } else {
            aggregate(&payloads)
        };
        let key = card * (HASH_KEYS / CARDS) + 1;
        if dice.u32(..1000) < course.sent_again {
            let again = at + dice.u64(50..3_000);
            steps.push((again, Step::Append(key, data.clone(), ids.clone())));
        }
        steps.push((at, Step::Append(key, data, ids)));
    }
    steps.sort_by_key(|(at, _)| *at);
    steps
}

/// A swipe, or now and then what is none.
pub fn payload(card: u32, seq: u32, at: Ms, dice: &mut Rng) -> (Vec<u8>, Option<String>) {
    if dice.u32(..40) == 0 {
        return (format!("no swipe {seq}").into_bytes(), None);
    }
    let swiped_at_ms = EPOCH_MS + i64::try_from(at).expect("a short run") - dice.i64(0..500);
    let swipe = format!(
        r#"{{"v":1,"device_id":"gate-{card}","device_seq":{seq},"access_point":"in","card_id":"{card}","swiped_at_ms":{swiped_at_ms}}}"#
    );
    (swipe.into_bytes(), Some(format!("gate-{card}#{seq}")))
}

fn aggregate(users: &[Vec<u8>]) -> Vec<u8> {
    let length = |bytes: usize| {
        let byte = |value: usize| u8::try_from(value).expect("seven bits and a mark");
        vec![byte(bytes & 0x7f | 0x80), byte(bytes >> 7)]
    };
    let mut message = b"\x0a\x01k".to_vec();
    for user in users {
        let record = [&[8, 0, 0x1a][..], &length(user.len()), user].concat();
        message.push(0x1a);
        message.extend(length(record.len()));
        message.extend(record);
    }
    [&MAGIC[..], &message, &Md5::digest(&message)].concat()
}

fn worker_id(number: u32) -> WorkerId {
    WorkerId::new(&format!("w{number}"))
}

struct Worker {
    id: WorkerId,
    cache: Arc<AccessCache>,
    drain: CancellationToken,
    task: JoinHandle<()>,
}

struct Fleet<'c> {
    network: Arc<Network>,
    dice: Rng,
    course: &'c Course,
    cards: BTreeMap<u32, (&'static str, i64)>,
    workers: BTreeMap<u32, Worker>,
}

impl Fleet<'_> {
    fn step(&mut self, step: Step) {
        match step {
            Step::Append(key, data, users) => self.network.world().append(key, data, users),
            Step::Card(card, status) => self.change_card(card, status),
            Step::Act(act) => self.act(act),
            Step::Quiet => {
                let mut world = self.network.world();
                world.rates = Rates::default();
                world.tell(Event::Quiet);
            }
        }
    }

    fn act(&mut self, act: Act) {
        let now = self.network.now();
        match act {
            Act::Start(number) => self.start(number),
            Act::Crash(number) => {
                if let Some(worker) = self.tell(number, Fate::Crashed) {
                    self.network.died(&worker.id);
                    worker.task.abort();
                    self.workers.remove(&number);
                }
            }
            Act::Drain(number) => {
                if let Some(worker) = self.tell(number, Fate::Draining) {
                    worker.drain.cancel();
                }
            }
            Act::Pause(number, ms) => {
                if let Some(worker) = self.tell(number, Fate::Paused(ms)) {
                    self.network.pause(&worker.id, now + ms);
                }
            }
            Act::CutOff(number, ms) => {
                if let Some(worker) = self.tell(number, Fate::CutOff(ms)) {
                    self.network.cut_off(&worker.id, now + ms);
                }
            }
            Act::Split(nth) => self.network.world().split(nth),
            Act::Merge(nth) => self.network.world().merge(nth),
            Act::Scale(up) => self.network.world().scale(up),
            Act::OwnRows(workers) => {
                let owners: Vec<WorkerId> = (0..workers).map(worker_id).collect();
                self.network.world().left_by(&owners);
            }
            Act::IdlePace(pace) => self.network.world().idle_pace = pace,
            Act::KclRows => self.network.world().left_by_kcl(),
            Act::KclRenews(number) => self.network.world().renewed_by_kcl(number),
            Act::Trim(age) => self.network.world().trim(age),
            Act::Weather(rates) => self.network.world().rates = rates,
        }
    }

    fn tell(&self, number: u32, what: Fate) -> Option<&Worker> {
        let worker = self.workers.get(&number)?;
        if worker.task.is_finished() {
            return None;
        }
        self.network.world().tell(Event::Fleet {
            worker: worker.id.clone(),
            what,
        });
        Some(worker)
    }

    fn start(&mut self, number: u32) {
        let id = worker_id(number);
        let network = Arc::clone(&self.network);
        // Of one percent of a second, so that rates differ by five at most.
        let (rate, skew_ms) = if self.course.clocks_differ {
            (self.dice.u32(95..=105), self.dice.i64(-2_000..2_000))
        } else {
            (100, 0)
        };
        let zero_ms = EPOCH_MS + skew_ms;
        network.born(&id, zero_ms);
        self.tell_of(&id, zero_ms);
        let cache = Arc::new(self.cache());
        let shared = shared(&network, &id, &cache, zero_ms, self.course.fan_out);
        let limits = limits(rate, self.course);
        let (status, _) = watch::channel(LeaseReport::default());
        let table = Arc::new(Line::new(&network, &id, Sink::Decisions));
        let coordinator = Coordinator::new(
            id.clone(),
            u64::from(number),
            table,
            Arc::new(shared),
            limits,
            status,
        );
        let drain = CancellationToken::new();
        let (token, me) = (drain.clone(), id.clone());
        let task = tokio::spawn(async move {
            let ended = coordinator.run(token, || ()).await;
            ended.expect("no two workers have one id");
            network.world().tell(Event::Fleet {
                worker: me.clone(),
                what: Fate::Left,
            });
            network.died(&me);
        });
        let worker = Worker {
            id,
            cache,
            drain,
            task,
        };
        self.workers.insert(number, worker);
    }

    /// Says who starts, with which clock and which cards.
    fn tell_of(&self, id: &WorkerId, zero_ms: i64) {
        let mut world = self.network.world();
        let (worker, what) = (id.clone(), Fate::Started);
        world.tell(Event::Fleet { worker, what });
        let worker = id.clone();
        world.tell(Event::ClockSet { worker, zero_ms });
        for (card, (status, version)) in &self.cards {
            world.tell(Event::CardHeard {
                worker: id.clone(),
                card: card.to_string(),
                status,
                version: *version,
            });
        }
    }

    fn cache(&self) -> AccessCache {
        let cache = AccessCache::new();
        let snapshot = Snapshot::new();
        let mut items = vec![
            item("SITE#hq", "CONFIG", [("TimeZone", s("Europe/Amsterdam"))]),
            item(
                "AP#in",
                "CONFIG",
                [
                    ("SiteId", s("hq")),
                    ("AreaTo", s("in")),
                    ("Direction", s("in")),
                ],
            ),
            item(
                "PROFILE#staff",
                "CONFIG",
                [("Policies", list([map([("AccessPoints", list([s("in")]))])]))],
            ),
        ];
        items.extend(
            self.cards
                .iter()
                .map(|(card, said)| card_item(*card, *said)),
        );
        snapshot.scanned(&items);
        cache.replace(snapshot);
        cache.mark_fresh(EPOCH_MS);
        cache
    }

    /// Every worker hears of it, each in its time.
    fn change_card(&mut self, card: u32, status: &'static str) {
        let said = self.cards.get_mut(&card).expect("a card that is used");
        *said = (status, said.1 + 1);
        let said = *said;
        self.network.world().tell(Event::CardChanged {
            card: card.to_string(),
            status,
        });
        for worker in self.workers.values() {
            let cache = Arc::clone(&worker.cache);
            let heard = self.network.now() + self.dice.u64(20..1_500);
            let heard = self.network.instant(heard);
            let (network, id) = (Arc::clone(&self.network), worker.id.clone());
            tokio::spawn(async move {
                sleep_until(heard).await;
                let (status, version) = said;
                let mut world = network.world();
                world.tell(Event::CardHeard {
                    worker: id,
                    card: card.to_string(),
                    status,
                    version,
                });
                let believed = match world.lie {
                    Some(Lie::LastHeardCounts) => {
                        i64::try_from(network.now()).expect("a short run")
                    }
                    _ => version,
                };
                cache.apply(&[put(card_item(card, (status, believed)))]);
            });
        }
    }
}

fn card_item(card: u32, (status, version): (&str, i64)) -> Item {
    item(
        &format!("CARD#{card}"),
        "CARD#STATUS",
        [
            ("CardStatus", s(status)),
            ("HolderStatus", s("active")),
            ("AccessProfiles", list([s("staff")])),
            ("Version", n(version)),
        ],
    )
}

fn shared(
    network: &Arc<Network>,
    id: &WorkerId,
    cache: &Arc<AccessCache>,
    epoch_ms: i64,
    fan_out: Option<u32>,
) -> Shared<Line, Line, Line> {
    let line = Arc::new(Line::new(network, id, Sink::Decisions));
    Shared {
        stream: Arc::clone(&line),
        sinks: Sinks {
            stream: Some(Arc::clone(&line)),
            table: Some(line),
            rejects: Some(Arc::new(Line::new(network, id, Sink::Rejects))),
            skip_rejects: false,
            standards: false,
            aggregate: None,
            flow: Arc::default(),
        },
        cache: Arc::clone(cache),
        limits: ConsumerLimits {
            read: ReadLimits {
                pace: Pace {
                    poll: Duration::from_millis(400),
                    hurry: Duration::from_millis(200),
                },
                fan_out: fan_out.map(|_| FAN_OUT),
            },
            write: WRITES,
            policy: Policy {
                max_card_staleness_ms: i64::MAX,
                ..Policy::default()
            },
        },
        budget: Arc::new(ByteBudget::new(fan_out.unwrap_or_default())),
        occupancy: Arc::default(),
        clock: Clock::Simulated {
            epoch_ms,
            start: network.instant(0),
        },
    }
}

fn limits(rate: u32, course: &Course) -> LeaseLimits {
    let own = |length: Duration| length * rate / 100;
    LeaseLimits {
        heartbeat: own(Duration::from_secs(1)),
        timing: Timing {
            failover: own(FAILOVER),
            margin: own(MARGIN),
            checkpoint: own(course.checkpoint),
            notice: own(Duration::from_millis(1200)),
            keep_ended: own(Duration::from_secs(3)),
        },
        shard_sync: own(course.shard_sync),
        start: Checkpoint::TrimHorizon,
    }
}
