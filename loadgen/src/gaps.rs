//! How long shards got no decision.
//!
//! Pure: told of each decision with the shard of its swipe and the time since the start. A gap is the time from one
//! decision of a shard to the next; while swipes come all the time, that is how long the shard stood idle, plus what
//! its reader's polling always takes. What is still open at the end is no gap here: its swipes are lost, and count as
//! such.

use std::{collections::BTreeMap, time::Duration};

/// Shorter gaps are not kept: whoever polls has some all the time, and they would be one a page.
const KEPT_FROM: Duration = Duration::from_millis(20);

/// A time in which a shard got no decision; both ends count from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Number of the shard.
    pub shard: u32,
    /// The decision before.
    pub from: Duration,
    /// The decision after.
    pub until: Duration,
}

impl Gap {
    /// How long it was.
    pub fn length(&self) -> Duration {
        self.until.saturating_sub(self.from)
    }
}

/// The gaps of every shard.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    last: BTreeMap<u32, Duration>,
    kept: Vec<Gap>,
}

impl Gaps {
    /// A swipe of that shard was decided for the first time.
    pub fn decided(&mut self, shard: u32, at: Duration) {
        let Some(last) = self.last.insert(shard, at) else {
            return;
        };
        // The streams of answers are read side by side: a page may be told after one that came a moment later.
        let from = last.min(at);
        let until = last.max(at);
        self.last.insert(shard, until);
        if at > last && until - from >= KEPT_FROM {
            self.kept.push(Gap { shard, from, until });
        }
    }

    /// How many shards had a decision.
    pub fn shards(&self) -> usize {
        self.last.len()
    }

    /// The longest gap of any shard that began and ended in a stretch of quiet (its end is exclusive).
    pub fn longest_within(&self, from: Duration, until: Duration) -> Option<Gap> {
        let within = self.kept.iter().copied();
        let within = within.filter(|gap| gap.from >= from && gap.until < until);
        within.max_by_key(Gap::length)
    }

    /// The longest gap of each shard that ended from then on, by its number.
    pub fn longest_of_each(&self, from: Duration) -> BTreeMap<u32, Duration> {
        let mut longest = BTreeMap::new();
        for gap in self.kept.iter().filter(|gap| gap.until >= from) {
            let known: &mut Duration = longest.entry(gap.shard).or_default();
            *known = gap.length().max(*known);
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn gaps() -> Gaps {
        let mut gaps = Gaps::default();
        for (shard, at) in [
            (1, 0),
            (2, 100),
            (1, 300),
            (2, 350),
            (1, 1500),
            (2, 600),
            (1, 1510),
        ] {
            gaps.decided(shard, ms(at));
        }
        gaps
    }

    #[track_caller]
    fn check(from: u64, until: u64, expected: Option<(u32, u64)>) {
        let found = gaps().longest_within(ms(from), ms(until));
        assert_eq!(
            found.map(|gap| (gap.shard, gap.length())),
            expected.map(|(shard, length)| (shard, ms(length)))
        );
    }

    #[test]
    fn a_gap_belongs_to_one_shard_and_to_a_quiet_stretch_only_when_it_lies_in_it() {
        check(0, 600, Some((1, 300)));
        check(0, 10_000, Some((1, 1200)));
        check(301, 1500, Some((2, 250)));
        check(301, 10_000, Some((2, 250)));
        check(351, 10_000, None);
        assert_eq!(gaps().shards(), 2);
    }

    #[test]
    fn a_gap_that_began_before_the_event_counts_whole() {
        let each = gaps().longest_of_each(ms(320));
        assert_eq!(each, BTreeMap::from([(1, ms(1200)), (2, ms(250))]));
    }

    #[test]
    fn a_page_that_is_told_late_neither_makes_a_gap_nor_moves_the_last_decision_back() {
        let mut gaps = Gaps::default();
        for at in [1000, 900, 1100] {
            gaps.decided(1, ms(at));
        }
        assert_eq!(gaps.longest_of_each(Duration::ZERO).get(&1), Some(&ms(100)));
    }
}
