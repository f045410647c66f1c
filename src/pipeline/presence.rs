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

mod areas;
mod memory;
mod step;
mod tally;

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    access::rulebook::{Passage, Point, Rulebook},
    model::{
        decision::{Answer, Decision, Outcome, Verdict},
        presence::{Move, Presence},
        swipe::Swipe,
    },
    pipeline::{decide::Ruling, occupancy::Occupancy},
};

use areas::{Area, Areas, Names, OUTSIDE};
use memory::{Known, Memories, NONE};
use step::Step;
use tally::Tally;

/// Names that are kept at least, some megabytes; an area has two, its own and its group's. Where there are four times more than
/// that, areas are named anew without end, and what is remembered is read from the table again.
const NAMES_MIN: usize = 65_536;

/// A card that moved within a group of areas, for the last time in its part of a page: by which of the part's decisions, and
/// where it is now.
#[derive(Clone, Copy, Debug)]
struct Moved {
    index: usize,
    group: u32,
    place: u32,
}

/// Where the cards of one shard are.
#[derive(Debug, Default)]
pub struct Presences {
    names: Names,
    areas: Areas,
    memory: Memories,
    /// What changed in this part of a page.
    moves: Vec<Moved>,
    /// The number of this part.
    part: u32,
    tally: Tally,
    /// The slots of the cards of the run that is being settled, and the index of its first decision.
    run: Vec<u32>,
    first: usize,
}

impl Presences {
    /// Whether where the card of each ruling is, is remembered; `first` is the index of the first of these decisions.
    pub fn knows(
        &mut self,
        first: usize,
        decisions: &[Decision<'_>],
        rulings: &[Ruling],
        book: &Rulebook,
    ) -> bool {
        self.areas.follow(book, &mut self.names);
        self.first = first;
        let cards = decisions.iter().zip(rulings);
        let cards = cards.map(|(decision, ruling)| ruling.memory.map(|_| &*decision.swipe.card_id));
        self.memory.find_run(cards, &mut self.run);
        let mut slots = self.run.iter().zip(rulings);
        slots.all(|(slot, ruling)| {
            let Some(point) = ruling.memory.and_then(|memory| book.point(memory.point)) else {
                return true;
            };
            let mut areas = self.areas.passage(point).areas();
            areas.all(|area| {
                *slot != NONE && {
                    let known = self.memory.at(*slot);
                    area.family.iter().all(|group| known.knows(*group))
                }
            })
        })
    }

    /// The cards and groups of these swipes that the table has to be asked about, each once.
    pub fn unknown(
        &mut self,
        decisions: &[Decision<'_>],
        book: &Rulebook,
    ) -> Vec<(Box<str>, Arc<str>)> {
        self.areas.follow(book, &mut self.names);
        let mut unknown = BTreeSet::new();
        for swipe in decisions.iter().map(|decision| &decision.swipe) {
            let point = book.point_id(&swipe.access_point);
            let Some(point) = point.and_then(|id| book.point(id)) else {
                continue;
            };
            for group in self.missing(&swipe.card_id, point) {
                unknown.insert((Box::from(&*swipe.card_id), group));
            }
        }
        unknown.into_iter().collect()
    }

    /// The groups that a passage of `point` concerns and of which nothing is remembered for `card`, not even that it was never
    /// there.
    fn missing(&mut self, card: &str, point: &Point) -> Vec<Arc<str>> {
        let slot = self.memory.find(card);
        let known = slot.map(|slot| self.memory.at(slot));
        let mut missing = Vec::new();
        let areas = self.areas.passage(point).areas();
        for group in areas.flat_map(|area| &area.family) {
            if !known.is_some_and(|known| known.knows(*group)) {
                missing.extend(self.names.name(*group).cloned());
            }
        }
        missing
    }

    /// The table was asked about `card` in `group`.
    pub fn learn(&mut self, card: &str, group: &Arc<str>, presence: Option<Presence>) {
        let slot = self.memory.slot(card);
        let group = self.names.number(group);
        let entry = self.memory.known(slot).entry_mut(group);
        entry.place = NONE;
        if let Some(Presence { place, at_ms }) = presence {
            entry.place = self.names.place_number(&place);
            entry.at_ms = at_ms;
        }
    }

    /// What changed in this part of a page by these decisions: the last state of each card and group.
    pub fn moves<'a>(&'a self, decisions: &'a [Decision<'a>]) -> impl Iterator<Item = Move<'a>> {
        // Where the shard has to stop, the decisions behind that place are gone.
        self.moves.iter().filter_map(|moved| {
            let Decision { swipe, .. } = decisions.get(moved.index)?;
            Some(Move {
                swipe,
                group: self.names.name(moved.group)?,
                place: self.names.place(moved.place)?,
            })
        })
    }

    /// Ends a part of a page whose moves are stored: tells the others how many cards are where, and forgets the cards that were
    /// seen longest ago when there are too many.
    pub fn end_part(&mut self, occupancy: &Occupancy) {
        self.moves.clear();
        self.run.clear();
        self.part = self.part.wrapping_add(1);
        self.tally.tell(&self.names, occupancy);
        self.memory.turn();
        if self.names.len() > NAMES_MIN.max(8 * self.areas.len()) {
            *self = Self {
                part: self.part,
                ..Self::default()
            };
        }
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
        self.areas.follow(book, &mut self.names);
        let areas = (&self.areas, &self.names);
        let step = Step::of(index, swipe, ruling, book, areas, occupancy);
        let Some((memory, point, step)) = step else {
            return ruling.verdict;
        };
        let slot = slot(&mut self.memory, &self.run, self.first, &step);
        let mut verdict = ruling.verdict;
        if memory.reached {
            let known = self.memory.known(slot);
            verdict = step.verdict(verdict, &memory, point, known, &mut self.tally);
        }
        let known = self.memory.known(slot);
        let moves = (&mut self.moves, self.part);
        follow(known, &step, verdict, moves, &mut self.tally);
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
        self.areas.follow(book, &mut self.names);
        let areas = (&self.areas, &self.names);
        if let Some((_, _, step)) = Step::of(index, swipe, ruling, book, areas, occupancy) {
            let slot = slot(&mut self.memory, &self.run, self.first, &step);
            let known = self.memory.known(slot);
            let moves = (&mut self.moves, self.part);
            follow(known, &step, answer.verdict, moves, &mut self.tally);
        }
    }
}

/// The slot of the card: found when its run was looked up, or else now.
fn slot(memory: &mut Memories, run: &[u32], first: usize, step: &Step<'_>) -> u32 {
    let found = step.index.checked_sub(first);
    let found = found.and_then(|at| run.get(at).copied());
    match found.filter(|slot| *slot != NONE) {
        Some(slot) => slot,
        None => memory.slot(&step.swipe.card_id),
    }
}

/// What a grant changes in what is `known` of its card, in the list of moves of this part, and in the counts.
fn follow(
    known: &mut Known,
    step: &Step<'_>,
    verdict: Verdict,
    (moves, part): (&mut Vec<Moved>, u32),
    tally: &mut Tally,
) {
    if verdict.reason.outcome() != Outcome::Grant {
        return;
    }
    let Passage { from, to } = step.passage;
    // Whoever enters an inner area stays in the outer one.
    let stays_in =
        |from: &Area| to.is_some_and(|to| to.group == from.group || to.is_within(from.id));
    let left = from.filter(|from| !stays_in(from));
    let entered = to.map(|to| (to.group, to.id));
    let left = left.map(|from| (from.group, OUTSIDE));
    let is_counted = step.passage.areas().any(|area| area.is_counted);
    let was = is_counted.then(|| step.inside(known));
    let at_ms = step.swipe.swiped_at_ms;
    for (group, place) in entered.into_iter().chain(left) {
        let entry = known.entry_mut(group);
        let is_known = entry.place != NONE;
        if is_known && (entry.at_ms > at_ms || (entry.at_ms == at_ms && entry.place == place)) {
            continue;
        }
        (entry.place, entry.at_ms) = (place, at_ms);
        let last = Moved {
            index: step.index,
            group,
            place,
        };
        let (moved, at) = entry.moved;
        // A key may stand once in a write: the last move of a card in a group.
        match moves.get_mut(at as usize) {
            Some(earlier) if moved == part => *earlier = last,
            _ => {
                entry.moved = (part, u32::try_from(moves.len()).unwrap_or(NONE));
                moves.push(last);
            }
        }
    }
    if let Some(was) = was {
        tally.moved(&was, &step.inside(known), step.names, step.occupancy);
    }
}

#[cfg(test)]
mod tests;
