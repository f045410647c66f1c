//! What only the end of a run can tell: what is missing, and what churn cards should have got.

use std::collections::{HashMap, HashSet};

use crate::{
    answer::{REJECT_ERRORS, Reason},
    churn::{self, Change},
};

use super::{Ledger, NO_ANSWER, Tally, UNSENT, is_reject};

impl Ledger {
    /// The verdict, with the changes of churn cards known. `rejects`: whether rejects were looked for.
    pub fn settle(&self, changes: &[Change], rejects: bool) -> Tally {
        let mut tally = self.tally.clone();
        self.settle_churn(changes, &mut tally);
        for (k, entry) in self.entries.iter().enumerate() {
            if entry.expect != UNSENT && !is_reject(entry.expect) && entry.first == NO_ANSWER {
                tally.lost += 1;
                tally.problem("lost", || format!("swipe {k} has no decision"));
            }
        }
        if rejects {
            self.settle_rejects(&mut tally);
        }
        tally
    }

    fn settle_churn(&self, changes: &[Change], tally: &mut Tally) {
        let mut firsts: HashMap<u64, Reason> = HashMap::new();
        let mut wrong = HashSet::new();
        for answer in &self.churn {
            if !churn::fits(changes, answer) && wrong.insert(answer.k) {
                tally.wrong += 1;
                tally.problem("wrong", || {
                    format!(
                        "swipe {}, {:?} does not fit what its card was then",
                        answer.k, answer.reason
                    )
                });
            }
            if *firsts.entry(answer.k).or_insert(answer.reason) != answer.reason {
                tally.contradictory += 1;
                tally.problem("contradictory", || {
                    format!(
                        "swipe {} was answered again as {:?}",
                        answer.k, answer.reason
                    )
                });
            }
        }
    }

    fn settle_rejects(&self, tally: &mut Tally) {
        for (place, error) in &self.due_rejects {
            match self.seen_rejects.get(place) {
                Some(seen) if seen == error => {
                    tally.rejects += 1;
                    let index = REJECT_ERRORS
                        .iter()
                        .position(|known| known == error)
                        .unwrap_or(0);
                    tally.by_error[index] += 1;
                }
                Some(seen) => {
                    tally.wrong += 1;
                    tally.problem("wrong", || {
                        format!("record {place:?} is rejected as {seen} instead of {error}")
                    });
                }
                None => {
                    tally.lost += 1;
                    tally.problem("lost", || {
                        format!("record {place:?} has no reject, {error} expected")
                    });
                }
            }
        }
        let strangers: Vec<_> = self
            .seen_rejects
            .iter()
            .filter(|(place, _)| !self.due_rejects.contains_key(*place))
            .collect();
        // Records of a request whose reply was lost may be stored twice; one place each is unknown here.
        let excused = strangers.len().min(self.lost_replies as usize);
        tally.duplicates += excused as u64;
        for (place, error) in &strangers[excused..] {
            tally.unexpected += 1;
            tally.problem("unexpected", || {
                format!("record {place:?} is rejected as {error}, but nothing bad was sent there")
            });
        }
    }
}
