//! Sends the planned swipes when they are due.
//!
//! Every few milliseconds what became due is packed into PutRecords requests; several requests are in flight, and
//! only failed entries are sent again. A request without a reply is sent again as a whole: its swipes may be stored
//! twice, under the same ids. The producer never waits for an answer before it takes the next swipe that is due.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context;
use aws_sdk_kinesis::{
    Client, operation::put_records::PutRecordsOutput, primitives::Blob,
    types::PutRecordsRequestEntry,
};
use hdrhistogram::Histogram;
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ledger::Ledger,
    pace::Pace,
    pack::{self, Entry, Numbered, Packing, ShardRange},
    traffic::Traffic,
};

/// Requests in flight; the next one waits, and its swipes' slip shows it.
const IN_FLIGHT: usize = 32;

/// Times that an entry is sent, with pauses from 20 ms to 1 s: about half a minute.
const ATTEMPTS: u32 = 36;

/// Entries and bytes of a request: the service takes 500 and 5 MiB (data and keys), a tenth is left over.
const REQUEST_ENTRIES: usize = 500;
const REQUEST_BYTES: usize = 4_700_000;

/// What the producer counts while it runs.
#[derive(Debug, Default)]
pub struct Counters {
    /// Swipes whose request was accepted.
    pub stored: AtomicU64,
    /// Entries that were sent again.
    pub resent: AtomicU64,
    /// Swipes that were given up.
    pub failed: AtomicU64,
    /// Swipes that were sent a second time on purpose.
    pub repeats: AtomicU64,
}

/// What is sent, where, and how.
pub struct Producer {
    /// Client without retries.
    pub kinesis: Client,
    /// Stream.
    pub stream: String,
    /// What.
    pub traffic: Arc<Traffic>,
    /// When.
    pub pace: Pace,
    /// Plain or aggregated.
    pub packing: Packing,
    /// Whether some swipes are sent twice, as producers do whose reply was lost.
    pub repeats: bool,
    /// How often requests are made.
    pub linger: Duration,
    /// Who is told what was sent.
    pub ledger: Arc<Mutex<Ledger>>,
    /// What is counted meanwhile.
    pub counters: Arc<Counters>,
}

/// What a run of the producer was like.
pub struct Sent {
    /// From the intended instant to the request being made, in microseconds.
    pub slip_us: Histogram<u64>,
    /// From the first swipe due to the last request made.
    pub took: Duration,
}

impl Producer {
    /// Sends everything that is due from `start` on, until the end of the pace or until `stop`.
    ///
    /// # Errors
    /// When the shards of the stream cannot be listed.
    pub async fn run(self, start: Instant, stop: CancellationToken) -> anyhow::Result<Sent> {
        let shards = shard_ranges(&self.kinesis, &self.stream).await?;
        let this = Arc::new(self);
        let (requests, room) = (TaskTracker::new(), Arc::new(Semaphore::new(IN_FLIGHT)));
        let mut slip_us = slip_histogram();
        let mut tick = tokio::time::interval_at(start, this.linger);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut next, mut repeats) = (0, Vec::new());
        while next < this.pace.total() || !repeats.is_empty() {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            let due = this.pace.due(start.elapsed().as_secs_f64());
            let (swipes, again) = this.plan(next..due, std::mem::take(&mut repeats));
            repeats = again;
            for request in requests_of(pack::entries(swipes, this.packing, &shards)) {
                let Ok(permit) = room.clone().acquire_owned().await else {
                    break;
                };
                let now = start.elapsed();
                // Repeats are late on purpose; only what became due now slips.
                for k in request
                    .iter()
                    .flat_map(|entry| &entry.swipes)
                    .filter(|k| **k >= next)
                {
                    slip_us.saturating_record(micros_since(now, this.pace.at_s(*k)));
                }
                requests.spawn(send(this.clone(), request, permit));
            }
            next = due;
        }
        let took = start.elapsed();
        requests.close();
        requests.wait().await;
        Ok(Sent { slip_us, took })
    }

    /// The swipes that became due, and those to be sent again next time.
    fn plan(
        &self,
        range: std::ops::Range<u64>,
        repeats: Vec<Numbered>,
    ) -> (Vec<Numbered>, Vec<Numbered>) {
        let fresh: Vec<Numbered> = range
            .map(|k| (k, self.traffic.swipe(k, self.pace.at_ms(k))))
            .collect();
        let again: Vec<Numbered> = fresh
            .iter()
            .filter(|(_, planned)| planned.repeat && self.repeats)
            .cloned()
            .collect();
        self.counters.repeats.fetch_add(again.len() as u64, Relaxed);
        let mut ledger = lock(&self.ledger);
        for (k, planned) in &fresh {
            ledger.sent(*k, planned.expect, planned.fingerprint);
        }
        drop(ledger);
        (repeats.into_iter().chain(fresh).collect(), again)
    }

    fn stored(&self, entry: &Entry, shard: &str, sequence: &str) {
        self.counters
            .stored
            .fetch_add(entry.swipes.len() as u64, Relaxed);
        if !entry.bad.is_empty() {
            let mut ledger = lock(&self.ledger);
            for (sub, error) in &entry.bad {
                ledger.bad_record_at((shard.to_owned(), sequence.to_owned(), *sub), error);
            }
        }
    }

    fn give_up(&self, entries: &[Entry]) {
        let mut ledger = lock(&self.ledger);
        for k in entries.iter().flat_map(|entry| &entry.swipes) {
            ledger.not_sent(*k);
            self.counters.failed.fetch_add(1, Relaxed);
        }
    }
}

async fn send(
    producer: Arc<Producer>,
    mut entries: Vec<Entry>,
    permit: tokio::sync::OwnedSemaphorePermit,
) {
    let mut ever_unanswered = false;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            producer
                .counters
                .resent
                .fetch_add(entries.len() as u64, Relaxed);
            tokio::time::sleep(Duration::from_millis((20 << attempt.min(6)).min(1000))).await;
        }
        match put(&producer, &entries).await {
            Ok(reply) => {
                let mut failed = Vec::new();
                for (entry, result) in entries.into_iter().zip(reply.records) {
                    match (result.shard_id, result.sequence_number) {
                        (Some(shard), Some(sequence)) if result.error_code.is_none() => {
                            producer.stored(&entry, &shard, &sequence)
                        }
                        _ => failed.push(entry),
                    }
                }
                entries = failed;
            }
            Err(error) => {
                if !std::mem::replace(&mut ever_unanswered, true) {
                    tracing::warn!(%error, "PutRecords failed; sending it again");
                }
                lock(&producer.ledger)
                    .reply_lost(entries.iter().map(|entry| entry.bad.len() as u64).sum());
            }
        }
        if entries.is_empty() {
            return;
        }
    }
    producer.give_up(&entries);
    drop(permit);
}

async fn put(producer: &Producer, entries: &[Entry]) -> anyhow::Result<PutRecordsOutput> {
    let mut records = Vec::with_capacity(entries.len());
    for entry in entries {
        let record = PutRecordsRequestEntry::builder()
            .data(Blob::new(entry.data.clone()))
            .partition_key(&entry.key)
            .set_explicit_hash_key(entry.hash.map(|hash| hash.to_string()));
        records.push(record.build()?);
    }
    let reply = producer
        .kinesis
        .put_records()
        .stream_name(&producer.stream)
        .set_records(Some(records))
        .send()
        .await;
    reply.map_err(|error| anyhow::Error::new(error.into_service_error()))
}

/// Cuts entries into requests, in order.
fn requests_of(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut requests: Vec<Vec<Entry>> = Vec::new();
    let mut bytes = REQUEST_BYTES;
    for entry in entries {
        let size = entry.data.len() + entry.key.len();
        match requests.last_mut() {
            Some(last) if last.len() < REQUEST_ENTRIES && bytes + size <= REQUEST_BYTES => {
                bytes += size;
                last.push(entry);
            }
            _ => {
                bytes = size;
                requests.push(vec![entry]);
            }
        }
    }
    requests
}

/// The hash ranges of the open shards.
async fn shard_ranges(kinesis: &Client, stream: &str) -> anyhow::Result<Vec<ShardRange>> {
    let shards = crate::tail::shards(kinesis, stream).await?;
    let open = shards.iter().filter(|shard| {
        shard
            .sequence_number_range()
            .is_none_or(|range| range.ending_sequence_number().is_none())
    });
    open.map(|shard| {
        let range = shard
            .hash_key_range()
            .context("a shard has no hash range")?;
        let bound = |text: &str| {
            text.parse::<u128>()
                .with_context(|| format!("`{text}` is no hash key"))
        };
        Ok(ShardRange {
            first: bound(range.starting_hash_key())?,
            last: bound(range.ending_hash_key())?,
        })
    })
    .collect()
}

/// Microseconds to ten minutes, to 3 digits.
pub fn slip_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are constants in range"))
}

fn micros_since(now: Duration, due_s: f64) -> u64 {
    ((now.as_secs_f64() - due_s) * 1e6).max(0.0) as u64
}

/// The ledger. A panic elsewhere does not make what it holds wrong: each method leaves it whole.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_sdk_kinesis::types::{Record, ShardIteratorType};

    use super::*;
    use crate::{
        aggregate,
        churn::Timetable,
        clients::Clients,
        local,
        population::{CARDS_MIN, Population},
        standin::{Options, Standins, kinesis::Fault},
        tail::Tail,
        target::Target,
    };

    const SWIPES: u64 = 600;

    /// Sends [`SWIPES`] swipes in 0.3 s while the stand-in does `faults`; how often each user record was stored.
    async fn stored(packing: &str, faults: Vec<Fault>) -> (HashMap<Vec<u8>, u64>, Arc<Counters>) {
        let standins = Standins::start(&Options::default()).expect("starts");
        let target = Target::at(&standins.kinesis_url, &standins.dynamodb_url);
        let clients = Clients::connect(&target).await;
        let created =
            local::create_all(&clients.kinesis, &clients.dynamodb, &target.names(3)).await;
        created.expect("creates");
        standins.faults.push("PutRecords", faults);
        let population = Population {
            cards: CARDS_MIN,
            seed: 4,
            seeded_at_ms: 0,
        };
        let counters = Arc::new(Counters::default());
        let producer = Producer {
            kinesis: clients.kinesis.clone(),
            stream: target.swipes.clone(),
            traffic: Arc::new(Traffic {
                population,
                timetable: Timetable::new(300),
                start_ms: 0,
                base_seq: 0,
            }),
            pace: Pace::new("2000".parse().expect("a rate"), 0.3),
            packing: packing.parse().expect("a packing"),
            repeats: true,
            linger: Duration::from_millis(10),
            ledger: Arc::new(Mutex::new(Ledger::new(0, SWIPES))),
            counters: counters.clone(),
        };
        let sent = producer
            .run(Instant::now(), CancellationToken::new())
            .await
            .expect("sends");
        assert_eq!(sent.slip_us.len(), SWIPES, "each swipe slips once");
        let tail = Tail::once(&clients.kinesis, &target.swipes, Duration::from_millis(5));
        let cursors = tail
            .open(ShardIteratorType::TrimHorizon)
            .await
            .expect("opens");
        let counts = Arc::new(Mutex::new(HashMap::new()));
        let told = counts.clone();
        let take = move |page: &[Record], _| {
            let mut counts = told.lock().expect("no panic");
            for record in page {
                let data = record.data.as_ref();
                for payload in aggregate::open(data).unwrap_or_else(|| vec![data]) {
                    *counts.entry(payload.to_vec()).or_default() += 1;
                }
            }
        };
        tail.read(cursors, CancellationToken::new(), take)
            .await
            .expect("reads");
        let counts = std::mem::take(&mut *counts.lock().expect("no panic"));
        (counts, counters)
    }

    #[track_caller]
    fn check((counts, counters): &(HashMap<Vec<u8>, u64>, Arc<Counters>), resent: bool) {
        // Only records that are empty are alike.
        let distinct = SWIPES - counts.get(&[][..]).map_or(0, |empty| empty - 1);
        assert_eq!(counts.len() as u64, distinct, "nothing is lost");
        let stored = counters.stored.load(Relaxed);
        assert_eq!(stored, SWIPES + counters.repeats.load(Relaxed));
        assert_eq!(counters.failed.load(Relaxed), 0);
        assert_eq!(counters.resent.load(Relaxed) > 0, resent);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_swipe_is_stored_once_and_those_that_are_repeated_twice() {
        for packing in ["off", "7", "mixed:7"] {
            let run = stored(packing, vec![]).await;
            check(&run, false);
            assert_eq!(
                run.0.values().sum::<u64>(),
                SWIPES + run.1.repeats.load(Relaxed),
                "{packing}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_entries_that_failed_are_sent_again() {
        let run = stored(
            "off",
            vec![
                Fault::Throttle,
                Fault::FailEntries { every: 3 },
                Fault::FailEntries { every: 1 },
            ],
        )
        .await;
        check(&run, true);
        assert_eq!(
            run.0.values().sum::<u64>(),
            SWIPES + run.1.repeats.load(Relaxed)
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_request_whose_reply_is_lost_is_sent_again_and_may_be_stored_twice() {
        let run = stored("off", vec![Fault::DropReply]).await;
        check(&run, true);
        assert!(run.0.values().sum::<u64>() > SWIPES + run.1.repeats.load(Relaxed));
    }
}
