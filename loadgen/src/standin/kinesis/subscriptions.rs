//! SubscribeToShard, without the waiting: who may subscribe, and what the next event is.
//!
//! A [`Subscription`] is where one reader stands. It keeps nothing in the store but its turn (see
//! [`super::consumers`]), and each event is read when the connection has room for it: a slow client costs nothing.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::watch;

use super::{
    consumer_calls::stream_of,
    iterator::Start,
    pages::{Child, child, child_json},
    refusal::Refusal,
    requests::{parse, to_ms},
    sequence::Sequence,
    shard::{PAGE_RECORDS, shard_id},
    store::Store,
};

/// How fan-out behaves.
#[derive(Clone, Debug)]
pub struct FanOut {
    /// How long a new consumer is in creation (the service: some seconds).
    pub creating: Duration,
    /// Most consumers of a stream (the service: 20, or 50 by contract).
    pub max_consumers: usize,
    /// Least time between two events when the first of them had everything there was. A record that comes after a
    /// longer pause goes out at once; the service takes about 70 ms. Each shard has its own beat
    /// ([`Subscription::beat`]).
    pub tick: Duration,
    /// After how long without an event an empty one is sent (seen with the service: 5 s).
    pub idle: Duration,
    /// After how long a subscription ends (the service: five minutes).
    pub life: Duration,
    /// How long after a successful call the same consumer's next one on the same shard is refused; after that it takes
    /// over (the service: 5 s).
    pub takeover: Duration,
    /// Most records of an event.
    pub event_records: usize,
    /// Most payload bytes of an event; a larger record comes alone.
    pub event_bytes: u64,
}

impl Default for FanOut {
    fn default() -> Self {
        Self {
            creating: Duration::from_millis(500),
            max_consumers: 20,
            tick: Duration::from_millis(200),
            idle: Duration::from_secs(5),
            life: Duration::from_secs(300),
            takeover: Duration::from_secs(5),
            event_records: PAGE_RECORDS,
            event_bytes: 1 << 20,
        }
    }
}

/// Where one subscriber stands.
#[derive(Debug)]
pub struct Subscription {
    stream: String,
    incarnation: u64,
    consumer_arn: String,
    turn: u64,
    shard: u32,
    position: u64,
    /// Changes when there may be another event: records, the shard's end, another subscriber.
    pub arrivals: watch::Receiver<()>,
}

impl Subscription {
    /// By how much of a tick its shard beats later than others: the shards of the service know nothing of each other, and those of
    /// a stand-in that all beat at once would have every reader wait for all the others.
    pub fn beat(&self, tick: Duration) -> Duration {
        // Multiples of the golden ratio's part behind the point spread any number of shards evenly.
        tick.mul_f64((f64::from(self.shard) * 0.618_034).fract())
    }
}

/// What a subscriber is told next.
#[derive(Debug)]
pub struct Event {
    /// Slices of rendered records; a comma belongs between two of them.
    pub parts: Vec<Bytes>,
    /// Records in them.
    pub records: usize,
    /// Where to go on (at or after it); nothing at the end of a closed shard.
    pub continuation: Option<Sequence>,
    /// How long the first record that was left has been there; 0 when none was.
    pub millis_behind: u64,
    /// Whether records were left for the next event.
    pub is_behind: bool,
    /// At the end of a closed shard: what came from it.
    pub children: Vec<Child>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    #[serde(borrow, rename = "ConsumerARN")]
    consumer_arn: Cow<'a, str>,
    #[serde(borrow)]
    shard_id: Cow<'a, str>,
    starting_position: Position,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Position {
    r#type: String,
    sequence_number: Option<String>,
    timestamp: Option<f64>,
}

/// Answers SubscribeToShard as far as it does not wait.
///
/// # Errors
/// Those of [`Store::subscribe`], and `Serialization`, `Validation`, `InvalidArgument` for the request.
pub fn subscribe(store: &Store, body: &[u8], now_ms: u64) -> Result<Subscription, Refusal> {
    let request: Request<'_> = parse(body)?;
    let position = request.starting_position;
    let start = Start::named(
        &position.r#type,
        &position.sequence_number,
        position.timestamp.map(to_ms),
    )?;
    store.subscribe(&request.consumer_arn, &request.shard_id, &start, now_ms)
}

impl Store {
    /// Subscribes a consumer to a shard from `start` on; an older subscription of the same two ends.
    ///
    /// # Errors
    /// `ResourceNotFound`, `InvalidArgument`, and `ResourceInUse` as [`super::consumers::Consumers::take_turn`] says.
    pub fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &str,
        start: &Start,
        now_ms: u64,
    ) -> Result<Subscription, Refusal> {
        self.with(stream_of(consumer_arn)?, |stream| {
            let at = stream.shard(shard)?;
            let (shard, position) = (at.index, stream.position(at, start, now_ms)?);
            let turn =
                stream
                    .consumers
                    .take_turn(consumer_arn, shard, &self.options.fan_out, now_ms)?;
            let at = stream
                .shard_at(shard)
                .ok_or_else(|| Refusal::no_shard(&stream.name, &shard_id(shard)))?;
            // Whoever had the turn before finds out.
            at.wake();
            Ok(Subscription {
                stream: stream.name.clone(),
                incarnation: stream.incarnation,
                consumer_arn: consumer_arn.to_owned(),
                turn,
                shard,
                position,
                arrivals: at.watch(),
            })
        })
    }

    /// What comes next for this subscriber, perhaps nothing; it counts as told.
    ///
    /// # Errors
    /// `ResourceInUse` when another subscription took over, `ResourceNotFound` when stream, shard or consumer is gone.
    pub fn next_event(&self, at: &mut Subscription, now_ms: u64) -> Result<Event, Refusal> {
        let limits = &self.options.fan_out;
        self.with(&at.stream, |stream| {
            if stream.incarnation != at.incarnation {
                return Err(Refusal::no_stream(&at.stream));
            }
            stream
                .consumers
                .check_turn(&at.consumer_arn, at.shard, at.turn)?;
            let horizon_ms = now_ms.saturating_sub(self.retention_ms(stream));
            let tip = stream.tip();
            let shard = stream
                .shard_at_mut(at.shard)
                .ok_or_else(|| Refusal::no_shard(&at.stream, &shard_id(at.shard)))?;
            shard.expire(horizon_ms);
            let found = shard.read(at.position, limits.event_records, limits.event_bytes);
            at.position = found.next;
            // Numbers are the stream's: at the tip, every one below it is either told or another shard's, so going on
            // after it is exact, and so is going on at it unless it is the last record itself.
            let is_behind = found.left_since_ms.is_some();
            let told = if is_behind { found.next } else { tip } - 1;
            let is_end = !shard.is_open() && !is_behind;
            let (continuation, children) = if is_end {
                (None, shard.children.clone())
            } else {
                (Some(shard.pattern.with_number(told)), Vec::new())
            };
            Ok(Event {
                parts: found.parts,
                records: found.records,
                continuation,
                millis_behind: found
                    .left_since_ms
                    .map_or(0, |since| now_ms.saturating_sub(since)),
                is_behind,
                children: children
                    .iter()
                    .filter_map(|index| stream.shard_at(*index))
                    .map(child)
                    .collect(),
            })
        })
    }
}

impl Event {
    /// Whether this is the last event of a closed shard.
    pub fn is_last(&self) -> bool {
        self.continuation.is_none()
    }

    /// The JSON, in pieces. The continuation is null if and only if there are children: KCL refuses anything else.
    pub fn pieces(&self) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(self.parts.len() * 2 + 2);
        pieces.push(Bytes::from_static(br#"{"Records":["#));
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                pieces.push(Bytes::from_static(b","));
            }
            pieces.push(part.clone());
        }
        let behind = self.millis_behind;
        pieces.push(Bytes::from(match &self.continuation {
            Some(continuation) => format!(
                r#"],"ContinuationSequenceNumber":"{}","MillisBehindLatest":{behind}}}"#,
                continuation.as_str()
            ),
            None => {
                let children: Vec<String> = self.children.iter().map(child_json).collect();
                format!(
                    r#"],"ContinuationSequenceNumber":null,"MillisBehindLatest":{behind},"ChildShards":[{}]}}"#,
                    children.join(",")
                )
            }
        }));
        pieces
    }
}
