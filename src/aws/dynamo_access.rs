//! The access table and its change stream, in DynamoDB and DynamoDB Streams.
//!
//! The stream is the table's latest one. It is looked up when opened, and again when it is no longer on: a stream
//! that was switched off and on has another name, and what changed between is in neither. That is said once, as
//! `Trimmed`; shard names alone would not tell, since stand-ins give every stream the same.
//!
//! What must hold: a change whose new image is missing is a fault, never a removal; a shard is closed only by a
//! reply without a next iterator, never by what a listing says of its sequence numbers.

pub(super) mod words;

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_sdk_dynamodb::types::{KeyType, StreamViewType};
use aws_sdk_dynamodbstreams::types::{Shard, ShardIteratorType, StreamStatus};

use self::words::{change_shard, key_of, page, stored_item};
use super::{
    fault,
    limits::{CHANGE_RECORDS_MAX, DESCRIBE_STREAM_SHARDS_MAX},
};
use crate::{
    model::position::{ShardId, ShardIterator},
    ports::{
        AccessTable, ChangePage, ChangeShard, ChangeStart, Fault, FaultKind, ScanCursor, ScanPage,
    },
};

/// The table with its stream.
#[derive(Debug)]
pub struct DynamoAccess {
    dynamodb: aws_sdk_dynamodb::Client,
    streams: aws_sdk_dynamodbstreams::Client,
    table: String,
    stream_arn: ArcSwap<String>,
}

impl DynamoAccess {
    /// The table of that name and its latest stream.
    ///
    /// # Errors
    ///
    /// Refused when its key is not `PK` and `SK`, or when its stream is off or holds no new images; else what
    /// DescribeTable met.
    pub async fn open(
        dynamodb: aws_sdk_dynamodb::Client,
        streams: aws_sdk_dynamodbstreams::Client,
        table: String,
    ) -> Result<Self, Fault> {
        let arn = latest_stream(&dynamodb, &table).await?;
        Ok(Self {
            dynamodb,
            streams,
            table,
            stream_arn: ArcSwap::from_pointee(arn),
        })
    }

    /// One page of DescribeStream: its shards, where the listing goes on, and whether the stream is on.
    async fn describe(
        &self,
        arn: &str,
        after: Option<String>,
    ) -> Result<(Vec<Shard>, Option<String>, bool), Fault> {
        let reply = self
            .streams
            .describe_stream()
            .stream_arn(arn)
            .limit(DESCRIBE_STREAM_SHARDS_MAX)
            .set_exclusive_start_shard_id(after)
            .send()
            .await
            .map_err(|error| fault("DescribeStream", &error))?;
        let Some(stream) = reply.stream_description else {
            return Err(strange("DescribeStream", "the reply describes no stream"));
        };
        // The label ends the ARN; a stand-in describes a table's new stream under the old one's ARN.
        let replaced = stream
            .stream_label
            .is_some_and(|label| !arn.ends_with(&label));
        let off = matches!(
            stream.stream_status,
            Some(StreamStatus::Disabled | StreamStatus::Disabling)
        );
        Ok((
            stream.shards.unwrap_or_default(),
            stream.last_evaluated_shard_id,
            !off && !replaced,
        ))
    }

    async fn shards_of(&self, arn: &str) -> Result<(Vec<ChangeShard>, bool), Fault> {
        let mut shards = Vec::new();
        let mut after = None;
        loop {
            let (page, next, on) = self.describe(arn, after.clone()).await?;
            shards.extend(page.into_iter().filter_map(change_shard));
            // A listing that does not move would never end.
            if next.is_none() || next == after {
                return Ok((shards, on));
            }
            after = next;
        }
    }
}

impl AccessTable for DynamoAccess {
    /// Reads with strong consistency. An eventually consistent read may miss a write that was acknowledged before
    /// the stream's iterators were opened: neither the scan nor the stream would ever show it.
    async fn scan(
        &self,
        segment: u32,
        segments: u32,
        from: Option<ScanCursor>,
    ) -> Result<ScanPage, Fault> {
        let start = from.map(|ScanCursor(key)| key_of(key)).transpose()?;
        let reply = self
            .dynamodb
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .segment(i32::try_from(segment).unwrap_or(i32::MAX))
            .total_segments(i32::try_from(segments).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(|error| fault("Scan", &error))?;
        let items = reply.items.unwrap_or_default();
        Ok(ScanPage {
            items: items.into_iter().map(stored_item).collect(),
            next: reply
                .last_evaluated_key
                .filter(|key| !key.is_empty())
                .map(|key| ScanCursor(stored_item(key))),
        })
    }

    async fn change_shards(&self) -> Result<Vec<ChangeShard>, Fault> {
        let arn = self.stream_arn.load_full();
        match self.shards_of(&arn).await {
            Ok((shards, true)) => Ok(shards),
            Err(fault) if fault.kind != FaultKind::NotFound => Err(fault),
            off => {
                let latest = latest_stream(&self.dynamodb, &self.table).await?;
                if latest == *arn {
                    return off.map(|(shards, _)| shards);
                }
                self.stream_arn.store(Arc::new(latest));
                Err(Fault {
                    kind: FaultKind::Trimmed,
                    operation: "DescribeStream",
                    message: format!("the stream of table {} was switched off and on", self.table),
                })
            }
        }
    }

    async fn change_iterator(
        &self,
        shard: &ShardId,
        from: &ChangeStart,
    ) -> Result<ShardIterator, Fault> {
        let (kind, sequence) = match from {
            ChangeStart::Latest => (ShardIteratorType::Latest, None),
            ChangeStart::TrimHorizon => (ShardIteratorType::TrimHorizon, None),
            ChangeStart::After(sequence) => (
                ShardIteratorType::AfterSequenceNumber,
                Some(sequence.clone()),
            ),
        };
        let reply = self
            .streams
            .get_shard_iterator()
            .stream_arn(self.stream_arn.load_full().as_str())
            .shard_id(shard.as_str())
            .shard_iterator_type(kind)
            .set_sequence_number(sequence)
            .send()
            .await
            .map_err(|error| fault("GetShardIterator", &error))?;
        match reply.shard_iterator {
            Some(iterator) => Ok(ShardIterator(iterator)),
            None => Err(strange("GetShardIterator", "the reply has no iterator")),
        }
    }

    async fn changes(&self, iterator: ShardIterator) -> Result<ChangePage, Fault> {
        let reply = self
            .streams
            .get_records()
            .shard_iterator(iterator.0)
            .limit(CHANGE_RECORDS_MAX)
            .send()
            .await
            .map_err(|error| fault("GetRecords", &error))?;
        page(reply.records.unwrap_or_default(), reply.next_shard_iterator)
    }
}

/// The ARN of the table's latest stream, when it is one that can be followed.
async fn latest_stream(dynamodb: &aws_sdk_dynamodb::Client, table: &str) -> Result<String, Fault> {
    const OPERATION: &str = "DescribeTable";
    let reply = dynamodb
        .describe_table()
        .table_name(table)
        .send()
        .await
        .map_err(|error| fault(OPERATION, &error))?;
    let Some(description) = reply.table else {
        return Err(strange(OPERATION, "the reply describes no table"));
    };
    let refuse = |what: String| Fault {
        kind: FaultKind::Refused,
        operation: OPERATION,
        message: what,
    };
    let named = |name: &str, kind: KeyType| {
        description
            .key_schema()
            .iter()
            .any(|key| key.attribute_name() == name && *key.key_type() == kind)
    };
    if !(named("PK", KeyType::Hash) && named("SK", KeyType::Range)) {
        return Err(refuse(format!("the key of table {table} is not PK and SK")));
    }
    let on = description
        .stream_specification
        .as_ref()
        .filter(|stream| stream.stream_enabled);
    let (Some(stream), Some(arn)) = (on, description.latest_stream_arn.as_ref()) else {
        return Err(refuse(format!(
            "the stream of table {table} is off; turn it on with the view NEW_AND_OLD_IMAGES or NEW_IMAGE"
        )));
    };
    match &stream.stream_view_type {
        Some(StreamViewType::NewImage | StreamViewType::NewAndOldImages) => Ok(arn.clone()),
        view => Err(refuse(format!(
            "the stream of table {table} has the view {}, which holds no new images; turn it on with \
             NEW_AND_OLD_IMAGES or NEW_IMAGE",
            view.as_ref().map_or("unknown", StreamViewType::as_str)
        ))),
    }
}

/// A reply that its API does not allow; the next one may be right.
fn strange(operation: &'static str, what: &str) -> Fault {
    Fault {
        kind: FaultKind::Transient,
        operation,
        message: what.to_owned(),
    }
}
