//! Until when this worker may write for a shard: the one thing a consumer shares with the lease coordinator.
//!
//! The coordinator moves the deadline forward each time a heartbeat is acknowledged, counted from when that heartbeat was
//! *sent*; the consumer looks before every read and every write. So a worker that was cut off or suspended finds
//! out by its own clock, before another worker can have started, and without asking anybody. A machine that slept closes the
//! fence for good: its monotonic clock slept too, and says nothing of how late it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::ports::Clock;

/// How much sleep of the machine counts: less is what reading two clocks one after the other may show.
const SLEPT: Duration = Duration::from_millis(100);

/// A deadline, shared. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fence {
    base: Instant,
    clock: Clock,
    /// How long the machine had slept when the fence was made.
    asleep: Duration,
    /// Milliseconds after `base` from which on nothing may be written.
    deadline_ms: Arc<AtomicU64>,
}

impl Fence {
    /// A fence that lets nothing pass yet.
    pub fn closed(now: Instant, clock: Clock) -> Self {
        Self {
            base: now,
            clock,
            asleep: clock.asleep(),
            deadline_ms: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Lets writes pass until `deadline`. It only moves forward.
    pub fn extend(&self, deadline: Instant) {
        let after = deadline.saturating_duration_since(self.base).as_millis();
        self.deadline_ms
            .fetch_max(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Whether the machine slept since the fence was made. It then stays closed.
    pub fn slept(&self) -> bool {
        self.slept_by(self.clock.asleep())
    }

    fn slept_by(&self, asleep: Duration) -> bool {
        asleep >= self.asleep + SLEPT
    }

    /// Whether a write may start at `now`.
    pub fn is_open(&self, now: Instant) -> bool {
        self.remaining(now) > Duration::ZERO
    }

    /// How much longer writes may start.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.remaining_by(now, self.clock.asleep())
    }

    fn remaining_by(&self, now: Instant, asleep: Duration) -> Duration {
        if self.slept_by(asleep) {
            return Duration::ZERO;
        }
        let deadline = self.base + Duration::from_millis(self.deadline_ms.load(Ordering::Acquire));
        deadline.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_opens_until_its_deadline_and_never_moves_back() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let clock = Clock::Simulated { epoch_ms: 0, start };
        let fence = Fence::closed(start, clock);
        assert!(!fence.is_open(start));
        fence.extend(start + second * 3);
        assert!(fence.is_open(start + second * 2) && !fence.is_open(start + second * 3));
        fence.extend(start + second);
        assert_eq!(fence.remaining(start + second), second * 2);
    }

    #[test]
    fn a_machine_that_slept_finds_the_fence_closed_however_early_its_timers_say_it_is() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let fence = Fence::closed(start, Clock::System);
        fence.extend(start + second);
        assert!(!fence.slept() && fence.is_open(start));
        for (slept_ms, open) in [(0, second), (99, second), (100, Duration::ZERO)] {
            let asleep = fence.asleep + Duration::from_millis(slept_ms);
            assert_eq!(fence.remaining_by(start, asleep), open, "{slept_ms} ms");
        }
    }
}
