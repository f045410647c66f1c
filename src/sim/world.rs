//! The services as one value: streams, decision table, lease and workers tables. Every effect is appended to the log.
//!
//! Nothing here waits or fails by itself: calls come in when `line` delivers them, one at a time. What is written by
//! whom, and whether it should have been, is not judged here.

mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fastrand::Rng;
use serde_json::Value;

use crate::{
    model::{
        decision::Answer,
        lease::{LeaseRow, LeaseWrite, WorkerId, WorkerRow, Written},
        position::{
            Checkpoint, ChildShard, Next, Page, Record, SequenceNumber, ShardId, ShardInfo,
            ShardIterator,
        },
        presence::{self, Presence},
    },
    ports::{Failed, Fault, FaultKind},
    sim::{
        faults::Rates,
        log::{Event, Log, Mark, Ms, Place},
    },
};

/// A card that moved.
#[derive(Clone, Debug)]
pub struct Moved {
    pub card: Box<str>,
    pub group: Arc<str>,
    pub presence: Presence,
    /// Of the decision that let it pass.
    pub id: String,
}

/// Records of one page: few, so that a backlog takes several.
const PAGE_MAX: usize = 12;

/// Open shards at most.
const SHARDS_MAX: usize = 16;

/// Hash keys of the small world.
pub const HASH_KEYS: u32 = 1 << 16;

/// One shard of the swipe stream.
#[derive(Debug)]
pub struct Shard {
    parents: Vec<ShardId>,
    /// First hash key, and the one after the last.
    range: (u32, u32),
    pub(super) records: Vec<(u64, Ms, Vec<u8>)>,
    pub(super) closed: bool,
    children: Vec<ShardId>,
}

/// A decision on its way into the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Partition and sort key.
    pub key: String,
    /// Decision id.
    pub id: String,
    /// Where its swipe stands.
    pub shard: ShardId,
    /// Where its swipe stands in the shard.
    pub place: Place,
    /// The answer.
    pub answer: Answer,
}

/// Who calls, and when the call was sent.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The worker.
    pub worker: WorkerId,
    /// When it sent the call.
    pub sent: Mark,
}

/// What can be planted, to see that the checker catches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Heartbeats count as stored when they are not: the fence never closes.
    FenceNeverCloses,
    /// Writes of decisions are confirmed long before they take effect: checkpoints run ahead.
    WritesConfirmedEarly,
    /// Rows and shards are shown without parents: children start early.
    NoParents,
    /// Only the first parent is shown.
    OneParent,
    /// Every other read of the workers table shows an old state: the slow look dead.
    OldHeartbeats,
    /// Heartbeats carry the wall clock of who sent them, and whose is older than the failover time by the wall clock of who
    /// looks counts as gone.
    WallClock,
    /// Whoever gives a lease leaves the checkpoint that was stored last: what its last page did is done again.
    GivenBehind,
    /// The cache believes what it hears last, whatever its version.
    LastHeardCounts,
    /// Lease writes go out twice.
    WritesTwice,
}

/// The services.
#[derive(Debug)]
pub struct World {
    /// What happened.
    pub log: Log,
    /// The world's own dice.
    pub dice: Rng,
    /// How often calls fail now.
    pub rates: Rates,
    /// The bug that is planted.
    pub lie: Option<Lie>,
    /// How long the answer to a read of a shard takes that never had a record, after the first: nobody polls thousands of
    /// them in a test.
    pub idle_pace: Ms,
    pub(super) now: Ms,
    epoch_ms: i64,
    pub(super) next_sequence: u64,
    pub(super) shards: BTreeMap<ShardId, Shard>,
    /// The subscription of each shard: its number, and when it began.
    pub(super) subscriptions: BTreeMap<ShardId, (u64, Ms)>,
    leases: BTreeMap<ShardId, LeaseRow>,
    /// Where the stream was begun, once that is stored.
    started_at: Option<Checkpoint>,
    workers: BTreeMap<WorkerId, WorkerRow>,
    /// By their own wall clocks, when the heartbeats were sent: nobody but a lie looks at it.
    stamps: BTreeMap<WorkerId, i64>,
    decisions: BTreeMap<String, Answer>,
    /// Where cards are, by card and group of areas.
    presences: BTreeMap<(Box<str>, Arc<str>), Presence>,
}

impl World {
    /// A stream of `shards` shards and empty tables.
    pub fn new(seed: u64, shards: u32, epoch_ms: i64) -> Self {
        let mut world = Self {
            log: Log::default(),
            dice: Rng::with_seed(seed),
            rates: Rates::default(),
            lie: None,
            idle_pace: 0,
            now: 0,
            epoch_ms,
            // Soon of another length, so that order by digits alone would show.
            next_sequence: 80,
            shards: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            leases: BTreeMap::new(),
            started_at: None,
            workers: BTreeMap::new(),
            stamps: BTreeMap::new(),
            decisions: BTreeMap::new(),
            presences: BTreeMap::new(),
        };
        let width = HASH_KEYS / shards;
        for index in 0..shards {
            let end = if index + 1 == shards {
                HASH_KEYS
            } else {
                (index + 1) * width
            };
            world.open(Vec::new(), (index * width, end));
        }
        world
    }

    /// The time at which the next effect happens.
    pub fn at(&mut self, now: Ms) -> &mut Self {
        self.now = now;
        self
    }

    /// Appends to the log.
    pub fn tell(&mut self, event: Event) {
        self.log.push(self.now, event);
    }

    // === the producers' side of the swipe stream ===

    fn open(&mut self, parents: Vec<ShardId>, range: (u32, u32)) -> ShardId {
        let id = ShardId::new(&format!("shard-{:03}", self.shards.len()));
        let shard = Shard {
            parents: parents.clone(),
            range,
            records: Vec::new(),
            closed: false,
            children: Vec::new(),
        };
        self.shards.insert(id.clone(), shard);
        self.tell(Event::ShardOpened {
            shard: id.clone(),
            parents,
        });
        id
    }

    fn close(&mut self, id: &ShardId, children: &[ShardId]) {
        let shard = self.shards.get_mut(id).expect("a shard that is open");
        shard.closed = true;
        shard.children = children.to_vec();
        self.tell(Event::ShardClosed { shard: id.clone() });
    }

    fn open_shards(&self) -> Vec<ShardId> {
        let open = self.shards.iter().filter(|(_, shard)| !shard.closed);
        open.map(|(id, _)| id.clone()).collect()
    }

    /// Splits the open shard that `nth` falls on.
    pub fn split(&mut self, nth: usize) {
        let open = self.open_shards();
        let parent = open[nth % open.len()].clone();
        let (start, end) = self.shards[&parent].range;
        let middle = start + (end - start) / 2;
        if middle == start {
            return;
        }
        let children =
            [(start, middle), (middle, end)].map(|range| self.open(vec![parent.clone()], range));
        self.close(&parent, &children);
    }

    /// Merges the open shard that `nth` falls on with its right neighbour, when it has one.
    pub fn merge(&mut self, nth: usize) {
        let mut open = self.open_shards();
        open.sort_by_key(|id| self.shards[id].range);
        if open.len() < 2 {
            return;
        }
        let left = nth % (open.len() - 1);
        let parents = vec![open[left].clone(), open[left + 1].clone()];
        let range = (
            self.shards[&parents[0]].range.0,
            self.shards[&parents[1]].range.1,
        );
        let child = self.open(parents.clone(), range);
        for parent in &parents {
            self.close(parent, std::slice::from_ref(&child));
        }
    }

    /// UpdateShardCount to the double, or to half: every open shard is split, or merged with its neighbour.
    pub fn scale(&mut self, up: bool) {
        let open = self.open_shards().len();
        for nth in (0..open).rev() {
            if up && open <= SHARDS_MAX / 2 {
                self.split(nth);
            } else if !up && nth % 2 == 0 && nth + 1 < open {
                self.merge(nth);
            }
        }
    }

    /// Puts a record on the shard of `hash_key`.
    pub fn append(&mut self, hash_key: u32, data: Vec<u8>, users: Vec<Option<String>>) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let now = self.now;
        let found = self
            .shards
            .iter_mut()
            .find(|(_, shard)| !shard.closed && (shard.range.0..shard.range.1).contains(&hash_key));
        let (id, shard) = found.expect("open shards cover every hash key");
        shard.records.push((sequence, now, data));
        let shard = id.clone();
        self.tell(Event::Appended {
            shard,
            sequence,
            users,
        });
    }

    /// Forgets records older than `age`.
    pub fn trim(&mut self, age: Ms) {
        let oldest = self.now.saturating_sub(age);
        let mut trimmed = Vec::new();
        for (id, shard) in &mut self.shards {
            let kept = shard.records.iter().position(|(_, at, _)| *at >= oldest);
            let gone = kept.unwrap_or(shard.records.len());
            if let Some((sequence, _, _)) = shard.records[..gone].last() {
                trimmed.push((id.clone(), sequence + 1));
            }
            shard.records.drain(..gone);
        }
        for (shard, below) in trimmed {
            self.tell(Event::Trimmed { shard, below });
        }
    }

    // === the daemon's side of the swipe stream ===

    fn info(&self, id: &ShardId) -> ShardInfo {
        let shard = &self.shards[id];
        let (start, end) = shard.range;
        ShardInfo {
            id: id.clone(),
            parents: self.shown(&shard.parents),
            hash_range: (start.to_string(), (end - 1).to_string()),
        }
    }

    fn shown(&self, parents: &[ShardId]) -> Vec<ShardId> {
        let shown = match self.lie {
            Some(Lie::NoParents) => 0,
            Some(Lie::OneParent) => 1,
            _ => parents.len(),
        };
        parents.iter().take(shown).cloned().collect()
    }

    /// ListShards.
    pub fn list(&self) -> Vec<ShardInfo> {
        self.shards.keys().map(|id| self.info(id)).collect()
    }

    /// GetShardIterator.
    pub fn iterator(&self, id: &ShardId, from: &Checkpoint) -> Result<ShardIterator, Fault> {
        let shard = self.shard(id)?;
        let next = match from {
            Checkpoint::TrimHorizon => 0,
            Checkpoint::AtTimestamp(ms) => {
                let since = u64::try_from(ms - self.epoch_ms).unwrap_or(0);
                let first = shard.records.iter().find(|(_, at, _)| *at >= since);
                first.map_or(self.next_sequence, |(sequence, _, _)| *sequence)
            }
            Checkpoint::Latest => self.next_sequence,
            Checkpoint::At(position) => number(position.sequence.as_str()),
            Checkpoint::ShardEnd => {
                return Err(fault(FaultKind::Refused, "no iterator at the end"));
            }
        };
        Ok(ShardIterator(next.to_string()))
    }

    fn shard(&self, id: &ShardId) -> Result<&Shard, Fault> {
        self.shards
            .get(id)
            .ok_or_else(|| fault(FaultKind::NotFound, "no such shard"))
    }

    /// GetRecords.
    pub fn read(&mut self, from: &Caller, id: &ShardId, at: &ShardIterator) -> Result<Page, Fault> {
        let first = number(&at.0);
        let empty = self.rates.page_is_empty(&mut self.dice);
        let shard = self.shard(id)?;
        let waiting: Vec<_> = shard
            .records
            .iter()
            .filter(|(sequence, _, _)| *sequence >= first)
            .collect();
        let served = if empty {
            0
        } else {
            waiting.len().min(PAGE_MAX)
        };
        let (page, rest) = waiting.split_at(served);
        let behind = rest.first().map_or(0, |(_, at, _)| (self.now - at).max(1));
        let next = match (rest.is_empty() && shard.closed, page.last()) {
            (true, _) => Next::ShardEnd(shard.children.iter().map(|id| self.child(id)).collect()),
            (false, Some((last, _, _))) => Next::Iterator(ShardIterator((last + 1).to_string())),
            (false, None) => Next::Iterator(at.clone()),
        };
        let records = page.iter().map(|(sequence, _, data)| Record {
            sequence: SequenceNumber::parse(&sequence.to_string()).expect("digits"),
            data: data.clone().into(),
        });
        let page = Page {
            records: records.collect(),
            behind_latest_ms: i64::try_from(behind).expect("a short run"),
            next,
        };
        self.tell(Event::Read {
            worker: from.worker.clone(),
            shard: id.clone(),
            sent: from.sent,
            records: page.records.len(),
        });
        Ok(page)
    }

    /// How long the answer to a read of this shard is held back.
    pub fn held_back(&self, id: &ShardId) -> Ms {
        let shard = self.shards.get(id);
        let idle = shard.is_some_and(|shard| shard.records.is_empty() && !shard.closed);
        if idle { self.idle_pace } else { 0 }
    }

    fn child(&self, id: &ShardId) -> ChildShard {
        let ShardInfo {
            id,
            parents,
            hash_range,
        } = self.info(id);
        ChildShard {
            id,
            parents,
            hash_range,
        }
    }

    // === decisions and rejects ===

    /// Puts events on the decision stream, or on the stream of rejects.
    pub fn put_events(&mut self, from: &Caller, events: &[Vec<u8>], rejects: bool) -> Vec<Failed> {
        let mut failed = Vec::new();
        for (index, data) in events.iter().enumerate() {
            if let Some(entry) = self.entry_fails(index) {
                failed.push(entry);
                continue;
            }
            let event: Value = serde_json::from_slice(data).expect("an event is JSON");
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let source = &event["source"];
            let shard = ShardId::new(source["shard"].as_str().unwrap_or_default());
            let sub = source["sub"].as_u64().unwrap_or_default();
            let place = (number(source["sequence"].as_str().unwrap_or_default()), sub);
            let (worker, sent) = (from.worker.clone(), from.sent);
            self.tell(if rejects {
                Event::RejectPut {
                    worker,
                    shard,
                    sent,
                    place,
                }
            } else {
                Event::StreamPut {
                    worker,
                    shard,
                    sent,
                    place,
                    id: text("decision_id"),
                    answer: format!("{}@{}", text("reason"), event["decided_at_ms"]),
                }
            });
        }
        failed
    }

    fn entry_fails(&mut self, index: usize) -> Option<Failed> {
        let kind = FaultKind::Throttled;
        let fails = self.rates.entry_fails(&mut self.dice);
        fails.then_some(Failed { index, kind })
    }

    /// Puts decisions into the table.
    pub fn put_rows(&mut self, from: &Caller, rows: &[Row]) -> Vec<Failed> {
        let mut failed = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            if let Some(entry) = self.entry_fails(index) {
                failed.push(entry);
                continue;
            }
            self.decisions.insert(row.key.clone(), row.answer);
            let answer = &row.answer;
            self.tell(Event::TablePut {
                worker: from.worker.clone(),
                shard: row.shard.clone(),
                sent: from.sent,
                place: row.place,
                id: row.id.clone(),
                answer: format!(
                    "{}@{}",
                    answer.verdict.reason.as_str(),
                    answer.decided_at_ms
                ),
            });
        }
        failed
    }

    /// What the table has under these keys.
    pub fn look(&self, keys: &[String]) -> Vec<Option<Answer>> {
        keys.iter()
            .map(|key| self.decisions.get(key).copied())
            .collect()
    }

    /// Where these cards are.
    pub fn presences(&self, asked: &[(Box<str>, Arc<str>)]) -> Vec<Option<Presence>> {
        let found = asked.iter().map(|key| self.presences.get(key).cloned());
        found.collect()
    }

    /// Cards moved; never back in time.
    pub fn put_presences(&mut self, from: &Caller, moves: &[Moved]) {
        for moved in moves {
            let key = (moved.card.clone(), Arc::clone(&moved.group));
            let known = self.presences.get(&key);
            if known.is_none_or(|known| known.at_ms <= moved.presence.at_ms) {
                self.presences.insert(key, moved.presence.clone());
                self.tell(Event::Moved {
                    worker: from.worker.clone(),
                    card: moved.card.to_string(),
                    id: moved.id.clone(),
                });
            }
        }
    }

    /// How many cards are in one of these areas.
    pub fn count_inside(&self, areas: &[Arc<str>]) -> u64 {
        let inside = self
            .presences
            .iter()
            .filter(|(_, presence)| match &presence.place {
                presence::Place::Inside(id) => areas.contains(id),
                presence::Place::Outside => false,
            });
        let cards: BTreeSet<&str> = inside.map(|((card, _), _)| &**card).collect();
        cards.len() as u64
    }

    // === leases ===

    /// What the wall clock of a worker said when it sent its heartbeat.
    pub fn stamp(&mut self, worker: &WorkerId, stamp_ms: i64) {
        self.stamps.insert(worker.clone(), stamp_ms);
    }

    /// Every heartbeat that is not older than `age`, by the wall clock that says `wall_ms` now.
    pub fn workers_by_wall_clock(&self, wall_ms: i64, age: i64) -> Vec<WorkerRow> {
        let young = |row: &&WorkerRow| wall_ms - self.stamps[&row.id] < age;
        self.workers.values().filter(young).cloned().collect()
    }

    /// Every lease row.
    pub fn leases(&self) -> Vec<LeaseRow> {
        let rows = self.leases.values().map(|row| LeaseRow {
            parents: self.shown(&row.parents),
            ..row.clone()
        });
        rows.collect()
    }

    /// Makes the rows that do not exist.
    pub fn create(&mut self, from: &Caller, rows: &[LeaseRow]) {
        for row in rows {
            if self.leases.contains_key(&row.shard) {
                continue;
            }
            self.leases.insert(row.shard.clone(), row.clone());
            self.tell(Event::RowMade {
                worker: from.worker.clone(),
                shard: row.shard.clone(),
                checkpoint: row.checkpoint.clone(),
            });
        }
    }

    /// A conditional write, and the rows that come with an end of shard.
    pub fn write(&mut self, from: &Caller, write: &LeaseWrite, children: &[LeaseRow]) -> Written {
        let Some(row) = self.leases.get_mut(&write.shard) else {
            return Written::Conflict(None);
        };
        if row.owner != write.owner_was || row.counter != write.counter_was {
            return if write.made(row) {
                Written::Applied
            } else {
                Written::Conflict(Some(row.clone()))
            };
        }
        row.counter += 1;
        row.owner.clone_from(&write.owner);
        if let Some(checkpoint) = &write.checkpoint {
            row.checkpoint.clone_from(checkpoint);
        }
        let counter = row.counter;
        self.tell(Event::RowWritten {
            worker: from.worker.clone(),
            shard: write.shard.clone(),
            owner_was: write.owner_was.clone(),
            owner: write.owner.clone(),
            counter,
            checkpoint: write.checkpoint.clone(),
        });
        self.create(from, children);
        Written::Applied
    }

    /// Every heartbeat.
    pub fn workers(&self) -> Vec<WorkerRow> {
        self.workers.values().cloned().collect()
    }

    /// Stores a heartbeat where the row is the process's own, or the one it takes the place of.
    pub fn heartbeat(&mut self, row: &WorkerRow, in_place_of: Option<&WorkerRow>) -> bool {
        let stored = self.workers.get(&row.id);
        let own = |stored: &WorkerRow| stored.process == row.process;
        let may = match in_place_of {
            None => stored.is_none_or(own),
            Some(dead) => stored.is_some_and(|stored| own(stored) || stored == dead),
        };
        if may {
            self.workers.insert(row.id.clone(), row.clone());
            self.tell(Event::Heartbeat {
                worker: row.id.clone(),
                count: row.heartbeat,
            });
        }
        may
    }

    /// Removes a worker's row.
    pub fn forget(&mut self, from: &Caller, row: &WorkerRow) {
        let stored = self.workers.get(&row.id);
        if stored.is_some_and(|stored| stored.process == row.process) {
            self.workers.remove(&row.id);
            self.tell(Event::Forgotten {
                by: from.worker.clone(),
                worker: row.id.clone(),
            });
        }
    }

    /// Removes the row of a lease that ended.
    pub fn remove(&mut self, from: &Caller, row: &LeaseRow) {
        let stored = self.leases.get(&row.shard);
        let same = |stored: &LeaseRow| {
            stored.counter == row.counter && stored.checkpoint == Checkpoint::ShardEnd
        };
        if stored.is_some_and(same) {
            self.leases.remove(&row.shard);
            self.tell(Event::RowRemoved {
                worker: from.worker.clone(),
                shard: row.shard.clone(),
            });
        }
    }

    /// Where the stream was begun.
    pub fn start(&mut self, proposed: &Checkpoint) -> Checkpoint {
        self.started_at
            .get_or_insert_with(|| proposed.clone())
            .clone()
    }
}

/// A fault of the world.
pub fn fault(kind: FaultKind, message: &str) -> Fault {
    Fault {
        kind,
        operation: "simulated call",
        message: message.to_owned(),
    }
}

/// A sequence number of the small world.
pub fn number(digits: &str) -> u64 {
    digits
        .parse()
        .expect("numbers of the small world are small")
}
