//! Checks a run again from what is stored: the decision table, the decision stream, the dead letters.
//!
//! A run leaves a record of a few numbers; its swipes and their expected answers are derived from them again.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::types::{Record as StreamRecord, ShardIteratorType};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    answer::REJECT_ERRORS,
    churn::{Change, Timetable},
    clients::Clients,
    ledger::{Ledger, Place, Seen, Tally},
    observer::{self, Event},
    pace::{Pace, Rate},
    population::Population,
    producer::lock,
    run::Ran,
    tail::Tail,
    target::Target,
    traffic::Traffic,
};

/// Segments of the table that are scanned side by side.
const SEGMENTS: i32 = 4;

/// Pages of a segment at most.
const PAGES: usize = 1_000_000;

/// From read to read of a shard that is at its tip.
const READ_EVERY: Duration = Duration::from_millis(220);

/// What is kept of a run, for [`check`].
#[derive(Debug, Deserialize, Serialize)]
pub struct RunRecord {
    v: u32,
    cards: usize,
    seed: u64,
    seeded_at_ms: i64,
    start_ms: i64,
    base_seq: u64,
    rate: Rate,
    seconds: f64,
    /// Swipes that were planned but not sent, as ranges (first, count).
    unsent: Vec<(u64, u64)>,
    changes: Vec<Change>,
    bad_records: Vec<(Place, String)>,
}

impl RunRecord {
    /// The record of a run.
    pub fn of(ran: &Ran, rate: Rate) -> Self {
        let world = ran.traffic.population;
        let mut unsent: Vec<(u64, u64)> = Vec::new();
        for k in ran.ledger.unsent() {
            match unsent.last_mut() {
                Some((first, count)) if *first + *count == k => *count += 1,
                _ => unsent.push((k, 1)),
            }
        }
        Self {
            v: 1,
            cards: world.cards,
            seed: world.seed,
            seeded_at_ms: world.seeded_at_ms,
            start_ms: ran.traffic.start_ms,
            base_seq: ran.traffic.base_seq,
            rate,
            seconds: ran.pace.seconds(),
            unsent,
            changes: ran.changes.clone(),
            bad_records: ran
                .ledger
                .bad_records()
                .map(|(place, error)| (place.clone(), error.to_owned()))
                .collect(),
        }
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec(self)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads it from a file.
    ///
    /// # Errors
    /// When the file cannot be read or is no such record.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let record: Self = serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is no record of a run; `loadgen run --ledger FILE` writes one",
                path.display()
            )
        })?;
        ensure!(
            record.v == 1,
            "{} is of version {}, this build knows 1",
            path.display(),
            record.v
        );
        Ok(record)
    }

    /// What was sent, as if it had just been sent.
    fn ledger(&self) -> Ledger {
        let population = Population {
            cards: self.cards,
            seed: self.seed,
            seeded_at_ms: self.seeded_at_ms,
        };
        let timetable = Timetable::new((self.seconds * 1e3) as i64);
        let traffic = Traffic {
            population,
            timetable,
            start_ms: self.start_ms,
            base_seq: self.base_seq,
        };
        let unsent: HashSet<u64> = self
            .unsent
            .iter()
            .flat_map(|(first, count)| *first..first + count)
            .collect();
        let mut ledger = planned(&traffic, &Pace::new(self.rate, self.seconds), &unsent);
        for (place, error) in &self.bad_records {
            if let Some(error) = REJECT_ERRORS.iter().find(|known| *known == error) {
                ledger.bad_record_at(place.clone(), error);
            }
        }
        ledger
    }
}

fn planned(traffic: &Traffic, pace: &Pace, unsent: &HashSet<u64>) -> Ledger {
    let mut ledger = Ledger::new(traffic.base_seq, pace.total());
    for k in (0..pace.total()).filter(|k| !unsent.contains(k)) {
        let planned = traffic.swipe(k, pace.at_ms(k));
        ledger.sent(k, planned.expect, planned.fingerprint);
    }
    ledger
}

/// A second ledger of a run, told of the decision table.
///
/// # Errors
/// When the table cannot be read.
pub async fn table_ledger(clients: &Clients, table: &str, ran: &Ran) -> anyhow::Result<Ledger> {
    let unsent = ran.ledger.unsent().collect();
    let mut ledger = planned(&ran.traffic, &ran.pace, &unsent);
    read_table(clients, table, |seen| _ = ledger.decided(seen)).await?;
    Ok(ledger)
}

/// What the stores say about a run: one tally each, by name.
///
/// # Errors
/// When a store cannot be read, or the target names none.
pub async fn check(
    clients: &Clients,
    target: &Target,
    record: &RunRecord,
) -> anyhow::Result<Vec<(String, Tally)>> {
    let mut tallies = Vec::new();
    if let Some(table) = &target.decision_table {
        let mut ledger = record.ledger();
        read_table(clients, table, |seen| _ = ledger.decided(seen)).await?;
        tallies.push((
            format!("table {table}"),
            ledger.settle(&record.changes, false),
        ));
    }
    if let Some(decisions) = &target.decisions {
        let ledger = Arc::new(Mutex::new(record.ledger()));
        let told = ledger.clone();
        read_stream(clients, decisions, move |page| {
            let seen = observer::decisions(page).0;
            let mut ledger = lock(&told);
            seen.into_iter().for_each(|seen| _ = ledger.decided(seen));
        })
        .await?;
        if let Some(rejects) = &target.rejects {
            let (told, known) = (ledger.clone(), places(record));
            read_stream(clients, rejects, move |page| {
                let mut ledger = lock(&told);
                // The stream holds the rejects of other runs too.
                for (place, error) in observer::rejects(page)
                    .0
                    .into_iter()
                    .filter(|(place, _)| known.contains_key(place))
                {
                    ledger.rejected(place, &error);
                }
            })
            .await?;
        }
        let Some(ledger) = Arc::into_inner(ledger) else {
            bail!("a reader is still running")
        };
        let ledger = ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
        tallies.push((
            format!("stream {decisions}"),
            ledger.settle(&record.changes, target.rejects.is_some()),
        ));
    }
    ensure!(
        !tallies.is_empty(),
        "there is neither a decision table nor a decision stream to check"
    );
    Ok(tallies)
}

fn places(record: &RunRecord) -> Arc<HashMap<Place, ()>> {
    Arc::new(
        record
            .bad_records
            .iter()
            .map(|(place, _)| (place.clone(), ()))
            .collect(),
    )
}

async fn read_stream<F>(clients: &Clients, name: &str, take: F) -> anyhow::Result<()>
where
    F: Fn(&[StreamRecord]) + Clone + Send + 'static,
{
    let tail = Tail::once(&clients.kinesis, name, READ_EVERY);
    let cursors = tail.open(ShardIteratorType::TrimHorizon).await?;
    tail.read(cursors, CancellationToken::new(), move |page, _| take(page))
        .await
}

async fn read_table(
    clients: &Clients,
    table: &str,
    mut take: impl FnMut(Seen),
) -> anyhow::Result<()> {
    let segments = stream::iter(0..SEGMENTS).map(|segment| scan(clients, table, segment));
    let mut segments = segments.buffer_unordered(SEGMENTS as usize);
    while let Some(seen) = segments.try_next().await? {
        seen.into_iter().for_each(&mut take);
    }
    Ok(())
}

async fn scan(clients: &Clients, table: &str, segment: i32) -> anyhow::Result<Vec<Seen>> {
    let (mut seen, mut from) = (Vec::new(), None);
    for _ in 0..PAGES {
        let request = clients
            .dynamodb
            .scan()
            .table_name(table)
            .segment(segment)
            .total_segments(SEGMENTS);
        let request = request.consistent_read(true).set_exclusive_start_key(from);
        let page = request
            .send()
            .await
            .with_context(|| format!("cannot scan the table {table}"))?;
        seen.extend(
            page.items()
                .iter()
                .filter_map(event)
                .map(|event| observer::look(&event)),
        );
        from = page.last_evaluated_key;
        if from.is_none() {
            return Ok(seen);
        }
    }
    bail!("the scan of the table {table} does not end")
}

/// A decision as the table stores it; nothing when the item is none.
fn event(item: &HashMap<String, AttributeValue>) -> Option<Event<'_>> {
    let text = |name: &str| {
        item.get(name)?
            .as_s()
            .ok()
            .map(|text| Cow::Borrowed(text.as_str()))
    };
    let number = |name: &str| item.get(name)?.as_n().ok()?.parse::<i64>().ok();
    Some(Event {
        decision_id: text("decision_id")?,
        decision: text("decision")?,
        reason: text("reason")?,
        rule: number("rule")?.unsigned_abs(),
        device_id: text("device_id")?,
        device_seq: number("device_seq")?.unsigned_abs(),
        access_point: text("access_point")?,
        card_id: text("card_id")?,
        swiped_at_ms: number("swiped_at_ms")?,
        decided_at_ms: number("decided_at_ms")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_run_reads_back_and_plans_the_same_swipes() {
        let record = RunRecord {
            v: 1,
            cards: 500,
            seed: 3,
            seeded_at_ms: 1_772_438_000_000,
            start_ms: 1_772_438_321_123,
            base_seq: 77,
            rate: "100:300".parse().expect("a rate"),
            seconds: 2.0,
            unsent: vec![(5, 2), (390, 10)],
            changes: vec![],
            bad_records: vec![(("s".to_owned(), "9".to_owned(), 1), "Oversize".to_owned())],
        };
        let text = serde_json::to_string(&record).expect("serialises");
        let again: RunRecord = serde_json::from_str(&text).expect("reads back");
        let ledger = again.ledger();
        assert_eq!(
            ledger.unsent().collect::<Vec<_>>(),
            [[5, 6].as_slice(), &(390..400).collect::<Vec<_>>()].concat()
        );
        assert_eq!(ledger.tally().sent, 388);
        assert_eq!(ledger.bad_records().count(), 1);
    }
}
