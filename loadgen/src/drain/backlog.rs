//! A backlog: swipes of the known population, as a stream that was filled aside.
//!
//! It is not sent but exchanged with the records of an empty stream of the same shards, in one instant, so that whoever
//! reads is ready and warm before the first record is there. Reading does not consume: two readers drain the same one.
//!
//! Only swipes with one certain answer are in it, no bad records and no cards that change meanwhile. Records arrived at
//! the rate of the field, one after the other up to now: a reader that cares for the age of what it reads sees what it
//! would see after an outage.

use anyhow::{Context, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    answer::{Expect, Reason},
    churn::Timetable,
    ledger::Ledger,
    pack::{self, Numbered, Packing, ShardRange},
    population::Population,
    standin::kinesis::{
        shard::{PAGE_BYTES, PAGE_RECORDS},
        stream::{Entry, Outcome, Plan, Stream, hash_key},
    },
    traffic::{self, Traffic},
};

/// Swipes a second of a large site's morning: what the backlog grew by while nobody read.
const ARRIVALS_A_SECOND: u64 = 1500;

/// Entries of one put, as a producer sends them.
const PUT_ENTRIES: usize = 500;

/// Of this many planned swipes one at least has a certain answer (in fact 96 of 100 have): a bound for the search.
const TRIES: u64 = 2;

/// A filled stream and what must come of it.
pub struct Backlog {
    /// The stream, to be exchanged with the empty one it was made after.
    pub stream: Stream,
    /// Its records.
    pub records: u64,
    pages: Vec<Pages>,
    plan: Vec<Planned>,
    base_seq: u64,
}

/// A swipe that is in it: its number, its answer, its fingerprint.
pub(crate) type Planned = (u64, Reason, u32);

/// How long ago the first swipe of so many arrived.
pub fn age_ms(swipes: u64) -> i64 {
    (swipes * 1000 / ARRIVALS_A_SECOND) as i64
}

impl Backlog {
    /// Fills a stream like `empty` with that many swipes of `world`, which was seeded when the first of them arrived.
    ///
    /// # Errors
    /// When the traffic has too few swipes with one certain answer.
    pub fn fill(
        empty: &Stream,
        world: Population,
        swipes: u64,
        packing: Packing,
    ) -> anyhow::Result<Self> {
        let traffic = Traffic {
            population: world,
            timetable: Timetable::new(0),
            start_ms: world.seeded_at_ms,
            base_seq: traffic::base_seq(world.seeded_at_ms),
        };
        let mut backlog = Self {
            stream: twin(empty, traffic.start_ms.unsigned_abs()),
            records: 0,
            pages: Vec::new(),
            plan: Vec::with_capacity(swipes as usize),
            base_seq: traffic.base_seq,
        };
        let shards = ranges(&backlog.stream);
        backlog.pages.resize(shards.len(), Pages::default());
        // So many that every shard has some full aggregates.
        let at_once = match packing {
            Packing::Plain => PUT_ENTRIES,
            Packing::Aggregated(size) | Packing::Mixed(size) => size * shards.len() * 8,
        };
        let mut numbers = (0..swipes * TRIES).peekable();
        while (backlog.plan.len() as u64) < swipes && numbers.peek().is_some() {
            let room = at_once.min(swipes as usize - backlog.plan.len());
            let wave = backlog.wave(&traffic, numbers.by_ref(), room);
            backlog.put(&pack::entries(wave, packing, &shards), traffic.start_ms)?;
        }
        ensure!(
            backlog.plan.len() as u64 == swipes,
            "the traffic has too few swipes with one certain answer"
        );
        Ok(backlog)
    }

    /// The next `room` swipes with a certain answer.
    fn wave(
        &mut self,
        traffic: &Traffic,
        numbers: impl Iterator<Item = u64>,
        room: usize,
    ) -> Vec<Numbered> {
        let offset_ms = age_ms(self.plan.len() as u64);
        let wave = certain(traffic, numbers, offset_ms).take(room);
        let (plan, swipes): (Vec<Planned>, Vec<Numbered>) = wave.unzip();
        self.plan.extend(plan);
        swipes
    }

    /// Puts records that arrived when the last planned swipe did.
    fn put(&mut self, entries: &[pack::Entry], start_ms: i64) -> anyhow::Result<()> {
        let arrival_ms = (start_ms + age_ms(self.plan.len() as u64)).unsigned_abs();
        for some in entries.chunks(PUT_ENTRIES) {
            let texts: Vec<String> = some
                .iter()
                .map(|entry| STANDARD.encode(&entry.data))
                .collect();
            let puts: Vec<Entry<'_>> = some
                .iter()
                .zip(&texts)
                .map(|(entry, data)| {
                    Ok(Entry {
                        data,
                        key: &entry.key,
                        hash: entry.hash.unwrap_or_else(|| hash_key(&entry.key)),
                        size: u32::try_from(entry.data.len() + entry.key.len())
                            .context("a record is too large")?,
                    })
                })
                .collect::<anyhow::Result<_>>()?;
            let outcomes = self.stream.put(&puts, |_, _| None, None, arrival_ms);
            for (put, outcome) in puts.iter().zip(outcomes) {
                let Outcome::Stored(shard, _) = outcome else {
                    bail!("the stand-in did not take a record: {outcome:?}")
                };
                // A new stream's shards are numbered from 0.
                self.pages[shard as usize].add(put.size.into());
            }
            self.records += puts.len() as u64;
        }
        Ok(())
    }

    /// Pages of GetRecords that its longest shard takes.
    pub fn pages(&self) -> u32 {
        self.pages
            .iter()
            .map(|pages| pages.count)
            .max()
            .unwrap_or(0)
    }

    /// A ledger that waits for a decision on each swipe, and for nothing else.
    pub fn ledger(&self) -> Ledger {
        ledger(self.base_seq, &self.plan)
    }
}

/// A ledger that waits for a decision on each of these swipes, and for nothing else.
pub(crate) fn ledger(base_seq: u64, plan: &[Planned]) -> Ledger {
    let most = plan.last().map_or(0, |(k, ..)| k + 1);
    let mut ledger = Ledger::new(base_seq, most);
    for (k, reason, fingerprint) in plan {
        ledger.sent(*k, Expect::Decision(*reason), *fingerprint);
    }
    ledger
}

/// Those swipes of `numbers` that have one certain answer whenever they are decided.
pub(crate) fn certain(
    traffic: &Traffic,
    numbers: impl Iterator<Item = u64>,
    offset_ms: i64,
) -> impl Iterator<Item = (Planned, Numbered)> {
    numbers.filter_map(move |k| {
        let planned = traffic.swipe(k, offset_ms);
        match planned.expect {
            // What was ahead of its time when it was swiped may have come true.
            Expect::Decision(Reason::FutureSwipe) | Expect::Churn(_) | Expect::Reject(_) => None,
            Expect::Decision(reason) => Some(((k, reason, planned.fingerprint), (k, planned))),
        }
    })
}

/// An empty stream with the shards of `stream`, made at that time.
fn twin(stream: &Stream, now_ms: u64) -> Stream {
    let plan = Plan {
        shards: stream.open_shards().count() as u32,
        ..stream.plan.clone()
    };
    Stream::new(
        &stream.name,
        stream.arn.clone(),
        plan,
        stream.incarnation,
        now_ms,
    )
}

fn ranges(stream: &Stream) -> Vec<ShardRange> {
    let shards = stream.open_shards();
    shards
        .map(|shard| ShardRange {
            first: shard.first_hash,
            last: shard.last_hash,
        })
        .collect()
}

/// The pages of GetRecords that a shard's records make.
#[derive(Clone, Copy, Debug, Default)]
struct Pages {
    count: u32,
    records: usize,
    bytes: u64,
}

impl Pages {
    /// One record more.
    fn add(&mut self, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
        if self.count == 0 || self.records > PAGE_RECORDS || self.bytes > PAGE_BYTES {
            (self.count, self.records, self.bytes) = (self.count + 1, 1, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        shards: 4,
        max_record_bytes: 1 << 20,
        is_on_demand: false,
        is_auto_distributed: false,
    };

    #[track_caller]
    fn check(packing: Packing, records: std::ops::RangeInclusive<u64>) {
        let world = Population {
            cards: 1000,
            seed: 1,
            seeded_at_ms: 1_772_438_321_123,
        };
        let mut live = Stream::new("swipes", "arn".to_owned(), PLAN, 7, 1_772_438_000_000);
        let mut backlog = Backlog::fill(&live, world, 3000, packing).expect("fills");
        assert!(records.contains(&backlog.records), "{}", backlog.records);
        assert_eq!(backlog.pages(), 1);
        let tally = backlog.ledger().settle(&[], true);
        assert_eq!((tally.sent, tally.lost, tally.bad_sent), (3000, 3000, 0));

        let first = live.shard_at(0).map(|shard| (shard.start, shard.pattern));
        live.exchange_records(&mut backlog.stream);
        assert_eq!(
            live.shard_at(0).map(|shard| (shard.start, shard.pattern)),
            first,
            "an iterator of the empty stream stands before the first record"
        );
        let found = live.tip() - 1 - 4;
        assert_eq!(found, backlog.records);
    }

    #[test]
    fn a_backlog_has_as_many_swipes_as_was_asked_and_appears_at_once() {
        check(Packing::Plain, 3000..=3000);
        check(Packing::Aggregated(64), 3000 / 64..=3000 / 64 + 16);
    }

    #[test]
    fn pages_are_full_by_records_or_by_bytes() {
        let count = |records: usize, bytes: u64| {
            let mut pages = Pages::default();
            (0..records).for_each(|_| pages.add(bytes));
            pages.count
        };
        for (records, bytes, expected) in [
            (0, 1, 0),
            (1, 1, 1),
            (10_000, 300, 1),
            (10_001, 300, 2),
            (100, 1 << 20, 10),
            (101, 1 << 20, 11),
        ] {
            assert_eq!(count(records, bytes), expected, "{records} of {bytes}");
        }
    }

    #[test]
    fn a_backlog_grew_at_the_rate_of_the_field() {
        assert_eq!(age_ms(1500), 1000);
        assert_eq!(age_ms(5_400_000), 3_600_000);
    }
}
