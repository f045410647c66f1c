//! What an open subscription sends, and when: events as soon as there is something, not more often than the tick.
//!
//! It is pulled: the next event is read from the store when the connection has room for it, so a client that does
//! not read holds up its own subscription and costs no memory. It is woken by the shard, never polls it, and ends by
//! itself: at the shard's end, when it has lived long enough, or when another call took over.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::kinesis::{
    Fault, Mishap, Refusal, Store, frames,
    subscriptions::{Event, FanOut, Subscription},
};

/// How long half a frame gets to leave before the connection is closed behind it.
const CUT_PAUSE: Duration = Duration::from_millis(20);

/// What a scripted fault makes of the connection that it came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It is served.
    #[default]
    Served,
    /// It is closed at once.
    Cut,
    /// It is neither served nor closed.
    Frozen,
}

/// The connection was closed on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed by a scripted fault")]
pub struct Severed;

/// An open subscription.
struct Session {
    store: Arc<Store>,
    subscription: Subscription,
    options: FanOut,
    connection: Arc<watch::Sender<Fate>>,
    /// What a script wants, and how many events go well before.
    mishap: Option<(u32, Mishap)>,
    /// What is to be sent before the next event is read.
    pieces: VecDeque<Bytes>,
    pause: Option<Duration>,
    state: State,
    ends: Instant,
    /// When the next event may be read, and when an empty one is due.
    not_before: Instant,
    idle_at: Instant,
    /// How much later than its tick the event after the first one comes, once: see [`Subscription::beat`].
    late: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing comes after the pieces.
    Ended,
    Silent,
    Cutting,
}

/// The body of a successful SubscribeToShard, from the initial response on.
pub fn body(
    store: Arc<Store>,
    subscription: Subscription,
    fault: Option<Fault>,
    connection: Arc<watch::Sender<Fate>>,
) -> BoxStream<'static, Result<Bytes, Severed>> {
    let options = store.fan_out().clone();
    let now = Instant::now();
    let session = Session {
        late: subscription.beat(options.tick),
        subscription,
        connection,
        mishap: match fault {
            Some(Fault::Subscription { after, mishap }) => Some((after, mishap)),
            _ => None,
        },
        pieces: VecDeque::from([frames::initial_response()]),
        pause: None,
        state: State::Open,
        ends: now + options.life,
        not_before: now,
        idle_at: now + options.idle,
        store,
        options,
    };
    stream::unfold(session, async |mut session| {
        session.next().await.map(|piece| (piece, session))
    })
    .boxed()
}

impl Session {
    async fn next(&mut self) -> Option<Result<Bytes, Severed>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                if let Some(pause) = self.pause {
                    sleep(pause).await;
                }
                return Some(Ok(piece));
            }
            match self.state {
                State::Open => self.step().await,
                State::Ended => return None,
                State::Silent => std::future::pending().await,
                State::Cutting => {
                    sleep(CUT_PAUSE).await;
                    self.connection.send_replace(Fate::Cut);
                    return Some(Err(Severed));
                }
            }
        }
    }

    /// Waits for what comes next, and puts it into `pieces`.
    async fn step(&mut self) {
        let event = match self.event().await {
            Ok(Some(event)) => event,
            Ok(None) => return self.state = State::Ended,
            Err(refusal) => return self.end_with(&refusal),
        };
        let now = Instant::now();
        self.not_before = if event.is_behind {
            now
        } else {
            now + self.options.tick + std::mem::take(&mut self.late)
        };
        self.idle_at = now + self.options.idle;
        if event.is_last() {
            self.state = State::Ended;
        }
        let frame = frames::event("SubscribeToShardEvent", &event.pieces());
        match self.due() {
            Some(mishap) => self.suffer(mishap, frame),
            None => self.pieces.push_back(frame),
        }
    }

    /// The next event that is worth sending; nothing when the subscription has lived long enough.
    async fn event(&mut self) -> Result<Option<Event>, Refusal> {
        loop {
            // The runtime's timer rounds up to the next millisecond, even for what is past.
            let due = self.not_before.min(self.ends);
            if Instant::now() < due {
                sleep_until(due).await;
            }
            if Instant::now() >= self.ends {
                return Ok(None);
            }
            // Seen from here on, and then read: what comes in between wakes.
            self.subscription.arrivals.mark_unchanged();
            let event = self.store.next_event(&mut self.subscription, now_ms())?;
            if event.records > 0 || event.is_last() || Instant::now() >= self.idle_at {
                return Ok(Some(event));
            }
            tokio::select! {
                // An error says that the shard is gone, and the next look at the store tells why.
                _ = self.subscription.arrivals.changed() => {}
                () = sleep_until(self.idle_at.min(self.ends)) => {}
            }
        }
    }

    /// What goes wrong with the event at hand.
    fn due(&mut self) -> Option<Mishap> {
        let (left, _) = self.mishap.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        self.mishap.take().map(|(_, mishap)| mishap)
    }

    fn suffer(&mut self, mishap: Mishap, frame: Bytes) {
        match mishap {
            Mishap::Silence => self.state = State::Silent,
            Mishap::Freeze => {
                self.state = State::Silent;
                self.connection.send_replace(Fate::Frozen);
            }
            Mishap::Cut => {
                self.pieces.push_back(frame.slice(..frame.len() / 2));
                self.state = State::Cutting;
            }
            Mishap::Exception(kind) => {
                self.end_with(&Refusal::new(kind, "The subscription failed (scripted)."));
            }
            Mishap::Damage => self.pieces.push_back(frames::damaged(&frame)),
            Mishap::Drip { bytes, pause } => {
                let pieces = frame
                    .chunks(bytes.max(1))
                    .map(|piece| frame.slice_ref(piece));
                self.pieces.extend(pieces);
                self.pause = Some(pause);
                // The next event drips as well.
                self.mishap = Some((0, Mishap::Drip { bytes, pause }));
            }
        }
    }

    fn end_with(&mut self, refusal: &Refusal) {
        self.pieces.push_back(frames::refused(refusal));
        self.state = State::Ended;
    }
}

/// Unix epoch ms.
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::{
        super::kinesis::{
            Options,
            iterator::Start,
            stream::{DEFAULT_RECORD_BYTES, Entry, Plan},
        },
        *,
    };

    const TICK: Duration = Duration::from_millis(500);

    fn put(store: &Store) {
        let entry = Entry {
            data: "eA==",
            key: "k",
            hash: 0,
            size: 2,
        };
        let outcomes = store.put("swipes", &[entry], |_, _| None, now_ms());
        assert_eq!(outcomes.map(|outcomes| outcomes.len()), Ok(1));
    }

    /// Waits for the next frame that is an event with a record; how long that took.
    async fn event(frames: &mut BoxStream<'static, Result<Bytes, Severed>>) -> Duration {
        let begun = Instant::now();
        loop {
            let frame = frames.next().await.expect("it goes on").expect("no fault");
            if String::from_utf8_lossy(&frame).contains("eA==") {
                return begun.elapsed();
            }
        }
    }

    #[tokio::test]
    async fn events_are_a_tick_apart_and_after_a_pause_one_comes_at_once() {
        let store = Arc::new(Store::new(Options {
            fan_out: FanOut {
                creating: Duration::ZERO,
                tick: TICK,
                ..FanOut::default()
            },
            ..Options::default()
        }));
        let plan = Plan {
            shards: 1,
            is_on_demand: false,
            max_record_bytes: DEFAULT_RECORD_BYTES,
            is_auto_distributed: false,
        };
        let created = store.create_stream("swipes", plan, now_ms());
        created.expect("created");
        let arn = store.with("swipes", |stream| {
            let (consumers, arn) = (&mut stream.consumers, &stream.arn);
            let consumer = consumers.register(arn, "swiped", store.fan_out(), now_ms())?;
            Ok(consumer.arn.clone())
        });
        let arn = arn.expect("registered");
        let at = store.subscribe(&arn, "0", &Start::Latest, now_ms());
        let (connection, _fate) = watch::channel(Fate::Served);
        let at = at.expect("subscribed");
        let mut frames = body(store.clone(), at, None, Arc::new(connection));
        put(&store);
        assert!(event(&mut frames).await < TICK);
        put(&store);
        let waited = event(&mut frames).await;
        // The clock of the runtime counts whole milliseconds.
        assert!(waited + Duration::from_millis(5) > TICK, "{waited:?}");
        tokio::time::sleep(TICK).await;
        let later = {
            let store = store.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(20)).await;
                put(&store);
            })
        };
        // Woken by the put, not by a deadline: an idle event is seconds away.
        assert!(event(&mut frames).await < TICK);
        later.await.expect("put");
    }
}
