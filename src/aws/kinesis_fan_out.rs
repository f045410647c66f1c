//! The swipe stream, read by enhanced fan-out: RegisterStreamConsumer, SubscribeToShard. What is not sent by subscription
//! (lists of shards, single pages) is asked for by polling.
//!
//! A subscription holds its HTTP/2 stream until it is dropped; which connection carries it is said in [`lanes`].

mod connector;
mod consumer;
mod events;
mod lanes;

use std::time::Duration;

use aws_sdk_kinesis::{
    error::{ProvideErrorMetadata, SdkError},
    primitives::DateTime,
    types::{ShardIteratorType, StartingPosition},
};
use tokio::time::timeout;

use crate::{
    aws::{
        fault,
        kinesis_polling::{PolledStream, refused, transient},
    },
    model::position::{Begin, Checkpoint, Page, ShardId, ShardInfo, ShardIterator},
    ports::{Fault, FaultKind, SwipeStream},
};

pub use consumer::{Consumer, register};
pub use lanes::Lanes;

use events::{Events, Opening};
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
    events: Events,
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
        let opening = Opening::default();
        let call = call.customize().interceptor(opening.clone());
        match timeout(FIRST_REPLY, call.send()).await {
            Ok(Ok(_)) => {
                let events = opening.events();
                let events =
                    events.ok_or_else(|| transient(OPERATION, "a reply without events"))?;
                Ok(Subscription {
                    events,
                    _lane: lane,
                })
            }
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
        subscription.events.next().await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::position::SequenceNumber;

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
