//! Checks a run again from what is stored: the decision table, the decision stream, the dead letters.
//!
//! A run leaves a record of a few numbers; its swipes and their expected answers are derived from them again.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::types::{Record as StreamRecord, ShardIteratorType};
use futures::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::{
    clients::Clients,
    ledger::{Ledger, Place, Seen, Tally},
    observer::{self, Event},
    producer::lock,
    record::{self, RunRecord},
    report::TableCheck,
    run::Ran,
    tail::Tail,
    target::Target,
};

/// Segments of the table that are scanned side by side.
const SEGMENTS: i32 = 4;

/// Pages of a segment at most.
const PAGES: usize = 1_000_000;

/// From read to read of a shard that is at its tip.
const READ_EVERY: Duration = Duration::from_millis(220);

/// A second ledger of a run, told of the decision table.
///
/// # Errors
/// When the table cannot be read.
pub async fn table_ledger(clients: &Clients, table: &str, ran: &Ran) -> anyhow::Result<Ledger> {
    let unsent = ran.ledger.unsent().collect();
    let mut ledger = record::planned(&ran.traffic, &ran.pace, &unsent);
    read_table(clients, table, |seen| _ = ledger.decided(seen)).await?;
    Ok(ledger)
}

/// What the decision table says about a run that is just over, beside what its stream said.
///
/// # Errors
/// When the table cannot be read.
pub async fn check_table(clients: &Clients, table: &str, ran: &Ran) -> anyhow::Result<TableCheck> {
    let stored = table_ledger(clients, table, ran).await?;
    let tally = stored.settle(&ran.changes, false);
    let (_, contradictory) = ran.ledger.disagreements(&stored);
    Ok(TableCheck {
        decisions: tally.decided,
        lost: tally.lost,
        wrong: tally.wrong + tally.unexpected,
        contradictory,
    })
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
                    .filter(|(place, _)| known.contains(place))
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

fn places(record: &RunRecord) -> Arc<HashSet<Place>> {
    Arc::new(
        record
            .bad_records
            .iter()
            .map(|(place, _)| place.clone())
            .collect(),
    )
}

/// Gives every page of a stream to `take`, from end to end.
pub(crate) async fn read_stream<F>(clients: &Clients, name: &str, take: F) -> anyhow::Result<()>
where
    F: Fn(&[StreamRecord]) + Clone + Send + 'static,
{
    let tail = Tail::once(&clients.kinesis, name, READ_EVERY);
    let cursors = tail.open(ShardIteratorType::TrimHorizon).await?;
    tail.read(cursors, CancellationToken::new(), move |page, _| take(page))
        .await
}

/// Gives every decision of a table to `take`.
pub(crate) async fn read_table(
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
        source: None,
    })
}
