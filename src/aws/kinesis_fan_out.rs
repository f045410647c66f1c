//! The swipe stream, read by enhanced fan-out: RegisterStreamConsumer, SubscribeToShard. What is not sent by subscription
//! (lists of shards, single pages) is asked for by polling.
//!
//! A subscription holds its HTTP/2 stream until it is dropped; which connection carries it is said in [`lanes`].

mod connector;
mod consumer;
mod lanes;

use std::time::Duration;

use aws_sdk_kinesis::{
    error::{ProvideErrorMetadata, SdkError},
    primitives::{DateTime, event_stream::EventReceiver},
    types::{
        ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
        error::SubscribeToShardEventStreamError,
    },
};
use tokio::time::timeout;

use crate::{
    aws::{
        chain, classify, fault,
        kinesis_polling::{PolledStream, refused, transient},
        kinesis_wire::records::Records,
    },
    model::position::{
        Begin, Checkpoint, ChildShard, Next, Page, SequenceNumber, ShardId, ShardInfo,
        ShardIterator,
    },
    ports::{Fault, FaultKind, SwipeStream},
};

pub use consumer::{Consumer, register};
pub use lanes::Lanes;

use lanes::Lane;

const OPERATION: &str = "SubscribeToShard";

/// From the call to the first reply: connecting (2 s at most), TLS, and the service's answer. The stream after it has no
/// such bound; how long it may be silent is the reader's to say.
const FIRST_REPLY: Duration = Duration::from_secs(5);

/// A stream that can be subscribed to where a consumer is registered, and is only polled where none is.
#[derive(Clone, Debug)]
pub struct FanOutStream {
    polled: PolledStream,
    fan_out: Option<(Lanes, Consumer)>,
}

impl FanOutStream {
    /// The stream, with the consumer as which it is subscribed to.
    pub fn new(polled: PolledStream, fan_out: Option<(Lanes, Consumer)>) -> Self {
        Self { polled, fan_out }
    }

    /// As [`PolledStream::keeps_order`].
    ///
    /// # Errors
    /// The stream cannot be described.
    pub async fn keeps_order(&self) -> Result<bool, Fault> {
        self.polled.keeps_order().await
    }
}

/// One subscription.
#[derive(Debug)]
pub struct Subscription {
    events: EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>,
    /// Its place on a connection, free again when this is dropped.
    _lane: Lane,
}

impl SwipeStream for FanOutStream {
    type Subscription = Subscription;

    async fn shards(&self) -> Result<Vec<ShardInfo>, Fault> {
        self.polled.shards().await
    }

    async fn iterator(&self, shard: &ShardId, from: &Checkpoint) -> Result<ShardIterator, Fault> {
        self.polled.iterator(shard, from).await
    }

    async fn read(&self, shard: &ShardId, iterator: ShardIterator) -> Result<Page, Fault> {
        self.polled.read(shard, iterator).await
    }

    async fn subscribe(&self, shard: &ShardId, from: &Begin) -> Result<Subscription, Fault> {
        let Some((lanes, consumer)) = &self.fan_out else {
            return Err(refused(OPERATION, "no consumer is registered".to_owned()));
        };
        let (lane, arn) = (lanes.lane(), consumer.arn());
        let call = lane
            .client()
            .subscribe_to_shard()
            .consumer_arn(&arn)
            .shard_id(shard.as_str())
            .starting_position(position(from)?);
        match timeout(FIRST_REPLY, call.send()).await {
            Ok(Ok(reply)) => Ok(Subscription {
                events: reply.event_stream,
                _lane: lane,
            }),
            Ok(Err(error)) => {
                let mut fault = subscribe_fault(from, &error);
                if fault.kind == FaultKind::NotFound && consumer.renew(&arn).await {
                    fault.kind = FaultKind::Transient;
                }
                Err(fault)
            }
            Err(_) => Err(transient(OPERATION, "no reply within 5 s")),
        }
    }

    async fn event(&self, subscription: &mut Subscription) -> Result<Option<Page>, Fault> {
        loop {
            match subscription.events.recv().await {
                Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => {
                    return page(event).map(Some);
                }
                // Of a kind that is newer than this program.
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(event_fault(&error)),
            }
        }
    }
}

fn position(from: &Begin) -> Result<StartingPosition, Fault> {
    let position = StartingPosition::builder();
    let position = match from {
        Begin::After(number) => position
            .r#type(ShardIteratorType::AfterSequenceNumber)
            .sequence_number(number.as_str()),
        Begin::At(Checkpoint::At(at)) => position
            .r#type(ShardIteratorType::AtSequenceNumber)
            .sequence_number(at.sequence.as_str()),
        Begin::At(Checkpoint::AtTimestamp(ms)) => position
            .r#type(ShardIteratorType::AtTimestamp)
            .timestamp(DateTime::from_millis(*ms)),
        Begin::At(Checkpoint::TrimHorizon) => position.r#type(ShardIteratorType::TrimHorizon),
        Begin::At(Checkpoint::Latest) => position.r#type(ShardIteratorType::Latest),
        Begin::At(Checkpoint::ShardEnd) => {
            let why = "a shard that ended has no subscription";
            return Err(refused(OPERATION, why.to_owned()));
        }
    };
    let built = position.build();
    built.map_err(|error| refused(OPERATION, error.to_string()))
}

/// What one event holds. The last one of a shard names the shards that continue it, and no continuation.
fn page(event: SubscribeToShardEvent) -> Result<Page, Fault> {
    let mut records = Records::default();
    for found in &event.records {
        let number = SequenceNumber::parse(&found.sequence_number);
        let number =
            number.ok_or_else(|| transient(OPERATION, "a record without a sequence number"))?;
        let pushed = records.push(number, found.data.as_ref());
        pushed.ok_or_else(|| transient(OPERATION, "an event of 4 GiB and more"))?;
    }
    let records = records.close();
    let children = event.child_shards.unwrap_or_default();
    // The SDK gives an absent continuation as an empty one.
    let next = match SequenceNumber::parse(&event.continuation_sequence_number) {
        Some(number) if children.is_empty() => Next::After(number),
        None if event.continuation_sequence_number.is_empty() => {
            Next::ShardEnd(children.into_iter().map(child_shard).collect())
        }
        Some(_) => Next::ShardEnd(children.into_iter().map(child_shard).collect()),
        None => return Err(transient(OPERATION, "a continuation that is no number")),
    };
    Ok(Page {
        records,
        behind_latest_ms: event.millis_behind_latest,
        next,
    })
}

fn child_shard(child: aws_sdk_kinesis::types::ChildShard) -> ChildShard {
    let range = child.hash_key_range;
    ChildShard {
        id: ShardId::new(&child.shard_id),
        parents: child
            .parent_shards
            .iter()
            .map(|parent| ShardId::new(parent))
            .collect(),
        hash_range: range
            .map(|range| (range.starting_hash_key, range.ending_hash_key))
            .unwrap_or_default(),
    }
}

/// What a refused call means.
fn subscribe_fault<E>(
    from: &Begin,
    error: &SdkError<E, aws_sdk_kinesis::config::http::HttpResponse>,
) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let mut fault = fault(OPERATION, error);
    match error.code() {
        Some("ResourceInUseException") => fault.kind = FaultKind::InUse,
        // The service calls a sequence number that it no longer keeps an invalid argument.
        Some("InvalidArgumentException")
            if matches!(from, Begin::After(_) | Begin::At(Checkpoint::At(_))) =>
        {
            fault.kind = FaultKind::Trimmed;
        }
        _ => {}
    }
    fault
}

/// What an error in the middle of a subscription means. Whatever it is, the next subscription may work.
fn event_fault<R>(error: &SdkError<SubscribeToShardEventStreamError, R>) -> Fault
where
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.as_service_error().and_then(|error| error.code());
    let kind = match code.map(|code| classify(Some(code), None)) {
        Some(FaultKind::Throttled) => FaultKind::Throttled,
        _ => FaultKind::Transient,
    };
    Fault {
        kind,
        operation: OPERATION,
        message: match code {
            Some(code) => format!("{code} in the middle of a subscription"),
            None => chain(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::types::{ChildShard, HashKeyRange};

    use super::*;

    fn event(continuation: &str, children: &[&str]) -> SubscribeToShardEvent {
        let range = HashKeyRange::builder()
            .starting_hash_key("0")
            .ending_hash_key("9")
            .build()
            .expect("a range");
        let children = children.iter().map(|id| {
            ChildShard::builder()
                .shard_id(*id)
                .parent_shards("shardId-000000000000")
                .hash_key_range(range.clone())
                .build()
                .expect("a child")
        });
        SubscribeToShardEvent::builder()
            .set_records(Some(Vec::new()))
            .continuation_sequence_number(continuation)
            .millis_behind_latest(7)
            .set_child_shards(Some(children.collect()))
            .build()
            .expect("an event")
    }

    #[track_caller]
    fn check(continuation: &str, children: &[&str], expected: Result<&str, usize>) {
        let page = page(event(continuation, children)).expect("a page");
        assert_eq!(page.behind_latest_ms, 7);
        match (page.next, expected) {
            (Next::After(number), Ok(expected)) => assert_eq!(number.as_str(), expected),
            (Next::ShardEnd(children), Err(count)) => assert_eq!(children.len(), count),
            (next, expected) => panic!("{next:?} is not {expected:?}"),
        }
    }

    #[test]
    fn an_event_says_where_to_go_on_and_the_last_one_of_a_shard_its_children() {
        check("49", &[], Ok("49"));
        check("", &["a", "b"], Err(2));
        // A stand-in that names both: the shard is at its end.
        check("49", &["a"], Err(1));
        check("", &[], Err(0));
        page(event("x", &[])).expect_err("no number");
    }

    #[test]
    fn a_subscription_begins_after_a_continuation_and_at_a_checkpoint() {
        let number = || SequenceNumber::parse("49").expect("digits");
        let at = Checkpoint::At(crate::model::position::Position {
            sequence: number(),
            sub: 3,
        });
        for (from, kind, digits) in [
            (
                Begin::After(number()),
                ShardIteratorType::AfterSequenceNumber,
                Some("49"),
            ),
            (
                Begin::At(at),
                ShardIteratorType::AtSequenceNumber,
                Some("49"),
            ),
            (
                Begin::At(Checkpoint::TrimHorizon),
                ShardIteratorType::TrimHorizon,
                None,
            ),
            (
                Begin::At(Checkpoint::Latest),
                ShardIteratorType::Latest,
                None,
            ),
        ] {
            let position = position(&from).expect("a position");
            assert_eq!(position.r#type(), &kind);
            assert_eq!(position.sequence_number(), digits, "{from:?}");
        }
        position(&Begin::At(Checkpoint::ShardEnd)).expect_err("there is none");
    }
}
