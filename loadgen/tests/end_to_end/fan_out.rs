//! Shards read by fan-out: over TLS and HTTP/2, through renewals, a reshard, a hand-over, and a connection that is half-open.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition, SubscribeToShardEventStream};
use loadgen::{
    local::secured,
    standin::{
        self,
        kinesis::{self, FanOut, Fault, Mishap},
    },
};
use tokio::time::{Instant, timeout};

use crate::fixture::{Event, Sent, Settings, World};

const SHARDS: [&str; 4] = [
    "shardId-000000000000",
    "shardId-000000000001",
    "shardId-000000000002",
    "shardId-000000000003",
];

/// The middle of the first of two shards.
const QUARTER: u128 = 1 << 126;

/// Two renewals of every shard, and the five seconds in which one may be held up.
const LONG_ENOUGH: Duration = Duration::from_secs(18);

const FAN_OUT: Settings = Settings {
    retrieval: "fan_out",
    renew_ms: 6000,
    tls: true,
    ..Settings::DEFAULT
};

fn stand_ins(fan_out: FanOut) -> standin::Options {
    standin::Options {
        kinesis_tls_port: Some(0),
        kinesis: kinesis::Options {
            fan_out,
            ..kinesis::Options::default()
        },
        ..standin::Options::default()
    }
}

/// Sequence numbers by shard, in the order in which a bare loop of the SDK is sent them, over TLS as well.
async fn bare(world: &World, shards: &[&str], count: usize) -> BTreeMap<String, Vec<String>> {
    let at = world.standins.kinesis_tls.as_ref();
    let kinesis = secured(at.expect("the stand-ins speak TLS")).await;
    let arn = world.standins.store.arn("swipes");
    let call = kinesis.register_stream_consumer().stream_arn(arn);
    let consumer = call.consumer_name("bare").send().await;
    let consumer = consumer.expect("registered").consumer;
    let consumer = consumer.expect("a consumer").consumer_arn;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut read = BTreeMap::new();
    for shard in shards {
        let horizon = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon);
        let call = kinesis.subscribe_to_shard().shard_id(*shard);
        let reply = call
            .consumer_arn(&consumer)
            .starting_position(horizon.build().expect("a position"))
            .send()
            .await;
        let mut events = reply.expect("subscribed").event_stream;
        let mut numbers = Vec::new();
        while let Ok(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)))) =
            timeout(Duration::from_secs(2), events.recv()).await
        {
            numbers.extend(
                event
                    .records
                    .into_iter()
                    .map(|record| record.sequence_number),
            );
        }
        read.insert((*shard).to_owned(), numbers);
    }
    let found: usize = read.values().map(Vec::len).sum();
    assert_eq!(found, count, "the bare loop reads everything");
    read
}

/// Decisions by shard, in the order of when they were decided.
fn decided(events: &[Event]) -> BTreeMap<String, Vec<String>> {
    let mut events: Vec<_> = events.iter().map(|event| (&event.source, event)).collect();
    // Within one page all is decided at one instant, in the order of the numbers, which are equally long.
    events.sort_by_key(|(source, event)| (event.decided_at_ms, &source.sequence));
    let mut decided: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (source, _) in events {
        let of_shard = decided.entry(source.shard.clone()).or_default();
        of_shard.push(source.sequence.clone());
    }
    decided
}

#[tokio::test]
async fn fan_out_over_tls_reads_what_a_bare_loop_reads_in_its_order_through_renewals() {
    let world = World::on(&stand_ins(FanOut::default()), 2, 40).await;
    let mut worker = world.start_ready("one", &FAN_OUT).await;
    world.wait_for_owners(&[("one", 2)]).await;
    let traffic = world.traffic(&world.cards(), 10);
    tokio::time::sleep(LONG_ENOUGH).await;
    let sent = traffic.stop().await;
    let audit = world.audit(&sent).await;
    assert_eq!(audit.duplicates, 0);
    assert_eq!(
        decided(&audit.events),
        bare(&world, &SHARDS[..2], sent.len()).await
    );
    let subscribed = worker.metric("swiped_subscriptions_total").await;
    assert!(subscribed >= 6.0, "{subscribed} subscriptions");
    assert_eq!(worker.metric("swiped_fan_out_fall_backs_total").await, 0.0);
    worker.stop().await;
}

#[tokio::test]
async fn a_split_and_a_hand_over_under_fan_out_lose_nothing_and_decide_nothing_twice() {
    let world = World::on(&stand_ins(FanOut::default()), 2, 40).await;
    let mut leaving = world.start("leaving", &FAN_OUT);
    let mut staying = world.start_ready("staying", &FAN_OUT).await;
    world
        .wait_for_owners(&[("leaving", 1), ("staying", 1)])
        .await;
    let traffic = world.traffic(&world.cards(), 10);
    let mut decisions = world.decisions().await;
    let from = |shard: &'static str| {
        move |events: &[Event]| events.iter().any(|event| event.source.shard == shard)
    };
    for shard in &SHARDS[..2] {
        decisions.wait("both shards are read", from(shard)).await;
    }
    let call = world.clients.kinesis.split_shard().stream_name("swipes");
    let call = call.shard_to_split(SHARDS[0]);
    let split = call.new_starting_hash_key(QUARTER.to_string()).send().await;
    split.expect("the first shard is split");
    for shard in &SHARDS[2..] {
        decisions.wait("both children are read", from(shard)).await;
    }
    leaving.stop().await;
    world.wait_for_owners(&[("staying", 3)]).await;
    let known = decisions.events.len();
    decisions
        .wait("all shards are read", |events| events.len() > known + 400)
        .await;
    let sent: Vec<Sent> = traffic.stop().await;
    let audit = world.audit(&sent).await;
    assert_eq!(audit.duplicates, 0);
    assert_eq!(
        decided(&audit.events),
        bare(&world, &SHARDS, sent.len()).await
    );
    assert_eq!(staying.metric("swiped_fan_out_fall_backs_total").await, 0.0);
    staying.stop().await;
}

#[tokio::test]
async fn a_half_open_connection_is_noticed_within_twenty_seconds_and_loses_nothing() {
    let brisk = FanOut {
        idle: Duration::from_secs(1),
        ..FanOut::default()
    };
    let world = World::on(&stand_ins(brisk), 1, 10).await;
    let mishap = Mishap::Freeze;
    let frozen = Fault::Subscription { after: 3, mishap };
    world.standins.faults.push("SubscribeToShard", [frozen]);
    let mut worker = world.start_ready("one", &FAN_OUT).await;
    world.wait_for_owners(&[("one", 1)]).await;
    let began = Instant::now();
    let traffic = world.traffic(&world.cards(), 2);
    let mut decisions = world.decisions().await;
    decisions
        .wait("some are decided", |events| !events.is_empty())
        .await;
    let subscribed = async || worker.metric("swiped_subscriptions_total").await;
    crate::fixture::until("it subscribes again", async || subscribed().await >= 2.0).await;
    let took = began.elapsed();
    println!("noticed within {} ms", took.as_millis());
    assert!(
        took < Duration::from_secs(20),
        "noticed only after {took:?}"
    );
    let audit = world.audit(&traffic.stop().await).await;
    assert_eq!(audit.duplicates, 0);
    worker.stop().await;
}

#[tokio::test]
async fn where_no_consumer_can_be_registered_auto_polls_and_fan_out_does_not_start() {
    let none = FanOut {
        max_consumers: 0,
        ..FanOut::default()
    };
    let world = World::on(&stand_ins(none), 1, 5).await;
    let settings = |retrieval| Settings {
        retrieval,
        ..FAN_OUT
    };
    let mut refused = world.start("refused", &settings("fan_out"));
    assert_eq!(refused.ended().await.code(), Some(1));
    let log = refused.log();
    assert!(
        log.contains("swipes.retrieval") && log.contains("RegisterStreamConsumer"),
        "{log}"
    );
    let mut polls = world.start_ready("polls", &settings("auto")).await;
    let mut sent = Vec::new();
    for card in world.cards() {
        sent.push(world.send(&card).await);
    }
    world.audit(&sent).await;
    assert!(polls.log().contains("shards are polled"), "it says so");
    assert_eq!(polls.metric("swiped_subscriptions_total").await, 0.0);
    polls.stop().await;
}

#[tokio::test]
async fn a_consumer_that_is_deregistered_is_registered_again_and_nothing_is_lost_meanwhile() {
    let world = World::on(&stand_ins(FanOut::default()), 2, 10).await;
    let settings = Settings {
        retrieval: "auto",
        ..FAN_OUT
    };
    let mut worker = world.start_ready("one", &settings).await;
    world.wait_for_owners(&[("one", 2)]).await;
    let traffic = world.traffic(&world.cards(), 5);
    let mut decisions = world.decisions().await;
    decisions
        .wait("some are decided", |events| !events.is_empty())
        .await;
    let kinesis = &world.clients.kinesis;
    let stream = kinesis.describe_stream_summary().stream_name("swipes");
    let stream = stream
        .send()
        .await
        .expect("the stream")
        .stream_description_summary;
    let stream = stream.expect("its description").stream_arn;
    let consumers = kinesis.list_stream_consumers().stream_arn(&stream);
    let consumers = consumers.send().await.expect("its consumers");
    let [consumer] = consumers.consumers() else {
        panic!("one consumer, not {consumers:?}");
    };
    let gone = kinesis.deregister_stream_consumer();
    let gone = gone.consumer_arn(consumer.consumer_arn()).send().await;
    gone.expect("it is deregistered");
    let subscribed = worker.metric("swiped_subscriptions_total").await;
    crate::fixture::until("both shards are subscribed to anew", async || {
        worker.metric("swiped_subscriptions_total").await >= subscribed + 2.0
    })
    .await;
    assert_eq!(worker.metric("swiped_fan_out_fall_backs_total").await, 0.0);
    let known = decisions.events.len();
    decisions
        .wait("events come", |events| events.len() > known + 20)
        .await;
    let audit = world.audit(&traffic.stop().await).await;
    assert_eq!(audit.duplicates, 0);
    assert!(worker.log().contains("registered again"), "it says so");
    worker.stop().await;
}
