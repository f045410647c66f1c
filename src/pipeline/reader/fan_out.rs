//! Fan-out: the service sends the shard's records through a subscription that lives for some minutes.
//!
//! Each event says where the next subscription has to begin, also where no record came; a subscription is renewed there
//! before the service ends it. Room for an event is got before the event is read, one event ahead of the consumer and no more.
//! Silence counts only while the network is waited for: the service sends something about every five seconds, so a
//! subscription that is silent for longer is dead, whatever its connection says.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::{Arrival, budget::ByteBudget, budget::Share, place::Place};
use crate::{
    metrics::{ReadMetrics, SubscriptionEnd},
    model::position::Page,
    ports::{FaultKind, SwipeStream},
};

/// The times of fan-out.
#[derive(Clone, Copy, Debug)]
pub struct FanOutLimits {
    /// After what time a subscription is renewed at the latest; up to a tenth earlier, so that the shards of a worker do not
    /// renew together. The service ends it after five minutes.
    pub renew: Duration,
    /// How long a subscription may be silent. The service sends an event about every 5 s, with or without records.
    pub idle: Duration,
    /// How long a subscription waits for room in the budget before it is ended: the service ends it soon anyway, and until
    /// then it holds a stream and a window.
    pub room: Duration,
    /// For how long at least a shard is polled after fan-out failed.
    pub fall_back: Duration,
}

impl Default for FanOutLimits {
    fn default() -> Self {
        Self {
            renew: Duration::from_secs(270),
            idle: Duration::from_secs(15),
            room: Duration::from_secs(240),
            fall_back: Duration::from_secs(60),
        }
    }
}

/// From one call of SubscribeToShard to the next: the service allows one a second on a shard.
pub(super) const SUBSCRIBE_FLOOR: Duration = Duration::from_secs(1);

/// Room for an event at the tip. Idle shards hold this much of the budget each.
const EVENT_LEAST: u32 = 64 << 10;

/// Room that is asked for at most: one second of a shard, 2 MiB (service limit of a subscription).
const EVENT_MOST: u32 = 2 << 20;

/// What a record takes beside its payload: its sequence number and two pointers.
const RECORD_BYTES: usize = 128;

/// Why no page came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unheard {
    /// This once: it may work the next time.
    Failed,
    /// A subscription that is younger than five seconds holds the shard.
    InUse,
    /// The service does not take the subscription as it is asked for.
    Refused,
}

/// Follows one shard.
#[derive(Debug)]
pub(super) struct FanOut<T> {
    limits: FanOutLimits,
    budget: Arc<ByteBudget>,
    open: Option<Open<T>>,
    /// When the service may be asked for a subscription again.
    not_before: Instant,
    /// How large the next event is thought to be.
    expects: u32,
}

#[derive(Debug)]
struct Open<T> {
    subscription: T,
    renew_at: Instant,
    heard: bool,
    metrics: ReadMetrics,
    /// Said when it is dropped.
    end: SubscriptionEnd,
}

impl<T> Drop for Open<T> {
    fn drop(&mut self) {
        self.metrics.unsubscribed(self.end);
    }
}

impl<T: Send> FanOut<T> {
    /// No call is made yet.
    pub(super) fn new(limits: FanOutLimits, budget: Arc<ByteBudget>) -> Self {
        Self {
            limits,
            budget,
            open: None,
            not_before: Instant::now(),
            expects: EVENT_LEAST,
        }
    }

    /// The next event with its share of the budget.
    pub(super) async fn next<S: SwipeStream<Subscription = T>>(
        &mut self,
        stream: &S,
        place: &mut Place,
        metrics: &ReadMetrics,
    ) -> Result<Arrival, Unheard> {
        loop {
            self.renew_when_due();
            let mut share = self.room(place).await;
            if self.open.is_none() {
                self.open = Some(self.subscribe(stream, place, metrics).await?);
            }
            let Some(open) = &mut self.open else { continue };
            let event = stream.event(&mut open.subscription);
            match timeout(self.limits.idle, event).await {
                Ok(Ok(Some(page))) => {
                    let at = Instant::now();
                    open.heard = true;
                    let bytes = bytes(&page);
                    share.holds(bytes);
                    self.expects = bytes.clamp(EVENT_LEAST, EVENT_MOST);
                    place.passed(stream, &page).await;
                    return Ok(Arrival {
                        page,
                        at,
                        share: Some(share),
                    });
                }
                Ok(Ok(None)) => {
                    let heard = open.heard;
                    self.end(SubscriptionEnd::ByService);
                    if !heard {
                        warn!(shard = %place.shard, "a subscription ended before its first event");
                        return Err(self.failed());
                    }
                }
                Ok(Err(fault)) => {
                    place.recover(&fault);
                    self.end(SubscriptionEnd::Cut);
                    return Err(self.failed());
                }
                Err(_) => {
                    let seconds = self.limits.idle.as_secs_f64();
                    warn!(shard = %place.shard, seconds, "the subscription is silent, taken for dead");
                    self.end(SubscriptionEnd::Silent);
                    return Err(self.failed());
                }
            }
        }
    }

    fn renew_when_due(&mut self) {
        let due = |open: &Open<T>| open.renew_at <= Instant::now();
        if self.open.as_ref().is_some_and(due) {
            self.end(SubscriptionEnd::Renewed);
        }
    }

    /// Waits for room for the next event; gives a subscription up that waits too long.
    async fn room(&mut self, place: &Place) -> Share {
        if self.open.is_some() {
            let room = timeout(self.limits.room, self.budget.take(self.expects)).await;
            if let Ok(share) = room {
                return share;
            }
            warn!(shard = %place.shard, "no room for events for minutes, the subscription is given up until there is");
            self.end(SubscriptionEnd::NoRoom);
        }
        self.budget.take(self.expects).await
    }

    async fn subscribe<S: SwipeStream<Subscription = T>>(
        &mut self,
        stream: &S,
        place: &mut Place,
        metrics: &ReadMetrics,
    ) -> Result<Open<T>, Unheard> {
        sleep_until(self.not_before).await;
        let begin = place.begin();
        let reply = stream.subscribe(&place.shard, &begin).await;
        let now = Instant::now();
        self.not_before = now + SUBSCRIBE_FLOOR;
        match reply {
            Ok(subscription) => {
                debug!(shard = %place.shard, ?begin, "subscribed");
                metrics.subscribed();
                let lives = self.limits.renew.mul_f64(1.0 - fastrand::f64() / 10.0);
                Ok(Open {
                    subscription,
                    renew_at: now + lives,
                    heard: false,
                    metrics: metrics.clone(),
                    end: SubscriptionEnd::Stopped,
                })
            }
            Err(fault) => {
                place.recover(&fault);
                Err(match fault.kind {
                    FaultKind::InUse => Unheard::InUse,
                    FaultKind::Refused | FaultKind::NotFound => Unheard::Refused,
                    _ => self.failed(),
                })
            }
        }
    }

    /// The next subscription waits up to a second longer than it has to: others failed at the same moment.
    fn failed(&mut self) -> Unheard {
        let jitter = SUBSCRIBE_FLOOR.mul_f64(fastrand::f64());
        self.not_before = self.not_before.max(Instant::now()) + jitter;
        Unheard::Failed
    }

    fn end(&mut self, why: SubscriptionEnd) {
        if let Some(mut open) = self.open.take() {
            open.end = why;
        }
    }
}

/// What a page holds in memory.
fn bytes(page: &Page) -> u32 {
    let records = page.records.iter();
    let bytes: usize = records.map(|record| record.data.len() + RECORD_BYTES).sum();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
