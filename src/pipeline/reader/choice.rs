//! Which way a shard is read now: fan-out as long as it works, polling for a while after it failed.
//!
//! A subscription cannot be replaced within five seconds of its beginning, also not by the next owner of the shard. So that a
//! shard that changes hands that soon does not stand still, it is polled from one try to subscribe to the next.

use std::time::Duration;

use tokio::time::Instant;

use super::fan_out::{FanOutLimits, SUBSCRIBE_FLOOR, Unheard};
use crate::metrics::Way;

/// After so many failures in a row the shard is polled for a while. One is a cut connection, two a bad moment of the service.
const FAILURES_MAX: u32 = 3;

/// Tries in a row, a second apart, that meet another subscription. After five seconds it could be replaced: ten tries are two
/// readers of one name, or a consumer that is not there any more.
const IN_USE_MAX: u32 = 10;

/// The choice of one shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    fan_out: Option<FanOutLimits>,
    failures: u32,
    in_use: u32,
    polling_until: Option<Instant>,
}

impl Choice {
    /// By fan-out where there are limits for it.
    pub(super) const fn new(fan_out: Option<FanOutLimits>) -> Self {
        Self {
            fan_out,
            failures: 0,
            in_use: 0,
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
        (self.failures, self.in_use) = (0, 0);
    }

    /// Nothing came by fan-out. Returns for how long the shard is polled, when it is from now on: between one and one and a
    /// half times the limit, by `jitter` (in `0..1`), so that shards that failed together do not come back together.
    pub(super) fn failed(
        &mut self,
        unheard: Unheard,
        now: Instant,
        jitter: f64,
    ) -> Option<Duration> {
        if unheard == Unheard::InUse && self.in_use + 1 < IN_USE_MAX {
            self.in_use += 1;
            self.polling_until = Some(now + SUBSCRIBE_FLOOR);
            return None;
        }
        self.failures += 1;
        let give_up = unheard != Unheard::Failed || self.failures >= FAILURES_MAX;
        let limits = self.fan_out.filter(|_| give_up)?;
        let pause = limits.fall_back.mul_f64(1.0 + jitter / 2.0);
        (self.failures, self.in_use) = (0, 0);
        self.polling_until = Some(now + pause);
        Some(pause)
    }
}
