//! Plain tables and what is behind them, through the front.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    Client,
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
        KeysAndAttributes, Put, PutRequest, ReturnValuesOnConditionCheckFailure,
        ScalarAttributeType, Select, TransactWriteItem, WriteRequest,
    },
};

use super::started;

type Item = HashMap<String, AttributeValue>;

const TABLE: &str = "swipe-decisions";

fn item(card: usize, at: usize, door: &str) -> Item {
    let text = |value: String| AttributeValue::S(value);
    Item::from([
        ("PK".to_owned(), text(format!("CARD#{card}"))),
        ("SK".to_owned(), text(format!("AT#{at:04}"))),
        ("access_point".to_owned(), text(door.to_owned())),
        (
            "flags".to_owned(),
            AttributeValue::L(vec![text("\"\u{e9}".to_owned())]),
        ),
    ])
}

fn key(item: &Item) -> Item {
    let mut key = item.clone();
    key.retain(|name, _| name == "PK" || name == "SK");
    key
}

async fn batch_put(client: &Client, table: &str, items: &[Item]) {
    let write = |item: &Item| {
        let put = PutRequest::builder().set_item(Some(item.clone()));
        WriteRequest::builder()
            .put_request(put.build().expect("complete"))
            .build()
    };
    let writes = items.iter().map(write).collect();
    let reply = client.batch_write_item().request_items(table, writes);
    let reply = reply.send().await.expect("written");
    assert_eq!(reply.unprocessed_items.map_or(0, |left| left.len()), 0);
}

/// Items `0..n` of 5 cards and 2 doors, written in batches.
async fn filled(client: &Client, count: usize) -> Vec<Item> {
    let items: Vec<Item> = (0..count)
        .map(|number| item(number % 5, number, ["in", "out"][number % 2]))
        .collect();
    for batch in items.chunks(25) {
        batch_put(client, TABLE, batch).await;
    }
    items
}

fn sorts(items: &[Item]) -> Vec<&str> {
    items
        .iter()
        .map(|item| item["SK"].as_s().expect("a text").as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_are_written_and_found_through_the_sdk() {
    let (_standins, clients) = started(1).await;
    let client = &clients.dynamodb;
    let items = filled(client, 100).await;
    let keys = KeysAndAttributes::builder()
        .set_keys(Some(items[..30].iter().map(key).collect()))
        .projection_expression("PK, SK")
        .consistent_read(true)
        .build()
        .expect("complete");
    let reply = client.batch_get_item().request_items(TABLE, keys).send();
    let found = reply.await.expect("read").responses.unwrap_or_default();
    assert_eq!(found[TABLE], items[..30]);

    let again = item(0, 0, "elsewhere");
    let put = client
        .put_item()
        .table_name(TABLE)
        .set_item(Some(again))
        .condition_expression("attribute_not_exists(PK)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    match put.send().await.map_err(|error| error.into_service_error()) {
        Err(PutItemError::ConditionalCheckFailedException(failed)) => {
            assert_eq!(failed.item(), Some(&items[0]));
        }
        other => panic!("{other:?}"),
    }

    let last = client
        .query()
        .table_name(TABLE)
        .key_condition_expression("PK = :p AND begins_with(SK, :s)")
        .expression_attribute_values(":p", AttributeValue::S("CARD#3".to_owned()))
        .expression_attribute_values(":s", AttributeValue::S("AT#".to_owned()))
        .scan_index_forward(false)
        .limit(3);
    let last = last.send().await.expect("found");
    assert_eq!(sorts(last.items()), ["AT#0098", "AT#0093", "AT#0088"]);
    let passed = client
        .query()
        .table_name(TABLE)
        .index_name("ByAccessPoint")
        .key_condition_expression("access_point = :a AND SK >= :s")
        .expression_attribute_values(":a", AttributeValue::S("out".to_owned()))
        .expression_attribute_values(":s", AttributeValue::S("AT#0095".to_owned()));
    let passed = passed.send().await.expect("found");
    assert_eq!(sorts(passed.items()), ["AT#0095", "AT#0097", "AT#0099"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_moves_between_areas_and_never_back_in_time() {
    let (_standins, clients) = started(1).await;
    let client = &clients.dynamodb;
    let moved = |card: usize, area: &str, at: u32| {
        let mut moved = key(&item(card, 0, ""));
        let at = AttributeValue::N(at.to_string());
        moved.insert("Area".to_owned(), AttributeValue::S(area.to_owned()));
        moved.insert("ScannedAt".to_owned(), at.clone());
        let put = Put::builder()
            .table_name(TABLE)
            .set_item(Some(moved))
            .condition_expression("attribute_not_exists(ScannedAt) OR ScannedAt <= :at")
            .expression_attribute_values(":at", at)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        TransactWriteItem::builder()
            .put(put.build().expect("complete"))
            .build()
    };
    let transact = |moves: Vec<TransactWriteItem>| {
        let call = client.transact_write_items();
        call.set_transact_items(Some(moves)).send()
    };
    let both = vec![moved(1, "lab", 9), moved(2, "lab", 9)];
    transact(both).await.expect("both are new");
    transact(vec![moved(1, "hall", 10)]).await.expect("newer");
    let late = transact(vec![moved(2, "hall", 11), moved(1, "lab", 9)]).await;
    let reasons = match late.map_err(|error| error.into_service_error()) {
        Err(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons.unwrap_or_default()
        }
        other => panic!("{other:?}"),
    };
    let codes: Vec<Option<&str>> = reasons.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes, [Some("None"), Some("ConditionalCheckFailed")]);
    let old = reasons[1].item().and_then(|old| old.get("Area"));
    assert_eq!(old, Some(&AttributeValue::S("hall".to_owned())));
    for (area, expected) in [("lab", 1), ("hall", 1), ("yard", 0)] {
        let inside = client
            .query()
            .table_name(TABLE)
            .index_name("ByArea")
            .select(Select::Count)
            .key_condition_expression("Area = :area")
            .expression_attribute_values(":area", AttributeValue::S(area.to_owned()));
        let inside = inside.send().await.expect("counted");
        assert_eq!(inside.count(), expected, "{area}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_by_two_segments_sees_each_decision_once() {
    let (_standins, clients) = started(1).await;
    let items = filled(&clients.dynamodb, 60).await;
    let mut seen = Vec::new();
    for segment in 0..2 {
        let scan = clients.dynamodb.scan().table_name(TABLE).limit(7);
        let mut pages = scan
            .segment(segment)
            .total_segments(2)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            seen.push(item.expect("scanned"));
        }
    }
    assert_eq!(seen.len(), items.len());
    let distinct: BTreeSet<&str> = sorts(&seen).into_iter().collect();
    assert_eq!(distinct.len(), items.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_behind_the_front_works_through_it() {
    let (standins, clients) = started(1).await;
    let client = &clients.dynamodb;
    batch_put(client, "access", &[item(1, 1, "in"), item(2, 2, "in")]).await;
    let changes = super::dynamodb::changes(&clients).await;
    let kinds: Vec<&str> = changes.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["INSERT", "INSERT"]);

    let name = AttributeDefinition::builder()
        .attribute_name("leaseKey")
        .attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder()
        .attribute_name("leaseKey")
        .key_type(KeyType::Hash);
    let create = client
        .create_table()
        .table_name("leases")
        .attribute_definitions(name.build().expect("complete"))
        .key_schema(key.build().expect("complete"))
        .billing_mode(BillingMode::PayPerRequest);
    create.send().await.expect("created");
    let lease = |name: &str| {
        let put = Put::builder()
            .table_name("leases")
            .item("leaseKey", AttributeValue::S(name.to_owned()))
            .condition_expression("attribute_not_exists(leaseKey)");
        TransactWriteItem::builder()
            .put(put.build().expect("complete"))
            .build()
    };
    let both = client.transact_write_items().transact_items(lease("a"));
    let both = both.transact_items(lease("b"));
    both.clone().send().await.expect("both are new");
    assert!(both.send().await.is_err());
    let rows = client.scan().table_name("leases").send().await;
    assert_eq!(rows.expect("scanned").count(), 2);

    let tables = client.list_tables().send().await.expect("listed");
    assert_eq!(tables.table_names(), ["access", "leases", TABLE]);
    drop(clients);
    tokio::task::block_in_place(|| standins.stop()).expect("the stand-ins stop");
}
