//! Scripted faults of subscriptions and puts, as the SDK sees them.

use std::time::Duration;

use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use tokio::time::{Instant, timeout};

use super::fan_out::{
    BOTH, DEADLINE, Events, Over, Stage, brisk, horizon, next_full, numbers, stage,
};
use crate::standin::kinesis::{FanOut, Fault, Mishap, RefusalKind};

/// How long nothing has to come until it counts as silence.
const SILENCE: Duration = Duration::from_millis(300);

/// A subscription in which the second event meets `mishap`; the first has been taken.
async fn after_one(over: Over, mishap: Mishap) -> (Stage, Events) {
    let options = FanOut {
        takeover: Duration::ZERO,
        ..brisk()
    };
    let stage = stage(over, options).await;
    let fault = Fault::Subscription { after: 1, mishap };
    stage.standins.faults.push("SubscribeToShard", [fault]);
    let mut events = stage.subscribe(horizon()).await.expect("subscribed");
    stage.put(0..1).await;
    assert_eq!(numbers(&next_full(&mut events).await), [0]);
    stage.put(1..20).await;
    (stage, events)
}

/// How a subscription failed.
#[derive(Debug)]
struct Failed {
    is_service: bool,
    code: Option<String>,
    text: String,
}

async fn failed(events: &mut Events) -> Failed {
    let received = timeout(DEADLINE, events.recv()).await.expect("in time");
    let error = received.expect_err("an error");
    Failed {
        is_service: error.as_service_error().is_some(),
        code: error.code().map(str::to_owned),
        text: format!("{error:?}"),
    }
}

/// Nothing is lost to a reader that subscribes again.
async fn all_is_there(stage: &Stage) {
    let mut events = stage.subscribe_again(horizon()).await;
    let found = numbers(&next_full(&mut events).await);
    assert_eq!(found, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_subscription_neither_sends_nor_ends_and_others_go_on() {
    for over in BOTH {
        for mishap in [Mishap::Silence, Mishap::Freeze] {
            let (stage, mut events) = after_one(over, mishap).await;
            let nothing = timeout(SILENCE, events.recv()).await;
            assert!(nothing.is_err(), "{over:?}: {nothing:?}");
            stage.stop().await;
        }
        let (stage, events) = after_one(over, Mishap::Silence).await;
        all_is_there(&stage).await;
        drop(events);
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_connection_answers_nothing_more() {
    let (stage, mut events) = after_one(Over::Tls, Mishap::Freeze).await;
    assert!(timeout(SILENCE, events.recv()).await.is_err());
    // HTTP/2: the same connection carries this call.
    let call = stage.kinesis.list_shards().stream_name("swipes").send();
    assert!(timeout(SILENCE, call).await.is_err());
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_in_the_middle_of_an_event_is_an_error_and_loses_nothing() {
    for over in BOTH {
        let (stage, mut events) = after_one(over, Mishap::Cut).await;
        let cut = failed(&mut events).await;
        assert!(!cut.is_service, "{over:?}: {cut:?}");
        all_is_there(&stage).await;
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_frame_is_an_error_of_the_sdk() {
    for over in BOTH {
        let (stage, mut events) = after_one(over, Mishap::Damage).await;
        let damaged = failed(&mut events).await;
        assert!(
            damaged.text.to_lowercase().contains("checksum"),
            "{over:?}: {damaged:?}"
        );
        all_is_there(&stage).await;
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scripted_exception_has_its_code_whether_the_sdk_knows_it_or_not() {
    for (kind, code) in [
        (RefusalKind::InternalFailure, "InternalFailureException"),
        (RefusalKind::ResourceInUse, "ResourceInUseException"),
        (RefusalKind::ResourceNotFound, "ResourceNotFoundException"),
        (RefusalKind::LimitExceeded, "LimitExceededException"),
    ] {
        let (stage, mut events) = after_one(Over::Http, Mishap::Exception(kind)).await;
        let failed = failed(&mut events).await;
        assert!(
            failed.code.as_deref() == Some(code) || failed.text.contains(code),
            "{failed:?}"
        );
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dripping_event_arrives_late_and_whole() {
    for over in BOTH {
        let drip = Mishap::Drip {
            bytes: 500,
            pause: Duration::from_millis(20),
        };
        let (stage, mut events) = after_one(over, drip).await;
        let begun = Instant::now();
        let event = next_full(&mut events).await;
        assert_eq!(numbers(&event), (1..20).collect::<Vec<_>>());
        // Nineteen records are more than 3000 bytes of JSON.
        assert!(begun.elapsed() > Duration::from_millis(60), "{over:?}");
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_refused_as_often_as_scripted() {
    let stage = stage(Over::Tls, brisk()).await;
    let faults = [
        Fault::Throttle,
        Fault::ResourceInUse,
        Fault::InternalFailure,
    ];
    stage.standins.faults.push("SubscribeToShard", faults);
    let mut codes = Vec::new();
    for _ in 0..3 {
        let refused = stage.subscribe(horizon()).await.expect_err("refused");
        codes.push(refused.code().unwrap_or_default().to_owned());
    }
    assert_eq!(
        codes,
        [
            "LimitExceededException",
            "ResourceInUseException",
            "InternalFailure"
        ]
    );
    // None of them was a turn.
    drop(stage.subscribe(horizon()).await.expect("subscribed"));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_throttles_entries_and_is_slow_for_a_time() {
    let stage = stage(Over::Http, brisk()).await;
    let faults = &stage.standins.faults;
    let entry = |number: usize| {
        let entry = aws_sdk_kinesis::types::PutRecordsRequestEntry::builder().partition_key("k");
        let data = aws_sdk_kinesis::primitives::Blob::new(number.to_string());
        entry.data(data).build().expect("complete")
    };
    let put = || {
        let put = stage.kinesis.put_records().stream_name("swipes");
        put.set_records(Some((0..6).map(entry).collect())).send()
    };
    let throttles = Fault::ThrottleEntries { every: 3 };
    faults.spell("PutRecords", throttles, Duration::from_secs(3600));
    for _ in 0..2 {
        let answer = put().await.expect("answered");
        let codes: Vec<_> = answer
            .records()
            .iter()
            .map(|record| {
                record
                    .error_code()
                    .is_some_and(|code| code == "ProvisionedThroughputExceededException")
            })
            .collect();
        assert_eq!(codes, [true, false, false, true, false, false]);
    }
    let pause = Duration::from_millis(50);
    faults.clear();
    faults.spell("PutRecords", Fault::Delay(pause), Duration::from_secs(3600));
    let begun = Instant::now();
    assert_eq!(put().await.expect("put").failed_record_count(), Some(0));
    assert!(begun.elapsed() >= pause);
    stage.stop().await;
}
