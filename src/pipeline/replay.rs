//! The replay window: for how long decisions of a shard may already be stored by somebody else. Pure.
//!
//! After a take-over the records between the stored checkpoint and the point that the previous owner had reached come again.
//! That point is certainly behind at the first page read at the tip (what comes later is newer than this consumer), or
//! after [`UNKNOWN_RUN`] swipes in a row of which none was stored: the previous owner stored part after part, so a longer
//! run of unknown ones cannot lie before its last.
//!
//! Then producers may still send again what the previous owner answered, as new records. The window stays open until
//! the records read are [`REPEATS_FOLLOW_MS`] younger than that point; from then on a consumer's own memory knows all.

/// Swipes in a row, none of them stored, after which the previous owner's last part is behind: the largest part.
pub const UNKNOWN_RUN: usize = 10_000;

/// How long after a swipe its producer may send it again, in milliseconds: the Kinesis producer library gives a record up
/// after 30 s (`RecordTtl`).
pub const REPEATS_FOLLOW_MS: i64 = 30_000;

/// Whether decisions may already be stored.
#[derive(Debug)]
pub struct Replay {
    open: bool,
    unknown_in_a_row: usize,
    /// When records were published that are certainly not the previous owner's.
    passed_at_ms: Option<i64>,
}

impl Replay {
    /// A window that is open, or that never was: without a table nothing can be looked up.
    pub fn new(open: bool) -> Self {
        Self {
            open,
            unknown_in_a_row: 0,
            passed_at_ms: None,
        }
    }

    /// Whether to look before answering.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Of `swipes` that were looked up, `last` was the last one that is stored.
    pub fn looked_up(&mut self, swipes: usize, last: Option<usize>) {
        match last {
            Some(last) => self.unknown_in_a_row = swipes - 1 - last,
            None => self.unknown_in_a_row += swipes,
        }
    }

    /// A page is handled that was published up to `published_ms`, by any clock that stays the same, and ended at the tip or
    /// not. Whether the window closes with it.
    pub fn handled(&mut self, published_ms: i64, at_tip: bool) -> bool {
        if !self.open {
            return false;
        }
        if at_tip || self.unknown_in_a_row >= UNKNOWN_RUN {
            self.passed_at_ms.get_or_insert(published_ms);
        }
        let behind = |at| published_ms.saturating_sub(at) >= REPEATS_FOLLOW_MS;
        self.open = !self.passed_at_ms.is_some_and(behind);
        !self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages as (published, at the tip); the index of the one that closes the window.
    #[track_caller]
    fn check(pages: &[(i64, bool)], unknown: usize, closes: Option<usize>) {
        let mut replay = Replay::new(true);
        replay.looked_up(unknown, None);
        let mut handled = pages.iter();
        let closed = handled.position(|(published, tip)| replay.handled(*published, *tip));
        assert_eq!(closed, closes);
        assert_eq!(replay.is_open(), closes.is_none());
    }

    #[test]
    fn the_window_closes_when_nothing_that_was_answered_before_can_come_again() {
        check(&[(0, true), (29_999, true), (30_000, true)], 0, Some(2));
        check(&[(0, true), (29_999, false), (31_000, false)], 0, Some(2));
        check(&[(-90_000, false), (0, false), (60_000, false)], 0, None);
        check(&[(-90_000, false), (0, true), (20_000, true)], 0, None);
    }

    #[test]
    fn a_long_run_of_unknown_swipes_is_past_the_previous_owner_too() {
        check(&[(-90_000, false), (-60_000, false)], UNKNOWN_RUN, Some(1));
        check(&[(-90_000, false), (-60_000, false)], UNKNOWN_RUN - 1, None);
    }

    #[test]
    fn a_run_begins_anew_behind_a_swipe_that_is_stored() {
        let mut replay = Replay::new(true);
        replay.looked_up(UNKNOWN_RUN - 2, None);
        replay.looked_up(3, Some(1));
        replay.looked_up(UNKNOWN_RUN - 2, None);
        assert!(!replay.handled(0, false) && !replay.handled(60_000, false));
        replay.looked_up(1, None);
        assert!(!replay.handled(60_000, false) && replay.handled(90_000, false));
    }

    #[test]
    fn without_a_table_there_is_no_window() {
        assert!(!Replay::new(false).is_open());
    }
}
