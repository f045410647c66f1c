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
mod tally;

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    access::rulebook::{AreaRules, Passage, Rulebook},
    model::{
        decision::{Answer, Decision, Outcome, Verdict},
        presence::{Move, Place, Presence},
        swipe::Swipe,
    },
    pipeline::{decide::Ruling, occupancy::Occupancy},
};

use memory::{Memories, NONE};
use step::Step;
use tally::Tally;

/// Where the cards of one shard are.
#[derive(Debug, Default)]
pub struct Presences {
    memory: Memories,
    /// What changed in this part of a page: the index of the decision that changed it, the slot of its card, and which of its
    /// groups.
    moves: Vec<(usize, u32, u32)>,
    /// The number of this part.
    part: u32,
    tally: Tally,
    /// The slots of the cards of the run that is being settled, and the index of its first decision.
    run: Vec<u32>,
    first: usize,
}

impl Presences {
    /// Whether where the card of each ruling is, is remembered; `first` is the index of the first of these decisions. The
    /// look-ups, each of which goes to memory, wait together.
    pub fn knows(
        &mut self,
        first: usize,
        decisions: &[Decision<'_>],
        rulings: &[Ruling],
        book: &Rulebook,
    ) -> bool {
        self.first = first;
        self.run.clear();
        for (decision, ruling) in decisions.iter().zip(rulings) {
            let slot = ruling
                .memory
                .and_then(|_| self.memory.find(&decision.swipe.card_id));
            self.run.push(slot.unwrap_or(NONE));
        }
        // Nothing but loads, so that the slots of a run come from memory side by side; what follows then finds them near.
        self.memory.touch(&self.run);
        let mut slots = self.run.iter().zip(rulings);
        slots.all(|(slot, ruling)| {
            let Some(point) = ruling.memory.and_then(|memory| book.point(memory.point)) else {
                return true;
            };
            let Passage { from, to } = book.passage(point);
            let knows = |area: Option<&AreaRules>| {
                area.is_none_or(|area| {
                    *slot != NONE && {
                        let known = self.memory.at(*slot);
                        area.family().iter().all(|group| known.knows(group))
                    }
                })
            };
            knows(from) && knows(to)
        })
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
        let slot = self.memory.find(card);
        let known = slot.map(|slot| self.memory.at(slot));
        let mut missing = Vec::new();
        for group in passage.areas().flat_map(|area| area.family()) {
            if !known.is_some_and(|known| known.knows(group)) {
                missing.push(group);
            }
        }
        missing
    }

    /// The table was asked about `card` in `group`.
    pub fn learn(&mut self, card: &str, group: &Arc<str>, presence: Option<Presence>) {
        let slot = self.memory.slot(card);
        self.memory.known(slot).set(group, presence);
    }

    /// What changed in this part of a page by these decisions: the last state of each card and group.
    pub fn moves<'a>(&'a self, decisions: &'a [Decision<'a>]) -> impl Iterator<Item = Move<'a>> {
        // Where the shard has to stop, the decisions behind that place are gone.
        self.moves.iter().filter_map(|(index, slot, group)| {
            let Decision { swipe, .. } = decisions.get(*index)?;
            let entry = self.memory.at(*slot).at(*group)?;
            Some(Move {
                swipe,
                group: &entry.group,
                place: &entry.presence.as_ref()?.place,
            })
        })
    }

    /// Ends a part of a page whose moves are stored: tells the others how many cards are where, and forgets the cards that were
    /// seen longest ago when there are too many.
    pub fn end_part(&mut self, occupancy: &Occupancy) {
        self.moves.clear();
        self.run.clear();
        self.part = self.part.wrapping_add(1);
        self.tally.tell(occupancy);
        self.memory.turn();
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
        let Some((memory, point, step)) = Step::of(index, swipe, ruling, book, occupancy) else {
            return ruling.verdict;
        };
        let slot = self.slot(&step);
        let mut verdict = ruling.verdict;
        if memory.reached {
            let known = self.memory.known(slot);
            verdict = step.verdict(verdict, &memory, point, known, &mut self.tally);
        }
        self.follow(slot, &step, verdict);
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
        if let Some((_, _, step)) = Step::of(index, swipe, ruling, book, occupancy) {
            let slot = self.slot(&step);
            self.follow(slot, &step, answer.verdict);
        }
    }

    /// The slot of the card: found when its run was looked up, or else now.
    fn slot(&mut self, step: &Step<'_>) -> u32 {
        let found = step.index.checked_sub(self.first);
        let found = found.and_then(|at| self.run.get(at).copied());
        match found.filter(|slot| *slot != NONE) {
            Some(slot) => slot,
            None => self.memory.slot(&step.swipe.card_id),
        }
    }

    /// What a grant changes.
    fn follow(&mut self, slot: u32, step: &Step<'_>, verdict: Verdict) {
        if verdict.reason.outcome() != Outcome::Grant {
            return;
        }
        let Passage { from, to } = step.passage;
        let entered = to.map(|to| (&to.group, Place::Inside(Arc::clone(&to.id))));
        // Whoever enters an inner area stays in the outer one.
        let left = from
            .filter(|from| to.is_none_or(|to| to.group != from.group && !to.is_within(&from.id)));
        let left = left.map(|from| (&from.group, Place::Outside));
        let is_counted = step.passage.areas().any(|area| area.is_counted);
        let known = self.memory.known(slot);
        let was = is_counted.then(|| step.inside(known));
        let at_ms = step.swipe.swiped_at_ms;
        for (group, place) in entered.into_iter().chain(left) {
            let before = known.presence(group);
            let stays = |before: &Presence| {
                before.at_ms > at_ms || (before.at_ms == at_ms && before.place == place)
            };
            if before.is_some_and(stays) {
                continue;
            }
            let (number, entry) = known.set(group, Some(Presence { place, at_ms }));
            let (part, at) = entry.moved;
            // A key may stand once in a write: the last move of a card in a group.
            match self.moves.get_mut(at as usize) {
                Some((index, ..)) if part == self.part => *index = step.index,
                _ => {
                    let at = u32::try_from(self.moves.len()).unwrap_or(NONE);
                    entry.moved = (self.part, at);
                    self.moves.push((step.index, slot, number));
                }
            }
        }
        if let Some(was) = was {
            let is = step.inside(known);
            self.tally.moved(&was, &is, step.occupancy);
        }
    }
}

#[cfg(test)]
mod tests;
