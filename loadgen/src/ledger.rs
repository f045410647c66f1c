//! Who was asked what, and what was answered: eight bytes a swipe, and the verdict at the end.
//!
//! Pure: it is told what was planned and what was seen, and knows no clock. One ledger belongs to one stream of
//! answers; a second one, told of the decision table, judges that.

mod settle;
mod tally;

use std::collections::HashMap;

use crate::{
    answer::{Expect, REJECT_ERRORS, Reason},
    churn::ChurnAnswer,
};

const NO_ANSWER: u8 = u8::MAX;
const CHURN: u16 = 0x4000;
const REJECT: u16 = 0x8000;
const UNSENT: u16 = u16::MAX;

#[derive(Clone, Copy)]
struct Entry {
    fingerprint: u32,
    /// A reason, [`CHURN`] plus a card, [`REJECT`] plus an error, or [`UNSENT`].
    expect: u16,
    /// The first answer, or [`NO_ANSWER`].
    first: u8,
    /// More answers than one, saturating.
    again: u8,
}

pub use tally::Tally;

/// A decision that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `device_seq` of its swipe.
    pub seq: u64,
    /// What it repeats of its swipe, see [`crate::traffic::fingerprint`].
    pub fingerprint: u32,
    /// Its reason, when that is a word of the contract and its decision, rule and id fit.
    pub reason: Option<Reason>,
    /// When it was decided: Unix epoch ms.
    pub decided_at_ms: i64,
    /// The shard that its swipe was read from, by its number, when the event says so.
    pub shard: Option<u32>,
}

/// Where a record stands: shard, sequence number, place inside an aggregate.
pub type Place = (String, String, u64);

/// Everything that is kept of a run.
pub struct Ledger {
    base_seq: u64,
    entries: Vec<Entry>,
    churn: Vec<ChurnAnswer>,
    due_rejects: HashMap<Place, &'static str>,
    seen_rejects: HashMap<Place, String>,
    lost_replies: u64,
    tally: Tally,
}

impl Ledger {
    /// A ledger of up to `swipes` swipes, numbered from `base_seq`.
    pub fn new(base_seq: u64, swipes: u64) -> Self {
        let unsent = Entry {
            fingerprint: 0,
            expect: UNSENT,
            first: NO_ANSWER,
            again: 0,
        };
        Self {
            base_seq,
            entries: vec![unsent; swipes as usize],
            churn: Vec::new(),
            due_rejects: HashMap::new(),
            seen_rejects: HashMap::new(),
            lost_replies: 0,
            tally: Tally::default(),
        }
    }

    /// Swipe `k` is about to be sent.
    pub fn sent(&mut self, k: u64, expect: Expect, fingerprint: u32) {
        let code = match expect {
            Expect::Decision(reason) => reason as u16,
            Expect::Churn(card) => CHURN + card,
            Expect::Reject(error) => {
                self.tally.bad_sent += 1;
                REJECT
                    + REJECT_ERRORS
                        .iter()
                        .position(|known| *known == error)
                        .unwrap_or(0) as u16
            }
        };
        if let Some(entry) = self.entries.get_mut(k as usize) {
            *entry = Entry {
                fingerprint,
                expect: code,
                ..*entry
            };
            self.tally.sent += 1;
        }
    }

    /// Swipe `k` could not be sent after all.
    pub fn not_sent(&mut self, k: u64) {
        if let Some(entry) = self.entries.get_mut(k as usize)
            && entry.expect != UNSENT
        {
            self.tally.bad_sent -= u64::from(is_reject(entry.expect));
            self.tally.sent -= 1;
            entry.expect = UNSENT;
        }
    }

    /// A bad record was stored there.
    pub fn bad_record_at(&mut self, place: Place, error: &'static str) {
        self.due_rejects.insert(place, error);
    }

    /// A request with that many bad records got no reply: they may be in the stream at a place that nobody knows.
    pub fn reply_lost(&mut self, bad_records: u64) {
        self.lost_replies += bad_records;
    }

    /// A decision came; true when it is the first of its swipe, with the swipe's number.
    pub fn decided(&mut self, seen: Seen) -> Option<u64> {
        let k = seen.seq.checked_sub(self.base_seq)?;
        let entry = self.entries.get_mut(k as usize)?;
        let tally = &mut self.tally;
        if entry.expect == UNSENT || is_reject(entry.expect) {
            tally.unexpected += 1;
            tally.problem("unexpected", || {
                format!(
                    "swipe {k} is none of this run, and has a decision: {:?}",
                    seen.reason
                )
            });
            return None;
        }
        let Some(reason) = seen
            .reason
            .filter(|_| seen.fingerprint == entry.fingerprint)
        else {
            tally.wrong += 1;
            tally.problem("wrong", || format!("the decision of swipe {k} does not repeat it, or its reason, rule, outcome and id do not fit: {seen:?}"));
            // It is an answer all the same: not lost.
            let first = entry.first == NO_ANSWER;
            entry.first = if first {
                Reason::ALL.len() as u8
            } else {
                entry.first
            };
            tally.decided += u64::from(first);
            return first.then_some(k);
        };
        let card = churn_card(entry.expect);
        if let Some(card) = card {
            self.churn.push(ChurnAnswer {
                k,
                card,
                reason,
                decided_at_ms: seen.decided_at_ms,
            });
        }
        if entry.first != NO_ANSWER {
            entry.again = entry.again.saturating_add(1);
            tally.duplicates += 1;
            if card.is_none() && entry.first != reason as u8 {
                tally.contradictory += 1;
                let first = Reason::ALL.get(usize::from(entry.first));
                tally.problem("contradictory", || {
                    format!("swipe {k}, first {first:?}, then {reason:?}")
                });
            }
            return None;
        }
        entry.first = reason as u8;
        tally.decided += 1;
        tally.by_reason[reason as usize] += 1;
        if card.is_none() && entry.expect != reason as u16 {
            tally.wrong += 1;
            let expected = Reason::ALL.get(usize::from(entry.expect));
            tally.problem("wrong", || {
                format!("swipe {k}, {reason:?} instead of {expected:?}")
            });
        }
        Some(k)
    }

    /// A reject came.
    pub fn rejected(&mut self, place: Place, error: &str) {
        if self.seen_rejects.insert(place, error.to_owned()).is_some() {
            self.tally.duplicates += 1;
        }
    }

    /// Counts so far; what only the end can tell is in [`Ledger::settle`].
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How many answers are still to come.
    pub fn open(&self) -> u64 {
        let rejected = self
            .due_rejects
            .keys()
            .filter(|place| self.seen_rejects.contains_key(*place))
            .count() as u64;
        (self.tally.sent - self.tally.decided).saturating_sub(rejected)
    }

    /// Where bad records were stored, with the error that each must be rejected with.
    pub fn bad_records(&self) -> impl Iterator<Item = (&Place, &'static str)> {
        self.due_rejects
            .iter()
            .map(|(place, error)| (place, *error))
    }

    /// Swipes that were not sent, in order.
    pub fn unsent(&self) -> impl Iterator<Item = u64> {
        (0..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.expect == UNSENT)
            .map(|(k, _)| k)
    }

    /// The answers to swipes of churn cards.
    pub fn churn_answers(&self) -> &[ChurnAnswer] {
        &self.churn
    }

    /// Where this ledger and another one have different first answers to the same swipe: (churn cards, others).
    pub fn disagreements(&self, other: &Self) -> (u64, u64) {
        let mut counts = (0, 0);
        for (mine, theirs) in self.entries.iter().zip(&other.entries) {
            if mine.first != theirs.first && mine.first != NO_ANSWER && theirs.first != NO_ANSWER {
                let count = if churn_card(mine.expect).is_some() {
                    &mut counts.0
                } else {
                    &mut counts.1
                };
                *count += 1;
            }
        }
        counts
    }
}

fn is_reject(expect: u16) -> bool {
    expect != UNSENT && expect & REJECT != 0
}

fn churn_card(expect: u16) -> Option<u16> {
    (expect & (CHURN | REJECT) == CHURN).then_some(expect & !CHURN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{churn::Change, population::CardState};

    const BASE: u64 = 1_000_000;

    fn seen(k: u64, reason: Reason) -> Seen {
        Seen {
            seq: BASE + k,
            fingerprint: k as u32,
            reason: Some(reason),
            decided_at_ms: 50_000,
            shard: None,
        }
    }

    /// Ten swipes that must be granted, numbers 0 to 9.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(BASE, 10);
        for k in 0..10 {
            ledger.sent(k, Expect::Decision(Reason::Granted), k as u32);
        }
        ledger
    }

    #[track_caller]
    fn check(answers: &[Seen], expected: [u64; 5]) {
        let mut ledger = ledger();
        for answer in answers {
            ledger.decided(*answer);
        }
        let tally = ledger.settle(&[], true);
        let counts = [
            tally.lost,
            tally.duplicates,
            tally.contradictory,
            tally.wrong,
            tally.unexpected,
        ];
        assert_eq!(
            counts, expected,
            "lost, duplicates, contradictory, wrong, unexpected"
        );
        assert_eq!(
            tally.is_clean(),
            expected[0] + expected[2] + expected[3] + expected[4] == 0
        );
    }

    fn all() -> Vec<Seen> {
        (0..10).map(|k| seen(k, Reason::Granted)).collect()
    }

    fn all_and(more: Seen) -> Vec<Seen> {
        [all(), vec![more]].concat()
    }

    #[test]
    fn the_ledger_tells_lost_repeated_contradictory_wrong_and_unexpected_answers_apart() {
        check(&all(), [0, 0, 0, 0, 0]);
        check(&all()[..8], [2, 0, 0, 0, 0]);
        check(&all_and(seen(3, Reason::Granted)), [0, 1, 0, 0, 0]);
        check(&all_and(seen(3, Reason::CredentialLost)), [0, 1, 1, 0, 0]);
        check(
            &[&all()[..9], &[seen(9, Reason::CredentialLost)]].concat(),
            [0, 0, 0, 1, 0],
        );
        check(
            &[
                &all()[..9],
                &[Seen {
                    fingerprint: 77,
                    ..seen(9, Reason::Granted)
                }],
            ]
            .concat(),
            [0, 0, 0, 1, 0],
        );
        check(
            &[
                &all()[..9],
                &[Seen {
                    reason: None,
                    ..seen(9, Reason::Granted)
                }],
            ]
            .concat(),
            [0, 0, 0, 1, 0],
        );
        check(
            &all_and(Seen {
                seq: BASE - 1,
                ..seen(0, Reason::Granted)
            }),
            [0, 0, 0, 0, 0],
        );
        check(
            &all_and(Seen {
                seq: BASE + 10,
                ..seen(0, Reason::Granted)
            }),
            [0, 0, 0, 0, 0],
        );
    }

    #[test]
    fn a_decision_about_an_unsent_or_a_bad_record_is_unexpected() {
        let mut ledger = Ledger::new(BASE, 10);
        ledger.sent(0, Expect::Reject("Malformed"), 0);
        assert_eq!(ledger.decided(seen(0, Reason::Granted)), None);
        assert_eq!(ledger.decided(seen(1, Reason::Granted)), None);
        assert_eq!(ledger.settle(&[], false).unexpected, 2);
    }

    fn place(sequence: &str) -> Place {
        ("shardId-0".to_owned(), sequence.to_owned(), 0)
    }

    #[test]
    fn rejects_are_matched_by_their_place_whichever_is_known_first() {
        let mut ledger = Ledger::new(BASE, 10);
        for k in 0..4 {
            ledger.sent(k, Expect::Reject("Malformed"), 0);
        }
        ledger.rejected(place("1"), "Malformed");
        ledger.bad_record_at(place("1"), "Malformed");
        ledger.bad_record_at(place("2"), "Oversize");
        ledger.rejected(place("2"), "Malformed");
        ledger.bad_record_at(place("3"), "Malformed");
        ledger.rejected(place("4"), "Malformed");
        assert_eq!(ledger.open(), 2);
        let tally = ledger.settle(&[], true);
        assert_eq!(
            [tally.rejects, tally.wrong, tally.lost, tally.unexpected],
            [1, 1, 1, 1]
        );
        ledger.reply_lost(1);
        assert_eq!(ledger.settle(&[], true).unexpected, 0);
    }

    #[test]
    fn churn_answers_are_judged_by_what_the_card_was_when_they_were_decided() {
        let changes = [Change {
            card: 0,
            state: CardState::Revoked,
            began_ms: 49_000,
            acked_ms: Some(49_010),
        }];
        let mut ledger = Ledger::new(BASE, 3);
        (0..3).for_each(|k| ledger.sent(k, Expect::Churn(0), k as u32));
        ledger.decided(seen(0, Reason::Granted)); // in the grace
        ledger.decided(seen(0, Reason::CredentialRevoked)); // again, after the change
        ledger.decided(Seen {
            decided_at_ms: 52_000,
            ..seen(1, Reason::Granted)
        }); // after the grace
        ledger.decided(Seen {
            decided_at_ms: 48_000,
            ..seen(2, Reason::CredentialRevoked)
        }); // before the change
        let tally = ledger.settle(&changes, true);
        assert_eq!([tally.wrong, tally.contradictory, tally.lost], [2, 1, 0]);
    }

    #[test]
    fn a_swipe_that_could_not_be_sent_is_not_lost() {
        let mut ledger = ledger();
        ledger.not_sent(4);
        all()
            .into_iter()
            .filter(|seen| seen.seq != BASE + 4)
            .for_each(|seen| _ = ledger.decided(seen));
        let tally = ledger.settle(&[], true);
        assert_eq!((tally.sent, tally.lost), (9, 0));
    }

    #[test]
    fn an_entry_stays_small() {
        assert_eq!(size_of::<Entry>(), 8);
    }

    #[test]
    fn two_ledgers_disagree_where_their_first_answers_differ() {
        let (mut mine, mut theirs) = (ledger(), ledger());
        all().into_iter().for_each(|seen| _ = mine.decided(seen));
        theirs.decided(seen(3, Reason::CredentialLost));
        assert_eq!(mine.disagreements(&theirs), (0, 1));
    }
}
