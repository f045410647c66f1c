//! What one event of SubscribeToShard holds: a page, as GetRecords replies it, but for where it goes on.

use aws_smithy_runtime_api::box_error::BoxError;

use super::records::parse;
use crate::model::position::{Next, Page, SequenceNumber};

/// Reads the payload of an event. The last one of a shard names the shards that continue it, and no continuation.
pub(in crate::aws) fn read(payload: &[u8]) -> Result<Page, BoxError> {
    let (records, tail) = parse(payload)?;
    let after = match tail.next.as_deref() {
        None | Some("") => None,
        Some(digits) => {
            let number = SequenceNumber::parse(digits);
            Some(number.ok_or("a continuation that is no number")?)
        }
    };
    Ok(Page {
        records,
        behind_latest_ms: tail.behind_latest_ms,
        next: match after {
            Some(number) if tail.children.is_empty() => Next::After(number),
            // A stand-in names both.
            _ => tail.end()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::position::{ChildShard, ShardId};

    fn event(continuation: Value, children: &[&str]) -> Value {
        let child = |id: &&str| {
            json!({
                "ShardId": id,
                "ParentShards": ["shardId-000000000000"],
                "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "9" },
            })
        };
        json!({
            "Records": [{
                "SequenceNumber": "48",
                "ApproximateArrivalTimestamp": 1.7e9,
                "Data": "c3dpcGU=",
                "PartitionKey": "card",
                "EncryptionType": "NONE",
            }],
            "ContinuationSequenceNumber": continuation,
            "MillisBehindLatest": 7,
            "ChildShards": children.iter().map(child).collect::<Vec<_>>(),
        })
    }

    fn page(event: &Value) -> Result<Page, BoxError> {
        read(event.to_string().as_bytes())
    }

    #[track_caller]
    fn check(continuation: Value, children: &[&str], expected: Result<&str, usize>) {
        let page = page(&event(continuation, children)).expect("a page");
        assert_eq!(page.behind_latest_ms, 7);
        let records = page.records.iter();
        let records: Vec<_> = records
            .map(|one| (one.sequence.as_str(), &*one.data))
            .collect();
        assert_eq!(records, [("48", &b"swipe"[..])]);
        match (page.next, expected) {
            (Next::After(number), Ok(expected)) => assert_eq!(number.as_str(), expected),
            (Next::ShardEnd(children), Err(count)) => assert_eq!(children.len(), count),
            (next, expected) => panic!("{next:?} is not {expected:?}"),
        }
    }

    #[test]
    fn an_event_says_where_to_go_on_and_the_last_one_of_a_shard_its_children() {
        check(json!("49"), &[], Ok("49"));
        for nothing in [json!(""), json!(null)] {
            check(nothing.clone(), &["a", "b"], Err(2));
            page(&event(nothing, &[])).expect_err("neither");
        }
        // A stand-in that names both: the shard is at its end.
        check(json!("49"), &["a"], Err(1));
        page(&event(json!("x"), &[])).expect_err("no number");
    }

    #[test]
    fn a_child_is_told_with_its_parents_and_its_range() {
        let page = page(&event(json!(null), &["a"])).expect("a page");
        let child = ChildShard {
            id: ShardId::new("a"),
            parents: vec![ShardId::new("shardId-000000000000")],
            hash_range: ("0".to_owned(), "9".to_owned()),
        };
        assert!(matches!(page.next, Next::ShardEnd(children) if children == [child]));
    }

    #[test]
    fn an_event_that_cannot_be_read_is_an_error() {
        for (field, value) in [
            ("SequenceNumber", json!("x")),
            ("SequenceNumber", json!(null)),
            ("Data", json!("?")),
            ("Data", json!(null)),
        ] {
            let mut event = event(json!("49"), &[]);
            event["Records"][0][field] = value;
            page(&event).expect_err(field);
        }
        for text in ["", "{}", "[]", r#"{"Records":[]"#, r#"{"Records":[]}x"#] {
            read(text.as_bytes()).expect_err(text);
        }
    }
}
