//! The answers a shard gave lately, so that a swipe that comes twice is answered once.
//!
//! A producer that lost a reply sends its records again, with new sequence numbers, usually within seconds. All swipes of
//! a card are on one shard, so one consumer sees both. It repeats its first answer, marked as a repeat, even if the
//! card has changed in between. What is older than this memory is found in the decision table, when there is one, by
//! the consumer that takes a shard over.
//!
//! Bounded: two generations of [`GENERATION`] swipes; the older one is dropped whole, so that the oldest answer kept
//! is always at least one generation back.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::model::{decision::Answer, swipe::Swipe};

/// Swipes of one generation: half a minute of one shard's fastest writers (1 000 records a second), in 1.3 MiB; and as many as
/// a table of 32 768 slots, seven of eight in use, holds.
const GENERATION: usize = 28_672;

/// What a swipe said, in 64 bits, beside its number in full. Two swipes with one number and one of 2^64 prints are the
/// same swipe sent twice: a retry repeats every byte. A number used again with *other* content is not a repeat.
type Print = (u64, u64);

/// Answers of the last swipes of one shard.
#[derive(Debug, Default)]
pub struct Recent {
    hasher: RandomState,
    young: Generation,
    old: Generation,
}

/// One generation: answers in the order they were given, and a table of where the answer of each print is. The table stays near
/// the processor, and the answers fill memory from one end to the other, instead of each going to a place of its own.
#[derive(Debug, Default)]
struct Generation {
    places: HashTable<u32>,
    answers: Vec<(Print, Answer, Known)>,
}

impl Generation {
    fn find(&mut self, hash: u64, print: Print) -> Option<(&Answer, &mut Known)> {
        let is_it = |place: &u32| self.answers[*place as usize].0 == print;
        let place = *self.places.find(hash, is_it)?;
        let (_, answer, known) = &mut self.answers[place as usize];
        Some((answer, known))
    }
}

/// Whether a swipe had an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// None: it has one now.
    New,
    /// One that was given here.
    Given,
    /// One that was given elsewhere and learnt of; told once.
    Learnt,
}

impl Recent {
    /// The answer that `swipe` already has; or else the one `decide` gives, from now on remembered.
    pub fn answer(
        &mut self,
        swipe: &Swipe<'_>,
        decide: impl FnOnce() -> Answer,
    ) -> (Answer, Known) {
        let print = self.print(swipe);
        let hash = self.hasher.hash_one(print);
        let known = self.young.find(hash, print);
        if let Some((answer, known)) = known.or_else(|| self.old.find(hash, print)) {
            return (*answer, std::mem::replace(known, Known::Given));
        }
        let answer = decide();
        self.insert(hash, print, answer, Known::Given);
        (answer, Known::New)
    }

    /// From now on `swipe` has this answer, which was given elsewhere, whatever it had.
    pub fn learn(&mut self, swipe: &Swipe<'_>, answer: Answer) {
        let print = self.print(swipe);
        let hash = self.hasher.hash_one(print);
        let Generation { places, answers } = &mut self.young;
        let is_it = |place: &u32| answers[*place as usize].0 == print;
        match places.find(hash, is_it) {
            Some(place) => answers[*place as usize] = (print, answer, Known::Learnt),
            None => self.insert(hash, print, answer, Known::Learnt),
        }
    }

    /// A print that is not in the young generation.
    fn insert(&mut self, hash: u64, print: Print, answer: Answer, known: Known) {
        if self.young.answers.len() >= GENERATION {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.places.clear();
            self.young.answers.clear();
        }
        let Generation { places, answers } = &mut self.young;
        if answers.capacity() == 0 {
            // Once, so that no page waits for them to grow.
            answers.reserve_exact(GENERATION);
            *places = HashTable::with_capacity(GENERATION);
        }
        let place = u32::try_from(answers.len()).unwrap_or(u32::MAX);
        let hash_of = |place: &u32| self.hasher.hash_one(answers[*place as usize].0);
        places.insert_unique(hash, place, hash_of);
        answers.push((print, answer, known));
    }

    fn print(&self, swipe: &Swipe<'_>) -> Print {
        let mut hasher = self.hasher.build_hasher();
        swipe.device_id.hash(&mut hasher);
        swipe.access_point.hash(&mut hasher);
        swipe.card_id.hash(&mut hasher);
        swipe.swiped_at_ms.hash(&mut hasher);
        (hasher.finish(), swipe.device_seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::{Reason, Verdict};

    fn swipe(device_seq: u64) -> Swipe<'static> {
        Swipe {
            device_id: "gate".into(),
            device_seq,
            access_point: "door".into(),
            card_id: "1".into(),
            swiped_at_ms: 1,
            direction: None,
            offline: false,
            trace_id: None,
        }
    }

    fn answer(reason: Reason, decided_at_ms: i64) -> Answer {
        Answer {
            verdict: Verdict::of(reason),
            decided_at_ms,
        }
    }

    #[test]
    fn the_first_answer_stands_when_a_swipe_comes_again() {
        let mut recent = Recent::default();
        let (first, again) = (
            answer(Reason::Granted, 5),
            answer(Reason::CredentialRevoked, 6),
        );
        assert_eq!(recent.answer(&swipe(1), || first), (first, Known::New));
        assert_eq!(recent.answer(&swipe(1), || again), (first, Known::Given));
        assert_eq!(recent.answer(&swipe(2), || again), (again, Known::New));
    }

    #[test]
    fn a_number_used_again_for_another_swipe_is_no_repeat() {
        let mut recent = Recent::default();
        let (first, other) = (
            answer(Reason::Granted, 5),
            answer(Reason::CredentialNotFound, 6),
        );
        recent.answer(&swipe(1), || first);
        let mut forged = swipe(1);
        forged.card_id = "2".into();
        assert_eq!(recent.answer(&forged, || other), (other, Known::New));
    }

    #[test]
    fn memory_is_bounded_and_holds_at_least_one_generation() {
        let mut recent = Recent::default();
        let given = answer(Reason::Granted, 5);
        for seq in 0..3 * GENERATION as u64 {
            recent.answer(&swipe(seq), || given);
            let held = [&recent.young, &recent.old].map(|each| each.answers.len());
            assert!(held.iter().all(|held| *held <= GENERATION));
        }
        let last = 3 * GENERATION as u64 - 1;
        let oldest = swipe(last - GENERATION as u64 + 1);
        let answered = recent.answer(&oldest, || unreachable!("remembered"));
        assert_eq!(answered.1, Known::Given);
        assert_eq!(recent.answer(&swipe(0), || given).1, Known::New);
    }

    #[test]
    fn an_answer_that_was_given_elsewhere_is_told_as_that_once() {
        let mut recent = Recent::default();
        let given = answer(Reason::Granted, 5);
        recent.learn(&swipe(1), given);
        for known in [Known::Learnt, Known::Given] {
            let answered = recent.answer(&swipe(1), || unreachable!("learnt"));
            assert_eq!(answered, (given, known));
        }
    }
}
