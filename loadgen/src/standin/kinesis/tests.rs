//! The store by itself: routing, iterators, resharding, limits, trimming, order across threads.

mod fan_out;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    Fault, Options, Refusal, RefusalKind, Store, WriteLimit, limits::ReadLimit, operations::answer,
    stream::even_starts,
};

const NOW: u64 = 1_772_438_321_123;
const STREAM: &str = "swipes";

/// A store with one stream.
fn store(shards: u32, options: Options) -> Store {
    let store = Store::new(options);
    call_at(
        &store,
        "CreateStream",
        &json!({ "StreamName": STREAM, "ShardCount": shards }),
        NOW,
    )
    .expect("created");
    store
}

fn call_at(store: &Store, operation: &str, request: &Value, now_ms: u64) -> Result<Value, Refusal> {
    call_with(store, operation, request, None, now_ms)
}

fn call_with(
    store: &Store,
    operation: &str,
    request: &Value,
    fault: Option<&Fault>,
    now_ms: u64,
) -> Result<Value, Refusal> {
    let reply = answer(
        store,
        operation,
        request.to_string().as_bytes(),
        fault,
        now_ms,
    )?
    .0
    .concat();
    Ok(if reply.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&reply).expect("the answer is JSON")
    })
}

fn call(store: &Store, operation: &str, mut request: Value) -> Result<Value, Refusal> {
    request["StreamName"] = STREAM.into();
    call_at(store, operation, &request, NOW)
}

#[track_caller]
fn refused(answer: Result<Value, Refusal>, kind: RefusalKind) {
    assert_eq!(answer.expect_err("refused").kind, kind);
}

fn entries(texts: &[String]) -> Value {
    let entry = |text: &String| json!({ "Data": STANDARD.encode(text), "PartitionKey": text });
    json!({ "StreamName": STREAM, "Records": texts.iter().map(entry).collect::<Vec<_>>() })
}

/// Puts `texts`, each its own partition key; their shards and sequence numbers.
fn put(store: &Store, texts: &[String], now_ms: u64) -> Vec<(String, String)> {
    let answer = call_at(store, "PutRecords", &entries(texts), now_ms).expect("put");
    assert_eq!(answer["FailedRecordCount"], 0);
    let records = answer["Records"].as_array().expect("records");
    records
        .iter()
        .map(|record| (text(&record["ShardId"]), text(&record["SequenceNumber"])))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("swipe-{number}")).collect()
}

fn iterator_at(store: &Store, shard: &str, start: Value, now_ms: u64) -> Result<String, Refusal> {
    let mut request = start;
    request["StreamName"] = STREAM.into();
    request["ShardId"] = shard.into();
    Ok(text(
        &call_at(store, "GetShardIterator", &request, now_ms)?["ShardIterator"],
    ))
}

fn horizon(store: &Store, shard: &str) -> String {
    iterator_at(
        store,
        shard,
        json!({ "ShardIteratorType": "TRIM_HORIZON" }),
        NOW,
    )
    .expect("an iterator")
}

fn page(store: &Store, iterator: &str, limit: usize, now_ms: u64) -> Result<Value, Refusal> {
    call_at(
        store,
        "GetRecords",
        &json!({ "ShardIterator": iterator, "Limit": limit }),
        now_ms,
    )
}

/// The texts of a page.
fn texts(page: &Value) -> Vec<String> {
    let records = page["Records"].as_array().expect("records");
    let decode = |record: &Value| STANDARD.decode(text(&record["Data"])).expect("base64");
    records
        .iter()
        .map(|record| String::from_utf8(decode(record)).expect("text"))
        .collect()
}

/// Reads a shard from an iterator to its end or its tip; what was read, and the last page.
fn drain(store: &Store, iterator: String, limit: usize) -> (Vec<String>, Value) {
    let (mut all, mut iterator) = (Vec::new(), iterator);
    for _ in 0..100_000 {
        let page = page(store, &iterator, limit, NOW).expect("a page");
        let found = texts(&page);
        all.extend(found.iter().cloned());
        match page["NextShardIterator"].as_str() {
            Some(next) if page["MillisBehindLatest"] != 0 || !found.is_empty() => {
                iterator = next.to_owned()
            }
            _ => return (all, page),
        }
    }
    panic!("the shard has no end");
}

fn shards(store: &Store, filter: Value) -> Vec<Value> {
    let mut request = filter;
    request["StreamName"] = STREAM.into();
    let answer = call_at(store, "ListShards", &request, NOW).expect("listed");
    answer["Shards"].as_array().expect("shards").clone()
}

fn ids(shards: &[Value]) -> Vec<u32> {
    shards
        .iter()
        .map(|shard| text(&shard["ShardId"])[8..].parse().expect("an index"))
        .collect()
}

#[test]
fn even_shards_cover_every_hash_key_once() {
    for (count, second) in [
        (1_u32, None),
        (2, Some(1_u128 << 127)),
        (3, Some(u128::MAX / 3)),
        (4, Some(1 << 126)),
    ] {
        let starts: Vec<u128> = even_starts(count).collect();
        assert_eq!(
            (starts.len(), starts[0], starts.get(1).copied()),
            (count as usize, 0, second)
        );
        assert!(starts.is_sorted());
    }
}

#[test]
fn a_record_is_read_back_from_the_shard_that_its_put_named() {
    let store = store(4, Options::default());
    let sent = numbered(0..400);
    let mut by_shard: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (text, (shard, _)) in sent.iter().zip(put(&store, &sent, NOW)) {
        by_shard.entry(shard).or_default().push(text.clone());
    }
    assert_eq!(by_shard.len(), 4);
    for (shard, expected) in by_shard {
        for limit in [1, 7, 10_000] {
            assert_eq!(drain(&store, horizon(&store, &shard), limit).0, expected);
        }
    }
}

#[test]
fn a_record_comes_back_with_key_sequence_number_and_arrival_to_the_millisecond() {
    let store = store(1, Options::default());
    let put = call(
        &store,
        "PutRecord",
        json!({ "Data": "aGk=", "PartitionKey": "a \"key\" \u{e9}\n" }),
    )
    .expect("put");
    let page = page(&store, &horizon(&store, "shardId-000000000000"), 10, NOW).expect("a page");
    assert_eq!(
        page["Records"],
        json!([{
            "SequenceNumber": put["SequenceNumber"], "Data": "aGk=", "PartitionKey": "a \"key\" \u{e9}\n",
            "ApproximateArrivalTimestamp": 1_772_438_321.123,
        }])
    );
    assert_eq!(text(&put["SequenceNumber"]).len(), 56);
}

#[test]
fn an_explicit_hash_key_and_the_resource_name_are_obeyed() {
    let store = store(2, Options::default());
    for (hash, shard) in [
        ("0", 0),
        ("170141183460469231731687303715884105727", 0),
        ("170141183460469231731687303715884105728", 1),
    ] {
        let request = json!({ "StreamARN": store.arn(STREAM), "Records": [{ "Data": "", "PartitionKey": "k", "ExplicitHashKey": hash }] });
        let answer = call_at(&store, "PutRecords", &request, NOW).expect("put");
        assert_eq!(
            text(&answer["Records"][0]["ShardId"]),
            format!("shardId-{shard:012}"),
            "{hash}"
        );
    }
}

#[test]
fn each_kind_of_iterator_begins_where_it_says() {
    let store = store(1, Options::default());
    let shard = "shardId-000000000000";
    let first = put(&store, &numbered(0..3), NOW);
    put(&store, &numbered(3..5), NOW + 10);
    let start_of_shard =
        text(&shards(&store, json!({}))[0]["SequenceNumberRange"]["StartingSequenceNumber"]);
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let rows = [
        (json!({ "ShardIteratorType": "TRIM_HORIZON" }), 0),
        (json!({ "ShardIteratorType": "LATEST" }), 5),
        (
            json!({ "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": first[1].1 }),
            1,
        ),
        (
            json!({ "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": first[1].1 }),
            2,
        ),
        (
            json!({ "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": start_of_shard }),
            0,
        ),
        (
            json!({ "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": seconds(NOW) }),
            0,
        ),
        (
            json!({ "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": seconds(NOW + 1) }),
            3,
        ),
        (
            json!({ "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": seconds(NOW + 10) }),
            3,
        ),
        (
            json!({ "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": seconds(NOW + 11) }),
            5,
        ),
        (
            json!({ "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 0 }),
            0,
        ),
    ];
    let iterators: Vec<_> = rows
        .iter()
        .map(|(start, _)| iterator_at(&store, shard, start.clone(), NOW + 20).expect("one"))
        .collect();
    put(&store, &numbered(5..6), NOW + 20);
    for ((start, from), iterator) in rows.iter().zip(iterators) {
        assert_eq!(
            drain(&store, iterator, 100).0,
            numbered(*from..6),
            "{start}"
        );
    }
}

#[test]
fn an_iterator_for_a_foreign_sequence_number_or_the_future_is_refused() {
    let store = store(2, Options::default());
    let (one, other) = ("shardId-000000000000", "shardId-000000000001");
    let stored = put(&store, &numbered(0..50), NOW);
    let of_one = stored
        .iter()
        .find(|(shard, _)| shard == one)
        .expect("some")
        .1
        .clone();
    let at = |shard, sequence: &str| {
        let start = json!({ "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": sequence });
        iterator_at(&store, shard, start, NOW).map(Value::from)
    };
    assert!(at(one, &of_one).is_ok());
    refused(at(other, &of_one), RefusalKind::InvalidArgument);
    refused(at(one, "12345"), RefusalKind::InvalidArgument);
    refused(
        at("shardId-000000000009", &of_one),
        RefusalKind::ResourceNotFound,
    );
    let future =
        json!({ "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": (NOW + 1) as f64 / 1000.0 });
    refused(
        iterator_at(&store, one, future, NOW).map(Value::from),
        RefusalKind::InvalidArgument,
    );
    call(&store, "DeleteStream", json!({})).expect("deleted");
    refused(at(one, &of_one), RefusalKind::ResourceNotFound);
    call(&store, "CreateStream", json!({ "ShardCount": 2 })).expect("created again");
    refused(at(one, &of_one), RefusalKind::InvalidArgument);
}

#[test]
fn an_iterator_expires_after_its_life_and_each_page_brings_a_fresh_one() {
    let store = store(
        1,
        Options {
            iterator_ttl_ms: 1000,
            ..Options::default()
        },
    );
    let iterator = horizon(&store, "shardId-000000000000");
    let second = page(&store, &iterator, 1, NOW + 1000).expect("still good");
    refused(
        page(&store, &iterator, 1, NOW + 1001),
        RefusalKind::ExpiredIterator,
    );
    assert!(page(&store, &text(&second["NextShardIterator"]), 1, NOW + 2000).is_ok());
    refused(
        page(&store, "nonsense", 1, NOW),
        RefusalKind::InvalidArgument,
    );
}

#[test]
fn how_far_a_page_is_behind_is_the_age_of_the_first_unread_record() {
    let store = store(1, Options::default());
    put(&store, &numbered(0..2), NOW);
    put(&store, &numbered(2..4), NOW + 500);
    let behind = |limit| {
        page(
            &store,
            &horizon(&store, "shardId-000000000000"),
            limit,
            NOW + 2000,
        )
        .expect("a page")["MillisBehindLatest"]
            .clone()
    };
    assert_eq!(
        [behind(1), behind(2), behind(3), behind(4)],
        [2000, 1500, 1500, 0]
    );
}

#[test]
fn a_page_holds_ten_mebibytes_at_most() {
    let store = store(1, Options::default());
    let big = "A".repeat((1 << 20) - 16);
    for number in 0..12 {
        let request =
            json!({ "Data": STANDARD.encode(&big), "PartitionKey": format!("k{number}") });
        call(&store, "PutRecord", request).expect("put");
    }
    let page = page(
        &store,
        &horizon(&store, "shardId-000000000000"),
        10_000,
        NOW + 5,
    )
    .expect("a page");
    assert_eq!(
        (
            page["Records"].as_array().map(Vec::len),
            &page["MillisBehindLatest"]
        ),
        (Some(10), &json!(5))
    );
    assert_eq!(
        drain(&store, text(&page["NextShardIterator"]), 10_000)
            .0
            .len(),
        2
    );
}

#[test]
fn requests_beyond_the_limits_are_refused_whole() {
    let store = store(1, Options::default());
    let record =
        |bytes: usize| json!({ "Data": STANDARD.encode(vec![0; bytes]), "PartitionKey": "k" });
    let put = |records: Vec<Value>| call(&store, "PutRecords", json!({ "Records": records }));
    refused(put(Vec::new()), RefusalKind::Validation);
    refused(put(vec![record(0); 501]), RefusalKind::Validation);
    refused(
        put(vec![record(1), record(1 << 20)]),
        RefusalKind::Validation,
    );
    refused(
        put(vec![record(1_048_000); 11]),
        RefusalKind::InvalidArgument,
    );
    refused(
        put(vec![json!({ "Data": "?", "PartitionKey": "k" })]),
        RefusalKind::Serialization,
    );
    refused(
        put(vec![json!({ "Data": "", "PartitionKey": "" })]),
        RefusalKind::Validation,
    );
    refused(
        put(vec![json!({ "Data": "", "PartitionKey": "k".repeat(257) })]),
        RefusalKind::Validation,
    );
    assert_eq!(
        drain(&store, horizon(&store, "shardId-000000000000"), 10)
            .0
            .len(),
        0
    );
    assert!(put(vec![record(1_048_000); 10]).is_ok());
    call(
        &store,
        "UpdateMaxRecordSize",
        json!({ "MaxRecordSizeInKiB": 10_240 }),
    )
    .expect("raised");
    assert!(put(vec![record((10 << 20) - 1)]).is_ok());
    let limit = |limit| page(&store, &horizon(&store, "shardId-000000000000"), limit, NOW);
    refused(limit(0), RefusalKind::Validation);
    refused(limit(10_001), RefusalKind::Validation);
}

#[test]
fn a_split_ends_the_parent_and_names_its_children() {
    let store = store(1, Options::default());
    let before = put(&store, &numbered(0..20), NOW);
    let latest =
        iterator_at(&store, "0", json!({ "ShardIteratorType": "LATEST" }), NOW).expect("one");
    let split = json!({ "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": (1_u128 << 127).to_string() });
    call(&store, "SplitShard", split.clone()).expect("split");
    let after = put(&store, &numbered(20..40), NOW);
    let (read, last) = drain(&store, horizon(&store, "shardId-000000000000"), 7);
    assert_eq!(read, numbered(0..20));
    assert_eq!(
        (&last["NextShardIterator"], &last["MillisBehindLatest"]),
        (&Value::Null, &json!(0))
    );
    let children: Vec<_> = (1..3).map(|index| format!("shardId-{index:012}")).collect();
    for (child, id) in last["ChildShards"]
        .as_array()
        .expect("children")
        .iter()
        .zip(&children)
    {
        assert_eq!(
            (text(&child["ShardId"]), &child["ParentShards"]),
            (id.clone(), &json!(["shardId-000000000000"]))
        );
    }
    let from_latest = page(&store, &latest, 10, NOW).expect("a page");
    assert!(texts(&from_latest).is_empty() && from_latest["NextShardIterator"].is_null());
    let mut found: Vec<_> = children
        .iter()
        .flat_map(|child| drain(&store, horizon(&store, child), 100).0)
        .collect();
    found.sort_by_key(|text| text.len() * 1000 + text[6..].parse::<usize>().expect("a number"));
    assert_eq!(found, numbered(20..40));
    let listed = shards(&store, json!({}));
    let end = text(&listed[0]["SequenceNumberRange"]["EndingSequenceNumber"]);
    assert!(
        before.iter().all(|(_, sequence)| *sequence < end)
            && after.iter().all(|(_, sequence)| *sequence > end)
    );
    for child in &listed[1..] {
        assert_eq!(text(&child["ParentShardId"]), "shardId-000000000000");
        assert!(text(&child["SequenceNumberRange"]["StartingSequenceNumber"]) > end);
        assert!(child["SequenceNumberRange"]["EndingSequenceNumber"].is_null());
    }
    refused(
        call(&store, "SplitShard", split),
        RefusalKind::ResourceInUse,
    );
}

#[test]
fn a_split_outside_of_the_shard_and_a_merge_of_strangers_are_refused() {
    let store = store(4, Options::default());
    let id = |index: u32| format!("shardId-{index:012}");
    for hash in [1_u128 << 126, 0, 1 << 127] {
        let request = json!({ "ShardToSplit": id(1), "NewStartingHashKey": hash.to_string() });
        refused(
            call(&store, "SplitShard", request),
            RefusalKind::InvalidArgument,
        );
    }
    for other in [3, 1] {
        let request = json!({ "ShardToMerge": id(1), "AdjacentShardToMerge": id(other) });
        refused(
            call(&store, "MergeShards", request),
            RefusalKind::InvalidArgument,
        );
    }
    refused(
        call(
            &store,
            "MergeShards",
            json!({ "ShardToMerge": id(1), "AdjacentShardToMerge": id(9) }),
        ),
        RefusalKind::ResourceNotFound,
    );
}

#[test]
fn a_merge_has_two_parents_that_end_with_the_same_child() {
    let store = store(2, Options::default());
    put(&store, &numbered(0..100), NOW);
    let (zero, one) = ("shardId-000000000000", "shardId-000000000001");
    call(
        &store,
        "MergeShards",
        json!({ "ShardToMerge": one, "AdjacentShardToMerge": zero }),
    )
    .expect("merged");
    let child = &shards(&store, json!({}))[2];
    assert_eq!(
        (
            text(&child["ParentShardId"]),
            text(&child["AdjacentParentShardId"])
        ),
        (one.to_owned(), zero.to_owned())
    );
    assert_eq!(
        child["HashKeyRange"],
        json!({ "StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string() })
    );
    let mut read = 0;
    for parent in [zero, one] {
        let (texts, last) = drain(&store, horizon(&store, parent), 10_000);
        read += texts.len();
        assert_eq!(last["ChildShards"][0]["ParentShards"], json!([one, zero]));
    }
    assert_eq!(read, 100);
}

/// Changes the shard count and checks that the open shards are even and that every shard but the first has parents
/// that end below its start.
#[track_caller]
fn check_shard_count(from: u32, to: u32) {
    let store = store(from, Options::default());
    let answer = call(
        &store,
        "UpdateShardCount",
        json!({ "TargetShardCount": to, "ScalingType": "UNIFORM_SCALING" }),
    )
    .expect("done");
    assert_eq!(
        (&answer["CurrentShardCount"], &answer["TargetShardCount"]),
        (&json!(from), &json!(to))
    );
    let mut open: Vec<u128> = shards(&store, json!({ "ShardFilter": { "Type": "AT_LATEST" } }))
        .iter()
        .map(|shard| {
            text(&shard["HashKeyRange"]["StartingHashKey"])
                .parse()
                .expect("a number")
        })
        .collect();
    open.sort_unstable();
    assert_eq!(open, even_starts(to).collect::<Vec<_>>(), "{from} to {to}");
    let all = shards(&store, json!({}));
    for shard in &all[from as usize..] {
        let start = text(&shard["SequenceNumberRange"]["StartingSequenceNumber"]);
        let parents = [&shard["ParentShardId"], &shard["AdjacentParentShardId"]];
        assert!(parents[0].is_string());
        for parent in parents.into_iter().filter(|parent| parent.is_string()) {
            let parent = all
                .iter()
                .find(|other| other["ShardId"] == *parent)
                .expect("known");
            assert!(text(&parent["SequenceNumberRange"]["EndingSequenceNumber"]) < start);
        }
    }
}

#[test]
fn a_new_shard_count_is_splits_and_merges() {
    for (from, to) in [
        (1, 2),
        (4, 8),
        (8, 4),
        (4, 6),
        (6, 4),
        (4, 4),
        (3, 5),
        (5, 3),
        (10, 7),
    ] {
        check_shard_count(from, to);
    }
    let store = store(4, Options::default());
    for target in [0, 1, 9] {
        refused(
            call(
                &store,
                "UpdateShardCount",
                json!({ "TargetShardCount": target }),
            ),
            RefusalKind::InvalidArgument,
        );
    }
}

#[test]
fn shards_are_listed_page_by_page() {
    let store = store(7, Options::default());
    let mut request = json!({ "StreamName": STREAM, "MaxResults": 3 });
    let mut seen = Vec::new();
    for pages in 1..10 {
        let answer = call_at(&store, "ListShards", &request, NOW).expect("a page");
        seen.extend(ids(answer["Shards"].as_array().expect("shards")));
        let Some(token) = answer["NextToken"].as_str() else {
            assert_eq!(pages, 3);
            break;
        };
        request = json!({ "NextToken": token, "MaxResults": 3 });
    }
    assert_eq!(seen, (0..7).collect::<Vec<_>>());
    refused(
        call_at(&store, "ListShards", &request, NOW + 300_001),
        RefusalKind::ExpiredNextToken,
    );
    refused(
        call(&store, "ListShards", request),
        RefusalKind::InvalidArgument,
    );
}

#[test]
fn a_shard_filter_lets_through_what_was_open_then() {
    let store = store(
        1,
        Options {
            retention_ms: Some(10_000),
            ..Options::default()
        },
    );
    let split = json!({ "StreamName": STREAM, "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "100" });
    call_at(&store, "SplitShard", &split, NOW + 1000).expect("split");
    let list = |filter: Value, now_ms| {
        let answer = call_at(
            &store,
            "ListShards",
            &json!({ "StreamName": STREAM, "ShardFilter": filter }),
            now_ms,
        )
        .expect("listed");
        ids(answer["Shards"].as_array().expect("shards"))
    };
    let at = |kind: &str, ms: u64| json!({ "Type": kind, "Timestamp": ms as f64 / 1000.0 });
    let later = NOW + 5000;
    assert_eq!(list(json!({ "Type": "AT_LATEST" }), later), [1, 2]);
    assert_eq!(list(json!({ "Type": "AT_TRIM_HORIZON" }), later), [0]);
    assert_eq!(
        list(json!({ "Type": "FROM_TRIM_HORIZON" }), later),
        [0, 1, 2]
    );
    assert_eq!(
        list(
            json!({ "Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000001" }),
            later
        ),
        [2]
    );
    assert_eq!(list(at("AT_TIMESTAMP", NOW + 999), later), [0]);
    assert_eq!(list(at("AT_TIMESTAMP", NOW + 1000), later), [1, 2]);
    assert_eq!(list(at("FROM_TIMESTAMP", NOW + 999), later), [0, 1, 2]);
    assert_eq!(list(at("FROM_TIMESTAMP", NOW + 1000), later), [1, 2]);
    assert_eq!(
        list(json!({ "Type": "FROM_TRIM_HORIZON" }), NOW + 11_001),
        [1, 2]
    );
}

#[test]
fn reading_goes_on_at_the_horizon_when_records_were_trimmed() {
    let store = store(1, Options::default());
    let shard = "shardId-000000000000";
    let mut stored = put(&store, &numbered(0..5), NOW);
    stored.extend(put(&store, &numbered(5..10), NOW));
    let old = horizon(&store, shard);
    store.trim(STREAM, shard, &stored[6].1).expect("trimmed");
    let from = |kind: &str, at: usize| {
        let start = json!({ "ShardIteratorType": kind, "StartingSequenceNumber": stored[at].1 });
        drain(
            &store,
            iterator_at(&store, shard, start, NOW).expect("one"),
            2,
        )
        .0
    };
    assert_eq!(drain(&store, old, 100).0, numbered(7..10));
    assert_eq!(
        drain(&store, horizon(&store, shard), 100).0,
        numbered(7..10)
    );
    assert_eq!(from("AT_SEQUENCE_NUMBER", 1), numbered(7..10));
    assert_eq!(from("AFTER_SEQUENCE_NUMBER", 1), numbered(7..10));
    assert_eq!(from("AFTER_SEQUENCE_NUMBER", 6), numbered(7..10));
    assert_eq!(from("AFTER_SEQUENCE_NUMBER", 7), numbered(8..10));
}

#[test]
fn records_older_than_the_retention_are_gone() {
    let store = store(
        1,
        Options {
            retention_ms: Some(1000),
            ..Options::default()
        },
    );
    let iterator = horizon(&store, "shardId-000000000000");
    put(&store, &numbered(0..3), NOW);
    put(&store, &numbered(3..6), NOW + 600);
    assert_eq!(
        texts(&page(&store, &iterator, 100, NOW + 1000).expect("a page")),
        numbered(0..6)
    );
    assert_eq!(
        texts(&page(&store, &iterator, 100, NOW + 1001).expect("a page")),
        numbered(3..6)
    );
    assert_eq!(
        texts(&page(&store, &iterator, 100, NOW + 1601).expect("a page")),
        numbered(6..6)
    );
}

#[test]
fn arrival_times_never_go_back_even_if_the_clock_does() {
    let store = store(1, Options::default());
    put(&store, &numbered(0..1), NOW);
    put(&store, &numbered(1..2), NOW - 5000);
    let read = page(&store, &horizon(&store, "0"), 10, NOW).expect("a page");
    let arrivals: Vec<_> = (0..2)
        .map(|at| read["Records"][at]["ApproximateArrivalTimestamp"].clone())
        .collect();
    assert_eq!(
        arrivals,
        [json!(1_772_438_321.123), json!(1_772_438_321.123)]
    );
}

#[test]
fn a_closed_shard_can_be_forgotten_and_its_children_still_name_it() {
    let store = store(1, Options::default());
    let id = "shardId-000000000000";
    assert!(store.with(STREAM, |stream| stream.forget(id)).is_err());
    let iterator = horizon(&store, id);
    call(
        &store,
        "SplitShard",
        json!({ "ShardToSplit": id, "NewStartingHashKey": "9" }),
    )
    .expect("split");
    store
        .with(STREAM, |stream| stream.forget(id))
        .expect("forgotten");
    let listed = shards(&store, json!({}));
    assert_eq!(
        (ids(&listed), text(&listed[0]["ParentShardId"])),
        (vec![1, 2], id.to_owned())
    );
    refused(
        page(&store, &iterator, 1, NOW),
        RefusalKind::ResourceNotFound,
    );
}

#[test]
fn a_shard_throttles_single_entries_when_limits_are_on() {
    let store = store(
        1,
        Options {
            write_limit: Some(WriteLimit {
                records: 3,
                bytes: 1 << 20,
            }),
            ..Options::default()
        },
    );
    let answer = call_at(&store, "PutRecords", &entries(&numbered(0..5)), NOW).expect("answered");
    assert_eq!(answer["FailedRecordCount"], 2);
    assert_eq!(
        answer["Records"][4]["ErrorCode"],
        "ProvisionedThroughputExceededException"
    );
    refused(
        call(
            &store,
            "PutRecord",
            json!({ "Data": "", "PartitionKey": "k" }),
        ),
        RefusalKind::ProvisionedThroughputExceeded,
    );
    put(&store, &numbered(3..5), NOW + 1000);
    assert_eq!(
        drain(&store, horizon(&store, "shardId-000000000000"), 10).0,
        numbered(0..5)
    );
}

#[test]
fn a_shard_is_read_five_times_a_second_when_limits_are_on() {
    let store = store(
        1,
        Options {
            read_limit: Some(ReadLimit::default()),
            ..Options::default()
        },
    );
    let iterator = horizon(&store, "shardId-000000000000");
    for _ in 0..5 {
        page(&store, &iterator, 1, NOW).expect("a page");
    }
    refused(
        page(&store, &iterator, 1, NOW),
        RefusalKind::ProvisionedThroughputExceeded,
    );
    assert!(page(&store, &iterator, 1, NOW + 1000).is_ok());
}

#[test]
fn scripted_faults_refuse_entries_and_hide_records() {
    let store = store(1, Options::default());
    let fault = Fault::FailEntries { every: 3 };
    let answer = call_with(
        &store,
        "PutRecords",
        &entries(&numbered(0..7)),
        Some(&fault),
        NOW,
    )
    .expect("answered");
    let failed: Vec<usize> = (0..7)
        .filter(|at| answer["Records"][at]["ErrorCode"].is_string())
        .collect();
    assert_eq!(
        (&answer["FailedRecordCount"], failed),
        (&json!(3), vec![0, 3, 6])
    );
    let iterator = horizon(&store, "shardId-000000000000");
    let request = json!({ "ShardIterator": iterator });
    let hidden = call_with(
        &store,
        "GetRecords",
        &request,
        Some(&Fault::EmptyPage),
        NOW + 9,
    )
    .expect("answered");
    assert_eq!(
        (texts(&hidden).len(), &hidden["MillisBehindLatest"]),
        (0, &json!(9))
    );
    assert_eq!(
        drain(&store, text(&hidden["NextShardIterator"]), 10)
            .0
            .len(),
        4
    );
}

#[test]
fn a_stream_that_distributes_by_itself_spreads_one_key_over_all_shards() {
    let store = store(1, Options::default());
    let auto =
        json!({ "StreamName": "auto", "ShardCount": 3, "RecordDistributionStrategy": "AUTO" });
    call_at(&store, "CreateStream", &auto, NOW).expect("created");
    let records = vec![
        json!({ "Data": "" }),
        json!({ "Data": "", "PartitionKey": "k" }),
        json!({ "Data": "", "PartitionKey": "k" }),
    ];
    let put = |stream: &str| {
        call_at(
            &store,
            "PutRecords",
            &json!({ "StreamName": stream, "Records": records }),
            NOW,
        )
    };
    let answer = put("auto").expect("put");
    let mut found: Vec<_> = (0..3)
        .map(|at| text(&answer["Records"][at]["ShardId"]))
        .collect();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 3);
    refused(put(STREAM), RefusalKind::Validation);
}

#[test]
fn streams_are_described_listed_and_refused_as_the_service_does() {
    let store = store(3, Options::default());
    refused(
        call(&store, "CreateStream", json!({ "ShardCount": 1 })),
        RefusalKind::ResourceInUse,
    );
    let on_demand =
        json!({ "StreamName": "other", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    call_at(&store, "CreateStream", &on_demand, NOW).expect("created");
    let describe = |name: &str| {
        call_at(
            &store,
            "DescribeStreamSummary",
            &json!({ "StreamName": name }),
            NOW,
        )
    };
    assert_eq!(
        describe("other").expect("described")["StreamDescriptionSummary"]["OpenShardCount"],
        4
    );
    refused(describe("none"), RefusalKind::ResourceNotFound);
    let listed = call_at(&store, "ListStreams", &json!({ "Limit": 1 }), NOW).expect("listed");
    assert_eq!(
        (&listed["StreamNames"], &listed["HasMoreStreams"]),
        (&json!(["other"]), &json!(true))
    );
    let described = call(&store, "DescribeStream", json!({ "Limit": 2 })).expect("described");
    assert_eq!(described["StreamDescription"]["HasMoreShards"], true);
    call(
        &store,
        "IncreaseStreamRetentionPeriod",
        json!({ "RetentionPeriodHours": 48 }),
    )
    .expect("raised");
    refused(
        call(
            &store,
            "IncreaseStreamRetentionPeriod",
            json!({ "RetentionPeriodHours": 24 }),
        ),
        RefusalKind::InvalidArgument,
    );
    refused(
        call(&store, "SubscribeToShard", json!({})),
        RefusalKind::UnknownOperation,
    );
}

#[test]
fn what_several_threads_put_is_read_by_a_tailing_reader_in_order_and_once() {
    const WRITERS: usize = 4;
    const BATCHES: usize = 50;
    const BATCH: usize = 20;
    let store = store(1, Options::default());
    let read = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for batch in 0..BATCHES {
                    let texts: Vec<_> = (0..BATCH)
                        .map(|at| format!("{writer}-{}", batch * BATCH + at))
                        .collect();
                    put(store, &texts, NOW);
                }
            });
        }
        let (mut read, mut iterator, mut last) = (Vec::new(), horizon(&store, "0"), String::new());
        for _ in 0..1_000_000 {
            let page = page(&store, &iterator, 333, NOW).expect("a page");
            for record in page["Records"].as_array().expect("records") {
                let sequence = text(&record["SequenceNumber"]);
                assert!(sequence > last);
                last = sequence;
            }
            read.extend(texts(&page));
            iterator = text(&page["NextShardIterator"]);
            if read.len() == WRITERS * BATCHES * BATCH {
                break;
            }
        }
        read
    });
    for writer in 0..WRITERS {
        let prefix = format!("{writer}-");
        let own: Vec<usize> = read
            .iter()
            .filter_map(|text| text.strip_prefix(&prefix)?.parse().ok())
            .collect();
        assert_eq!(
            own,
            (0..BATCHES * BATCH).collect::<Vec<_>>(),
            "writer {writer}"
        );
    }
}
