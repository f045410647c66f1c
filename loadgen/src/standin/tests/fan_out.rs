//! Fan-out as the SDK sees it, over HTTP/1.1 and over TLS with HTTP/2.

use std::time::Duration;

use aws_sdk_kinesis::{
    Client,
    config::retry::RetryConfig,
    error::SdkError,
    operation::subscribe_to_shard::SubscribeToShardError,
    primitives::{Blob, event_stream::EventReceiver},
    types::{
        ConsumerStatus, PutRecordsRequestEntry, ShardIteratorType, StartingPosition,
        SubscribeToShardEvent, SubscribeToShardEventStream,
        error::SubscribeToShardEventStreamError,
    },
};
use tokio::time::timeout;

use crate::{
    local::{Endpoints, Names, create_all, secured},
    standin::{
        Options, Standins,
        kinesis::{
            self, FanOut,
            sequence::Sequence,
            stream::{Entry, Outcome},
        },
        push::now_ms,
    },
};

pub(super) const SHARD: &str = "shardId-000000000000";
/// Far more than any of this takes; who waits longer has lost something.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

pub(super) type Events =
    EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>;
pub(super) type Refused = SdkError<SubscribeToShardError>;

/// What a test talks to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Over {
    Http,
    Tls,
}

pub(super) const BOTH: [Over; 2] = [Over::Http, Over::Tls];

/// Running stand-ins with a stream of one shard and an active consumer.
pub(super) struct Stage {
    pub(super) standins: Standins,
    pub(super) kinesis: Client,
    /// Puts records, on connections of its own: a mishap of the reader's must not meet them.
    writer: Client,
    pub(super) stream_arn: String,
    pub(super) consumer: String,
}

/// Fan-out at a pace for tests.
pub(super) fn brisk() -> FanOut {
    FanOut {
        creating: Duration::ZERO,
        tick: Duration::from_millis(5),
        ..FanOut::default()
    }
}

pub(super) async fn stage(over: Over, fan_out: FanOut) -> Stage {
    let standins = Standins::start(&Options {
        kinesis_tls_port: Some(0),
        kinesis: kinesis::Options {
            fan_out,
            ..kinesis::Options::default()
        },
        ..Options::default()
    })
    .expect("the stand-ins start");
    let clients = Endpoints::of(&standins).clients().await;
    create_all(&clients.kinesis, &clients.dynamodb, &Names::with_shards(1))
        .await
        .expect("created");
    let writer = clients.kinesis;
    let kinesis = match over {
        Over::Http => Endpoints::of(&standins).clients().await.kinesis,
        Over::Tls => secured(standins.kinesis_tls.as_ref().expect("tls was asked for")).await,
    };
    let config = kinesis
        .config()
        .to_builder()
        .retry_config(RetryConfig::disabled());
    let kinesis = Client::from_conf(config.build());
    let stream_arn = standins.store.arn("swipes");
    let consumer = register(&kinesis, &stream_arn, "swiped").await;
    Stage {
        standins,
        kinesis,
        writer,
        stream_arn,
        consumer,
    }
}

/// Registers a consumer; its ARN.
pub(super) async fn register(kinesis: &Client, stream_arn: &str, name: &str) -> String {
    let request = kinesis.register_stream_consumer().stream_arn(stream_arn);
    let answer = request
        .consumer_name(name)
        .send()
        .await
        .expect("registered");
    answer.consumer.expect("a consumer").consumer_arn
}

pub(super) fn horizon() -> StartingPosition {
    start(ShardIteratorType::TrimHorizon, None)
}

pub(super) fn start(kind: ShardIteratorType, sequence: Option<&str>) -> StartingPosition {
    StartingPosition::builder()
        .r#type(kind)
        .set_sequence_number(sequence.map(str::to_owned))
        .build()
        .expect("complete")
}

impl Stage {
    pub(super) async fn subscribe(&self, start: StartingPosition) -> Result<Events, Refused> {
        self.subscribe_to(SHARD, start).await
    }

    pub(super) async fn subscribe_to(
        &self,
        shard: &str,
        start: StartingPosition,
    ) -> Result<Events, Refused> {
        let request = self.kinesis.subscribe_to_shard().shard_id(shard);
        let request = request
            .consumer_arn(&self.consumer)
            .starting_position(start);
        request.send().await.map(|answer| answer.event_stream)
    }

    /// Subscribes as soon as the turn before is old enough, and the client knows that a connection that was cut is gone:
    /// its pool may hand that out once more.
    pub(super) async fn subscribe_again(&self, start: StartingPosition) -> Events {
        let attempts = async {
            loop {
                match self.subscribe(start.clone()).await {
                    Ok(events) => return events,
                    Err(error) if in_use(&error) || is_disconnected(&error) => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
        };
        timeout(DEADLINE, attempts).await.expect("subscribed")
    }

    pub(super) async fn put(&self, numbers: std::ops::Range<usize>) {
        let entry = |number: usize| {
            let entry = PutRecordsRequestEntry::builder().partition_key("k");
            let entry = entry.data(Blob::new(number.to_string()));
            entry.build().expect("complete")
        };
        let request = self.writer.put_records().stream_name("swipes");
        let put = request.set_records(Some(numbers.map(entry).collect()));
        let answer = timeout(DEADLINE, put.send()).await.expect("in time");
        assert_eq!(answer.expect("put").failed_record_count(), Some(0));
    }

    /// Every record of the shard as GetRecords has them: sequence numbers and payloads.
    pub(super) async fn pages(&self) -> Vec<(String, Vec<u8>)> {
        let request = self.kinesis.get_shard_iterator().stream_name("swipes");
        let request = request.shard_id(SHARD);
        let iterator = request.shard_iterator_type(ShardIteratorType::TrimHorizon);
        let iterator = iterator.send().await.expect("an iterator").shard_iterator;
        let request = self.kinesis.get_records().set_shard_iterator(iterator);
        let page = request.send().await.expect("a page");
        page.records().iter().map(told).collect()
    }

    pub(super) async fn stop(self) {
        let Self { standins, .. } = self;
        tokio::task::spawn_blocking(move || standins.stop())
            .await
            .expect("joined")
            .expect("the stand-ins stop");
    }
}

fn told(record: &aws_sdk_kinesis::types::Record) -> (String, Vec<u8>) {
    let payload = record.data().as_ref().to_vec();
    (record.sequence_number().to_owned(), payload)
}

fn is_disconnected(error: &Refused) -> bool {
    matches!(error, SdkError::DispatchFailure(failure) if failure.is_io())
}

pub(super) fn in_use(error: &Refused) -> bool {
    error
        .as_service_error()
        .is_some_and(|error| error.is_resource_in_use_exception())
}

/// The next event; nothing when the stream ended well.
pub(super) async fn next(events: &mut Events) -> Option<SubscribeToShardEvent> {
    let received = timeout(DEADLINE, events.recv()).await;
    match received.expect("in time").expect("no error")? {
        SubscribeToShardEventStream::SubscribeToShardEvent(event) => Some(event),
        other => panic!("{other:?}"),
    }
}

/// The next event that has records.
pub(super) async fn next_full(events: &mut Events) -> SubscribeToShardEvent {
    loop {
        let event = next(events).await.expect("the stream goes on");
        if !event.records().is_empty() {
            return event;
        }
    }
}

/// The numbers in an event.
pub(super) fn numbers(event: &SubscribeToShardEvent) -> Vec<usize> {
    let text = |record: &aws_sdk_kinesis::types::Record| {
        String::from_utf8_lossy(record.data().as_ref()).into_owned()
    };
    let records = event.records().iter();
    records
        .map(|record| text(record).parse().expect("a number"))
        .collect()
}

const BATCHES: usize = 40;
const BATCH: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_finds_what_get_records_finds_in_the_same_order_through_renewals() {
    for over in BOTH {
        let options = FanOut {
            life: Duration::from_millis(120),
            takeover: Duration::from_millis(60),
            event_records: 40,
            ..brisk()
        };
        let stage = stage(over, options).await;
        let (mut found, mut turns) = (Vec::new(), 0);
        let write = async {
            for batch in 0..BATCHES {
                stage.put(batch * BATCH..(batch + 1) * BATCH).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let read = async {
            let mut from = horizon();
            while found.len() < BATCHES * BATCH {
                let mut events = stage.subscribe_again(from.clone()).await;
                turns += 1;
                while let Some(event) = next(&mut events).await {
                    assert!(event.records().len() <= 40);
                    found.extend(event.records().iter().map(told));
                    let told = event.continuation_sequence_number();
                    from = start(ShardIteratorType::AfterSequenceNumber, Some(told));
                }
            }
        };
        timeout(DEADLINE, futures::future::join(write, read))
            .await
            .expect("everything is found");
        assert_eq!(found, stage.pages().await, "{over:?}");
        assert!(turns > 2, "{over:?}: {turns} subscriptions");
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_call_is_refused_at_first_and_takes_over_later() {
    for over in BOTH {
        let options = FanOut {
            takeover: Duration::from_millis(400),
            ..brisk()
        };
        let stage = stage(over, options).await;
        let mut old = stage.subscribe(horizon()).await.expect("subscribed");
        stage.put(0..1).await;
        assert_eq!(numbers(&next_full(&mut old).await), [0]);
        let refused = stage.subscribe(horizon()).await.expect_err("too early");
        assert!(in_use(&refused), "{refused:?}");
        stage.put(1..2).await;
        assert_eq!(
            numbers(&next_full(&mut old).await),
            [1],
            "the old one goes on"
        );
        let mut new = stage.subscribe_again(horizon()).await;
        let ended = timeout(DEADLINE, old.recv()).await.expect("in time");
        let ended = ended.expect_err("the old one ends with an exception");
        assert!(
            ended
                .as_service_error()
                .is_some_and(|error| error.is_resource_in_use_exception()),
            "{ended:?}"
        );
        assert_eq!(numbers(&next_full(&mut new).await), [0, 1]);
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_a_shard_one_event_names_the_children_and_nothing_follows() {
    for over in BOTH {
        let stage = stage(over, brisk()).await;
        let mut events = stage.subscribe(horizon()).await.expect("subscribed");
        stage.put(0..3).await;
        let event = next_full(&mut events).await;
        assert!(
            event.child_shards().is_empty() && !event.continuation_sequence_number().is_empty()
        );
        let split = stage.kinesis.split_shard().stream_name("swipes");
        let split = split.shard_to_split(SHARD);
        let split = split.new_starting_hash_key((1_u128 << 127).to_string());
        split.send().await.expect("split");
        let last = next(&mut events).await.expect("a last event");
        let children: Vec<&str> = last
            .child_shards()
            .iter()
            .map(|child| child.shard_id())
            .collect();
        assert_eq!(children, ["shardId-000000000001", "shardId-000000000002"]);
        assert_eq!(last.child_shards()[0].parent_shards(), [SHARD]);
        assert_eq!(last.continuation_sequence_number(), "");
        assert_eq!(next(&mut events).await, None);
        let other = stage.subscribe_to(children[1], horizon()).await;
        drop(other.expect("a child is another shard, with a turn of its own"));
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_shard_sends_empty_events_and_their_numbers_go_on_exactly() {
    for over in BOTH {
        let options = FanOut {
            idle: Duration::from_millis(50),
            takeover: Duration::ZERO,
            ..brisk()
        };
        let stage = stage(over, options).await;
        stage.put(0..5).await;
        let mut events = stage.subscribe(horizon()).await.expect("subscribed");
        assert_eq!(numbers(&next_full(&mut events).await), [0, 1, 2, 3, 4]);
        // Others write in the stream, not here: the numbers of this shard have a gap.
        let idle = next(&mut events).await.expect("an idle event");
        assert!(idle.records().is_empty() && idle.millis_behind_latest() == 0);
        stage.put(5..7).await;
        for kind in [
            ShardIteratorType::AfterSequenceNumber,
            ShardIteratorType::AtSequenceNumber,
        ] {
            let is_at = kind == ShardIteratorType::AtSequenceNumber;
            let from = start(kind, Some(idle.continuation_sequence_number()));
            let mut events = stage.subscribe(from).await.expect("subscribed");
            let mut found = numbers(&next_full(&mut events).await);
            // The last record's own number may be the one to go on at.
            found.retain(|number| !(is_at && *number == 4));
            assert_eq!(found, [5, 6], "{over:?}");
        }
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_is_created_described_listed_and_removed_with_its_subscriptions() {
    let options = FanOut {
        creating: Duration::from_millis(150),
        ..brisk()
    };
    let stage = stage(Over::Tls, options).await;
    let early = stage.subscribe(horizon()).await.expect_err("in creation");
    assert!(in_use(&early), "{early:?}");
    let again = stage.kinesis.register_stream_consumer();
    let again = again.stream_arn(&stage.stream_arn).consumer_name("swiped");
    let again = again.send().await.expect_err("it exists");
    assert!(
        again
            .as_service_error()
            .is_some_and(|error| error.is_resource_in_use_exception())
    );
    let describe = || stage.kinesis.describe_stream_consumer();
    let named = describe()
        .stream_arn(&stage.stream_arn)
        .consumer_name("swiped");
    let named = named.send().await.expect("described").consumer_description;
    assert_eq!(
        named.map(|named| (named.consumer_status, named.stream_arn)),
        Some((ConsumerStatus::Creating, stage.stream_arn.clone()))
    );
    tokio::time::sleep(Duration::from_millis(160)).await;
    let by_arn = describe().consumer_arn(&stage.consumer).send().await;
    let by_arn = by_arn.expect("described").consumer_description;
    assert_eq!(
        by_arn.map(|by_arn| (by_arn.consumer_status, by_arn.consumer_name)),
        Some((ConsumerStatus::Active, "swiped".to_owned()))
    );
    register(&stage.kinesis, &stage.stream_arn, "a").await;
    let list = || {
        let list = stage.kinesis.list_stream_consumers().max_results(1);
        list.stream_arn(&stage.stream_arn)
    };
    let first = list().send().await.expect("listed");
    let second = list().set_next_token(first.next_token.clone());
    let second = second.send().await.expect("listed");
    assert_eq!(
        (
            first.consumers()[0].consumer_name(),
            second.consumers()[0].consumer_name(),
            second.next_token()
        ),
        ("a", "swiped", None)
    );
    let mut events = stage.subscribe(horizon()).await.expect("active");
    let remove = stage.kinesis.deregister_stream_consumer();
    let remove = remove.consumer_arn(&stage.consumer).send();
    remove.await.expect("removed");
    let ended = timeout(DEADLINE, events.recv()).await.expect("in time");
    assert!(
        ended
            .expect_err("no consumer")
            .as_service_error()
            .is_some_and(|error| error.is_resource_not_found_exception())
    );
    let gone = describe().consumer_arn(&stage.consumer).send().await;
    assert!(
        gone.expect_err("gone")
            .as_service_error()
            .is_some_and(|error| error.is_resource_not_found_exception())
    );
    let new = register(&stage.kinesis, &stage.stream_arn, "swiped").await;
    assert_ne!(new, stage.consumer, "a resource name is given once");
    stage.stop().await;
}

/// A record of this size fills an event.
const LARGE: usize = 1_000_000;

/// Stores a record of this base64, past HTTP, which takes its time with large ones.
fn put_directly(stage: &Stage, data: &str) -> Sequence {
    let entry = Entry {
        data,
        key: "k",
        hash: 0,
        size: (data.len() / 4 * 3) as u32,
    };
    let stored = stage
        .standins
        .store
        .put("swipes", &[entry], |_, _| None, now_ms());
    match stored.as_deref() {
        Ok([Outcome::Stored(_, sequence)]) => *sequence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_ahead_for_a_subscriber_that_does_not_take_it() {
    for over in BOTH {
        let options = FanOut {
            idle: Duration::from_millis(100),
            ..brisk()
        };
        let stage = stage(over, options).await;
        let mut events = stage.subscribe(horizon()).await.expect("subscribed");
        let data = "AAAA".repeat(LARGE / 3);
        for _ in 0..64 {
            put_directly(&stage, &data);
        }
        // Whatever was read by now is on its way, and everything else is gone.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let last = put_directly(&stage, "");
        let trimmed = stage.standins.store.trim("swipes", SHARD, last.as_str());
        trimmed.expect("trimmed");
        let mut found = 0;
        while let Some(event) = next(&mut events)
            .await
            .filter(|event| !event.records().is_empty())
        {
            found += event.records().len();
        }
        assert!(found < 16, "{over:?}: {found} of 64 were read ahead");
        stage.stop().await;
    }
}
