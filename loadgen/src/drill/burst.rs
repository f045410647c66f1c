//! Swipes that come all at once, as after an outage of whoever sends them, beside the traffic that goes on.
//!
//! They are made before the scene begins and put into the stand-in's stream in one go, so that making and sending them is in
//! nobody's way. Each has one certain answer, and its decision is looked for at the end.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow, bail};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    churn::Timetable,
    clients::Clients,
    clock,
    drain::backlog::{Planned, certain, ledger},
    ledger::{Ledger, Tally},
    observer,
    population::Population,
    standin::kinesis::{
        Store,
        stream::{Entry, Outcome, hash_key},
    },
    traffic::{self, Traffic},
    verify,
};

/// Swipes of a burst: 190 MB as a reader without bounds would hold them (250 bytes, and 230 of what belongs to a record), and so
/// more than a worker may grow by in all.
pub const SWIPES: usize = 400_000;

/// Entries of one put: the stream is nobody else's for that long.
const PUT_ENTRIES: usize = 500;

/// Of this many planned swipes one at least has a certain answer (in fact 96 of 100 have): a bound for the search.
const TRIES: u64 = 2;

/// The burst.
pub struct Burst {
    records: Vec<Record>,
    plan: Vec<Planned>,
    base_seq: u64,
}

struct Record {
    /// As base64.
    data: String,
    key: String,
    size: u32,
}

impl Burst {
    /// So many swipes of `world`, at the instant at which it was seeded: numbers of later traffic are greater, as it begins
    /// when this many were made.
    ///
    /// # Errors
    /// When the traffic has too few swipes with one certain answer.
    pub fn prepare(world: Population, swipes: usize) -> anyhow::Result<Self> {
        let traffic = Traffic {
            population: world,
            timetable: Timetable::new(0),
            start_ms: world.seeded_at_ms,
            base_seq: traffic::base_seq(world.seeded_at_ms),
        };
        let (mut records, mut plan) = (Vec::with_capacity(swipes), Vec::with_capacity(swipes));
        let numbers = 0..swipes as u64 * TRIES;
        for (planned, (_, swipe)) in certain(&traffic, numbers, 0).take(swipes) {
            records.push(Record {
                data: STANDARD.encode(&swipe.payload),
                size: u32::try_from(swipe.payload.len() + swipe.card.len())
                    .context("a record is too large")?,
                key: swipe.card,
            });
            plan.push(planned);
        }
        if plan.len() < swipes {
            bail!("the traffic has too few swipes with one certain answer");
        }
        Ok(Self {
            records,
            plan,
            base_seq: traffic.base_seq,
        })
    }

    /// Puts all of it into the stream.
    ///
    /// # Errors
    /// When the stand-in does not take it.
    pub fn arrive(&self, store: &Store, stream: &str) -> anyhow::Result<()> {
        for records in self.records.chunks(PUT_ENTRIES) {
            let entries: Vec<Entry<'_>> = records
                .iter()
                .map(|record| Entry {
                    data: &record.data,
                    key: &record.key,
                    hash: hash_key(&record.key),
                    size: record.size,
                })
                .collect();
            let now_ms = clock::now_ms().unsigned_abs();
            let outcomes = store
                .put(stream, &entries, |_, _| None, now_ms)
                .map_err(|refusal| anyhow!("the Kinesis stand-in: {}", refusal.message))?;
            let stored = |outcome: &Outcome| matches!(outcome, Outcome::Stored(..));
            if !outcomes.iter().all(stored) {
                bail!("the stand-in did not take a record");
            }
        }
        Ok(())
    }

    /// What became of it, by what is on the decision stream.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn check(&self, clients: &Clients, decisions: &str) -> anyhow::Result<Tally> {
        let told = Arc::new(Mutex::new(ledger(self.base_seq, &self.plan)));
        let ledger = told.clone();
        verify::read_stream(clients, decisions, move |page| {
            let mut ledger = lock(&told);
            for seen in observer::decisions(page).0 {
                ledger.decided(seen);
            }
        })
        .await?;
        let tally = lock(&ledger).settle(&[], false);
        Ok(tally)
    }
}

/// A panic under the lock is told elsewhere; what was counted stays.
fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
