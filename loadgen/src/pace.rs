//! When each swipe is due: an open loop in closed form.
//!
//! The instant of swipe `k` depends on `k` alone, never on how the service answers; latency counts from it, so a
//! stall shows in every swipe that it delayed and not in one.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Highest rate that is taken, in swipes a second: numbers of a run must not reach those of a later one.
const RATE_MAX: f64 = 1_000_000.0;

/// How the rate goes over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Swipes a second at the start; fractions are fine.
    from: f64,
    /// Swipes a second at the end.
    to: f64,
    /// Length of the run in seconds.
    seconds: f64,
}

/// A rate as the command line spells it: `5000`, `0.5`, or `1000:9000` for a ramp.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    from: f64,
    to: f64,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let rate: f64 = part
                .parse()
                .map_err(|_| format!("`{part}` is no rate; use swipes a second, or FROM:TO"))?;
            if (0.0..=RATE_MAX).contains(&rate) {
                Ok(rate)
            } else {
                Err(format!("a rate is 0 to {RATE_MAX}, not {part}"))
            }
        };
        let (from, to) = match text.split_once(':') {
            Some((from, to)) => (number(from)?, number(to)?),
            None => (number(text)?, number(text)?),
        };
        if from + to == 0.0 {
            Err("the rate is 0 throughout".to_owned())
        } else {
            Ok(Self { from, to })
        }
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.from == self.to {
            write!(f, "{}", self.from)
        } else {
            write!(f, "{}:{}", self.from, self.to)
        }
    }
}

impl Pace {
    /// A run of that many seconds at that rate.
    pub fn new(rate: Rate, seconds: f64) -> Self {
        Self {
            from: rate.from,
            to: rate.to,
            seconds,
        }
    }

    /// How many swipes the run has.
    pub fn total(&self) -> u64 {
        // Less a hair, so that 20 s at 5 000/s are 100 000 swipes and not one more at the very end.
        (self.integral(self.seconds) - 1e-6).ceil().max(0.0) as u64
    }

    /// When swipe `k` is due, in seconds from the start: the time at which `k` swipes' worth of rate went by.
    pub fn at_s(&self, k: u64) -> f64 {
        let (k, slope) = (k as f64, (self.to - self.from) / self.seconds);
        if slope == 0.0 {
            return k / self.from;
        }
        // The root of slope/2 t² + from t − k that is right for both signs of the slope, without cancellation.
        2.0 * k
            / (self.from + (self.from * self.from + 2.0 * slope * k).max(0.0).sqrt())
                .max(f64::MIN_POSITIVE)
    }

    /// The same in whole milliseconds.
    pub fn at_ms(&self, k: u64) -> i64 {
        (self.at_s(k) * 1e3) as i64
    }

    /// How many swipes are due by then.
    pub fn due(&self, elapsed_s: f64) -> u64 {
        let guess = self.integral(elapsed_s.clamp(0.0, self.seconds)).floor() as u64 + 2;
        // The guess may be off by rounding; what counts is `at_s`.
        (guess.saturating_sub(4)..=guess)
            .rev()
            .find(|&k| k == 0 || self.at_s(k - 1) <= elapsed_s)
            .unwrap_or(0)
            .min(self.total())
    }

    /// Mean rate, in swipes a second.
    pub fn mean(&self) -> f64 {
        (self.from + self.to) / 2.0
    }

    /// Length of the run in seconds.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    fn integral(&self, t: f64) -> f64 {
        self.from * t + (self.to - self.from) * t * t / (2.0 * self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: &str, seconds: f64) -> Pace {
        Pace::new(rate.parse().expect("a rate"), seconds)
    }

    #[test]
    fn a_constant_rate_spaces_swipes_evenly_fractions_too() {
        let five = pace("5000", 20.0);
        assert_eq!(
            (five.total(), five.at_s(0), five.at_s(5000)),
            (100_000, 0.0, 1.0)
        );
        let slow = pace("0.5", 7.0);
        assert_eq!((slow.total(), slow.at_s(1), slow.at_s(3)), (4, 2.0, 6.0));
        assert_eq!(
            [0.0, 1.9, 2.0, 6.5, 99.0].map(|t| slow.due(t)),
            [1, 1, 2, 4, 4]
        );
    }

    #[track_caller]
    fn check_ramp(rate: &str, halfway: f64) {
        let ramp = pace(rate, 10.0);
        assert_eq!(ramp.total(), 10_000);
        let half = ramp.due(5.0) as f64;
        assert!((half - halfway).abs() < 3.0, "{half} by half time");
        assert!((ramp.at_s(halfway as u64) - 5.0).abs() < 0.01);
        assert!(
            (0..9_999).all(|k| ramp.at_s(k) <= ramp.at_s(k + 1)),
            "never back in time"
        );
        assert!(ramp.at_s(9_999) <= 10.0);
    }

    #[test]
    fn a_ramp_follows_the_area_under_its_rate_up_and_down() {
        check_ramp("0:2000", 2500.0);
        check_ramp("500:1500", 3750.0);
        check_ramp("2000:0", 7500.0);
        check_ramp("1000:1000", 5000.0);
    }

    #[test]
    fn what_is_due_agrees_with_when_it_is_due() {
        for pace in [pace("333.3", 5.0), pace("10:900", 5.0), pace("900:10", 5.0)] {
            for k in 0..pace.total() {
                let at = pace.at_s(k);
                assert!(
                    pace.due(at + 1e-7) > k && pace.due(at - 1e-4) <= k,
                    "{k} of {pace:?}"
                );
            }
        }
    }

    #[test]
    fn a_rate_that_is_none_is_refused() {
        for text in ["", "x", "-1", "0", "0:0", "5:", "2000000", "NaN"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
