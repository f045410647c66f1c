//! Cards that change while swipes flow for them: when they change, and which answers are right at what time.

use serde::{Deserialize, Serialize};

use crate::{
    answer::Reason,
    population::{CHURN_CARDS, CardState},
};

/// The first change comes this long after the start of the run, the last at least as long before its end.
const MARGIN_MS: i64 = 3_000;

/// From change to change. With [`CHURN_CARDS`] cards in turn each has 20 s of peace, ten times the grace.
const INTERVAL_MS: i64 = 500;

/// Half of the swipes are of cards that changed in the last second, so that lag is seen finely; the other half are
/// of cards from a little before their change until the grace is surely over.
const FRESH_MS: (i64, i64) = (0, 1_000);
const NEAR_MS: (i64, i64) = (1_000, 3_500);

/// How long after the table acknowledged a change the old answer is still accepted: the contract's "within 2 s".
pub const GRACE_MS: i64 = 2_000;

/// The daemon reads its clock once a page and looks cards up a little later.
const CLOCK_SLACK_MS: i64 = 100;

impl CardState {
    /// The answer to a swipe of a card that is otherwise in order.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Issued => Reason::Granted,
            Self::Revoked => Reason::CredentialRevoked,
            Self::Lost => Reason::CredentialLost,
            Self::Unissued => Reason::CredentialUnassigned,
            Self::Deleted => Reason::CredentialNotFound,
        }
    }
}

/// What a churn card is after `changes` changes: withdrawn and issued again, deleted and issued again, or first
/// issued from the pool.
pub fn state_after(card: u16, changes: usize) -> CardState {
    use CardState::{Deleted, Issued, Lost, Revoked, Unissued};
    let life = match card % 4 {
        0 | 1 => [Issued, Revoked, Issued, Lost],
        2 => [Issued, Deleted, Issued, Revoked],
        _ => [Unissued, Issued, Revoked, Issued],
    };
    life[changes % life.len()]
}

/// When which card changes, in a run of a given length: change `j` is of card `j` modulo their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timetable {
    changes: usize,
}

impl Timetable {
    /// The changes of a run of that many milliseconds.
    pub fn new(run_ms: i64) -> Self {
        let room = run_ms - 2 * MARGIN_MS;
        Self {
            changes: if room < 0 {
                0
            } else {
                (room / INTERVAL_MS) as usize + 1
            },
        }
    }

    /// The changes in order: offset from the start in ms, card, new state.
    pub fn changes(&self) -> impl Iterator<Item = (i64, u16, CardState)> + use<> {
        (0..self.changes).map(|change| {
            let card = (change % CHURN_CARDS) as u16;
            (
                Self::at(change),
                card,
                state_after(card, change / CHURN_CARDS + 1),
            )
        })
    }

    fn at(change: usize) -> i64 {
        MARGIN_MS + change as i64 * INTERVAL_MS
    }

    /// A card to swipe then: one that changes about then; any, when none does.
    pub fn card_at(&self, offset_ms: i64, draw: &mut fastrand::Rng) -> u16 {
        let (before, after) = if draw.bool() { FRESH_MS } else { NEAR_MS };
        let number = |ms: i64| {
            ((ms - MARGIN_MS).div_euclid(INTERVAL_MS) + 1).clamp(0, self.changes as i64) as usize
        };
        let near = number(offset_ms - after)..number(offset_ms + before);
        let number = if near.is_empty() {
            draw.usize(..CHURN_CARDS)
        } else {
            draw.usize(near)
        };
        (number % CHURN_CARDS) as u16
    }
}

/// A change that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Number of the churn card.
    pub card: u16,
    /// What it became.
    pub state: CardState,
    /// When the write was sent: Unix epoch ms.
    pub began_ms: i64,
    /// When the table acknowledged it; none when it never did, and so may or may not have happened.
    pub acked_ms: Option<i64>,
}

/// One answer to a swipe of a churn card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChurnAnswer {
    /// The swipe.
    pub k: u64,
    /// Number of the card.
    pub card: u16,
    /// The answer.
    pub reason: Reason,
    /// When it was decided: Unix epoch ms.
    pub decided_at_ms: i64,
}

/// Whether `answer` fits what its card was when it was decided; `changes` in the order in which they were written.
pub fn fits(changes: &[Change], answer: &ChurnAnswer) -> bool {
    let at = answer.decided_at_ms;
    let mut states = vec![(state_after(answer.card, 0), i64::MIN)];
    let mine = changes.iter().filter(|change| change.card == answer.card);
    let mut over = vec![];
    for change in mine {
        states.push((change.state, change.began_ms - CLOCK_SLACK_MS));
        over.push(change.acked_ms.map_or(i64::MAX, |acked| acked + GRACE_MS));
    }
    over.push(i64::MAX);
    states.iter().zip(over).any(|((state, from), over)| {
        (*from..=over).contains(&at) && state.reason() == answer.reason
    })
}

/// For each change from a grant to a denial: how long after its acknowledgement the first denial was decided, in
/// ms (0 when it came before the acknowledgement); nothing where no swipe showed it.
pub fn revocation_lags_ms(changes: &[Change], answers: &[ChurnAnswer]) -> Vec<i64> {
    let mut lags = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let (Some(acked), false) = (change.acked_ms, change.state == CardState::Issued) else {
            continue;
        };
        let until = changes[index + 1..]
            .iter()
            .find(|later| later.card == change.card)
            .map_or(i64::MAX, |later| later.began_ms);
        let first = answers
            .iter()
            .filter(|answer| answer.card == change.card && answer.reason == change.state.reason())
            .map(|answer| answer.decided_at_ms)
            .filter(|at| (change.began_ms - CLOCK_SLACK_MS..until).contains(at))
            .min();
        lags.extend(first.map(|at| (at - acked).max(0)));
    }
    lags.sort_unstable();
    lags
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGES: [Change; 2] = [
        Change {
            card: 0,
            state: CardState::Revoked,
            began_ms: 10_000,
            acked_ms: Some(10_010),
        },
        Change {
            card: 0,
            state: CardState::Issued,
            began_ms: 30_000,
            acked_ms: Some(30_010),
        },
    ];

    fn answer(reason: Reason, decided_at_ms: i64) -> ChurnAnswer {
        ChurnAnswer {
            k: 0,
            card: 0,
            reason,
            decided_at_ms,
        }
    }

    #[track_caller]
    fn check(at: i64, granted: bool, revoked: bool) {
        assert_eq!(
            fits(&CHANGES, &answer(Reason::Granted, at)),
            granted,
            "grant at {at}"
        );
        assert_eq!(
            fits(&CHANGES, &answer(Reason::CredentialRevoked, at)),
            revoked,
            "deny at {at}"
        );
    }

    #[test]
    fn the_old_answer_fits_until_the_grace_is_over_and_the_new_one_from_the_write_on() {
        check(5_000, true, false);
        check(10_005, true, true);
        check(12_010, true, true);
        check(12_011, false, true);
        check(29_000, false, true);
        check(30_005, true, true);
        check(32_011, true, false);
    }

    #[test]
    fn a_change_that_was_never_acknowledged_may_have_happened_or_not() {
        let changes = [Change {
            acked_ms: None,
            ..CHANGES[0]
        }];
        assert!(fits(&changes, &answer(Reason::Granted, 99_000)));
        assert!(fits(&changes, &answer(Reason::CredentialRevoked, 99_000)));
        assert!(!fits(&changes, &answer(Reason::CredentialLost, 99_000)));
    }

    #[test]
    fn lag_counts_from_the_acknowledgement_to_the_first_denial() {
        let answers = [
            answer(Reason::Granted, 10_200),
            answer(Reason::CredentialRevoked, 10_310),
            answer(Reason::CredentialRevoked, 10_290),
            answer(Reason::Granted, 30_400),
        ];
        assert_eq!(revocation_lags_ms(&CHANGES, &answers), [280]);
        assert_eq!(revocation_lags_ms(&CHANGES, &answers[..1]), [0; 0]);
    }

    #[test]
    fn churn_cards_are_swiped_about_the_time_of_their_change() {
        let timetable = Timetable::new(60_000);
        let mut draw = fastrand::Rng::with_seed(5);
        for (at, card, _) in timetable.changes() {
            let swiped = (0..200).any(|_| timetable.card_at(at + 100, &mut draw) == card);
            assert!(swiped, "card {card} at {at}");
        }
        assert_eq!(Timetable::new(5_000).changes().count(), 0);
        assert!(usize::from(Timetable::new(5_000).card_at(100, &mut draw)) < CHURN_CARDS);
    }
}
