//! The time of day, and how long the machine slept: what tokio's clock does not tell.

use std::time::Duration;

/// The wall clock as the loops read it: once a page, never below the loop.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The system's.
    System,
    /// Follows tokio's clock from this epoch, so that a paused runtime moves it (tests, simulation).
    Simulated {
        /// Unix epoch milliseconds at `start`.
        epoch_ms: i64,
        /// The instant that `epoch_ms` belongs to.
        start: tokio::time::Instant,
    },
}

impl Clock {
    /// Unix epoch milliseconds.
    pub fn now_ms(self) -> i64 {
        match self {
            Self::System => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| {
                    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
                }),
            Self::Simulated { epoch_ms, start } => {
                epoch_ms + i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX)
            }
        }
    }

    /// How long the machine slept since it was started: the part of time that the monotonic clock, and so every timer, knows
    /// nothing of (clock_gettime(2), `CLOCK_BOOTTIME`). A simulated one does not sleep.
    pub fn asleep(self) -> Duration {
        match self {
            Self::System => {
                let read = |id| Duration::try_from(rustix::time::clock_gettime(id));
                // The monotonic one first: the time between the two calls counts as sleep, not against it.
                let awake = read(rustix::time::ClockId::Monotonic).unwrap_or_default();
                let all = read(rustix::time::ClockId::Boottime).unwrap_or_default();
                all.saturating_sub(awake)
            }
            Self::Simulated { .. } => Duration::ZERO,
        }
    }
}
