//! The decision table: BatchWriteItem and BatchGetItem of decisions, and where cards are.
//!
//! The item holds the event's fields as attributes under the keys of the contract, so that "the last ten swipes of a card"
//! and "who passed this door" are one Query each. A batch put overwrites; that nothing stored is ever rewritten is
//! the caller's care (it looks before it writes where a swipe may be stored already).

mod presence;
mod throttle;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, KeysAndAttributes},
};

use crate::{
    aws::{
        dynamo_wire::{
            gets::{self, Answers},
            puts::{self, Unprocessed},
        },
        exchange::Exchange,
        fault,
    },
    model::{
        decision::{Answer, Decision},
        presence::{Move, Presence},
    },
    ports::{DecisionTable, Failed, Fault, FaultKind},
};

type Item = HashMap<String, AttributeValue>;

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
    /// One look under these keys, which may leave some unread, but not all.
    async fn ask(&self, keys: &[(String, String)]) -> Result<Answers, Fault> {
        const OPERATION: &str = "BatchGetItem";
        let exchange = Exchange::new(Some(gets::body(&self.table, keys).into()), gets::READING);
        let reply = exchange.reply();
        // As in a put.
        let question = KeysAndAttributes::builder()
            .set_keys(Some(Vec::new()))
            .build()
            .map_err(|error| refused(OPERATION, error.to_string()))?;
        let call = self
            .client
            .batch_get_item()
            .request_items(&self.table, question)
            .customize()
            .interceptor(exchange);
        call.send()
            .await
            .map_err(|error| fault(OPERATION, &error))?;
        let answers = reply.take().unwrap_or_default();
        if answers.left.len() >= keys.len() {
            return Err(Fault {
                kind: FaultKind::Throttled,
                operation: OPERATION,
                message: format!("{} keys were not read", answers.left.len()),
            });
        }
        Ok(answers)
    }
}

impl DecisionTable for TableSink {
    async fn put(&self, decisions: &[&Decision<'_>]) -> Result<Vec<Failed>, Fault> {
        const OPERATION: &str = "BatchWriteItem";
        let body = puts::body(&self.table, decisions, self.keep_ms, self.standards);
        let exchange = Exchange::new(Some(body.into()), puts::READING);
        let reply = exchange.reply();
        // Its body is replaced: the table's name is there for the endpoint's rules.
        let call = self
            .client
            .batch_write_item()
            .request_items(&self.table, Vec::new())
            .customize()
            .interceptor(exchange);
        call.send().await.map_err(|error| {
            throttle::narrowed(fault(OPERATION, &error), error.as_service_error())
        })?;
        let Unprocessed(left) = reply.take().unwrap_or_default();
        if left.is_empty() {
            return Ok(Vec::new());
        }
        let keys: HashSet<_> = left.iter().flatten().collect();
        let failed = decisions.iter().enumerate().filter(|(_, decision)| {
            keys.contains(&(decision.partition_key(), decision.sort_key()))
        });
        let failed: Vec<_> = failed.map(|(index, _)| index).collect();
        if failed.len() != left.len() {
            let message = format!("of {} items left, {} were sent", left.len(), failed.len());
            return Err(Fault {
                kind: FaultKind::Transient,
                operation: OPERATION,
                message,
            });
        }
        // An unprocessed item is one that there was no capacity for.
        let kind = throttle::left(failed.iter().map(|index| &*decisions[*index].swipe.card_id));
        let failed = failed.into_iter().map(|index| Failed { index, kind });
        Ok(failed.collect())
    }

    async fn stored(&self, decisions: &[Decision<'_>]) -> Result<Vec<Option<Answer>>, Fault> {
        // One swipe twice in a page has one key, and a key may stand only once in a call.
        let mut indexes: HashMap<(String, String), Vec<usize>> =
            HashMap::with_capacity(decisions.len());
        for (index, decision) in decisions.iter().enumerate() {
            let key = (decision.partition_key(), decision.sort_key());
            indexes.entry(key).or_default().push(index);
        }
        let mut answers = vec![None; decisions.len()];
        let mut asked: Vec<_> = indexes.keys().cloned().collect();
        while !asked.is_empty() {
            let Answers { found, left } = self.ask(&asked).await?;
            for (key, answer) in found {
                for index in indexes.get(&key).into_iter().flatten() {
                    answers[*index] = answer;
                }
            }
            asked = left;
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

#[cfg(test)]
pub(super) mod fixtures {
    use crate::model::{
        decision::{Answer, Decision, Reason, Source, Verdict},
        swipe::{Direction, Swipe},
    };

    /// A decision with everything that a decision can have.
    pub(in crate::aws) fn decision() -> Decision<'static> {
        Decision {
            swipe: Swipe {
                device_id: "gate-1".into(),
                device_seq: 7,
                access_point: "door-\"out\"".into(),
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
}

#[cfg(test)]
mod tests;
