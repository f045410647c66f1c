//! Kinesis: readers, writers and resharding at once; refusals and faults as the SDK sees them.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use aws_sdk_kinesis::{
    Client,
    error::ProvideErrorMetadata as _,
    primitives::Blob,
    types::{PutRecordsRequestEntry, Shard, ShardIteratorType},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Version, body::Bytes};
use hyper_util::{client::legacy, rt::TokioExecutor};

use super::started;
use crate::standin::kinesis::Fault;

const WRITERS: usize = 4;
const BATCHES: usize = 40;
const BATCH: usize = 25;
/// A reader that has not found everything by then has lost something.
const DEADLINE: Duration = Duration::from_secs(60);

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
    let (begun, mut count) = (tokio::time::Instant::now(), 0);
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
        .describe_limits()
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

/// KCL's client for Kinesis begins so, without TLS and without asking first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_with_http_2_is_answered_in_it_call_beside_call() {
    let (standins, _) = started(2).await;
    let client = legacy::Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Full<Bytes>>();
    let calls = (0..20).map(|_| {
        let request = Request::post(&standins.kinesis_url)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "Kinesis_20131202.ListShards")
            .body(Full::from(r#"{"StreamName":"swipes"}"#));
        client.request(request.expect("a request"))
    });
    for reply in futures::future::join_all(calls).await {
        let reply = reply.expect("a reply");
        assert_eq!(
            (reply.version(), reply.status().as_u16()),
            (Version::HTTP_2, 200)
        );
        let body = reply
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let shards: serde_json::Value = serde_json::from_slice(&body).expect("json");
        assert_eq!(shards["Shards"].as_array().map(Vec::len), Some(2));
    }
}
