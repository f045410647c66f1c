//! Until when this worker may write for a shard: the one thing a consumer shares with the lease coordinator.
//!
//! The coordinator moves the deadline forward each time a heartbeat is acknowledged, counted from when that heartbeat was
//! *sent*; the consumer looks before every read and every write. So a worker that was cut off or suspended finds
//! out by its own clock, before another worker can have started, and without asking anybody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// A deadline, shared. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fence {
    base: Instant,
    /// Milliseconds after `base` from which on nothing may be written.
    deadline_ms: Arc<AtomicU64>,
}

impl Fence {
    /// A fence that lets nothing pass yet.
    pub fn closed(now: Instant) -> Self {
        Self {
            base: now,
            deadline_ms: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Lets writes pass until `deadline`. It only moves forward.
    pub fn extend(&self, deadline: Instant) {
        let after = deadline.saturating_duration_since(self.base).as_millis();
        self.deadline_ms
            .fetch_max(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Whether a write may start at `now`.
    pub fn is_open(&self, now: Instant) -> bool {
        self.remaining(now) > Duration::ZERO
    }

    /// How much longer writes may start.
    pub fn remaining(&self, now: Instant) -> Duration {
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
        let fence = Fence::closed(start);
        assert!(!fence.is_open(start));
        fence.extend(start + second * 3);
        assert!(fence.is_open(start + second * 2) && !fence.is_open(start + second * 3));
        fence.extend(start + second);
        assert_eq!(fence.remaining(start + second), second * 2);
    }
}
