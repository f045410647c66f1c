//! The access table and its change stream, in DynamoDB and DynamoDB Streams.
//!
//! The stream is the table's latest one. It is looked up when opened, and again when it is no longer on: a stream
//! that was switched off and on has another name, and its shards continue none of the old ones, so whoever follows
//! sees the gap.
//!
//! What must hold: a change whose new image is missing is a fault, never a removal; a shard is closed only by a
//! reply without a next iterator, never by what a listing says of its sequence numbers.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use aws_sdk_dynamodb::types::{AttributeValue, KeyType, StreamViewType};
use aws_sdk_dynamodbstreams::types::{
    AttributeValue as StreamedValue, OperationType, Record, Shard, ShardIteratorType, StreamRecord,
    StreamStatus,
};

use super::{
    fault,
    limits::{CHANGE_RECORDS_MAX, CHANGES_CUT_BYTES, DESCRIBE_STREAM_SHARDS_MAX},
};
use crate::{
    model::{
        item::{Change, Item, Value},
        position::{ShardId, ShardIterator},
    },
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
        let on = !matches!(
            stream.stream_status,
            Some(StreamStatus::Disabled | StreamStatus::Disabling)
        );
        Ok((
            stream.shards.unwrap_or_default(),
            stream.last_evaluated_shard_id,
            on,
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
                let (shards, _) = self.shards_of(&latest).await?;
                self.stream_arn.store(Arc::new(latest));
                Ok(shards)
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

fn change_shard(shard: Shard) -> Option<ChangeShard> {
    Some(ChangeShard {
        id: ShardId::new(&shard.shard_id?),
        parent: shard.parent_shard_id.map(|id| ShardId::new(&id)),
    })
}

/// A reply of GetRecords. No word of the service says that a limit cut it: its count or its size does.
fn page(records: Vec<Record>, next: Option<String>) -> Result<ChangePage, Fault> {
    let size = |record: &Record| {
        record
            .dynamodb
            .as_ref()
            .and_then(|change| change.size_bytes)
    };
    let bytes: i64 = records.iter().filter_map(size).fold(0, i64::saturating_add);
    let more = records.len() >= CHANGE_RECORDS_MAX as usize || bytes >= CHANGES_CUT_BYTES;
    let changes = records.into_iter().map(change).collect::<Result<_, _>>()?;
    Ok(ChangePage {
        changes,
        next: next.map(ShardIterator),
        more,
    })
}

fn change(record: Record) -> Result<Change, Fault> {
    let refuse = |what: &str| Fault {
        kind: FaultKind::Refused,
        operation: "GetRecords",
        message: what.to_owned(),
    };
    let removed = record.event_name == Some(OperationType::Remove);
    let Some(StreamRecord {
        approximate_creation_date_time: created,
        keys: Some(mut keys),
        new_image,
        sequence_number: Some(sequence),
        ..
    }) = record.dynamodb
    else {
        return Err(refuse("a change came without its key or sequence number"));
    };
    let (Some(StreamedValue::S(pk)), Some(StreamedValue::S(sk))) =
        (keys.remove("PK"), keys.remove("SK"))
    else {
        return Err(refuse("a change came with another key than PK and SK"));
    };
    let image = match (removed, new_image) {
        (true, _) => None,
        (false, Some(image)) => Some(streamed_item(image)),
        (false, None) => {
            return Err(refuse(
                "a change came without its new image; the view of the stream must be NEW_AND_OLD_IMAGES or NEW_IMAGE",
            ));
        }
    };
    // Unknown is as old as can be: it never makes anything look fresh.
    let created_at_ms = created.and_then(|at| at.to_millis().ok()).unwrap_or(0);
    Ok(Change {
        key: (pk, sk),
        image,
        sequence,
        created_at_ms,
    })
}

/// A reply that its API does not allow; the next one may be right.
fn strange(operation: &'static str, what: &str) -> Fault {
    Fault {
        kind: FaultKind::Transient,
        operation,
        message: what.to_owned(),
    }
}

/// The key that a scan goes on from, in the SDK's words.
fn key_of(key: Item) -> Result<HashMap<String, AttributeValue>, Fault> {
    key.into_iter()
        .map(|(name, value)| match value {
            Value::Text(text) => Ok((name, AttributeValue::S(text))),
            Value::Number(digits) => Ok((name, AttributeValue::N(digits))),
            _ => Err(Fault {
                kind: FaultKind::Refused,
                operation: "Scan",
                message: format!("the key attribute {name} is neither a string nor a number"),
            }),
        })
        .collect()
}

fn stored_item(attributes: HashMap<String, AttributeValue>) -> Item {
    attributes
        .into_iter()
        .map(|(name, value)| (name, stored_value(value)))
        .collect()
}

/// A value of a scan. The service nests at most 32 deep.
fn stored_value(value: AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::Text(text),
        AttributeValue::N(digits) => Value::Number(digits),
        AttributeValue::Bool(flag) => Value::Bool(flag),
        AttributeValue::Ss(texts) => Value::TextSet(texts),
        AttributeValue::L(values) => Value::List(values.into_iter().map(stored_value).collect()),
        AttributeValue::M(map) => Value::Map(stored_item(map)),
        AttributeValue::Null(_) => Value::Null,
        _ => Value::Other,
    }
}

fn streamed_item(attributes: HashMap<String, StreamedValue>) -> Item {
    attributes
        .into_iter()
        .map(|(name, value)| (name, streamed_value(value)))
        .collect()
}

/// A value of a change: the same words in another crate's type.
fn streamed_value(value: StreamedValue) -> Value {
    match value {
        StreamedValue::S(text) => Value::Text(text),
        StreamedValue::N(digits) => Value::Number(digits),
        StreamedValue::Bool(flag) => Value::Bool(flag),
        StreamedValue::Ss(texts) => Value::TextSet(texts),
        StreamedValue::L(values) => Value::List(values.into_iter().map(streamed_value).collect()),
        StreamedValue::M(map) => Value::Map(streamed_item(map)),
        StreamedValue::Null(_) => Value::Null,
        _ => Value::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodbstreams::primitives::DateTime;

    fn streamed(name: &str, value: StreamedValue) -> HashMap<String, StreamedValue> {
        HashMap::from([(name.to_owned(), value)])
    }

    fn record(
        event: OperationType,
        image: Option<HashMap<String, StreamedValue>>,
        bytes: i64,
    ) -> Record {
        let change = StreamRecord::builder()
            .keys("PK", StreamedValue::S("CARD#1".to_owned()))
            .keys("SK", StreamedValue::S("CARD#STATUS".to_owned()))
            .approximate_creation_date_time(DateTime::from_secs(1_772_438_321))
            .sequence_number("700")
            .size_bytes(bytes)
            .set_new_image(image);
        Record::builder()
            .event_name(event)
            .dynamodb(change.build())
            .build()
    }

    fn image() -> HashMap<String, StreamedValue> {
        streamed("CardStatus", StreamedValue::S("issued".to_owned()))
    }

    #[test]
    fn a_change_carries_key_image_sequence_and_time() {
        let expected = |image| Change {
            key: ("CARD#1".to_owned(), "CARD#STATUS".to_owned()),
            image,
            sequence: "700".to_owned(),
            created_at_ms: 1_772_438_321_000,
        };
        let item = Item::from([("CardStatus".to_owned(), Value::Text("issued".to_owned()))]);
        for event in [OperationType::Insert, OperationType::Modify] {
            let read = change(record(event, Some(image()), 1)).expect("a change");
            assert_eq!(read, expected(Some(item.clone())));
        }
        let read = change(record(OperationType::Remove, None, 1)).expect("a change");
        assert_eq!(read, expected(None));
    }

    #[test]
    fn a_change_that_lacks_its_image_or_key_is_a_fault_and_never_a_removal() {
        let no_key = Record::builder()
            .event_name(OperationType::Remove)
            .dynamodb(StreamRecord::builder().sequence_number("1").build())
            .build();
        let nothing = Record::builder().event_name(OperationType::Insert).build();
        for record in [record(OperationType::Modify, None, 1), no_key, nothing] {
            let fault = change(record).expect_err("a fault");
            assert_eq!(fault.kind, FaultKind::Refused, "{fault}");
        }
    }

    #[test]
    fn a_reply_is_cut_when_its_count_or_its_size_is_near_a_limit() {
        #[track_caller]
        fn check(records: usize, bytes_each: i64, cut: bool) {
            let records = vec![record(OperationType::Insert, Some(image()), bytes_each); records];
            let page = page(records, Some("next".to_owned())).expect("a page");
            assert_eq!(page.more, cut);
        }
        check(0, 0, false);
        check(999, 100, false);
        check(1000, 100, true);
        check(2, 99_999, false);
        check(2, 100_000, true);
        check(2, i64::MAX, true);
    }

    #[test]
    fn both_crates_values_become_the_same_words() {
        let text = |text: &str| text.to_owned();
        let rows = [
            (
                AttributeValue::S(text("a")),
                StreamedValue::S(text("a")),
                Value::Text(text("a")),
            ),
            (
                AttributeValue::N(text("1")),
                StreamedValue::N(text("1")),
                Value::Number(text("1")),
            ),
            (
                AttributeValue::Bool(true),
                StreamedValue::Bool(true),
                Value::Bool(true),
            ),
            (
                AttributeValue::Null(true),
                StreamedValue::Null(true),
                Value::Null,
            ),
            (
                AttributeValue::Ss(vec![text("a")]),
                StreamedValue::Ss(vec![text("a")]),
                Value::TextSet(vec![text("a")]),
            ),
            (
                AttributeValue::Ns(vec![text("1")]),
                StreamedValue::Ns(vec![text("1")]),
                Value::Other,
            ),
            (
                AttributeValue::L(vec![AttributeValue::M(HashMap::from([(
                    text("k"),
                    AttributeValue::Bool(false),
                )]))]),
                StreamedValue::L(vec![StreamedValue::M(streamed(
                    "k",
                    StreamedValue::Bool(false),
                ))]),
                Value::List(vec![Value::Map(Item::from([(
                    text("k"),
                    Value::Bool(false),
                )]))]),
            ),
        ];
        for (stored, of_stream, expected) in rows {
            assert_eq!(stored_value(stored), expected);
            assert_eq!(streamed_value(of_stream), expected);
        }
    }

    #[test]
    fn the_key_of_a_cursor_survives_the_way_back() {
        let key = Item::from([
            ("PK".to_owned(), Value::Text("CARD#1".to_owned())),
            ("SK".to_owned(), Value::Text("CARD#STATUS".to_owned())),
        ]);
        assert_eq!(stored_item(key_of(key.clone()).expect("a key")), key);
        let strange = Item::from([("PK".to_owned(), Value::Other)]);
        assert_eq!(
            key_of(strange).map_err(|fault| fault.kind),
            Err(FaultKind::Refused)
        );
    }
}
