//! What BatchGetItem asks, the answers to some swipes, and what it replies.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_smithy_runtime_api::{box_error::BoxError, client::interceptors::context::Output};
use serde::{Deserialize, Serialize};

use super::{Named, S, Scalar, Tables, key};
use crate::{
    aws::exchange::Reading,
    model::decision::{Answer, Reason, Verdict},
};

/// The keys and the answer.
const ANSWER: &str = "PK, SK, reason, flags, decided_at_ms";

/// Bytes of a key at most, so that the body rarely grows.
const KEY_BYTES: usize = 256;

/// The body of a call that asks `table` for the answers under these keys, as they are now and not as they were a moment ago.
pub(in crate::aws) fn body(table: &str, keys: &[(String, String)]) -> Vec<u8> {
    let named = keys.iter().map(|(partition, sort)| Key {
        partition: S { text: partition },
        sort: S { text: sort },
    });
    let question = Question {
        consistent: true,
        keys: named.collect(),
        attributes: ANSWER,
    };
    let tables = BTreeMap::from([(table, question)]);
    let mut body = Vec::with_capacity(KEY_BYTES * (keys.len() + 1));
    serde_json::to_writer(&mut body, &Request { tables }).expect("text into memory");
    body
}

#[derive(Serialize)]
struct Request<'a> {
    #[serde(rename = "RequestItems")]
    tables: BTreeMap<&'a str, Question<'a>>,
}

#[derive(Serialize)]
struct Question<'a> {
    #[serde(rename = "ConsistentRead")]
    consistent: bool,
    #[serde(rename = "Keys")]
    keys: Vec<Key<'a>>,
    #[serde(rename = "ProjectionExpression")]
    attributes: &'static str,
}

#[derive(Serialize)]
struct Key<'a> {
    #[serde(rename = "PK")]
    partition: S<&'a str>,
    #[serde(rename = "SK")]
    sort: S<&'a str>,
}

/// What a call brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::aws) struct Answers {
    /// Keys and answers of the items that there are; no answer in an item that is none of ours.
    pub(in crate::aws) found: Vec<((String, String), Option<Answer>)>,
    /// Keys that were not read: to be asked again.
    pub(in crate::aws) left: Vec<(String, String)>,
}

/// How a reply of BatchGetItem is read.
pub(in crate::aws) const READING: Reading<Answers> = Reading {
    read,
    output: || Output::erase(BatchGetItemOutput::builder().build()),
};

fn read(body: &[u8]) -> Result<Answers, BoxError> {
    let reply: Reply<'_> = serde_json::from_slice(body)?;
    let items = reply.tables.unwrap_or_default().into_values().flatten();
    let found = items.filter_map(|item| {
        let key = key(&item.partition, &item.sort)?;
        Some((key, item.answer()))
    });
    let left = reply.left.unwrap_or_default().into_values();
    let left = left.flat_map(|left| left.keys).map(|named| {
        let key = named.key();
        key.ok_or("an unprocessed key that is no key of the table")
    });
    Ok(Answers {
        found: found.collect(),
        left: left.collect::<Result<_, _>>()?,
    })
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, rename = "Responses")]
    tables: Option<Tables<Vec<Item<'a>>>>,
    #[serde(borrow, rename = "UnprocessedKeys")]
    left: Option<Tables<Left<'a>>>,
}

#[derive(Deserialize)]
struct Left<'a> {
    #[serde(borrow, rename = "Keys")]
    keys: Vec<Named<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default, rename = "PK")]
    partition: Scalar<'a>,
    #[serde(borrow, default, rename = "SK")]
    sort: Scalar<'a>,
    #[serde(borrow, default)]
    reason: Scalar<'a>,
    #[serde(borrow, default)]
    decided_at_ms: Scalar<'a>,
    #[serde(borrow, default)]
    flags: List<'a>,
}

#[derive(Default, Deserialize)]
struct List<'a> {
    #[serde(borrow, rename = "L")]
    list: Option<Vec<Scalar<'a>>>,
}

impl Item<'_> {
    fn answer(&self) -> Option<Answer> {
        let flags = || {
            let flags = self.flags.list.iter().flatten();
            flags.filter_map(Scalar::text)
        };
        Some(Answer {
            verdict: Verdict {
                reason: Reason::parse(self.reason.text()?)?,
                would_deny: flags().find_map(Reason::parse),
                soft_apb: flags().any(|flag| flag == "soft_apb"),
            },
            decided_at_ms: self.decided_at_ms.number()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::dynamo_sink::fixtures::decision;

    #[test]
    fn a_body_asks_for_the_answer_under_each_key_as_it_is_now() {
        let keys = [("p".to_owned(), "s\"".to_owned())];
        let body: Value = serde_json::from_slice(&body("t", &keys)).expect("json");
        let expected = json!({"RequestItems": {"t": {
            "ConsistentRead": true,
            "Keys": [{"PK": {"S": "p"}, "SK": {"S": "s\""}}],
            "ProjectionExpression": "PK, SK, reason, flags, decided_at_ms",
        }}});
        assert_eq!(body, expected);
    }

    const KEY: &str = r#""PK":{"S":"p"},"SK":{"S":"s"}"#;

    /// An item with these attributes beside its key, and the answer that is read from it.
    #[track_caller]
    fn check(attributes: &str, expected: Option<Answer>) {
        let reply =
            format!(r#"{{"Responses":{{"t":[{{{KEY}{attributes}}}]}},"UnprocessedKeys":{{}}}}"#);
        let answers = read(reply.as_bytes()).expect("a reply");
        let found = vec![(("p".to_owned(), "s".to_owned()), expected)];
        let left = Vec::new();
        assert_eq!(answers, Answers { found, left }, "{reply}");
    }

    #[test]
    fn a_stored_answer_reads_back_whole_and_a_strange_item_is_none() {
        let whole = r#","flags":{"L":[{"S":"CredentialStolen"},{"S":"soft_apb"}]},"decided_at_ms":{"N":"1772438322000"},"reason":{"S":"GrantedEgress"}"#;
        check(whole, Some(decision().answer));
        let plain = Answer {
            verdict: Verdict::of(Reason::Granted),
            decided_at_ms: 7,
        };
        let reason = r#","reason":{"S":"Gran\u0074ed"}"#;
        for flags in [
            "",
            r#","flags":{"L":[]}"#,
            r#","flags":{"SS":["soft_apb"]}"#,
            r#","flags":{"L":[{"N":"1"},{"S":"new"}]}"#,
        ] {
            check(
                &format!(r#"{reason},"decided_at_ms":{{"N":"7"}}{flags}"#),
                Some(plain),
            );
        }
        check("", None);
        check(
            r#","reason":{"S":"SomethingElse"},"decided_at_ms":{"N":"7"}"#,
            None,
        );
        check(&format!(r#"{reason},"decided_at_ms":{{"S":"7"}}"#), None);
        check(r#","reason":{"N":"1"},"decided_at_ms":{"N":"7"}"#, None);
    }

    #[test]
    fn keys_that_were_not_read_are_told_and_a_reply_that_is_none_is_refused() {
        let answers = |reply: &str| read(reply.as_bytes()).ok();
        let left = format!(
            r#"{{"UnprocessedKeys":{{"t":{{"ConsistentRead":true,"Keys":[{{{KEY}}}]}}}}}}"#
        );
        let found = Answers {
            found: Vec::new(),
            left: vec![("p".to_owned(), "s".to_owned())],
        };
        assert_eq!(answers(&left), Some(found));
        assert_eq!(answers(r#"{"Responses":null}"#), Some(Answers::default()));
        for reply in [
            "",
            "[]",
            "<html>",
            r#"{"Responses":[]}"#,
            r#"{"UnprocessedKeys":{"t":{"Keys":[{"PK":{"S":"p"}}]}}}"#,
        ] {
            assert_eq!(answers(reply), None, "{reply}");
        }
    }
}
