//! What BatchWriteItem sends, the items of decisions, and what its reply leaves.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemOutput;
use aws_smithy_runtime_api::{box_error::BoxError, client::interceptors::context::Output};
use itoa::Integer;
use serde::{Deserialize, Serialize};

use super::{N, Named, S, Tables};
use crate::{
    aws::exchange::Reading,
    model::{decision::Decision, standards::standards},
};

/// Bytes of an item at most, so that the body rarely grows: every attribute with its name and type, and ids of a usual length.
const ITEM_BYTES: usize = 1_024;

/// The body of a call that puts `decisions` into `table`, each to be kept `keep_ms` milliseconds, and with the words of ONVIF and BACnet
/// or without.
pub(in crate::aws) fn body(
    table: &str,
    decisions: &[&Decision<'_>],
    keep_ms: i64,
    with_standards: bool,
) -> Vec<u8> {
    let writes = decisions.iter().map(|decision| Write {
        put: Put {
            item: item(decision, keep_ms, with_standards),
        },
    });
    let tables = BTreeMap::from([(table, writes.collect::<Vec<_>>())]);
    let mut body = Vec::with_capacity(ITEM_BYTES * (decisions.len() + 1));
    serde_json::to_writer(&mut body, &Request { tables }).expect("text into memory");
    body
}

#[derive(Serialize)]
struct Request<'a> {
    #[serde(rename = "RequestItems")]
    tables: BTreeMap<&'a str, Vec<Write<'a>>>,
}

#[derive(Serialize)]
struct Write<'a> {
    #[serde(rename = "PutRequest")]
    put: Put<'a>,
}

#[derive(Serialize)]
struct Put<'a> {
    #[serde(rename = "Item")]
    item: Item<'a>,
}

/// The event's fields, under the keys of the contract.
#[derive(Serialize)]
struct Item<'a> {
    #[serde(rename = "PK")]
    partition: S<String>,
    #[serde(rename = "SK")]
    sort: S<String>,
    v: N<u8>,
    decision_id: S<String>,
    decision: S<&'a str>,
    reason: S<&'a str>,
    rule: N<u8>,
    device_id: S<&'a str>,
    device_seq: N<u64>,
    access_point: S<&'a str>,
    card_id: S<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<S<&'a str>>,
    swiped_at_ms: N<i64>,
    decided_at_ms: N<i64>,
    actuate: Flag,
    flags: List<'a>,
    source: Place<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<S<&'a str>>,
    expires_at: N<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    onvif_topic: Option<S<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    onvif_reason: Option<S<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bacnet_event: Option<S<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bacnet_number: Option<N<u8>>,
}

#[derive(Serialize)]
struct Flag {
    #[serde(rename = "BOOL")]
    set: bool,
}

#[derive(Serialize)]
struct List<'a> {
    #[serde(rename = "L")]
    texts: Vec<S<&'a str>>,
}

#[derive(Serialize)]
struct Place<'a> {
    #[serde(rename = "M")]
    source: Source<'a>,
}

#[derive(Serialize)]
struct Source<'a> {
    shard: S<&'a str>,
    sequence: S<&'a str>,
    sub: N<u64>,
}

fn item<'a>(decision: &'a Decision<'_>, keep_ms: i64, with_standards: bool) -> Item<'a> {
    let (swipe, verdict) = (&decision.swipe, &decision.answer.verdict);
    let decided_at_ms = decision.answer.decided_at_ms;
    let words = with_standards.then(|| standards(verdict.reason));
    Item {
        partition: text(decision.partition_key()),
        sort: text(decision.sort_key()),
        v: number(1),
        decision_id: text(decision.id()),
        decision: text(verdict.reason.outcome().as_str()),
        reason: text(verdict.reason.as_str()),
        rule: number(verdict.reason.rule()),
        device_id: text(&swipe.device_id),
        device_seq: number(swipe.device_seq),
        access_point: text(&swipe.access_point),
        card_id: text(&swipe.card_id),
        direction: decision.direction.map(|direction| text(direction.as_str())),
        swiped_at_ms: number(swipe.swiped_at_ms),
        decided_at_ms: number(decided_at_ms),
        actuate: Flag {
            set: decision.actuate,
        },
        flags: List {
            texts: verdict.flags().map(text).collect(),
        },
        source: Place {
            source: Source {
                shard: text(decision.source.shard),
                sequence: text(decision.source.sequence),
                sub: number(decision.source.sub),
            },
        },
        trace_id: swipe.trace_id.as_deref().map(text),
        expires_at: number((decided_at_ms + keep_ms) / 1000),
        onvif_topic: words.map(|words| text(words.onvif_topic)),
        onvif_reason: words.and_then(|words| words.onvif_reason).map(text),
        bacnet_event: words.map(|words| text(words.bacnet_event)),
        bacnet_number: words.map(|words| number(words.bacnet_number)),
    }
}

fn text<T>(text: T) -> S<T> {
    S { text }
}

fn number<T: Integer>(number: T) -> N<T> {
    N { number }
}

/// What a call did not do: the keys of the items that it left, of whatever table; one whose key cannot be read is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::aws) struct Unprocessed(pub(in crate::aws) Vec<Option<(String, String)>>);

/// How a reply of BatchWriteItem is read.
pub(in crate::aws) const READING: Reading<Unprocessed> = Reading {
    read,
    output: || Output::erase(BatchWriteItemOutput::builder().build()),
};

fn read(body: &[u8]) -> Result<Unprocessed, BoxError> {
    let reply: Reply<'_> = serde_json::from_slice(body)?;
    let left = reply.left.unwrap_or_default().into_values().flatten();
    let keys = left.map(|left| left.put.and_then(|put| put.item.key()));
    Ok(Unprocessed(keys.collect()))
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, rename = "UnprocessedItems")]
    left: Option<Tables<Vec<Left<'a>>>>,
}

#[derive(Deserialize)]
struct Left<'a> {
    #[serde(borrow, rename = "PutRequest")]
    put: Option<LeftPut<'a>>,
}

#[derive(Deserialize)]
struct LeftPut<'a> {
    #[serde(borrow, rename = "Item")]
    item: Named<'a>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::dynamo_sink::fixtures::decision;

    /// The attributes of the decision of the fixtures.
    fn attributes(with_standards: bool) -> Value {
        let body = body("t", &[&decision()], 90 * 86_400_000, with_standards);
        let mut body: Value = serde_json::from_slice(&body).expect("json");
        body["RequestItems"]["t"][0]["PutRequest"]["Item"].take()
    }

    #[test]
    fn an_item_has_the_contracts_keys_and_fields_and_expires_by_the_day() {
        let expected = json!({
            "PK": {"S": "CARD#42"},
            "SK": {"S": "CARD#EVENT#SCAN#1772438321123#gate-1#7"},
            "v": {"N": "1"},
            "decision_id": {"S": "gate-1#7"},
            "decision": {"S": "grant"},
            "reason": {"S": "GrantedEgress"},
            "rule": {"N": "6"},
            "device_id": {"S": "gate-1"},
            "device_seq": {"N": "7"},
            "access_point": {"S": "door-\"out\""},
            "card_id": {"S": "42"},
            "direction": {"S": "out"},
            "swiped_at_ms": {"N": "1772438321123"},
            "decided_at_ms": {"N": "1772438322000"},
            "actuate": {"BOOL": true},
            "flags": {"L": [{"S": "CredentialStolen"}, {"S": "soft_apb"}]},
            "source": {"M": {
                "shard": {"S": "shardId-000000000000"},
                "sequence": {"S": "49"},
                "sub": {"N": "2"},
            }},
            "trace_id": {"S": "t"},
            "expires_at": {"N": "1780214322"},
        });
        assert_eq!(attributes(false), expected);
    }

    #[test]
    fn the_words_of_the_standards_are_four_more_attributes() {
        let item = attributes(true);
        let words = [
            "onvif_topic",
            "onvif_reason",
            "bacnet_event",
            "bacnet_number",
        ];
        assert_eq!(
            words.map(|word| item[word].to_string()),
            [
                r#"{"S":"AccessGranted/Credential"}"#,
                "null",
                r#"{"S":"granted"}"#,
                r#"{"N":"1"}"#,
            ]
        );
    }

    #[track_caller]
    fn check(reply: &str, expected: Option<&[Option<(&str, &str)>]>) {
        let owned = |key: &Option<(&str, &str)>| key.map(|(pk, sk)| (pk.to_owned(), sk.to_owned()));
        let expected = expected.map(|keys| Unprocessed(keys.iter().map(owned).collect()));
        assert_eq!(read(reply.as_bytes()).ok(), expected, "{reply}");
    }

    #[test]
    fn what_is_left_is_told_by_its_keys_and_what_cannot_be_read_is_told_too() {
        check(r#"{"UnprocessedItems":{}}"#, Some(&[]));
        check(
            r#"{"UnprocessedItems":null,"ConsumedCapacity":[]}"#,
            Some(&[]),
        );
        check("{}", Some(&[]));
        let item =
            r#"{"PutRequest":{"Item":{"flags":{"L":[]},"SK":{"S":"s\u0041"},"PK":{"S":"p"}}}}"#;
        check(
            &format!(
                r#"{{"UnprocessedItems":{{"t":[{item},{{"PutRequest":{{"Item":{{"PK":{{"N":"1"}}}}}}}},{{"DeleteRequest":{{}}}}]}}}}"#
            ),
            Some(&[Some(("p", "sA")), None, None]),
        );
        for body in ["", "[]", "<html>", r#"{"UnprocessedItems":[]}"#] {
            check(body, None);
        }
    }
}
