//! The counts of a run.

use crate::answer::{REJECT_ERRORS, Reason};

/// How many problems of one sort are kept as text.
const EXAMPLES: usize = 4;

/// What was counted so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Swipes sent, repeats and bad records not counted twice.
    pub sent: u64,
    /// Of these, records that are no swipes.
    pub bad_sent: u64,
    /// Swipes with an answer.
    pub decided: u64,
    /// Answers beyond the first, and rejects beyond the first.
    pub duplicates: u64,
    /// Answers that differ from the first one to the same swipe.
    pub contradictory: u64,
    /// First answers that are not the expected one.
    pub wrong: u64,
    /// Answers to swipes that were not sent, and rejects of records that were none.
    pub unexpected: u64,
    /// Swipes without an answer and bad records without a reject.
    pub lost: u64,
    /// Bad records with a reject.
    pub rejects: u64,
    /// First answers, by reason.
    pub by_reason: [u64; Reason::ALL.len()],
    /// Rejects by error, in the order of [`REJECT_ERRORS`].
    pub by_error: [u64; REJECT_ERRORS.len()],
    /// Some of the problems, in words.
    pub problems: Vec<String>,
}

impl Tally {
    /// Whether everything came back right.
    pub fn is_clean(&self) -> bool {
        self.lost + self.wrong + self.contradictory + self.unexpected == 0
    }

    /// Keeps the text of one more problem of a sort, unless there are enough.
    pub(super) fn problem(&mut self, sort: &str, text: impl FnOnce() -> String) {
        if self
            .problems
            .iter()
            .filter(|known| known.starts_with(sort))
            .count()
            < EXAMPLES
        {
            self.problems.push(format!("{sort}: {}", text()));
        }
    }
}
