//! The checker: reads the event log and nothing else, and says what should not have happened.
//!
//! Numbers are those of the design. What counts as "the holder" is the lease row: when a worker *sends* a write of
//! decisions, the row must name it; and once a write of a newer holder took effect, none of an older one may. Calls of
//! the older one that are on their way meanwhile have the lease margin to arrive, which is before the newer one's first
//! write; so both are asked of every single write, without allowance.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    lease::view::STRANGER_FAILOVER,
    model::{
        lease::WorkerId,
        position::{Checkpoint, ShardId},
    },
    sim::{
        fleet::{FAILOVER, WRITES},
        log::{Event, Fate, Log, Mark, Ms, Place},
        world::number,
    },
};

/// A clock may be so much slower than another, in percent; nobody is dead before this part of the failover time.
const CLOCKS_DIFFER: u64 = 6;

/// A worker that was silent for the failover time may find its lease taken this much later: the taker's read was late, and
/// its write was lost and sent again.
const TAKEN_LATE: Ms = 10_000;

/// What is known of one shard.
#[derive(Debug, Default)]
struct Shard {
    parents: Vec<ShardId>,
    closed: bool,
    /// Every user record, in order: the decision id, or none for what is no swipe.
    users: BTreeMap<Place, Option<String>>,
    /// How often each was answered on the stream, or dead-lettered.
    stored: BTreeMap<Place, u32>,
    trimmed_below: u64,
    row: Option<Checkpoint>,
    /// When its lease was last renewed by a worker of another application, that has no heartbeat.
    renewed: Option<Ms>,
    /// Who held the lease since when; the index counts terms.
    terms: Vec<(Mark, Option<WorkerId>)>,
    /// The latest term whose holder's write took effect.
    writing_term: usize,
}

impl Shard {
    fn holder(&self) -> Option<&WorkerId> {
        self.terms.last().and_then(|(_, holder)| holder.as_ref())
    }

    fn term_at(&self, mark: Mark) -> Option<(usize, &WorkerId)> {
        let after = self.terms.partition_point(|(since, _)| *since < mark);
        let index = after.checked_sub(1)?;
        self.terms[index].1.as_ref().map(|holder| (index, holder))
    }

    /// The first user record up to `done` that is not stored.
    fn first_missing(&self, done: &Checkpoint) -> Option<Place> {
        let last = last_done(done)?;
        let kept = (self.trimmed_below, 0);
        let mut until = self.users.range(kept..=last).map(|(place, _)| *place);
        until.find(|place| !self.stored.contains_key(place))
    }
}

/// The last place that is done at a checkpoint.
fn last_done(checkpoint: &Checkpoint) -> Option<Place> {
    match checkpoint {
        Checkpoint::At(position) => Some((number(position.sequence.as_str()), position.sub)),
        Checkpoint::ShardEnd => Some((u64::MAX, u64::MAX)),
        _ => None,
    }
}

/// What a worker was told of a card, and when.
#[derive(Debug)]
struct Heard {
    at: Ms,
    version: i64,
    status: &'static str,
}

/// What is known so far.
#[derive(Debug, Default)]
struct Checker {
    shards: BTreeMap<ShardId, Shard>,
    table: BTreeMap<String, String>,
    heartbeats: BTreeMap<WorkerId, Ms>,
    /// When a worker was last heard of again after it had been silent for the failover time.
    revived: BTreeMap<WorkerId, Ms>,
    running: BTreeSet<WorkerId>,
    /// Workers that ended by themselves: a heartbeat of theirs that arrives later is nobody's.
    left: BTreeSet<WorkerId>,
    /// What each worker's wall clock said at time 0.
    clocks: BTreeMap<WorkerId, i64>,
    heard: BTreeMap<(WorkerId, String), Vec<Heard>>,
    /// Something failed, so that repeats are allowed.
    disturbed: bool,
    problems: Vec<String>,
}

/// For how long a worker is silent before anybody may call it dead.
fn silence() -> Ms {
    let failover = u64::try_from(FAILOVER.as_millis()).expect("seconds");
    failover * (100 - CLOCKS_DIFFER) / 100
}

/// For how long the lease of an owner without a heartbeat must not have been renewed before anybody may take it.
fn strangers_silence() -> Ms {
    u64::try_from(STRANGER_FAILOVER.as_millis()).expect("seconds")
}

/// The reason of a decision about a card of that status.
fn reason(status: &str) -> &'static str {
    match status {
        "issued" => "Granted",
        "revoked" => "CredentialRevoked",
        "lost" => "CredentialLost",
        _ => "",
    }
}

/// Entries of one such call, and calls under way for one shard of one worker, at most. What is missing here is unbounded.
fn bounds(call: &str) -> Option<(usize, usize)> {
    match call {
        "GetRecords" => Some((1, 1)),
        "PutRecords" | "PutRecords rejects" => Some((WRITES.events.entries, WRITES.in_flight)),
        "BatchWriteItem" => Some((WRITES.table_puts, WRITES.table_in_flight)),
        "BatchGetItem" => Some((WRITES.table_gets, WRITES.table_in_flight)),
        // The row of a shard that ends, and of two children.
        "lease write" => Some((3, 1)),
        _ => None,
    }
}

/// Everything that is wrong with what `log` tells; nothing when all is well.
pub fn check(log: &Log) -> Vec<String> {
    let mut checker = Checker::default();
    for (mark, at, event) in log.entries() {
        let before = checker.problems.len();
        checker.take(mark, at, event);
        for problem in &mut checker.problems[before..] {
            *problem = format!("entry {mark} at {at} ms: {problem}");
        }
    }
    checker.end();
    checker.problems
}

/// Whether something failed, so that a record may be decided again.
pub fn disturbed(log: &Log) -> bool {
    let mut checker = Checker::default();
    for (mark, at, event) in log.entries() {
        checker.take(mark, at, event);
    }
    checker.disturbed
}

impl Checker {
    fn wrong(&mut self, invariant: &str, what: String) {
        self.problems.push(format!("invariant {invariant}: {what}"));
    }

    fn shard(&mut self, shard: &ShardId) -> &mut Shard {
        self.shards.entry(shard.clone()).or_default()
    }

    fn take(&mut self, mark: Mark, at: Ms, event: &Event) {
        match event {
            Event::ShardOpened { shard, parents } => {
                self.shard(shard).parents.clone_from(parents);
            }
            Event::ShardClosed { shard } => self.shard(shard).closed = true,
            Event::Appended {
                shard,
                sequence,
                users,
            } => {
                let places = (0..).map(|sub| (*sequence, sub)).zip(users.iter().cloned());
                self.shard(shard).users.extend(places);
            }
            Event::Trimmed { shard, below } => self.shard(shard).trimmed_below = *below,
            Event::Asked {
                worker,
                call,
                shard,
                entries,
                open,
            } => self.bounded(worker, call, shard, *entries, *open),
            Event::Read { shard, worker, .. } => self.parents_ended(shard, worker),
            Event::TablePut {
                worker,
                shard,
                sent,
                id,
                answer,
                ..
            } => {
                self.may_write(shard, worker, *sent);
                self.table_put(worker, id, answer);
            }
            Event::StreamPut {
                worker,
                shard,
                sent,
                place,
                id,
                answer,
            } => {
                self.may_write(shard, worker, *sent);
                self.stream_put(shard, *place, id, answer);
            }
            Event::RejectPut {
                worker,
                shard,
                sent,
                place,
            } => {
                self.may_write(shard, worker, *sent);
                self.stored(shard, *place, None);
            }
            Event::DoneElsewhere { shard, checkpoint } => self.done_elsewhere(shard, checkpoint),
            Event::RowFound {
                shard,
                owner,
                checkpoint,
            } => {
                let shard = self.shard(shard);
                shard.row = Some(checkpoint.clone());
                shard.renewed = Some(at);
                shard.terms.push((mark, owner.clone()));
            }
            Event::Renewed { shard, .. } => self.shard(shard).renewed = Some(at),
            Event::RowMade {
                shard, checkpoint, ..
            } => {
                if self.shard(shard).row == Some(Checkpoint::ShardEnd) {
                    self.wrong("2", format!("{shard} is begun again after its end"));
                }
                let shard = self.shard(shard);
                shard.row = Some(checkpoint.clone());
                shard.terms.push((mark, None));
            }
            Event::RowWritten {
                worker,
                shard,
                owner_was,
                owner,
                checkpoint,
                ..
            } => {
                self.row_written(at, worker, shard, owner_was.as_ref());
                if let Some(checkpoint) = checkpoint {
                    self.checkpoint(worker, shard, checkpoint);
                }
                let shard = self.shard(shard);
                if shard.holder() != owner.as_ref() {
                    shard.terms.push((mark, owner.clone()));
                }
            }
            // What is known of it stays: its children may be read, and it may not be begun again.
            Event::RowRemoved { worker, shard } => {
                if self.shard(shard).row != Some(Checkpoint::ShardEnd) {
                    self.wrong("1", format!("{worker} removed {shard} before its end"));
                }
            }
            Event::Heartbeat { worker, .. } if self.left.contains(worker) => {}
            Event::Heartbeat { worker, .. } => {
                let before = self.heartbeats.insert(worker.clone(), at);
                if before.is_some_and(|before| at - before >= silence()) {
                    self.revived.insert(worker.clone(), at);
                }
            }
            Event::Forgotten { by, worker } => {
                if by == worker {
                    // It gave everything away before.
                    self.heartbeats.remove(worker);
                }
            }
            Event::Fleet { worker, what } => match what {
                Fate::Started => drop(self.running.insert(worker.clone())),
                Fate::Draining => {}
                Fate::Left => {
                    self.running.remove(worker);
                    self.left.insert(worker.clone());
                }
                Fate::Crashed => {
                    self.running.remove(worker);
                    self.disturbed = true;
                }
                Fate::Paused(_) | Fate::CutOff(_) => self.disturbed = true,
            },
            Event::Fault { .. } => self.disturbed = true,
            Event::ClockSet { worker, zero_ms } => {
                self.clocks.insert(worker.clone(), *zero_ms);
            }
            Event::CardHeard {
                worker,
                card,
                status,
                version,
            } => {
                let key = (worker.clone(), card.clone());
                let (status, version) = (*status, *version);
                let heard = Heard {
                    at,
                    version,
                    status,
                };
                self.heard.entry(key).or_default().push(heard);
            }
            Event::Moved { .. } | Event::CardChanged { .. } | Event::Quiet => {}
        }
    }

    /// 4: a child is read only after all its parents ended.
    fn parents_ended(&mut self, shard: &ShardId, worker: &WorkerId) {
        let open = self.shard(shard).parents.clone();
        let open = open
            .into_iter()
            .find(|parent| self.shard(parent).row != Some(Checkpoint::ShardEnd));
        if let Some(parent) = open {
            self.wrong(
                "4",
                format!("{worker} reads {shard} before its parent {parent} ended"),
            );
        }
    }

    /// 3: who sends a write holds the lease, and no older holder's write takes effect after a newer one's.
    fn may_write(&mut self, shard: &ShardId, worker: &WorkerId, sent: Mark) {
        let known = self.shard(shard);
        let holder = known.term_at(sent);
        let problem = match holder {
            Some((term, holder)) if holder == worker => {
                let newer = known.writing_term;
                known.writing_term = newer.max(term);
                (term < newer).then(|| {
                    format!("a write of {worker} for {shard} took effect after a newer holder's")
                })
            }
            Some((_, holder)) => Some(format!(
                "{worker} sent a write for {shard}, whose lease {holder} has"
            )),
            None => Some(format!(
                "{worker} sent a write for {shard}, whose lease nobody has"
            )),
        };
        if let Some(problem) = problem {
            self.wrong("3", problem);
        }
        self.parents_ended(shard, worker);
    }

    /// 7: what was stored first stays.
    fn table_put(&mut self, worker: &WorkerId, id: &str, answer: &str) {
        if !self.table.contains_key(id) {
            self.as_the_card_was(worker, id, answer);
        }
        match self.table.get(id) {
            Some(first) if first != answer => {
                let problem = format!("{id} was answered {first} in the table and now {answer}");
                self.wrong("7", problem);
            }
            Some(_) => {}
            None => drop(self.table.insert(id.to_owned(), answer.to_owned())),
        }
    }

    /// 5: who decides goes by the newest state of the card that it was told of by then, in whatever order.
    fn as_the_card_was(&mut self, worker: &WorkerId, id: &str, answer: &str) {
        let said = answer.split_once('@');
        let decided = said.and_then(|(said, at)| Some((said, at.parse::<i64>().ok()?)));
        let card = id.strip_prefix("gate-").and_then(|id| id.split('#').next());
        let (Some((said, at_ms)), Some(card)) = (decided, card) else {
            return self.wrong("5", format!("{id} has an answer like no other: {answer}"));
        };
        let at_ms = at_ms - self.clocks.get(worker).copied().unwrap_or_default();
        let at = u64::try_from(at_ms).unwrap_or_default();
        let heard = self.heard.get(&(worker.clone(), card.to_owned()));
        let newest = |known: &dyn Fn(&Heard) -> bool| {
            let heard = heard.into_iter().flatten();
            let newest = heard
                .filter(|heard| known(heard))
                .max_by_key(|heard| heard.version);
            newest.map(|heard| reason(heard.status))
        };
        // What was heard in the very millisecond may count or not.
        let right = [
            newest(&|heard| heard.at < at),
            newest(&|heard| heard.at <= at),
        ];
        if !right.contains(&Some(said)) {
            let problem = format!("{worker} answered {id} with {answer}; it knew {right:?}");
            self.wrong("5", problem);
        }
    }

    /// 6: what is under way has a bound.
    fn bounded(
        &mut self,
        worker: &WorkerId,
        call: &str,
        shard: &ShardId,
        entries: usize,
        open: usize,
    ) {
        let bound = bounds(call);
        if bound.is_none_or(|(most_entries, most_open)| entries > most_entries || open > most_open)
        {
            let problem =
                format!("{worker} has {open} {call} of {entries} entries for {shard} under way");
            self.wrong("6", problem);
        }
    }

    /// What another application has done is done.
    fn done_elsewhere(&mut self, shard: &ShardId, checkpoint: &Checkpoint) {
        let known = self.shard(shard);
        if let Some(last) = last_done(checkpoint) {
            known.users.retain(|place, _| *place > last);
        }
        if *checkpoint == Checkpoint::ShardEnd {
            known.row = Some(Checkpoint::ShardEnd);
        }
    }

    /// 7: what a gate hears is what the table says.
    fn stream_put(&mut self, shard: &ShardId, place: Place, id: &str, answer: &str) {
        match self.table.get(id) {
            Some(stored) if stored == answer => {}
            Some(stored) => {
                let problem = format!("{id} is {stored} in the table and {answer} on the stream");
                self.wrong("7", problem);
            }
            None => self.wrong(
                "7",
                format!("{id} is on the stream before it is in the table"),
            ),
        }
        self.stored(shard, place, Some(id));
    }

    fn stored(&mut self, shard: &ShardId, place: Place, id: Option<&str>) {
        let known = self.shard(shard);
        *known.stored.entry(place).or_default() += 1;
        if known.users.get(&place).map(Option::as_deref) != Some(id) {
            let problem = format!("{shard} has no such record at {place:?}: {id:?}");
            self.wrong("1", problem);
        }
    }

    /// 2 and 3: only the holder writes a lease, or whoever takes it from the dead.
    fn row_written(
        &mut self,
        at: Ms,
        worker: &WorkerId,
        shard: &ShardId,
        owner_was: Option<&WorkerId>,
    ) {
        let Some(holder) = owner_was.filter(|holder| *holder != worker) else {
            return;
        };
        let renewed = self.shards.get(shard).and_then(|shard| shard.renewed);
        if let Some(silent) = renewed.map(|renewed| at - renewed)
            && !self.clocks.contains_key(holder)
            && silent < strangers_silence()
        {
            let problem =
                format!("{worker} took {shard} from {holder}, who renewed it {silent} ms ago");
            self.wrong("3", problem);
        }
        let silent = self.heartbeats.get(holder).map(|last| at - last);
        let was_silent = self
            .revived
            .get(holder)
            .is_some_and(|revived| at - revived < TAKEN_LATE);
        if silent.is_some_and(|silent| silent < silence()) && !was_silent {
            let problem = format!(
                "{worker} took {shard} from {holder}, whose heartbeat is {silent:?} ms old"
            );
            self.wrong("3", problem);
        }
    }

    /// 1 and 2: a checkpoint moves up, is the holder's, and everything before it is stored.
    fn checkpoint(&mut self, worker: &WorkerId, shard: &ShardId, checkpoint: &Checkpoint) {
        let known = self.shard(shard);
        let (holder, before) = (
            known.holder().cloned(),
            known.row.replace(checkpoint.clone()),
        );
        let missing = known.first_missing(checkpoint);
        let open = !known.closed && *checkpoint == Checkpoint::ShardEnd;
        if holder.as_ref() != Some(worker) {
            let problem = format!("{worker} wrote a checkpoint of {shard}, which {holder:?} has");
            self.wrong("2", problem);
        }
        if before.as_ref() > Some(checkpoint) {
            let problem = format!("the checkpoint of {shard} went back to {checkpoint:?}");
            self.wrong("2", problem);
        }
        if let Some(place) = missing {
            let problem = format!("{shard} is at {checkpoint:?} and {place:?} is not stored");
            self.wrong("1", problem);
        }
        if open {
            self.wrong("1", format!("{shard} is at its end and still open"));
        }
    }

    /// What must be so at last: everything is decided; once, when nothing failed.
    fn end(&mut self) {
        let mut problems = Vec::new();
        for (id, shard) in &self.shards {
            for place in shard.users.keys() {
                let times = shard.stored.get(place).copied().unwrap_or_default();
                let trimmed = place.0 < shard.trimmed_below;
                if times == 0 && !trimmed {
                    problems.push(format!("liveness: {place:?} of {id} is not decided"));
                } else if times > 1 && !self.disturbed {
                    problems.push(format!(
                        "{place:?} of {id} was decided {times} times, and nothing failed"
                    ));
                }
            }
        }
        self.problems.extend(problems);
    }
}
