//! The replay window: for how long decisions of a shard may already be stored by somebody else. Pure.
//!
//! After a take-over the records between the stored checkpoint and the point that the previous owner had reached come again.
//! That point is certainly behind at the first page read at the tip (what comes later is newer than this consumer), or
//! after [`UNKNOWN_RUN`] swipes in a row of which none was stored: the previous owner stored part after part, so a longer
//! run of unknown ones cannot lie before its last.
//!
//! Then producers may still send again what the previous owner answered, as new records. The window stays open until
//! the records read are [`REPEATS_FOLLOW_MS`] younger than the last that was found stored, or, when none was, than the first page
//! that was read: what came before it may have been answered, too. Before the first record of a shard that continues no other
//! there is nothing, so that a new stream is looked up until its tip and no longer.
//!
//! From then on a consumer's own memory knows all.

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
    /// Whether what was looked up since the last page was handled held something stored.
    found: bool,
    /// Until when records were published that somebody else may have answered; not known before the first page.
    answered_ms: Option<i64>,
    /// Whether the point that the previous owner had reached is behind.
    passed: bool,
}

impl Replay {
    /// A window that is open, or that never was: without a table nothing can be looked up. `first`: nothing was published to
    /// the shard, or to one that it continues, before what is read first.
    pub fn new(open: bool, first: bool) -> Self {
        Self {
            open,
            unknown_in_a_row: 0,
            found: false,
            // Before all time: nothing was.
            answered_ms: first.then_some(i64::MIN),
            passed: false,
        }
    }

    /// Whether to look before answering.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Of `swipes` that were looked up, `last` was the last one that is stored.
    pub fn looked_up(&mut self, swipes: usize, last: Option<usize>) {
        self.found |= last.is_some();
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
        // What is found once the point is passed came again, and its first is as old as the point.
        let found = std::mem::take(&mut self.found) && !self.passed;
        let answered_ms = match self.answered_ms {
            Some(until) if !found => until,
            _ => published_ms,
        };
        self.answered_ms = Some(answered_ms);
        self.passed |= at_tip || self.unknown_in_a_row >= UNKNOWN_RUN;
        let behind = published_ms.saturating_sub(answered_ms) >= REPEATS_FOLLOW_MS;
        self.open = !(self.passed && behind);
        !self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page as (published, at the tip, what the look into the table found).
    type Seen = (i64, bool, Look);

    #[derive(Clone, Copy)]
    enum Look {
        /// So many unknown swipes.
        Unknown(usize),
        /// A stored one, and so many unknown ones after it.
        Stored(usize),
    }
    use Look::{Stored, Unknown};

    /// The index of the page that closes the window.
    #[track_caller]
    fn check(first: bool, pages: &[Seen], closes: Option<usize>) {
        let mut replay = Replay::new(true, first);
        let mut handled = pages.iter();
        let closed = handled.position(|(published, tip, look)| {
            match *look {
                Unknown(swipes) => replay.looked_up(swipes, None),
                Stored(after) => replay.looked_up(after + 1, Some(0)),
            }
            replay.handled(*published, *tip)
        });
        assert_eq!(closed, closes);
        assert_eq!(replay.is_open(), closes.is_none());
    }

    #[test]
    fn the_window_closes_when_nothing_that_was_answered_before_can_come_again() {
        let (none, some) = (Unknown(0), Stored(0));
        let rows: [(&[Seen], Option<usize>); 7] = [
            (
                &[(0, true, none), (29_999, true, none), (30_000, true, none)],
                Some(2),
            ),
            (
                &[
                    (0, true, none),
                    (29_999, false, none),
                    (31_000, false, none),
                ],
                Some(2),
            ),
            // Never at the tip.
            (
                &[
                    (-90_000, false, none),
                    (0, false, none),
                    (60_000, false, none),
                ],
                None,
            ),
            // Nothing was stored in the half minute before the tip.
            (&[(-90_000, false, none), (0, true, none)], Some(1)),
            (
                &[
                    (-90_000, false, some),
                    (-60_001, false, none),
                    (-60_000, true, none),
                ],
                Some(2),
            ),
            // Something was.
            (
                &[
                    (-90_000, false, none),
                    (0, true, some),
                    (29_999, true, none),
                    (30_000, true, none),
                ],
                Some(3),
            ),
            // What is found after the tip came again.
            (
                &[(0, true, some), (20_000, true, some), (30_000, true, none)],
                Some(2),
            ),
        ];
        for (pages, closes) in rows {
            check(false, pages, closes);
        }
    }

    #[test]
    fn a_shard_read_from_its_very_beginning_is_looked_up_until_its_tip() {
        check(true, &[(0, true, Unknown(0))], Some(0));
        let backlog = (-90_000, false, Unknown(5));
        check(true, &[backlog, (0, true, Unknown(5))], Some(1));
        check(true, &[backlog, (0, false, Unknown(5))], None);
        let crashed = [
            (0, true, Stored(5)),
            (29_999, true, Unknown(0)),
            (30_000, true, Unknown(0)),
        ];
        check(true, &crashed, Some(2));
    }

    #[test]
    fn a_long_run_of_unknown_swipes_is_past_the_previous_owner_too() {
        let rest = (-60_000, false, Unknown(0));
        for (run, closes) in [(UNKNOWN_RUN, Some(1)), (UNKNOWN_RUN - 1, None)] {
            check(false, &[(-90_000, false, Unknown(run)), rest], closes);
            check(false, &[(-90_000, false, Stored(run)), rest], closes);
        }
    }

    #[test]
    fn a_run_begins_anew_behind_a_swipe_that_is_stored() {
        let short = UNKNOWN_RUN - 1;
        let pages = [
            (-90_000, false, Unknown(short)),
            (0, false, Stored(short)),
            (60_000, false, Unknown(0)),
            (60_000, false, Unknown(1)),
        ];
        check(false, &pages, Some(3));
    }

    #[test]
    fn without_a_table_there_is_no_window() {
        assert!(!Replay::new(false, false).is_open());
    }
}
