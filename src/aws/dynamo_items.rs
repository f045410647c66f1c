//! The items of any table of ours, for people's tools: one, many, a page of a query or of a scan; and one conditional
//! write. The daemon's own paths have adapters of their own, made for their calls.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::ProvideErrorMetadata,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};

use super::{batch_get::batch_get, dynamo_access::words, fault};
use crate::{
    model::item::{Item, ItemWrite, Seen, Value},
    ports::{Fault, FaultKind},
};

/// A table by its name; `PK` and `SK` are its key.
#[derive(Clone, Debug)]
pub struct ItemTable {
    client: Client,
    table: String,
}

/// What a query asks for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Of this index; none: of the table.
    pub index: Option<&'a str>,
    /// The attribute that is the partition key there, and its value.
    pub partition: (&'a str, &'a str),
    /// Sort keys (`SK`) from the first to the last, both included; none: all.
    pub between: Option<(&'a str, &'a str)>,
    /// From the greatest sort key down.
    pub descending: bool,
    /// Most items of the page.
    pub limit: u32,
}

/// Some items, and where the next page begins, when there is one.
#[derive(Debug, Default)]
pub struct ItemPage {
    /// The items.
    pub items: Vec<Item>,
    /// What to ask with for the next page.
    pub next: Option<Item>,
}

impl ItemTable {
    /// The table `name`, through `client`.
    pub fn new(client: Client, name: &str) -> Self {
        Self {
            client,
            table: name.to_owned(),
        }
    }

    /// The items of these keys that there are, in no order; at most [`super::limits::BATCH_GET_ITEMS_MAX`], no two alike. Reads
    /// consistently.
    ///
    /// # Errors
    /// What BatchGetItem met; throttled also when it left keys unread.
    pub async fn get(&self, keys: &[(String, String)]) -> Result<Vec<Item>, Fault> {
        let keys = keys.iter().map(|(pk, sk)| key(pk, sk)).collect();
        let found = batch_get(&self.client, &self.table, keys, None).await?;
        Ok(found.into_iter().map(words::stored_item).collect())
    }

    /// One page of a query; `start` is the `next` of the page before. Of an index the items are as old as it is.
    ///
    /// # Errors
    /// What Query met.
    pub async fn query(
        &self,
        question: Question<'_>,
        start: Option<Item>,
    ) -> Result<ItemPage, Fault> {
        let (name, value) = question.partition;
        let mut condition = "#partition = :partition".to_owned();
        let mut call = self.client.query().table_name(&self.table);
        if let Some((first, last)) = question.between {
            condition.push_str(" AND SK BETWEEN :first AND :last");
            call = call
                .expression_attribute_values(":first", AttributeValue::S(first.to_owned()))
                .expression_attribute_values(":last", AttributeValue::S(last.to_owned()));
        }
        let reply = call
            .set_index_name(question.index.map(str::to_owned))
            .key_condition_expression(condition)
            .expression_attribute_names("#partition", name)
            .expression_attribute_values(":partition", AttributeValue::S(value.to_owned()))
            .scan_index_forward(!question.descending)
            .set_consistent_read(question.index.is_none().then_some(true))
            .limit(i32::try_from(question.limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start.map(words::key_of).transpose()?)
            .send()
            .await
            .map_err(|error| fault("Query", &error))?;
        Ok(page(reply.items, reply.last_evaluated_key))
    }

    /// One page of a scan of a segment of the table; `start` is the `next` of the page before. Reads consistently.
    ///
    /// # Errors
    /// What Scan met.
    pub async fn scan(
        &self,
        (segment, segments): (u32, u32),
        start: Option<Item>,
    ) -> Result<ItemPage, Fault> {
        let reply = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .segment(i32::try_from(segment).unwrap_or(i32::MAX))
            .total_segments(i32::try_from(segments).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start.map(words::key_of).transpose()?)
            .send()
            .await
            .map_err(|error| fault("Scan", &error))?;
        Ok(page(reply.items, reply.last_evaluated_key))
    }

    /// Writes some attributes of one item, if it is as it was seen. Whether that was so: false when somebody else wrote
    /// it meanwhile. A write of this very content that took effect before its reply was lost counts as done.
    ///
    /// # Errors
    /// What UpdateItem met.
    pub async fn write(&self, write: &ItemWrite) -> Result<bool, Fault> {
        let spelled = Spelled::of(write)?;
        let call = self.client.update_item().table_name(&self.table);
        let sent = call
            .set_key(Some(key(&write.key.0, &write.key.1)))
            .update_expression(spelled.update)
            .condition_expression(spelled.condition)
            .set_expression_attribute_names(Some(spelled.names))
            .set_expression_attribute_values(Some(spelled.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => {
                let there = match error.into_service_error() {
                    UpdateItemError::ConditionalCheckFailedException(failed) => failed.item,
                    _ => None,
                };
                let there = there.map(words::stored_item).unwrap_or_default();
                let set = write
                    .set
                    .iter()
                    .all(|(name, value)| there.get(name) == Some(value));
                Ok(set && write.remove.iter().all(|name| !there.contains_key(name)))
            }
            Err(error) => Err(fault("UpdateItem", &error)),
        }
    }
}

fn page(
    items: Option<Vec<HashMap<String, AttributeValue>>>,
    last: Option<HashMap<String, AttributeValue>>,
) -> ItemPage {
    ItemPage {
        items: items
            .unwrap_or_default()
            .into_iter()
            .map(words::stored_item)
            .collect(),
        next: last.filter(|key| !key.is_empty()).map(words::stored_item),
    }
}

fn key(pk: &str, sk: &str) -> HashMap<String, AttributeValue> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    HashMap::from([("PK".to_owned(), text(pk)), ("SK".to_owned(), text(sk))])
}

fn refused(operation: &'static str, message: String) -> Fault {
    Fault {
        kind: FaultKind::Refused,
        operation,
        message,
    }
}

/// A write in the words of UpdateItem.
#[derive(Debug, Default)]
struct Spelled {
    update: String,
    condition: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Spelled {
    fn of(write: &ItemWrite) -> Result<Self, Fault> {
        let mut spelled = Self::default();
        let set: Vec<_> = write
            .set
            .iter()
            .map(|(name, value)| {
                Ok(format!(
                    "{} = {}",
                    spelled.name(name),
                    spelled.value(value)?
                ))
            })
            .collect::<Result<_, Fault>>()?;
        let remove: Vec<_> = write.remove.iter().map(|name| spelled.name(name)).collect();
        for (word, parts) in [("SET ", set), ("REMOVE ", remove)] {
            if !parts.is_empty() {
                let gap = if spelled.update.is_empty() { "" } else { " " };
                spelled.update += &format!("{gap}{word}{}", parts.join(", "));
            }
        }
        spelled.condition = match &write.seen {
            Seen::Absent => format!("attribute_not_exists({})", spelled.name("PK")),
            Seen::Version(version) => {
                let value = spelled.value(&Value::Number(version.to_string()))?;
                format!("{} = {value}", spelled.name("Version"))
            }
            Seen::Attributes(attributes) => {
                let mut parts = vec![format!("attribute_exists({})", spelled.name("PK"))];
                for (name, value) in attributes {
                    let name = spelled.name(name);
                    parts.push(match value {
                        Some(value) => format!("{name} = {}", spelled.value(value)?),
                        None => format!("attribute_not_exists({name})"),
                    });
                }
                parts.join(" AND ")
            }
        };
        Ok(spelled)
    }

    fn name(&mut self, name: &str) -> String {
        let known = self.names.iter().find(|(_, known)| *known == name);
        if let Some((token, _)) = known {
            return token.clone();
        }
        let token = format!("#n{}", self.names.len());
        self.names.insert(token.clone(), name.to_owned());
        token
    }

    fn value(&mut self, value: &Value) -> Result<String, Fault> {
        let value = words::to_stored(value).ok_or_else(|| {
            refused(
                "UpdateItem",
                "an attribute is of a kind that is not written here".to_owned(),
            )
        })?;
        let token = format!(":v{}", self.values.len());
        self.values.insert(token.clone(), value);
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seen: Seen, remove: &[&str], update: &str, condition: &str) {
        let write = ItemWrite {
            key: ("CARD#7".to_owned(), "CARD#STATUS".to_owned()),
            set: vec![("CardStatus".to_owned(), Value::Text("lost".to_owned()))],
            remove: remove.iter().map(|name| (*name).to_owned()).collect(),
            seen,
        };
        let spelled = Spelled::of(&write).expect("it can be written");
        let plain = |text: &str| {
            let mut text = text.to_owned();
            for (token, name) in &spelled.names {
                text = text.replace(token, name);
            }
            text
        };
        assert_eq!(
            (&*plain(&spelled.update), &*plain(&spelled.condition)),
            (update, condition)
        );
        for token in spelled.names.keys().chain(spelled.values.keys()) {
            let both = format!("{} {}", spelled.update, spelled.condition);
            assert!(both.contains(token.as_str()), "{token} is not in {both}");
        }
    }

    #[test]
    fn a_write_counts_only_while_the_item_is_as_it_was_seen() {
        let set = "SET CardStatus = :v0";
        check(Seen::Absent, &[], set, "attribute_not_exists(PK)");
        check(
            Seen::Version(4),
            &["ValidTo"],
            "SET CardStatus = :v0 REMOVE ValidTo",
            "Version = :v1",
        );
        let attributes = vec![
            (
                "CardStatus".to_owned(),
                Some(Value::Text("issued".to_owned())),
            ),
            ("Version".to_owned(), None),
        ];
        check(
            Seen::Attributes(attributes),
            &[],
            set,
            "attribute_exists(PK) AND CardStatus = :v1 AND attribute_not_exists(Version)",
        );
    }
}
