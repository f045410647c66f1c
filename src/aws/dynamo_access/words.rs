//! The access table's replies in our own words.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodbstreams::types::{
    AttributeValue as StreamedValue, OperationType, Record, Shard, StreamRecord,
};

use crate::{
    aws::limits::{CHANGE_RECORDS_MAX, CHANGES_CUT_BYTES},
    model::{
        item::{Change, Item, Value},
        position::{ShardId, ShardIterator},
    },
    ports::{ChangePage, ChangeShard, Fault, FaultKind},
};

pub(super) fn change_shard(shard: Shard) -> Option<ChangeShard> {
    Some(ChangeShard {
        id: ShardId::new(&shard.shard_id?),
        parent: shard.parent_shard_id.map(|id| ShardId::new(&id)),
    })
}

/// A reply of GetRecords. No word of the service says that a limit cut it: its count or its size does.
pub(super) fn page(records: Vec<Record>, next: Option<String>) -> Result<ChangePage, Fault> {
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

/// The key that a scan goes on from, in the SDK's words.
pub(in crate::aws) fn key_of(key: Item) -> Result<HashMap<String, AttributeValue>, Fault> {
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

pub(in crate::aws) fn stored_item(attributes: HashMap<String, AttributeValue>) -> Item {
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

/// A value to be stored; nothing for a kind that is only ever read.
pub(in crate::aws) fn to_stored(value: &Value) -> Option<AttributeValue> {
    Some(match value {
        Value::Text(text) => AttributeValue::S(text.clone()),
        Value::Number(digits) => AttributeValue::N(digits.clone()),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::TextSet(texts) => AttributeValue::Ss(texts.clone()),
        Value::List(values) => {
            AttributeValue::L(values.iter().map(to_stored).collect::<Option<_>>()?)
        }
        Value::Map(map) => {
            let fields = map
                .iter()
                .map(|(name, value)| Some((name.clone(), to_stored(value)?)));
            AttributeValue::M(fields.collect::<Option<_>>()?)
        }
        Value::Null => AttributeValue::Null(true),
        Value::Other => return None,
    })
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
