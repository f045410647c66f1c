//! DynamoDB and its streams: the conditions, transactions and changes that the daemon relies on.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    operation::{
        put_item::PutItemError, transact_write_items::TransactWriteItemsError,
        update_item::UpdateItemError,
    },
    types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update},
};
use aws_sdk_dynamodbstreams::types::ShardIteratorType;

use super::started;
use crate::local::{Clients, Names, create_all};

const ALL_OLD: ReturnValuesOnConditionCheckFailure = ReturnValuesOnConditionCheckFailure::AllOld;

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn key(pk: &str, sk: &str) -> HashMap<String, AttributeValue> {
    [("PK".to_owned(), text(pk)), ("SK".to_owned(), text(sk))].into()
}

fn status(item: Option<&HashMap<String, AttributeValue>>) -> Option<&str> {
    item?.get("CardStatus")?.as_s().ok().map(String::as_str)
}

/// Stores a card of that status, unless there is one; else the status of the one there is.
async fn put(dynamodb: &Client, new: &str) -> Result<(), Option<String>> {
    let request = dynamodb
        .put_item()
        .table_name("access")
        .set_item(Some(key("CARD#1", "CARD#STATUS")))
        .item("CardStatus", text(new))
        .condition_expression("attribute_not_exists(PK)")
        .return_values_on_condition_check_failure(ALL_OLD);
    match request
        .send()
        .await
        .map_err(|error| error.into_service_error())
    {
        Ok(_) => Ok(()),
        Err(PutItemError::ConditionalCheckFailedException(failed)) => {
            Err(status(failed.item()).map(str::to_owned))
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// Changes the card's status when it is `old`; else the status that it has.
async fn update(dynamodb: &Client, old: &str, new: &str) -> Result<(), Option<String>> {
    let request = dynamodb
        .update_item()
        .table_name("access")
        .set_key(Some(key("CARD#1", "CARD#STATUS")))
        .update_expression("SET CardStatus = :new")
        .condition_expression("CardStatus = :old")
        .expression_attribute_values(":new", text(new))
        .expression_attribute_values(":old", text(old))
        .return_values_on_condition_check_failure(ALL_OLD);
    match request
        .send()
        .await
        .map_err(|error| error.into_service_error())
    {
        Ok(_) => Ok(()),
        Err(UpdateItemError::ConditionalCheckFailedException(failed)) => {
            Err(status(failed.item()).map(str::to_owned))
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// As [`update`], and stores a door with it; else the code of each part and the status that the card has.
async fn transact(
    dynamodb: &Client,
    old: &str,
    new: &str,
) -> Result<(), (Vec<String>, Option<String>)> {
    let card = Update::builder()
        .table_name("access")
        .set_key(Some(key("CARD#1", "CARD#STATUS")))
        .update_expression("SET CardStatus = :new")
        .condition_expression("CardStatus = :old")
        .expression_attribute_values(":new", text(new))
        .expression_attribute_values(":old", text(old))
        .return_values_on_condition_check_failure(ALL_OLD);
    let card = TransactWriteItem::builder().update(card.build().expect("complete"));
    let door = Put::builder()
        .table_name("access")
        .set_item(Some(key("AP#1", "CONFIG")));
    let door = TransactWriteItem::builder().put(door.build().expect("complete"));
    let request = dynamodb
        .transact_write_items()
        .transact_items(card.build())
        .transact_items(door.build());
    match request
        .send()
        .await
        .map_err(|error| error.into_service_error())
    {
        Ok(_) => Ok(()),
        Err(TransactWriteItemsError::TransactionCanceledException(failed)) => {
            let reasons = failed.cancellation_reasons();
            let codes = reasons
                .iter()
                .map(|reason| reason.code().unwrap_or_default().to_owned())
                .collect();
            Err((codes, status(reasons[0].item()).map(str::to_owned)))
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_condition_shows_the_item_and_changes_are_read_from_the_stream() {
    let (standins, clients) = started(1).await;
    let dynamodb = &clients.dynamodb;
    let issued = Some("issued".to_owned());
    assert_eq!(put(dynamodb, "issued").await, Ok(()));
    assert_eq!(put(dynamodb, "lost").await, Err(issued.clone()));
    assert_eq!(
        update(dynamodb, "lost", "revoked").await,
        Err(issued.clone())
    );
    let codes = ["ConditionalCheckFailed", "None"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(
        transact(dynamodb, "lost", "revoked").await,
        Err((codes, issued))
    );
    assert_eq!(transact(dynamodb, "issued", "suspended").await, Ok(()));
    assert_eq!(update(dynamodb, "suspended", "revoked").await, Ok(()));
    let seen = changes(&clients).await;
    let of_card: Vec<_> = seen
        .iter()
        .filter_map(|(kind, new)| Some((kind.as_str(), new.as_deref()?)))
        .collect();
    assert_eq!(
        of_card,
        [
            ("INSERT", "issued"),
            ("MODIFY", "suspended"),
            ("MODIFY", "revoked")
        ]
    );
    assert_eq!(seen.len(), 4);
    drop(clients);
    tokio::task::block_in_place(|| standins.stop()).expect("the stand-ins stop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_already_is_left_alone() {
    let (_standins, clients) = started(3).await;
    create_all(&clients.kinesis, &clients.dynamodb, &Names::with_shards(5))
        .await
        .expect("nothing to do");
    let stream = clients
        .kinesis
        .describe_stream_summary()
        .stream_name("swipes")
        .send()
        .await
        .expect("described");
    assert_eq!(
        stream
            .stream_description_summary()
            .map(|summary| summary.open_shard_count()),
        Some(3)
    );
    let expiry = clients
        .dynamodb
        .describe_time_to_live()
        .table_name("swipe-decisions")
        .send()
        .await
        .expect("described");
    assert_eq!(
        expiry
            .time_to_live_description()
            .and_then(|expiry| expiry.attribute_name()),
        Some("expires_at")
    );
}

/// Every change of the access table, with the new card status.
pub(super) async fn changes(clients: &Clients) -> Vec<(String, Option<String>)> {
    let table = clients
        .dynamodb
        .describe_table()
        .table_name("access")
        .send()
        .await
        .expect("described");
    let arn = table
        .table()
        .and_then(|table| table.latest_stream_arn())
        .expect("a stream")
        .to_owned();
    let described = clients
        .streams
        .describe_stream()
        .stream_arn(&arn)
        .send()
        .await
        .expect("described");
    let shards = described
        .stream_description()
        .map(|stream| stream.shards())
        .unwrap_or_default();
    let shard = shards[0].shard_id().expect("a name").to_owned();
    let iterator = clients
        .streams
        .get_shard_iterator()
        .stream_arn(arn)
        .shard_id(shard);
    let iterator = iterator
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await
        .expect("an iterator");
    let page = clients
        .streams
        .get_records()
        .set_shard_iterator(iterator.shard_iterator)
        .send()
        .await
        .expect("a page");
    let change = |record: &aws_sdk_dynamodbstreams::types::Record| {
        let kind = record
            .event_name()
            .map(|name| name.as_str().to_owned())
            .unwrap_or_default();
        let image = record.dynamodb().and_then(|change| change.new_image());
        let status = image
            .and_then(|image| image.get("CardStatus"))
            .and_then(|value| value.as_s().ok());
        (kind, status.cloned())
    };
    page.records().iter().map(change).collect()
}
