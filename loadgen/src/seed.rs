//! Writes the population into the access table, and notes with which numbers it did.

use std::collections::HashMap;

use anyhow::{Context, bail};
use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    churn,
    clients::Clients,
    item::{Item, Value},
    local,
    population::{CHURN_CARDS, Population},
    progress::Progress,
    target::Target,
};

/// Items of one BatchWriteItem (service limit).
const BATCH: usize = 25;

/// Requests in flight.
const IN_FLIGHT: usize = 8;

/// Times that unprocessed items are sent again.
const ATTEMPTS: u32 = 10;

/// Key of the item that remembers the seeding; the daemon ignores it.
const NOTE: (&str, &str) = ("LOADGEN#SEED", "SEED");

/// Makes the streams and tables that are missing, streams with `shards` shards, and writes the population.
///
/// # Errors
/// When something cannot be made or written.
pub async fn prepare(
    clients: &Clients,
    target: &Target,
    shards: u32,
    world: &Population,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let names = target.names(shards);
    local::create_all(&clients.kinesis, &clients.dynamodb, &names).await?;
    write(&clients.dynamodb, &target.access, world, progress).await
}

/// Writes every item of the population, rules before cards, the note last.
///
/// # Errors
/// When an item cannot be written.
pub async fn write(
    client: &Client,
    table: &str,
    world: &Population,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let mut batches = Vec::new();
    let churn_cards = (0..CHURN_CARDS as u16)
        .filter_map(|card| world.churn_item(card, churn::state_after(card, 0), world.seeded_at_ms));
    let mut items = world.items().chain(churn_cards).peekable();
    while items.peek().is_some() {
        batches.push(items.by_ref().take(BATCH).collect::<Vec<Item>>());
    }
    let total = batches.iter().map(Vec::len).sum::<usize>();
    let mut written = 0;
    let mut writes = stream::iter(batches)
        .map(|batch| write_batch(client, table, batch))
        .buffer_unordered(IN_FLIGHT);
    while let Some(count) = writes.try_next().await? {
        written += count;
        progress.line(|| format!("seeding  {written} of {total} items"));
    }
    progress.end();
    write_batch(client, table, vec![note(world)]).await?;
    Ok(())
}

fn note(world: &Population) -> Item {
    let fields = vec![
        ("Cards", Value::N(world.cards as i64)),
        ("Seed", Value::from(world.seed.to_string())),
        ("SeededAtMs", Value::N(world.seeded_at_ms)),
    ];
    Item {
        pk: NOTE.0.to_owned(),
        sk: NOTE.1.to_owned(),
        fields,
    }
}

async fn write_batch(client: &Client, table: &str, items: Vec<Item>) -> anyhow::Result<usize> {
    let count = items.len();
    let puts = items.into_iter().map(|item| {
        let put = PutRequest::builder()
            .set_item(Some(item.into_attributes()))
            .build()?;
        Ok(WriteRequest::builder().put_request(put).build())
    });
    let mut left = HashMap::from([(table.to_owned(), puts.collect::<anyhow::Result<Vec<_>>>()?)]);
    for attempt in 0..ATTEMPTS {
        let reply = client
            .batch_write_item()
            .set_request_items(Some(left))
            .send()
            .await;
        let reply = reply.with_context(|| format!("cannot write to the table {table}"))?;
        left = reply.unprocessed_items.unwrap_or_default();
        if left.values().all(Vec::is_empty) {
            return Ok(count);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50 << attempt.min(6))).await;
    }
    bail!("the table {table} is throttled: items stay unprocessed after {ATTEMPTS} attempts")
}

/// The population that is in the table, as its note tells.
///
/// # Errors
/// When there is no note, or it cannot be read.
pub async fn read_note(client: &Client, table: &str) -> anyhow::Result<Population> {
    let reply = client
        .get_item()
        .table_name(table)
        .key("PK", AttributeValue::S(NOTE.0.to_owned()))
        .key("SK", AttributeValue::S(NOTE.1.to_owned()))
        .consistent_read(true)
        .send()
        .await
        .with_context(|| format!("cannot read the table {table}"))?;
    let item = reply.item.with_context(|| {
        format!("the table {table} has no note of a seeding; run `loadgen seed` first")
    })?;
    let number = |name: &str| {
        let text = match item.get(name) {
            Some(AttributeValue::N(text) | AttributeValue::S(text)) => text.as_str(),
            _ => "",
        };
        text.parse::<u64>().with_context(|| {
            format!("the note of the seeding has no number {name}; run `loadgen seed` again")
        })
    };
    Ok(Population {
        cards: number("Cards")? as usize,
        seed: number("Seed")?,
        seeded_at_ms: number("SeededAtMs")? as i64,
    })
}
