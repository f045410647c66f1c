//! The rules that need memory: 21, anti-passback, and 24, occupancy; and what a grant changes. Pure.
//!
//! All swipes of a card are on one shard, in order, so the consumer of that shard is the one owner of where its cards are.
//! What it does not remember is read from the decision table before the card's first swipe is settled; what it learns
//! is written there with the decisions. So a restart, a hand-over and a reshard know what was known before.
//!
//! A denial changes nothing; every grant moves the card, and never back in time: a swipe that is older than what is known
//! (reported late) is judged as if nothing were known, and moves nothing.
//!
//! How the contract's rule 21 is read:
//! * "already inside `AreaTo`" is judged by the mode and timeout of `AreaTo`, "not in `AreaFrom`" by those of `AreaFrom`; each
//!   only where that area has an item, and hard wins over soft.
//! * Nothing is remembered of a family of areas (by group and parent) in which none has anti-passback, a limit or `Muster`.
//! * Within a group of areas a card is in one of them or in none. Nothing known, or forgiven, violates nothing.
//! * An area lies within its `Parent`s: who is in the inner one is in the outer one, too. Coming out of an inner area is no
//!   second entry into the outer one, and fills it no further.

mod memory;
mod step;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use crate::{
    access::rulebook::{AreaRules, Passage, Rulebook},
    model::{
        decision::{Answer, Decision, Outcome, Verdict},
        presence::{Move, Place, Presence},
        swipe::Swipe,
    },
    pipeline::{decide::Ruling, occupancy::Occupancy},
};

use memory::{Known, Memories};
use step::Step;

/// Where the cards of one shard are.
#[derive(Debug, Default)]
pub struct Presences {
    memory: Memories,
    /// What changed in this part of a page, by the index of the decision that changed it.
    moves: Vec<(usize, Arc<str>, Presence)>,
}

impl Presences {
    /// Whether where the card of each ruling is, is remembered; and then it is for as long as these are settled.
    pub fn knows(
        &mut self,
        decisions: &[Decision<'_>],
        rulings: &[Ruling],
        book: &Rulebook,
    ) -> bool {
        let mut knows = true;
        for (decision, ruling) in decisions.iter().zip(rulings) {
            let point = ruling.memory.and_then(|memory| book.point(memory.point));
            knows &= point.is_none_or(|point| {
                let passage = book.passage(point);
                self.missing(&decision.swipe.card_id, passage).is_empty()
            });
        }
        knows
    }

    /// The cards and groups of these swipes that the table has to be asked about, each once.
    pub fn unknown(
        &mut self,
        decisions: &[Decision<'_>],
        book: &Rulebook,
    ) -> Vec<(Box<str>, Arc<str>)> {
        let mut unknown = BTreeSet::new();
        for swipe in decisions.iter().map(|decision| &decision.swipe) {
            let point = book.point_id(&swipe.access_point);
            let Some(point) = point.and_then(|id| book.point(id)) else {
                continue;
            };
            for group in self.missing(&swipe.card_id, book.passage(point)) {
                unknown.insert((Box::from(&*swipe.card_id), Arc::clone(group)));
            }
        }
        unknown.into_iter().collect()
    }

    /// The groups that `passage` concerns and of which nothing is remembered for `card`, not even that it was never there.
    fn missing<'a>(&mut self, card: &str, passage: Passage<'a>) -> Vec<&'a Arc<str>> {
        let known = self.memory.touch(card);
        let remembered = |group: &Arc<str>| {
            let mut known = known.iter().flat_map(|known| known.iter());
            known.any(|(name, _)| name == group)
        };
        // Nothing is allocated for an empty list.
        let groups = passage.areas().flat_map(|area| area.family());
        groups.filter(|group| !remembered(group)).collect()
    }

    /// The table was asked about `card` in `group`.
    pub fn learn(&mut self, card: &str, group: &Arc<str>, presence: Option<Presence>) {
        self.memory.set(card, group, presence);
    }

    /// Takes what changed since the last call by these decisions: the last state of each card and group.
    pub fn take_moves<'a>(&mut self, decisions: &'a [Decision<'a>]) -> Vec<Move<'a>> {
        let mut seen = HashSet::new();
        let mut last = Vec::new();
        // A key may stand once in a write.
        for (index, group, presence) in self.moves.drain(..).rev() {
            let Some(Decision { swipe, .. }) = decisions.get(index) else {
                continue;
            };
            if seen.insert((&*swipe.card_id, Arc::clone(&group))) {
                last.push(Move {
                    card: &swipe.card_id,
                    group,
                    presence,
                    access_point: &swipe.access_point,
                    device_id: &swipe.device_id,
                    device_seq: swipe.device_seq,
                });
            }
        }
        last
    }

    /// What is answered to `swipe`, the `index`th of its part, after rules 21 and 24; a grant moves the card.
    pub fn settle(
        &mut self,
        index: usize,
        swipe: &Swipe<'_>,
        ruling: &Ruling,
        book: &Rulebook,
        occupancy: &Occupancy,
    ) -> Verdict {
        let point = ruling.memory.and_then(|memory| book.point(memory.point));
        let (Some(memory), Some(point)) = (ruling.memory, point) else {
            return ruling.verdict;
        };
        let step = Step {
            index,
            swipe,
            passage: book.passage(point),
            book,
            occupancy,
        };
        let mut verdict = ruling.verdict;
        if memory.reached {
            let nothing = Known::new();
            let known = self.memory.touch(&swipe.card_id);
            verdict = step.verdict(
                verdict,
                &memory,
                point,
                known.map_or(&nothing, |known| known),
            );
        }
        self.follow(&step, verdict);
        verdict
    }

    /// A swipe that was answered elsewhere: its card moved then, if it was granted, and that may not be stored. Changes nothing
    /// that is newer.
    pub fn learnt(
        &mut self,
        index: usize,
        swipe: &Swipe<'_>,
        answer: &Answer,
        ruling: &Ruling,
        book: &Rulebook,
        occupancy: &Occupancy,
    ) {
        let point = ruling.memory.and_then(|memory| book.point(memory.point));
        if let Some(point) = point {
            let step = Step {
                index,
                swipe,
                passage: book.passage(point),
                book,
                occupancy,
            };
            self.follow(&step, answer.verdict);
        }
    }

    /// What a grant changes.
    fn follow(&mut self, step: &Step<'_>, verdict: Verdict) {
        if verdict.reason.outcome() != Outcome::Grant {
            return;
        }
        let Passage { from, to } = step.passage;
        let (card, at_ms) = (&*step.swipe.card_id, step.swipe.swiped_at_ms);
        let entered = to.map(|to| (&to.group, Place::Inside(Arc::clone(&to.id))));
        // Whoever enters an inner area stays in the outer one.
        let left = from
            .filter(|from| to.is_none_or(|to| to.group != from.group && !to.is_within(&from.id)));
        let left = left.map(|from| (&from.group, Place::Outside));
        let is_counted = step.passage.areas().any(|area| area.is_counted);
        let was = is_counted.then(|| self.inside(card, step.book));
        for (group, place) in entered.into_iter().chain(left) {
            let now = Presence { place, at_ms };
            let before = self.memory.touch(card);
            let before = before.and_then(|known| memory::presence(known, group));
            if before.is_some_and(|before| before.at_ms > at_ms || *before == now) {
                continue;
            }
            self.moves
                .push((step.index, Arc::clone(group), now.clone()));
            self.memory.set(card, group, Some(now));
        }
        if let Some(was) = was {
            step.occupancy.moved(&was, &self.inside(card, step.book));
        }
    }

    /// Every area that the card is in, each once: the inner ones and those that they lie within.
    fn inside(&mut self, card: &str, book: &Rulebook) -> Vec<Arc<str>> {
        let mut inside: Vec<Arc<str>> = Vec::new();
        let known = self.memory.touch(card);
        for (_, presence) in known.iter().flat_map(|known| known.iter()) {
            let Some(Presence {
                place: Place::Inside(id),
                ..
            }) = presence
            else {
                continue;
            };
            let within = book
                .area(id)
                .map_or(std::slice::from_ref(id), AreaRules::within);
            for area in within {
                if !inside.contains(area) {
                    inside.push(Arc::clone(area));
                }
            }
        }
        inside
    }
}

#[cfg(test)]
mod tests;
