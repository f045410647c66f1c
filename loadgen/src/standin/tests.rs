//! The stand-ins through the AWS SDK, over HTTP.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use aws_sdk_dynamodbstreams::types::ShardIteratorType as StreamIteratorType;
use aws_sdk_kinesis::{
    Client,
    error::ProvideErrorMetadata as _,
    primitives::Blob,
    types::{PutRecordsRequestEntry, Shard, ShardIteratorType},
};

use super::{Options, Standins, kinesis::Fault};
use crate::local::{Clients, Endpoints, Names, create_all};

const WRITERS: usize = 4;
const BATCHES: usize = 40;
const BATCH: usize = 25;
/// A reader that has not found everything by then has lost something.
const DEADLINE: Duration = Duration::from_secs(60);

async fn started(shards: u32) -> (Standins, Clients) {
    let standins = Standins::start(&Options::default()).expect("the stand-ins start");
    let clients = Endpoints::of(&standins).clients().await;
    create_all(
        &clients.kinesis,
        &clients.dynamodb,
        &Names::with_shards(shards),
    )
    .await
    .expect("created");
    (standins, clients)
}

/// Puts this writer's numbers in order, under one key.
async fn write(kinesis: Client, writer: usize) {
    for batch in 0..BATCHES {
        let entry = |at: usize| {
            let entry = PutRecordsRequestEntry::builder()
                .partition_key(format!("writer-{writer}"))
                .data(Blob::new((batch * BATCH + at).to_string()));
            entry.build().expect("complete")
        };
        let entries = (0..BATCH).map(entry).collect();
        let put = kinesis
            .put_records()
            .stream_name("swipes")
            .set_records(Some(entries))
            .send()
            .await
            .expect("put");
        assert_eq!(put.failed_record_count(), Some(0));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The iterator of a shard's oldest record.
async fn horizon(kinesis: &Client, shard: &str) -> String {
    let request = kinesis
        .get_shard_iterator()
        .stream_name("swipes")
        .shard_id(shard);
    let answer = request
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await
        .expect("an iterator");
    answer.shard_iterator.expect("an iterator")
}

/// Tails the stream until `expected` records are found: children after all their parents. What was found, by key.
async fn tail(kinesis: Client, expected: usize) -> BTreeMap<String, Vec<usize>> {
    let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let (mut reading, mut known, mut ended) = (Vec::new(), HashSet::new(), HashSet::new());
    let mut waiting: Vec<(String, Vec<String>)> = Vec::new();
    for shard in shards(&kinesis)
        .await
        .iter()
        .filter(|shard| shard.parent_shard_id().is_none())
    {
        known.insert(shard.shard_id().to_owned());
        reading.push((
            shard.shard_id().to_owned(),
            horizon(&kinesis, shard.shard_id()).await,
        ));
    }
    let (begun, mut count) = (Instant::now(), 0);
    while count < expected {
        assert!(
            begun.elapsed() < DEADLINE,
            "{count} of {expected} records were found"
        );
        for (shard, iterator) in std::mem::take(&mut reading) {
            let page = kinesis
                .get_records()
                .shard_iterator(iterator)
                .limit(40)
                .send()
                .await
                .expect("a page");
            for record in page.records() {
                let number = String::from_utf8_lossy(record.data().as_ref())
                    .parse()
                    .expect("a number");
                found
                    .entry(record.partition_key().unwrap_or_default().to_owned())
                    .or_default()
                    .push(number);
                count += 1;
            }
            if let Some(next) = page.next_shard_iterator() {
                reading.push((shard, next.to_owned()));
                continue;
            }
            assert!(
                !page.child_shards().is_empty(),
                "{shard} ended without children"
            );
            for child in page.child_shards() {
                if known.insert(child.shard_id().to_owned()) {
                    waiting.push((child.shard_id().to_owned(), child.parent_shards().to_vec()));
                }
            }
            ended.insert(shard);
        }
        for (child, parents) in std::mem::take(&mut waiting) {
            if parents.iter().all(|parent| ended.contains(parent)) {
                let iterator = horizon(&kinesis, &child).await;
                reading.push((child, iterator));
            } else {
                waiting.push((child, parents));
            }
        }
    }
    found
}

async fn shards(kinesis: &Client) -> Vec<Shard> {
    kinesis
        .list_shards()
        .stream_name("swipes")
        .send()
        .await
        .expect("listed")
        .shards
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_writers_and_a_tailing_reader_lose_nothing_through_split_and_merge() {
    let (standins, clients) = started(2).await;
    let kinesis = clients.kinesis;
    let reader = tokio::spawn(tail(kinesis.clone(), WRITERS * BATCHES * BATCH));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(kinesis.clone(), writer)))
        .collect();
    let pause = || tokio::time::sleep(Duration::from_millis(60));
    pause().await;
    let split = kinesis
        .split_shard()
        .stream_name("swipes")
        .shard_to_split("shardId-000000000000");
    split
        .new_starting_hash_key((1_u128 << 126).to_string())
        .send()
        .await
        .expect("split");
    pause().await;
    let merge = kinesis
        .merge_shards()
        .stream_name("swipes")
        .shard_to_merge("shardId-000000000003");
    merge
        .adjacent_shard_to_merge("shardId-000000000001")
        .send()
        .await
        .expect("merged");
    pause().await;
    let count = kinesis
        .update_shard_count()
        .stream_name("swipes")
        .target_shard_count(3);
    count
        .scaling_type("UNIFORM_SCALING".into())
        .send()
        .await
        .expect("scaled");
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    let found = reader.await.expect("the reader ends");
    assert_eq!(found.len(), WRITERS);
    for (key, numbers) in found {
        assert_eq!(
            numbers,
            (0..BATCHES * BATCH).collect::<Vec<_>>(),
            "{key} is out of order"
        );
    }
    let merged = &shards(&kinesis).await[4];
    assert_eq!(
        (merged.parent_shard_id(), merged.adjacent_parent_shard_id()),
        (Some("shardId-000000000003"), Some("shardId-000000000001"))
    );
    drop(kinesis);
    tokio::task::block_in_place(|| standins.stop()).expect("the stand-ins stop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_knows_refusals_scripted_faults_and_large_requests() {
    let (standins, clients) = started(1).await;
    let patient = clients.kinesis;
    let retry = aws_sdk_kinesis::config::retry::RetryConfig::disabled();
    let kinesis = Client::from_conf(patient.config().to_builder().retry_config(retry).build());
    let put = |kinesis: &Client, bytes: usize| {
        let request = kinesis
            .put_record()
            .stream_name("swipes")
            .partition_key("k");
        request.data(Blob::new(vec![7; bytes])).send()
    };
    standins.faults.push(
        "PutRecord",
        [Fault::Throttle, Fault::InternalFailure, Fault::DropReply],
    );
    let throttled = put(&kinesis, 1).await.expect_err("throttled");
    assert!(
        throttled
            .as_service_error()
            .is_some_and(|error| error.is_provisioned_throughput_exceeded_exception())
    );
    let failed = put(&kinesis, 2).await.expect_err("failed");
    assert_eq!(
        (
            failed.raw_response().map(|raw| raw.status().as_u16()),
            failed.code()
        ),
        (Some(500), Some("InternalFailure"))
    );
    let lost = put(&kinesis, 3).await.expect_err("no reply");
    assert!(lost.as_service_error().is_none());
    standins.faults.push(
        "PutRecord",
        [Fault::Throttle, Fault::Delay(Duration::from_millis(20))],
    );
    put(&patient, 4).await.expect("the SDK tries again");
    let entry = || {
        let entry = PutRecordsRequestEntry::builder()
            .partition_key("k")
            .data(Blob::new(vec![7; 1_048_000]));
        entry.build().expect("complete")
    };
    let large = kinesis
        .put_records()
        .stream_name("swipes")
        .set_records(Some((0..10).map(|_| entry()).collect()));
    large.send().await.expect("ten mebibytes are stored");
    let (mut sizes, mut iterator) = (Vec::new(), horizon(&kinesis, "shardId-000000000000").await);
    for _ in 0..2 {
        let page = kinesis
            .get_records()
            .shard_iterator(&iterator)
            .send()
            .await
            .expect("a page");
        sizes.extend(
            page.records()
                .iter()
                .map(|record| record.data().as_ref().len()),
        );
        iterator = page.next_shard_iterator.expect("the shard is open");
    }
    assert_eq!((&sizes[..2], sizes.len()), (&[3, 4][..], 12));
    let unknown = kinesis
        .describe_stream_consumer()
        .send()
        .await
        .expect_err("not played");
    assert_eq!(unknown.code(), Some("UnknownOperationException"));
    let garbage = kinesis
        .get_records()
        .shard_iterator("garbage")
        .send()
        .await
        .expect_err("no iterator");
    assert!(
        garbage
            .as_service_error()
            .is_some_and(|error| error.is_invalid_argument_exception())
    );
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_condition_shows_the_item_and_a_change_is_read_from_the_stream() {
    let (standins, clients) = started(1).await;
    let dynamodb = &clients.dynamodb;
    create_all(&clients.kinesis, dynamodb, &Names::with_shards(1))
        .await
        .expect("what is there is left alone");
    let all_old = ReturnValuesOnConditionCheckFailure::AllOld;
    let item = |status: &str| {
        [
            ("PK", text("CARD#1")),
            ("SK", text("CARD#STATUS")),
            ("CardStatus", text(status)),
        ]
    };
    let put = |status: &str| {
        let put = dynamodb
            .put_item()
            .table_name("access")
            .condition_expression("attribute_not_exists(PK)");
        item(status)
            .into_iter()
            .fold(put, |put, (name, value)| put.item(name, value))
    };
    put("issued").send().await.expect("stored");
    let again = put("lost")
        .return_values_on_condition_check_failure(all_old.clone())
        .send()
        .await
        .expect_err("refused");
    let failed = again.as_service_error().and_then(|error| match error {
        aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(
            failed,
        ) => failed.item(),
        _ => None,
    });
    assert_eq!(
        failed.and_then(|item| item.get("CardStatus")),
        Some(&text("issued"))
    );

    let update = dynamodb
        .update_item()
        .table_name("access")
        .key("PK", text("CARD#1"))
        .key("SK", text("CARD#STATUS"));
    let update = update
        .update_expression("SET CardStatus = :new")
        .condition_expression("CardStatus = :old");
    let update = update
        .expression_attribute_values(":new", text("revoked"))
        .expression_attribute_values(":old", text("lost"));
    let update = update
        .return_values_on_condition_check_failure(all_old.clone())
        .send()
        .await
        .expect_err("refused");
    let failed = update.as_service_error().and_then(|error| match error {
        aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(failed) => failed.item(),
        _ => None,
    });
    assert_eq!(
        failed.and_then(|item| item.get("CardStatus")),
        Some(&text("issued"))
    );

    let change = |old: &str| {
        let update = Update::builder()
            .table_name("access")
            .set_key(Some(
                item("")
                    .into_iter()
                    .take(2)
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            ))
            .update_expression("SET CardStatus = :new")
            .condition_expression("CardStatus = :old")
            .expression_attribute_values(":new", text("revoked"))
            .expression_attribute_values(":old", text(old))
            .return_values_on_condition_check_failure(all_old.clone());
        let beside = Put::builder()
            .table_name("access")
            .item("PK", text("AP#1"))
            .item("SK", text("CONFIG"));
        let update = TransactWriteItem::builder()
            .update(update.build().expect("complete"))
            .build();
        let beside = TransactWriteItem::builder()
            .put(beside.build().expect("complete"))
            .build();
        dynamodb
            .transact_write_items()
            .transact_items(update)
            .transact_items(beside)
            .send()
    };
    let cancelled = change("lost").await.expect_err("cancelled");
    let reasons = cancelled.as_service_error().and_then(|error| match error {
        aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(failed) => {
            Some(failed.cancellation_reasons())
        }
        _ => None,
    });
    let reasons = reasons.expect("the reasons");
    assert_eq!(
        reasons[0].item().and_then(|item| item.get("CardStatus")),
        Some(&text("issued"))
    );
    assert_eq!(
        reasons
            .iter()
            .map(|reason| reason.code().unwrap_or_default())
            .collect::<Vec<_>>(),
        ["ConditionalCheckFailed", "None"]
    );
    change("issued").await.expect("both are written");

    let seen = changes(&clients).await;
    assert_eq!(
        seen[..2],
        [
            ("INSERT".to_owned(), Some("issued".to_owned())),
            ("MODIFY".to_owned(), Some("revoked".to_owned()))
        ]
    );
    assert_eq!(seen.len(), 3);
    tokio::task::block_in_place(|| standins.stop()).expect("the stand-ins stop");
}

/// Every change of the access table, with the new card status.
async fn changes(clients: &Clients) -> Vec<(String, Option<String>)> {
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
        .shard_iterator_type(StreamIteratorType::TrimHorizon)
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
