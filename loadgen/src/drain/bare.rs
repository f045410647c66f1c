//! `loadgen bare`: the loop that a drain compares the daemon with, as a process of its own.
//!
//! What somebody who knows the SDK would write when nothing has to be decided: one task a shard, the daemon's own clients,
//! the next page asked for while this one is written, full batches, the daemon's number of them in flight, no payload
//! looked at. It writes as many entries and bytes as the daemon was seen to write for the same backlog, spread evenly.
//!
//! It has no leases, no checkpoints and no second try: what fails ends it. It says `ready` when every shard is open and
//! was read once, waits for a line on stdin, says `done` with its counts, and ends when its stdin does.

mod item;

use std::{io::BufRead, time::Duration};

use anyhow::{Context, bail, ensure};
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use aws_sdk_kinesis::{
    operation::get_records::GetRecordsOutput,
    primitives::Blob,
    types::{PutRecordsRequestEntry, Record, ShardIteratorType},
};
use futures::{StreamExt, TryStreamExt, stream};
use swiped::aws::{Clients, Endpoints, limits};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{drain::Sink, tail};

/// The daemon's own number of writes of one shard under way at once.
const IN_FLIGHT: usize = 8;

/// From read to read of one shard: what the service allows, and the daemon's pace when it is behind.
const HURRY: Duration = Duration::from_millis(1000 / limits::GET_RECORDS_CALLS_A_SECOND as u64);

/// The lease client is not used here.
const LEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the loop reads and writes.
#[derive(clap::Args, Clone, Debug)]
pub struct BareArgs {
    /// Endpoint of Kinesis
    #[arg(long)]
    kinesis: String,
    /// Endpoint of DynamoDB
    #[arg(long)]
    dynamodb: String,
    /// Region that requests are signed for
    #[arg(long)]
    region: String,
    /// Stream that is read
    #[arg(long)]
    from: String,
    /// Stream or table that is written
    #[arg(long)]
    into: String,
    /// Which of the two
    #[arg(long, value_enum)]
    sink: Sink,
    /// Records that are read
    #[arg(long)]
    records: u64,
    /// Entries or items that are written for them
    #[arg(long)]
    entries: u64,
    /// Bytes of an entry, partition key included
    #[arg(long)]
    entry_bytes: usize,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    records: u64,
    entries: u64,
}

/// Waits, drains, tells.
///
/// # Errors
/// When a call fails or an entry is not stored.
pub async fn run(args: &BareArgs) -> anyhow::Result<()> {
    let endpoints = Endpoints {
        region: Some(args.region.clone()),
        kinesis: Some(args.kinesis.clone()),
        dynamodb: Some(args.dynamodb.clone()),
        ..Endpoints::default()
    };
    let clients = Clients::open(&endpoints, LEASE_TIMEOUT).await?;
    let mut shards = Vec::new();
    for shard in tail::shards(&clients.kinesis, &args.from).await? {
        let reader = Shard {
            clients: clients.clone(),
            args: args.clone(),
            filler: vec![b'x'; args.entry_bytes].into(),
            done: Done::default(),
        };
        let iterator = reader.open(&shard.shard_id).await?;
        let empty = reader.read(iterator).await?;
        ensure!(
            empty.records.is_empty(),
            "the stream {} is not empty yet",
            args.from
        );
        shards.push((reader, empty));
    }
    println!("ready");
    let go = tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next());
    go.await?.context("nobody says go")??;

    let mut draining = JoinSet::new();
    for (shard, empty) in shards {
        draining.spawn(shard.drain(empty));
    }
    let mut all = Done::default();
    while let Some(done) = draining.join_next().await {
        let done = done.context("a shard's loop panicked")??;
        all.records += done.records;
        all.entries += done.entries;
    }
    println!("done {} {}", all.records, all.entries);
    // Whoever measures reads this process's times first, and then closes stdin.
    tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next()).await?;
    Ok(())
}

/// One shard's loop.
struct Shard {
    clients: Clients,
    args: BareArgs,
    /// The bytes that are written.
    filler: Box<[u8]>,
    done: Done,
}

impl Shard {
    async fn open(&self, shard: &str) -> anyhow::Result<String> {
        let call = self.clients.kinesis.get_shard_iterator();
        let call = call.stream_name(&self.args.from).shard_id(shard);
        let reply = call
            .shard_iterator_type(ShardIteratorType::TrimHorizon)
            .send()
            .await
            .with_context(|| format!("cannot open {shard}"))?;
        reply.shard_iterator.context("no iterator")
    }

    async fn read(&self, iterator: String) -> anyhow::Result<GetRecordsOutput> {
        let call = self.clients.kinesis.get_records().shard_iterator(iterator);
        let page = call.limit(limits::GET_RECORDS_MAX).send().await;
        page.context("cannot read a page")
    }

    /// Reads and writes from where `empty` ended to the tip.
    async fn drain(mut self, empty: GetRecordsOutput) -> anyhow::Result<Done> {
        let mut asked = Instant::now();
        let mut page = self.read(next(empty.next_shard_iterator)?).await?;
        loop {
            let due = self.due(page.records.len());
            let stored = self.store(&page.records, due);
            if page.millis_behind_latest.unwrap_or(0) == 0 {
                stored.await?;
                return Ok(self.done_with(&page.records, due));
            }
            let iterator = next(page.next_shard_iterator.take())?;
            let ahead = async {
                sleep_until(asked + HURRY).await;
                asked = Instant::now();
                self.read(iterator).await
            };
            let (stored, ahead) = futures::join!(stored, ahead);
            stored?;
            self.done = self.done_with(&page.records, due);
            page = ahead?;
        }
    }

    /// How many entries are due for so many records more.
    fn due(&self, records: usize) -> u64 {
        entries_for(self.done.records + records as u64, &self.args) - self.done.entries
    }

    fn done_with(&self, records: &[Record], entries: u64) -> Done {
        Done {
            records: self.done.records + records.len() as u64,
            entries: self.done.entries + entries,
        }
    }

    /// Writes that many entries for these records.
    async fn store(&self, records: &[Record], entries: u64) -> anyhow::Result<()> {
        let record = |entry: u64| &records[(entry * records.len() as u64 / entries) as usize];
        let size = match self.args.sink {
            Sink::Table => limits::BATCH_WRITE_ITEMS_MAX as u64,
            Sink::Stream => entries_a_put(self.args.entry_bytes),
        };
        let batches = (0..entries.div_ceil(size)).map(|batch| {
            let batch = batch * size..((batch + 1) * size).min(entries);
            async move {
                match self.args.sink {
                    Sink::Stream => self.put(batch.map(record)).await,
                    Sink::Table => self.put_items(batch.map(|at| (at, record(at)))).await,
                }
            }
        });
        let batches = stream::iter(batches).buffer_unordered(IN_FLIGHT);
        batches.try_collect().await
    }

    async fn put(&self, records: impl Iterator<Item = &Record>) -> anyhow::Result<()> {
        let entries = records.map(|record| {
            let key = record.partition_key.as_deref().unwrap_or("none");
            let bytes = self.filler.len().saturating_sub(key.len()).max(1);
            let entry = PutRecordsRequestEntry::builder()
                .partition_key(key)
                .data(Blob::new(&self.filler[..bytes]));
            entry.build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let call = self
            .clients
            .kinesis
            .put_records()
            .stream_name(&self.args.into);
        let reply = call.set_records(Some(entries)).send().await;
        let failed = reply.context("cannot put records")?.failed_record_count;
        match failed {
            None | Some(0) => Ok(()),
            Some(failed) => bail!("{failed} entries were not stored"),
        }
    }

    async fn put_items(&self, entries: impl Iterator<Item = (u64, &Record)>) -> anyhow::Result<()> {
        let writes = entries.map(|(at, record)| {
            let item = item::item(&record.sequence_number, self.done.entries + at);
            let put = PutRequest::builder().set_item(Some(item)).build()?;
            Ok(WriteRequest::builder().put_request(put).build())
        });
        let writes = writes.collect::<anyhow::Result<Vec<_>>>()?;
        let call = self.clients.dynamodb.batch_write_item();
        let reply = call.request_items(&self.args.into, writes).send().await;
        let left = reply.context("cannot write items")?.unprocessed_items;
        ensure!(
            left.is_none_or(|left| left.is_empty()),
            "some items were not stored"
        );
        Ok(())
    }
}

fn next(iterator: Option<String>) -> anyhow::Result<String> {
    iterator.context("a shard ended; a backlog has no reshards")
}

/// Entries that are due when `records` of a shard were read: the whole's share.
fn entries_for(records: u64, args: &BareArgs) -> u64 {
    let share = u128::from(records) * u128::from(args.entries) / u128::from(args.records.max(1));
    share as u64
}

/// Entries of that size that one PutRecords takes.
fn entries_a_put(entry_bytes: usize) -> u64 {
    let by_bytes = limits::PUT_RECORDS_BYTES_MAX / entry_bytes.max(1);
    by_bytes.clamp(1, limits::PUT_RECORDS_ENTRIES_MAX) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(records: u64, entries: u64) -> BareArgs {
        let text = String::new;
        BareArgs {
            kinesis: text(),
            dynamodb: text(),
            region: text(),
            from: text(),
            into: text(),
            sink: Sink::Stream,
            records,
            entries,
            entry_bytes: 400,
        }
    }

    #[test]
    fn entries_are_spread_evenly_over_the_records_and_end_whole() {
        for (records, entries) in [(1000, 1000), (1000, 64_000), (64_000, 1000), (7, 3)] {
            let args = args(records, entries);
            assert_eq!(entries_for(0, &args), 0);
            assert_eq!(entries_for(records, &args), entries);
            let half = entries_for(records / 2, &args);
            assert!(half <= entries / 2, "{half} of {entries}");
        }
    }

    #[test]
    fn a_put_is_full_by_entries_or_by_bytes() {
        assert_eq!(entries_a_put(400), 500);
        assert_eq!(entries_a_put(26_000), 201);
        assert_eq!(entries_a_put(10 << 20), 1);
    }
}
