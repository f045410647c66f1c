//! How fast a sink may be written to: AIMD on what it refuses. Pure: time is an argument.
//!
//! A partition key always goes to the same shard, and a refused entry does not say which; so a sink's keys are spread over
//! lanes by the same hash that the service places them by, and each lane has a rate of its own. A hot shard slows down the lanes
//! that reach it, and no other. A sink of one lane (a table) slows down as a whole.
//!
//! A lane is open, and costs nothing, until something is refused. Then it has a rate: less by half of the refused part at each
//! refusal, more by a step a second whose size doubles with every second in which nothing is refused; open again after ten.
//! What was sent before a rate was lowered says nothing about it and does not lower it again.

use std::time::Duration;

/// Lanes of a stream. One hot shard of eight slows down an eighth of the keys; more lanes would only make the bursts of each
/// smaller.
pub const STREAM_LANES: usize = 16;

/// A lane's rate is never below this, in units a second: one probe.
const RATE_MIN: f64 = 1.0;

/// The rate grows by at least this in the first second. With the doubling, a lane at its least is back at 300 units a second, its
/// share of five shards, after six seconds.
const STEP_MIN: f64 = 4.0;

/// After a refusal the rate grows by this part of itself a second: it is back where it was refused after some one and a half
/// seconds, and a round trip's overshoot is far below a percent.
const STEP_PART: f64 = 0.0625;

/// A refusal takes at least this part of the rate, however few entries were refused.
const CUT_MIN: f64 = 0.1;

/// Most that a lane lets through at once, in seconds of its rate. A shard of the service absorbs about a second's worth.
const BURST: f64 = 0.25;

/// So long without a refusal, and a lane is open.
const OPEN_AFTER: Duration = Duration::from_secs(10);

/// No wait is longer: what waits looks again, since the rate may have grown.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// No wait is shorter: a timer's tick.
const WAIT_MIN: Duration = Duration::from_millis(2);

/// What an entry of `bytes` takes of a shard that stores 1000 records and 1 MiB a second (Kinesis limits): a unit is the thousandth
/// part of a shard's second.
pub fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024))
        .unwrap_or(u32::MAX)
        .max(1)
}

/// The lane of a hash key: the high bits, as shards are ranges of hash keys.
pub fn lane(hash: u128) -> usize {
    (hash >> (128 - STREAM_LANES.ilog2())) as usize
}

/// What became of a request's units in one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Units that were stored.
    pub stored: u32,
    /// Units that were refused for want of throughput.
    pub refused: u32,
}

/// A lane that is not open.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// Units a second, when it was lowered last.
    base: f64,
    /// When that was.
    lowered: Duration,
    /// Units that may be sent now; below zero after something large.
    level: f64,
    /// Up to when the level is reckoned.
    at: Duration,
}

impl Window {
    fn lowered(rate: f64, at: Duration) -> Self {
        Self {
            base: rate.max(RATE_MIN),
            lowered: at,
            level: 0.0,
            at,
        }
    }

    /// Units a second: the step at which it grows doubles every second since the rate was lowered.
    fn rate(&self, now: Duration) -> f64 {
        let since = now
            .saturating_sub(self.lowered)
            .min(OPEN_AFTER)
            .as_secs_f64();
        let step = (self.base * STEP_PART).max(STEP_MIN);
        self.base + step * (since.exp2() - 1.0) / std::f64::consts::LN_2
    }

    /// The units that may be sent of `wanted`, or how long to wait. A fraction of a burst is waited for, so that entries do not
    /// trickle out one a request.
    fn take(&mut self, now: Duration, wanted: f64) -> Result<f64, Duration> {
        let rate = self.rate(now);
        let burst = (rate * BURST).max(1.0);
        let seconds = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.level = (self.level + rate * seconds).min(burst);
        let least = wanted.min(burst / 2.0);
        if self.level >= least {
            return Ok(self.level);
        }
        let wait = Duration::from_secs_f64((least - self.level) / rate);
        Err(wait.clamp(WAIT_MIN, WAIT_MAX))
    }
}

/// The rates of one sink, lane by lane.
#[derive(Debug)]
pub struct Pressure {
    lanes: Box<[Option<Window>]>,
    stored: Meter,
}

impl Pressure {
    /// A sink with so many lanes, all open.
    pub fn new(lanes: usize) -> Self {
        Self {
            lanes: vec![None; lanes].into(),
            stored: Meter::default(),
        }
    }

    /// Opens what was not refused anything for long, and says whether every lane is open: then anything may be sent.
    pub fn is_open(&mut self, now: Duration) -> bool {
        let mut open = true;
        for lane in &mut self.lanes {
            if lane.is_some_and(|window| now.saturating_sub(window.lowered) >= OPEN_AFTER) {
                *lane = None;
            }
            open &= lane.is_none();
        }
        open
    }

    /// How many units a second the lanes that are not open let through; nothing when all are open.
    pub fn rate(&self, now: Duration) -> Option<f64> {
        let mut rates = self.lanes.iter().flatten().map(|window| window.rate(now));
        rates.next().map(|first| first + rates.sum::<f64>())
    }

    /// Divides entries, given by their lanes and units: calls `go` with the index of each that may be sent now, in order, and
    /// returns how long to wait when there is none. An entry larger than what its lane lets through goes alone and is made up for.
    pub fn admit(
        &mut self,
        now: Duration,
        entries: impl Iterator<Item = (usize, u32)> + Clone,
        mut go: impl FnMut(usize),
    ) -> Option<Duration> {
        let mut wanted = vec![0.0; self.lanes.len()];
        for (lane, units) in entries.clone() {
            wanted[lane] += f64::from(units);
        }
        let mut wait: Option<Duration> = None;
        let mut left = vec![f64::INFINITY; self.lanes.len()];
        for (lane, wanted) in wanted.into_iter().enumerate() {
            let Some(window) = self.lanes[lane].as_mut().filter(|_| wanted > 0.0) else {
                continue;
            };
            left[lane] = match window.take(now, wanted) {
                Ok(level) => level,
                Err(longer) => {
                    wait = Some(wait.map_or(longer, |wait| wait.min(longer)));
                    0.0
                }
            };
        }
        let mut any = false;
        for (index, (lane, units)) in entries.enumerate() {
            if left[lane] > 0.0 {
                left[lane] -= f64::from(units);
                if let Some(window) = &mut self.lanes[lane] {
                    window.level -= f64::from(units);
                }
                any = true;
                go(index);
            }
        }
        if any { None } else { wait }
    }

    /// Learns from a reply to what was sent at `sent`: stored units in all, and what became of those of each lane, if something
    /// was refused. Says whether a lane was closed or slowed down.
    pub fn settle(
        &mut self,
        now: Duration,
        sent: Duration,
        stored: u32,
        lanes: &[Outcome],
    ) -> bool {
        self.stored.add(now, stored);
        let total: u32 = lanes.iter().map(|lane| lane.stored + lane.refused).sum();
        let accepted = self.stored.rate(now);
        let mut slower = false;
        for (lane, outcome) in self.lanes.iter_mut().zip(lanes) {
            if outcome.refused == 0 {
                continue;
            }
            let of_lane = f64::from(outcome.stored + outcome.refused);
            let refused = f64::from(outcome.refused) / of_lane;
            let rate = match lane {
                Some(window) if sent < window.lowered => continue,
                Some(window) => window.rate(now),
                None => accepted * of_lane / f64::from(total),
            };
            *lane = Some(Window::lowered(
                rate * (1.0 - (refused / 2.0).max(CUT_MIN)),
                now,
            ));
            slower = true;
        }
        slower
    }
}

/// Units a second, over the last half to whole second.
#[derive(Debug, Default)]
struct Meter {
    /// When the current half second began.
    since: Duration,
    before: f64,
    current: f64,
}

impl Meter {
    const HALF: Duration = Duration::from_millis(500);

    fn add(&mut self, now: Duration, units: u32) {
        self.turn(now);
        self.current += f64::from(units);
    }

    fn rate(&mut self, now: Duration) -> f64 {
        self.turn(now);
        let since = now.saturating_sub(self.since) + Self::HALF;
        (self.before + self.current) / since.as_secs_f64()
    }

    fn turn(&mut self, now: Duration) {
        let since = now.saturating_sub(self.since);
        if since >= Self::HALF {
            self.before = if since < Self::HALF * 2 {
                self.current
            } else {
                0.0
            };
            self.current = 0.0;
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests;
