//! Which way a shard is read now: fan-out as long as it works, polling for a while after it failed.

use std::time::Duration;

use tokio::time::Instant;

use super::fan_out::{FanOutLimits, Unheard};
use crate::metrics::Way;

/// After so many failures in a row the shard is polled for a while. One is a cut connection, two a bad moment of the service.
const FAILURES_MAX: u32 = 3;

/// The choice of one shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    fan_out: Option<FanOutLimits>,
    failures: u32,
    polling_until: Option<Instant>,
}

impl Choice {
    /// By fan-out where there are limits for it.
    pub(super) const fn new(fan_out: Option<FanOutLimits>) -> Self {
        Self {
            fan_out,
            failures: 0,
            polling_until: None,
        }
    }

    /// How to read at `now`.
    pub(super) fn way(&mut self, now: Instant) -> Way {
        if self.fan_out.is_none() || self.polling_until.is_some_and(|until| now < until) {
            return Way::Polling;
        }
        self.polling_until = None;
        Way::FanOut
    }

    /// An event came by fan-out.
    pub(super) const fn went_well(&mut self) {
        self.failures = 0;
    }

    /// Nothing came by fan-out. Returns for how long the shard is polled, when it is from now on: between one and one and a
    /// half times the limit, by `jitter` (in `0..1`), so that shards that failed together do not come back together.
    pub(super) fn failed(
        &mut self,
        unheard: Unheard,
        now: Instant,
        jitter: f64,
    ) -> Option<Duration> {
        self.failures += 1;
        let give_up = unheard == Unheard::Refused || self.failures >= FAILURES_MAX;
        let limits = self.fan_out.filter(|_| give_up)?;
        let pause = limits.fall_back.mul_f64(1.0 + jitter / 2.0);
        self.failures = 0;
        self.polling_until = Some(now + pause);
        Some(pause)
    }
}
