//! Fan-out without the waiting: turns, positions, what is in an event.

use std::time::Duration;

use super::*;
use crate::standin::kinesis::{
    FanOut,
    subscriptions::{Subscription, subscribe},
};

const SHARD: &str = "shardId-000000000000";

/// A store with one stream of one shard, and the ARN of an active consumer of it.
fn with_consumer(fan_out: FanOut) -> (Store, String) {
    let options = Options {
        fan_out: FanOut {
            creating: Duration::ZERO,
            ..fan_out
        },
        ..Options::default()
    };
    let store = store(1, options);
    let consumer = register(&store, "swiped", NOW).expect("registered");
    (store, text(&consumer["ConsumerARN"]))
}

fn register(store: &Store, name: &str, now_ms: u64) -> Result<Value, Refusal> {
    let request = json!({ "StreamARN": store.arn(STREAM), "ConsumerName": name });
    let answer = call_at(store, "RegisterStreamConsumer", &request, now_ms)?;
    Ok(answer["Consumer"].clone())
}

fn subscribed(
    store: &Store,
    consumer: &str,
    start: Value,
    now_ms: u64,
) -> Result<Subscription, Refusal> {
    let request = json!({ "ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": start });
    subscribe(store, request.to_string().as_bytes(), now_ms)
}

fn horizon_now(store: &Store, consumer: &str, now_ms: u64) -> Result<Subscription, Refusal> {
    subscribed(store, consumer, json!({ "Type": "TRIM_HORIZON" }), now_ms)
}

/// The next event as a client reads it.
fn told(store: &Store, at: &mut Subscription, now_ms: u64) -> Value {
    let event = store.next_event(at, now_ms).expect("an event");
    serde_json::from_slice(&event.pieces().concat()).expect("JSON")
}

#[test]
fn a_turn_is_refused_for_five_seconds_and_then_takes_over() {
    let (store, consumer) = with_consumer(FanOut::default());
    let mut first = horizon_now(&store, &consumer, NOW).expect("the first");
    for (after_ms, is_refused) in [(0, true), (4_999, true), (5_000, false)] {
        let again = horizon_now(&store, &consumer, NOW + after_ms);
        assert_eq!(again.is_err(), is_refused, "after {after_ms} ms");
        let lives = store.next_event(&mut first, NOW + after_ms);
        assert_eq!(lives.is_ok(), is_refused, "after {after_ms} ms");
    }
    // The turn counts from the last successful call, and of its own shard and consumer.
    let early = horizon_now(&store, &consumer, NOW + 9_999).expect_err("too early");
    assert_eq!(early.kind, RefusalKind::ResourceInUse);
    let other = text(&register(&store, "other", NOW).expect("registered")["ConsumerARN"]);
    horizon_now(&store, &other, NOW).expect("another consumer has its own turns");
}

#[test]
fn a_bad_start_is_refused_and_is_no_turn() {
    let (store, consumer) = with_consumer(FanOut::default());
    let foreign = "49".to_owned() + &"0".repeat(54);
    for (start, kind) in [
        (json!({ "Type": "NEWEST" }), RefusalKind::Validation),
        (
            json!({ "Type": "AT_SEQUENCE_NUMBER" }),
            RefusalKind::Validation,
        ),
        (
            json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": foreign }),
            RefusalKind::InvalidArgument,
        ),
        (
            json!({ "Type": "AT_TIMESTAMP" }),
            RefusalKind::InvalidArgument,
        ),
    ] {
        let refused = subscribed(&store, &consumer, start.clone(), NOW).expect_err("refused");
        assert_eq!(refused.kind, kind, "{start}");
    }
    horizon_now(&store, &consumer, NOW).expect("the first turn");
    for arn in ["", "swiped", &store.arn(STREAM)] {
        let refused = horizon_now(&store, arn, NOW).expect_err("no consumer");
        assert_eq!(refused.kind, RefusalKind::InvalidArgument, "{arn}");
    }
    let older = consumer.replace(
        ":stream/swipes/consumer/swiped:",
        ":stream/swipes/consumer/swiped:9",
    );
    let refused = horizon_now(&store, &older, NOW).expect_err("another consumer");
    assert_eq!(refused.kind, RefusalKind::ResourceNotFound);
}

#[test]
fn each_kind_of_start_begins_where_it_says() {
    let (store, consumer) = with_consumer(FanOut {
        takeover: Duration::ZERO,
        ..FanOut::default()
    });
    let all = numbered(0..6);
    let first = put(&store, &all[..3], NOW);
    put(&store, &all[3..], NOW + 10);
    let second = &first[1].1;
    for (start, expected) in [
        (json!({ "Type": "TRIM_HORIZON" }), &all[..]),
        (json!({ "Type": "LATEST" }), &all[6..]),
        (
            json!({ "Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": second }),
            &all[1..],
        ),
        (
            json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": second }),
            &all[2..],
        ),
        (
            json!({ "Type": "AT_TIMESTAMP", "Timestamp": (NOW + 1) as f64 / 1000.0 }),
            &all[3..],
        ),
    ] {
        let mut at = subscribed(&store, &consumer, start.clone(), NOW + 20).expect("subscribed");
        let event = told(&store, &mut at, NOW + 20);
        assert_eq!(texts(&event), expected, "{start}");
    }
}

/// Whatever an event ends with, going on after its number misses nothing and repeats nothing, and going on at it
/// repeats the last record at most.
#[test]
fn a_continuation_number_holds_for_at_and_after() {
    for (records, event_records) in [(0, 10), (1, 10), (5, 10), (5, 2), (5, 5)] {
        let (store, consumer) = with_consumer(FanOut {
            takeover: Duration::ZERO,
            event_records,
            ..FanOut::default()
        });
        let all = numbered(0..records + 3);
        if records > 0 {
            put(&store, &all[..records], NOW);
        }
        let mut at = horizon_now(&store, &consumer, NOW).expect("subscribed");
        let event = told(&store, &mut at, NOW);
        let seen = texts(&event).len();
        assert_eq!(seen, records.min(event_records));
        put(&store, &all[records..], NOW + 1);
        let number = text(&event["ContinuationSequenceNumber"]);
        for kind in ["AFTER_SEQUENCE_NUMBER", "AT_SEQUENCE_NUMBER"] {
            let start = json!({ "Type": kind, "SequenceNumber": number });
            let mut on = subscribed(&store, &consumer, start, NOW + 1).expect("valid");
            let mut found = Vec::new();
            for _ in 0..all.len() {
                found.extend(texts(&told(&store, &mut on, NOW + 1)));
            }
            if kind == "AT_SEQUENCE_NUMBER" && seen > 0 {
                assert_eq!(found.remove(0), all[seen - 1]);
            }
            assert_eq!(found, all[seen..], "{kind}, {seen} of {records} seen");
        }
    }
}

#[test]
fn an_event_is_bounded_in_bytes_and_a_larger_record_comes_alone() {
    let (store, consumer) = with_consumer(FanOut {
        event_bytes: 100,
        ..FanOut::default()
    });
    // Payload and key are the same text.
    let sizes = [20, 20, 20, 90, 10];
    let all: Vec<String> = sizes.iter().map(|size| "x".repeat(*size)).collect();
    put(&store, &all, NOW);
    let mut at = horizon_now(&store, &consumer, NOW).expect("subscribed");
    let events: Vec<(usize, u64)> = (0..5)
        .map(|_| told(&store, &mut at, NOW + 7))
        .map(|event| {
            (
                texts(&event).len(),
                event["MillisBehindLatest"].as_u64().unwrap_or(99),
            )
        })
        .collect();
    assert_eq!(events, [(2, 7), (1, 7), (1, 7), (1, 0), (0, 0)]);
}

#[test]
fn the_continuation_is_null_with_children_and_only_then() {
    let (store, consumer) = with_consumer(FanOut {
        event_records: 2,
        ..FanOut::default()
    });
    put(&store, &numbered(0..3), NOW);
    let mut at = horizon_now(&store, &consumer, NOW).expect("subscribed");
    let middle = (1_u128 << 127).to_string();
    let split = json!({ "ShardToSplit": SHARD, "NewStartingHashKey": middle });
    call(&store, "SplitShard", split).expect("split");
    let first = told(&store, &mut at, NOW);
    assert_eq!(texts(&first).len(), 2);
    assert!(first["ContinuationSequenceNumber"].is_string() && first["ChildShards"].is_null());
    let last = told(&store, &mut at, NOW);
    assert_eq!(texts(&last).len(), 1);
    assert!(last["ContinuationSequenceNumber"].is_null());
    assert_eq!(last["ChildShards"].as_array().map(Vec::len), Some(2));
}

#[test]
fn consumers_have_a_limit_and_five_are_created_at_a_time() {
    let store = store(1, Options::default());
    let names: Vec<String> = (0..21).map(|at| format!("consumer-{at}")).collect();
    for name in &names[..5] {
        register(&store, name, NOW).expect("registered");
    }
    refused(register(&store, &names[5], NOW), RefusalKind::LimitExceeded);
    for (at, name) in names[5..20].iter().enumerate() {
        register(&store, name, NOW + 500 * (at as u64 + 1)).expect("registered");
    }
    let late = NOW + 60_000;
    refused(
        register(&store, &names[20], late),
        RefusalKind::LimitExceeded,
    );
    refused(
        register(&store, &names[3], late),
        RefusalKind::ResourceInUse,
    );
    let remove = json!({ "StreamARN": store.arn(STREAM), "ConsumerName": names[3] });
    call_at(&store, "DeregisterStreamConsumer", &remove, late).expect("removed");
    refused(
        call_at(&store, "DeregisterStreamConsumer", &remove, late),
        RefusalKind::ResourceNotFound,
    );
    register(&store, &names[20], late).expect("there is room again");
    let summary = call(&store, "DescribeStreamSummary", json!({})).expect("described");
    assert_eq!(summary["StreamDescriptionSummary"]["ConsumerCount"], 20);
}

#[test]
fn a_subscription_ends_with_its_stream_even_when_another_has_its_name() {
    let (store, consumer) = with_consumer(FanOut::default());
    let mut at = horizon_now(&store, &consumer, NOW).expect("subscribed");
    call(&store, "DeleteStream", json!({})).expect("deleted");
    for _ in 0..2 {
        let gone = store.next_event(&mut at, NOW).expect_err("gone");
        assert_eq!(gone.kind, RefusalKind::ResourceNotFound);
        call(&store, "CreateStream", json!({ "ShardCount": 1 })).ok();
    }
}
