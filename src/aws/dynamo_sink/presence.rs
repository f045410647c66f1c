//! Where cards are, in the decision table: `CARD#<card>` / `PRESENCE#<area group>`, one item a card and group.
//!
//! Written in transactions of conditional puts, so that nothing older ever takes the place of something newer, whoever
//! writes; counted by the index `ByArea`, in which an item stands while its card is in that area.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use aws_sdk_dynamodb::{
    Client,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Put, TransactWriteItem},
};

use super::{Item, key, refused, text, throttle};
use crate::{
    aws::{batch_get::batch_get, fault},
    model::presence::{Move, Place, Presence},
    ports::{Fault, FaultKind},
};

/// The index by the area that a card is in.
const BY_AREA: &str = "ByArea";

/// The condition code of a transaction's cancelled action.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";

fn partition(card: &str) -> String {
    format!("CARD#{card}")
}

fn sort(group: &str) -> String {
    format!("PRESENCE#{group}")
}

/// Where these cards are in these groups, in their order.
pub(super) async fn look(
    client: &Client,
    table: &str,
    asked: &[(Box<str>, Arc<str>)],
) -> Result<Vec<Option<Presence>>, Fault> {
    let names = asked
        .iter()
        .map(|(card, group)| (partition(card), sort(group)));
    let names: Vec<(String, String)> = names.collect();
    let keys = names.iter().map(|(pk, sk)| key(pk, sk)).collect();
    let items = batch_get(client, table, keys, None).await?;
    // An item that says nothing sensible is none: what is not known violates nothing.
    let found = items.iter().filter_map(|item| {
        let name = (text(item, "PK"), text(item, "SK"));
        Some((name, presence(item)?))
    });
    let found: HashMap<(String, String), Presence> = found.collect();
    Ok(names.iter().map(|name| found.get(name).cloned()).collect())
}

/// Stores these moves, except those that are older than what is stored.
pub(super) async fn store(client: &Client, table: &str, moves: &[Move<'_>]) -> Result<(), Fault> {
    const OPERATION: &str = "TransactWriteItems";
    let mut left: Vec<&Move<'_>> = moves.iter().collect();
    while !left.is_empty() {
        let mut actions = Vec::with_capacity(left.len());
        for moved in &left {
            actions.push(put(table, moved)?);
        }
        let call = client
            .transact_write_items()
            .set_transact_items(Some(actions));
        let error = match call.send().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let reasons = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                cancelled.cancellation_reasons.clone().unwrap_or_default()
            }
            said => return Err(throttle::narrowed(fault(OPERATION, &error), said)),
        };
        let before = left.len();
        let mut codes = reasons.iter().map(|reason| reason.code());
        left.retain(|_| codes.next().flatten() != Some(CONDITION_FAILED));
        if left.len() == before {
            // Another transaction touched one of the items, or the table has no capacity.
            return Err(Fault {
                kind: throttle::cancelled(&reasons),
                operation: OPERATION,
                message: format!("transaction cancelled: {error:?}"),
            });
        }
    }
    Ok(())
}

fn put(table: &str, moved: &Move<'_>) -> Result<TransactWriteItem, Fault> {
    let at = AttributeValue::N(moved.swipe.swiped_at_ms.to_string());
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item(moved)))
        .condition_expression("attribute_not_exists(ScannedAt) OR ScannedAt <= :at")
        .expression_attribute_values(":at", at)
        .build()
        .map_err(|error| refused("TransactWriteItems", error.to_string()))?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// How many cards are in one of these areas; nothing when the table has no index to count by.
pub(super) async fn count(
    client: &Client,
    table: &str,
    areas: &[Arc<str>],
) -> Result<Option<u64>, Fault> {
    // A card that is in a room and in the building around it is one card.
    let mut cards = HashSet::new();
    for area in areas {
        let mut from = None;
        loop {
            let call = client
                .query()
                .table_name(table)
                .index_name(BY_AREA)
                .key_condition_expression("Area = :area")
                .expression_attribute_values(":area", AttributeValue::S(area.to_string()))
                .set_exclusive_start_key(from);
            let reply = match call.send().await {
                Ok(reply) => reply,
                Err(error) => {
                    let error = fault("Query", &error);
                    // "The table does not have the specified index" (DynamoDB API, Query).
                    let no_index = error.kind == FaultKind::Refused
                        && error.message.contains("specified index");
                    return if no_index { Ok(None) } else { Err(error) };
                }
            };
            let items = reply.items.unwrap_or_default();
            cards.extend(items.iter().map(|item| text(item, "PK")));
            match reply.last_evaluated_key.filter(|key| !key.is_empty()) {
                Some(key) => from = Some(key),
                None => break,
            }
        }
    }
    Ok(Some(cards.len() as u64))
}

fn item(moved: &Move<'_>) -> Item {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let mut item = key(&partition(&moved.swipe.card_id), &sort(moved.group));
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set(
        "ScannedStatus",
        text(match moved.place {
            Place::Inside(_) => "scanned-in",
            Place::Outside => "scanned-out",
        }),
    );
    if let Place::Inside(area) = moved.place {
        set("Area", text(area));
    }
    set(
        "ScannedAt",
        AttributeValue::N(moved.swipe.swiped_at_ms.to_string()),
    );
    set("LastAccessPoint", text(&moved.swipe.access_point));
    set("LastDecisionId", text(&moved.decision_id()));
    item
}

fn presence(item: &Item) -> Option<Presence> {
    let at_ms = item.get("ScannedAt")?.as_n().ok()?.parse().ok()?;
    let place = match text(item, "ScannedStatus").as_str() {
        "scanned-in" => Place::Inside(Arc::from(item.get("Area")?.as_s().ok()?.as_str())),
        "scanned-out" => Place::Outside,
        _ => return None,
    };
    Some(Presence { place, at_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::swipe::Swipe;

    #[test]
    fn a_move_reads_back_and_stands_in_the_index_while_the_card_is_inside() {
        for (place, area) in [
            (Place::Inside(Arc::from("lab")), Some("lab")),
            (Place::Outside, None),
        ] {
            let swipe = Swipe {
                device_id: "gate".into(),
                device_seq: 1,
                access_point: "door".into(),
                card_id: "7".into(),
                swiped_at_ms: 5,
                direction: None,
                offline: false,
                trace_id: None,
            };
            let moved = Move {
                swipe: &swipe,
                group: &Arc::from("hq"),
                place: &place,
            };
            let item = item(&moved);
            assert_eq!(presence(&item), Some(moved.presence()));
            assert_eq!(text(&item, "PK"), "CARD#7");
            assert_eq!(text(&item, "SK"), "PRESENCE#hq");
            let indexed = item.get("Area").and_then(|area| area.as_s().ok());
            assert_eq!(indexed.map(String::as_str), area);
        }
    }

    #[test]
    fn an_item_without_a_place_or_a_time_is_none() {
        let strange = [
            vec![],
            vec![("ScannedAt", AttributeValue::N("5".to_owned()))],
            vec![
                ("ScannedAt", AttributeValue::N("5".to_owned())),
                ("ScannedStatus", AttributeValue::S("scanned-in".to_owned())),
            ],
        ];
        for fields in strange {
            let fields = fields.into_iter();
            let item = fields
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            assert_eq!(presence(&item), None);
        }
    }
}
