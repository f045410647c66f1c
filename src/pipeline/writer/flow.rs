//! What the writers of all shards of a worker share: how many bytes may be under way, and how fast each sink may be written to.
//!
//! The budget is taken for one request before it is sent and given back with its reply, in the order of asking; nobody holds a
//! part of it while waiting for more, so nobody can wait for ever. A request larger than the budget takes all of it. A fenced
//! shard drops what it waits for and what it holds.
//!
//! A gate holds a sink's rates ([`Pressure`]); its lock is never held across an await.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tracing::{info, warn};

use crate::{
    metrics::{FlowMetrics, Sink, SinkMetrics},
    pipeline::pressure::{Outcome, Pressure, STREAM_LANES, units},
};

/// Bytes under way to all sinks together: twelve of the largest requests (5 MiB), or 300 of 500 decisions of 430 bytes: at 25 ms a
/// request 6 million decisions a second, more than a machine makes. With its copies (entries, base64, the socket) a byte under
/// way costs about three.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;

/// What one permit of the budget stands for.
const PERMIT_BYTES: usize = 1024;

/// Shared by all writers of a worker.
#[derive(Debug)]
pub struct Flow {
    budget: Budget,
    pub(super) stream: Gate,
    pub(super) table: Gate,
    pub(super) rejects: Gate,
}

impl Flow {
    /// With a budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            budget: Budget::new(bytes),
            stream: Gate::new(Sink::DecisionStream, STREAM_LANES),
            table: Gate::new(Sink::DecisionTable, 1),
            rejects: Gate::new(Sink::RejectStream, STREAM_LANES),
        }
    }

    /// Waits until a request of `bytes` may be under way.
    pub(super) async fn room(&self, bytes: usize) -> Room<'_> {
        self.budget.room(bytes).await
    }

    /// Bytes under way, in whole permits.
    pub fn in_flight(&self) -> usize {
        (self.budget.permits as usize - self.budget.left.available_permits()) * PERMIT_BYTES
    }
}

impl Default for Flow {
    fn default() -> Self {
        Self::new(IN_FLIGHT_BYTES_MAX)
    }
}

#[derive(Debug)]
struct Budget {
    permits: u32,
    left: Semaphore,
    metrics: FlowMetrics,
}

impl Budget {
    fn new(bytes: usize) -> Self {
        let permits = u32::try_from(bytes / PERMIT_BYTES)
            .unwrap_or(u32::MAX)
            .max(1);
        Self {
            permits,
            left: Semaphore::new(permits as usize),
            metrics: FlowMetrics::new(),
        }
    }

    async fn room(&self, bytes: usize) -> Room<'_> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let permit = self.left.acquire_many(permits.clamp(1, self.permits)).await;
        self.metrics.in_flight(bytes as f64);
        Room {
            // It is never closed.
            _permit: permit.ok(),
            bytes,
            metrics: &self.metrics,
        }
    }
}

/// A part of the budget, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Room<'a> {
    _permit: Option<SemaphorePermit<'a>>,
    bytes: usize,
    metrics: &'a FlowMetrics,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight(-(self.bytes as f64));
    }
}

/// How fast one sink may be written to.
#[derive(Debug)]
pub(super) struct Gate {
    sink: Sink,
    pub(super) metrics: SinkMetrics,
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pressure: Pressure,
    /// Something was refused, and that it is over was not seen yet.
    closed: bool,
}

/// What may be sent now.
pub(super) enum Admitted {
    /// All of it.
    All,
    /// Some; those with these indexes.
    Some(Vec<usize>),
    /// Nothing for so long.
    Wait(Duration),
}

impl Gate {
    fn new(sink: Sink, lanes: usize) -> Self {
        Self {
            sink,
            metrics: SinkMetrics::new(sink),
            origin: Instant::now(),
            state: Mutex::new(State {
                pressure: Pressure::new(lanes),
                closed: false,
            }),
        }
    }

    /// The gate's own time.
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// What may be sent now; `entries` tells lane and units of each and is asked only when not everything may be.
    pub(super) fn admit<I>(&self, entries: impl FnOnce() -> I) -> Admitted
    where
        I: Iterator<Item = (usize, u32)> + Clone,
    {
        let now = self.now();
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.pressure.is_open(now) {
                if std::mem::take(&mut state.closed) {
                    self.metrics.window(None);
                    info!(sink = self.sink.as_label(), "no longer throttled");
                }
                return Admitted::All;
            }
        }
        // Reckoned without the lock: a lane is a hash.
        let entries = entries();
        let mut go = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = state.pressure.admit(now, entries, |index| go.push(index));
        self.metrics.window(state.pressure.rate(now));
        match wait {
            None => Admitted::Some(go),
            Some(wait) => Admitted::Wait(wait),
        }
    }

    /// Learns from a reply to what was sent at `sent`: so many units stored, and by lane what became of them when some were refused.
    pub(super) fn settle(&self, sent: Duration, stored: u32, lanes: &[Outcome]) {
        let now = self.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let slower = state.pressure.settle(now, sent, stored, lanes);
        if slower {
            self.metrics.window(state.pressure.rate(now));
            if !std::mem::replace(&mut state.closed, true) {
                warn!(sink = self.sink.as_label(), "throttled, writing slower");
            }
        }
    }

    /// The outcome by lane of entries, each with its lane, its bytes and whether it was refused.
    pub(super) fn outcomes(
        &self,
        entries: impl Iterator<Item = (usize, usize, bool)>,
    ) -> [Outcome; STREAM_LANES] {
        let mut lanes = [Outcome::default(); STREAM_LANES];
        for (lane, bytes, refused) in entries {
            let lane = &mut lanes[lane];
            let of = if refused {
                &mut lane.refused
            } else {
                &mut lane.stored
            };
            *of = of.saturating_add(units(bytes));
        }
        lanes
    }
}
