//! The swipe stream, read by polling: ListShards, GetShardIterator, GetRecords.

use std::convert::Infallible;

use aws_sdk_kinesis::{
    Client,
    primitives::DateTime,
    types::{
        ChildShard as SdkChild, Record as SdkRecord, RecordDistributionStrategy, Shard,
        ShardIteratorType,
    },
};

use crate::{
    aws::{fault, limits},
    model::position::{
        Begin, Checkpoint, ChildShard, Next, Page, Record, SequenceNumber, ShardId, ShardInfo,
        ShardIterator,
    },
    ports::{Fault, FaultKind, SwipeStream},
};

/// The stream of that name.
#[derive(Clone, Debug)]
pub struct PolledStream {
    client: Client,
    stream: String,
}

impl PolledStream {
    /// The stream `name`, through `client`.
    pub fn new(client: Client, name: &str) -> Self {
        Self {
            client,
            stream: name.to_owned(),
        }
    }

    /// As [`SwipeStream::read`], one record at most: to see where an iterator stands, at the price of one read of the shard's
    /// five a second.
    ///
    /// # Errors
    /// As [`SwipeStream::read`].
    pub async fn peek(&self, iterator: ShardIterator) -> Result<Page, Fault> {
        self.page(iterator, 1).await
    }

    /// Whether the partition key decides the shard, so that the swipes of one card stay in order. A stream whose distribution
    /// strategy is `AUTO` (on-demand streams) ignores it (Kinesis API, `RecordDistributionStrategy`).
    ///
    /// # Errors
    /// The stream cannot be described.
    pub async fn keeps_order(&self) -> Result<bool, Fault> {
        let call = self.client.describe_stream_summary();
        let reply = call.stream_name(&self.stream).send().await;
        let reply = reply.map_err(|error| fault("DescribeStreamSummary", &error))?;
        let summary = reply.stream_description_summary;
        let strategy = summary.and_then(|summary| summary.record_distribution_strategy);
        Ok(strategy != Some(RecordDistributionStrategy::Auto))
    }

    async fn page(&self, iterator: ShardIterator, limit: i32) -> Result<Page, Fault> {
        const OPERATION: &str = "GetRecords";
        let call = self
            .client
            .get_records()
            .shard_iterator(iterator.0)
            .limit(limit);
        let reply = call
            .send()
            .await
            .map_err(|error| fault(OPERATION, &error))?;
        let mut records = Vec::with_capacity(reply.records.len());
        for found in reply.records {
            records.push(record(OPERATION, found)?);
        }
        let next = match reply.next_shard_iterator {
            Some(next) => Next::Iterator(ShardIterator(next)),
            None => {
                let children = reply.child_shards.unwrap_or_default();
                Next::ShardEnd(children.into_iter().map(child_shard).collect())
            }
        };
        let behind_latest_ms = reply.millis_behind_latest.unwrap_or(0);
        Ok(Page {
            records,
            behind_latest_ms,
            next,
        })
    }
}

impl SwipeStream for PolledStream {
    type Subscription = Infallible;

    async fn shards(&self) -> Result<Vec<ShardInfo>, Fault> {
        let mut shards = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let call = self.client.list_shards();
            // A continued listing must not name the stream again.
            let call = match next {
                Some(token) => call.next_token(token),
                None => call
                    .stream_name(&self.stream)
                    .max_results(limits::LIST_SHARDS_MAX),
            };
            let reply = call
                .send()
                .await
                .map_err(|error| fault("ListShards", &error))?;
            shards.extend(reply.shards.unwrap_or_default().iter().map(shard_info));
            match reply.next_token {
                Some(token) => next = Some(token),
                None => return Ok(shards),
            }
        }
    }

    async fn iterator(&self, shard: &ShardId, from: &Checkpoint) -> Result<ShardIterator, Fault> {
        const OPERATION: &str = "GetShardIterator";
        let call = self
            .client
            .get_shard_iterator()
            .stream_name(&self.stream)
            .shard_id(shard.as_str());
        let call = match from {
            Checkpoint::TrimHorizon => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Checkpoint::Latest => call.shard_iterator_type(ShardIteratorType::Latest),
            Checkpoint::AtTimestamp(ms) => call
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(*ms)),
            Checkpoint::At(position) => call
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(position.sequence.as_str()),
            Checkpoint::ShardEnd => {
                return Err(refused(
                    OPERATION,
                    "a shard that ended has no iterator".to_owned(),
                ));
            }
        };
        let reply = call.send().await.map_err(|error| {
            let mut fault = fault(OPERATION, &error);
            // The service calls a sequence number that it no longer keeps an invalid argument.
            let at_record = matches!(from, Checkpoint::At(_));
            if at_record && fault.message.starts_with("InvalidArgumentException") {
                fault.kind = FaultKind::Trimmed;
            }
            fault
        })?;
        let iterator = reply.shard_iterator;
        iterator
            .map(ShardIterator)
            .ok_or_else(|| transient(OPERATION, "no iterator in the reply"))
    }

    async fn read(&self, _: &ShardId, iterator: ShardIterator) -> Result<Page, Fault> {
        self.page(iterator, limits::GET_RECORDS_MAX).await
    }

    async fn subscribe(&self, _: &ShardId, _: &Begin) -> Result<Infallible, Fault> {
        let why = "this stream is only polled";
        Err(refused("SubscribeToShard", why.to_owned()))
    }

    async fn event(&self, subscription: &mut Infallible) -> Result<Option<Page>, Fault> {
        match *subscription {}
    }
}

/// A record as the SDK gives it.
pub(super) fn record(operation: &'static str, found: SdkRecord) -> Result<Record, Fault> {
    let sequence = SequenceNumber::parse(&found.sequence_number);
    let sequence =
        sequence.ok_or_else(|| transient(operation, "a record without a sequence number"))?;
    Ok(Record {
        sequence,
        data: found.data.into_inner(),
    })
}

fn shard_info(shard: &Shard) -> ShardInfo {
    let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
    let range = shard.hash_key_range.as_ref();
    ShardInfo {
        id: ShardId::new(&shard.shard_id),
        parents: parents
            .into_iter()
            .flatten()
            .map(|parent| ShardId::new(parent))
            .collect(),
        hash_range: range
            .map(|range| {
                (
                    range.starting_hash_key.clone(),
                    range.ending_hash_key.clone(),
                )
            })
            .unwrap_or_default(),
    }
}

pub(super) fn child_shard(child: SdkChild) -> ChildShard {
    let range = child.hash_key_range;
    ChildShard {
        id: ShardId::new(&child.shard_id),
        parents: child
            .parent_shards
            .iter()
            .map(|parent| ShardId::new(parent))
            .collect(),
        hash_range: range
            .map(|range| (range.starting_hash_key, range.ending_hash_key))
            .unwrap_or_default(),
    }
}

pub(super) fn transient(operation: &'static str, what: &str) -> Fault {
    Fault {
        kind: FaultKind::Transient,
        operation,
        message: what.to_owned(),
    }
}

pub(super) fn refused(operation: &'static str, message: String) -> Fault {
    Fault {
        kind: FaultKind::Refused,
        operation,
        message,
    }
}
