//! Asks the stream: where reading would begin, and how far behind a checkpoint is.
//!
//! One iterator and one read of one record a shard, of the five reads a second that a shard allows all its readers.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::sleep;

use super::application::patiently;
use crate::{
    aws::kinesis_polling::PolledStream,
    lease::amend::Begins,
    model::{
        lease::LeaseRow,
        position::{Checkpoint, Next, ShardId},
    },
    ports::{Fault, SwipeStream},
};

/// Shards that are asked at once.
const AT_ONCE: usize = 16;

/// Empty pages on the way to a record: the service walks a stretch without records in steps.
const EMPTY_PAGES_MAX: u32 = 40;

/// From an empty page to the next read: four of the five reads a second, of which a worker may use four.
const EMPTY_PAGE_REST: Duration = Duration::from_millis(300);

/// With what record reading begins at this checkpoint, as a consumer would read it.
pub async fn begins(stream: &PolledStream, shard: &ShardId, at: &Checkpoint) -> Begins {
    match first(stream, shard, at).await {
        Ok(begins) => begins,
        Err(fault) => Begins::Nowhere(fault.to_string()),
    }
}

async fn first(stream: &PolledStream, shard: &ShardId, at: &Checkpoint) -> Result<Begins, Fault> {
    let mut iterator = patiently(|| stream.iterator(shard, at)).await?;
    for _ in 0..EMPTY_PAGES_MAX {
        let page = patiently(|| stream.peek(iterator.clone())).await?;
        if let Some(record) = page.records.first() {
            return Ok(Begins::With(record.sequence.clone()));
        }
        match page.next {
            Next::Iterator(next) if page.behind_latest_ms > 0 => iterator = next,
            _ => return Ok(Begins::AtTip),
        }
        sleep(EMPTY_PAGE_REST).await;
    }
    let why = format!("{EMPTY_PAGES_MAX} pages without a record, though some wait; try again");
    Ok(Begins::Nowhere(why))
}

/// How far the checkpoints of these rows are behind the tips of their shards, in milliseconds. Shards that ended are left out.
pub async fn behind(
    stream: &PolledStream,
    rows: &[LeaseRow],
) -> BTreeMap<ShardId, Result<i64, Fault>> {
    let open = rows
        .iter()
        .filter(|row| row.checkpoint != Checkpoint::ShardEnd);
    let asked = open.map(|row| async move {
        let behind = behind_of(stream, &row.shard, &row.checkpoint).await;
        (row.shard.clone(), behind)
    });
    stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// The record at a sequence number is done, so the read that returns it ends where the first unread one begins: the service's
/// `MillisBehindLatest` is that one's. Without a record done it is that of the second unread one.
async fn behind_of(
    stream: &PolledStream,
    shard: &ShardId,
    checkpoint: &Checkpoint,
) -> Result<i64, Fault> {
    let iterator = patiently(|| stream.iterator(shard, checkpoint)).await?;
    let page = patiently(|| stream.peek(iterator.clone())).await?;
    Ok(page.behind_latest_ms)
}
