//! The decision table: BatchWriteItem, BatchGetItem, and the item of a decision.
//!
//! The item holds the event's fields as attributes under the keys of the contract, so that "the last ten swipes of a card"
//! and "who passed this door" are one Query each. A batch put overwrites; that nothing stored is ever rewritten is
//! the caller's care (it looks before it writes where a swipe may be stored already).

mod presence;
mod throttle;

use std::{collections::HashMap, sync::Arc};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, PutRequest, WriteRequest},
};

use crate::{
    aws::{batch_get::batch_get, fault},
    model::{
        decision::{Answer, Decision, Reason, Verdict},
        presence::{Move, Presence},
        standards::standards,
    },
    ports::{DecisionTable, Failed, Fault, FaultKind},
};

type Item = HashMap<String, AttributeValue>;

/// What a look into the table has to bring: the keys and the answer.
const ANSWER: &str = "PK, SK, reason, flags, decided_at_ms";

/// The table of that name.
#[derive(Clone, Debug)]
pub struct TableSink {
    client: Client,
    table: String,
    /// How long a decision is kept, in milliseconds.
    keep_ms: i64,
    /// Whether items also say what ONVIF and BACnet call the reason.
    standards: bool,
}

impl TableSink {
    /// The table `name`, through `client`; decisions expire `keep_days` days after they were made.
    pub fn new(client: Client, name: &str, keep_days: u32, standards: bool) -> Self {
        Self {
            client,
            table: name.to_owned(),
            keep_ms: i64::from(keep_days) * 86_400_000,
            standards,
        }
    }
}

impl TableSink {
    fn item(&self, decision: &Decision<'_>) -> Item {
        let mut item = item(decision, self.keep_ms);
        if self.standards {
            let words = standards(decision.answer.verdict.reason);
            let text = |text: &str| AttributeValue::S(text.to_owned());
            let mut set = |name: &str, value| item.insert(name.to_owned(), value);
            set("onvif_topic", text(words.onvif_topic));
            if let Some(reason) = words.onvif_reason {
                set("onvif_reason", text(reason));
            }
            set("bacnet_event", text(words.bacnet_event));
            let number = AttributeValue::N(words.bacnet_number.to_string());
            set("bacnet_number", number);
        }
        item
    }
}

impl DecisionTable for TableSink {
    async fn put(&self, decisions: &[&Decision<'_>]) -> Result<Vec<Failed>, Fault> {
        const OPERATION: &str = "BatchWriteItem";
        let mut writes = Vec::with_capacity(decisions.len());
        for decision in decisions {
            let put = PutRequest::builder().set_item(Some(self.item(decision)));
            let put = put
                .build()
                .map_err(|error| refused(OPERATION, error.to_string()))?;
            writes.push(WriteRequest::builder().put_request(put).build());
        }
        let call = self
            .client
            .batch_write_item()
            .request_items(&self.table, writes);
        let reply = call.send().await.map_err(|error| {
            throttle::narrowed(fault(OPERATION, &error), error.as_service_error())
        })?;
        let unprocessed = reply
            .unprocessed_items
            .unwrap_or_default()
            .remove(&self.table);
        let left: Vec<Item> = unprocessed
            .unwrap_or_default()
            .into_iter()
            .filter_map(|write| write.put_request.map(|put| put.item))
            .collect();
        if left.is_empty() {
            return Ok(Vec::new());
        }
        let failed = decisions.iter().enumerate().filter(|(_, decision)| {
            let (partition, sort) = (decision.partition_key(), decision.sort_key());
            left.iter().any(|item| is_key(item, &partition, &sort))
        });
        let failed: Vec<_> = failed.map(|(index, _)| index).collect();
        // An unprocessed item is one that there was no capacity for.
        let kind = throttle::left(failed.iter().map(|index| &*decisions[*index].swipe.card_id));
        let failed = failed.into_iter().map(|index| Failed { index, kind });
        Ok(failed.collect())
    }

    async fn stored(&self, decisions: &[Decision<'_>]) -> Result<Vec<Option<Answer>>, Fault> {
        // One swipe twice in a page has one key, and a key may stand only once in a call.
        let mut keys: HashMap<(String, String), Vec<usize>> =
            HashMap::with_capacity(decisions.len());
        for (index, decision) in decisions.iter().enumerate() {
            let key = (decision.partition_key(), decision.sort_key());
            keys.entry(key).or_default().push(index);
        }
        let mut answers = vec![None; decisions.len()];
        let asked = keys.keys().map(|(pk, sk)| key(pk, sk)).collect();
        let found = batch_get(&self.client, &self.table, asked, Some(ANSWER)).await?;
        for item in &found {
            let stored = keys.get(&(text(item, "PK"), text(item, "SK")));
            for index in stored.into_iter().flatten() {
                answers[*index] = answer(item);
            }
        }
        Ok(answers)
    }

    async fn presences(
        &self,
        asked: &[(Box<str>, Arc<str>)],
    ) -> Result<Vec<Option<Presence>>, Fault> {
        presence::look(&self.client, &self.table, asked).await
    }

    async fn put_presences(&self, moves: &[Move<'_>]) -> Result<(), Fault> {
        presence::store(&self.client, &self.table, moves).await
    }

    async fn count_inside(&self, areas: &[Arc<str>]) -> Result<Option<u64>, Fault> {
        presence::count(&self.client, &self.table, areas).await
    }
}

fn refused(operation: &'static str, message: String) -> Fault {
    Fault {
        kind: FaultKind::Refused,
        operation,
        message,
    }
}

fn key(partition: &str, sort: &str) -> Item {
    Item::from([
        ("PK".to_owned(), AttributeValue::S(partition.to_owned())),
        ("SK".to_owned(), AttributeValue::S(sort.to_owned())),
    ])
}

fn text(item: &Item, name: &str) -> String {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .cloned()
        .unwrap_or_default()
}

fn is_key(item: &Item, partition: &str, sort: &str) -> bool {
    let is = |name: &str, expected: &str| {
        item.get(name)
            .and_then(|value| value.as_s().ok())
            .is_some_and(|value| value == expected)
    };
    is("SK", sort) && is("PK", partition)
}

/// The item of a decision.
fn item(decision: &Decision<'_>, keep_ms: i64) -> Item {
    let (swipe, verdict) = (&decision.swipe, &decision.answer.verdict);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: String| AttributeValue::N(number);
    let expires_at = (decision.answer.decided_at_ms + keep_ms) / 1000;
    let flags = verdict.flags().map(text).collect();
    let source = Item::from([
        ("shard".to_owned(), text(decision.source.shard)),
        ("sequence".to_owned(), text(decision.source.sequence)),
        ("sub".to_owned(), number(decision.source.sub.to_string())),
    ]);
    let mut item = Item::with_capacity(20);
    let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
    set("PK", AttributeValue::S(decision.partition_key()));
    set("SK", AttributeValue::S(decision.sort_key()));
    set("v", number("1".to_owned()));
    set("decision_id", AttributeValue::S(decision.id()));
    set("decision", text(verdict.reason.outcome().as_str()));
    set("reason", text(verdict.reason.as_str()));
    set("rule", number(verdict.reason.rule().to_string()));
    set("device_id", text(&swipe.device_id));
    set("device_seq", number(swipe.device_seq.to_string()));
    set("access_point", text(&swipe.access_point));
    set("card_id", text(&swipe.card_id));
    set("swiped_at_ms", number(swipe.swiped_at_ms.to_string()));
    set(
        "decided_at_ms",
        number(decision.answer.decided_at_ms.to_string()),
    );
    set("actuate", AttributeValue::Bool(decision.actuate));
    set("flags", AttributeValue::L(flags));
    set("source", AttributeValue::M(source));
    set("expires_at", number(expires_at.to_string()));
    if let Some(direction) = decision.direction {
        set("direction", text(direction.as_str()));
    }
    if let Some(trace_id) = &swipe.trace_id {
        set("trace_id", text(trace_id));
    }
    item
}

/// The answer in a stored item; nothing when it is none of ours.
fn answer(item: &Item) -> Option<Answer> {
    let reason = Reason::parse(item.get("reason")?.as_s().ok()?)?;
    let decided_at_ms = item.get("decided_at_ms")?.as_n().ok()?.parse().ok()?;
    let flags = item.get("flags").and_then(|flags| flags.as_l().ok());
    let flags = || {
        flags
            .into_iter()
            .flatten()
            .filter_map(|flag| flag.as_s().ok())
    };
    let verdict = Verdict {
        reason,
        would_deny: flags().find_map(|flag| Reason::parse(flag)),
        soft_apb: flags().any(|flag| flag == "soft_apb"),
    };
    Some(Answer {
        verdict,
        decided_at_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        decision::Source,
        swipe::{Direction, Swipe},
    };

    fn decision() -> Decision<'static> {
        Decision {
            swipe: Swipe {
                device_id: "gate-1".into(),
                device_seq: 7,
                access_point: "door-out".into(),
                card_id: "42".into(),
                swiped_at_ms: 1_772_438_321_123,
                direction: None,
                offline: false,
                trace_id: Some("t".into()),
            },
            answer: Answer {
                verdict: Verdict {
                    reason: Reason::GrantedEgress,
                    would_deny: Some(Reason::CredentialStolen),
                    soft_apb: true,
                },
                decided_at_ms: 1_772_438_322_000,
            },
            direction: Some(Direction::Out),
            actuate: true,
            repeat: false,
            source: Source {
                shard: "shardId-000000000000",
                sequence: "49",
                sub: 2,
            },
        }
    }

    #[test]
    fn an_item_has_the_contracts_keys_and_expires_by_the_day() {
        let item = item(&decision(), 90 * 86_400_000);
        let s = |text: &str| AttributeValue::S(text.to_owned());
        let n = |digits: &str| AttributeValue::N(digits.to_owned());
        for (name, value) in [
            ("PK", s("CARD#42")),
            ("SK", s("CARD#EVENT#SCAN#1772438321123#gate-1#7")),
            ("decision_id", s("gate-1#7")),
            ("decision", s("grant")),
            ("reason", s("GrantedEgress")),
            ("rule", n("6")),
            ("access_point", s("door-out")),
            ("direction", s("out")),
            ("swiped_at_ms", n("1772438321123")),
            ("actuate", AttributeValue::Bool(true)),
            (
                "flags",
                AttributeValue::L(vec![s("CredentialStolen"), s("soft_apb")]),
            ),
            ("expires_at", n("1780214322")),
            ("trace_id", s("t")),
        ] {
            assert_eq!(item.get(name), Some(&value), "{name}");
        }
    }

    #[test]
    fn a_stored_answer_reads_back_whole_and_a_strange_item_is_none() {
        let mut item = item(&decision(), 0);
        assert_eq!(answer(&item), Some(decision().answer));
        item.insert(
            "reason".to_owned(),
            AttributeValue::S("SomethingElse".to_owned()),
        );
        assert_eq!(answer(&item), None);
    }
}
