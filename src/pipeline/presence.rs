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
//! * Nothing is remembered of a group of areas in which no area has anti-passback, a limit or `Muster`.
//! * Within a group of areas a card is in one of them or in none. Nothing known, or forgiven, violates nothing.
//! * An area lies within its `Parent`s: who is in the inner one is in the outer one, too. Coming out of an inner area is no
//!   second entry into the outer one, and fills it no further.

mod memory;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use crate::{
    access::rulebook::{AreaRules, Passage, Point, Rulebook},
    model::{
        card::Exemptions,
        decision::{Answer, Decision, Outcome, Reason, Verdict},
        door::{Egress, PassbackMode},
        presence::{Move, Place, Presence},
        swipe::{Direction, Swipe},
    },
    pipeline::{
        decide::{Memory, Ruling, always_allowed},
        occupancy::Occupancy,
    },
};

use memory::{Known, Memories};

/// Where the cards of one shard are.
#[derive(Debug, Default)]
pub struct Presences {
    memory: Memories,
    /// What changed in this part of a page, by the index of the decision that changed it.
    moves: Vec<(usize, Arc<str>, Presence)>,
}

/// A swipe, its index in its part of a page, and what the rules go on with.
struct Step<'a> {
    index: usize,
    swipe: &'a Swipe<'a>,
    passage: Passage<'a>,
    book: &'a Rulebook,
    occupancy: &'a Occupancy,
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

    /// The groups of `passage` of which nothing is remembered for `card`, not even that it was never there.
    fn missing<'a>(&mut self, card: &str, passage: Passage<'a>) -> Vec<&'a Arc<str>> {
        let known = self.memory.touch(card);
        let remembered = |group: &Arc<str>| {
            let mut known = known.iter().flat_map(|known| known.iter());
            known.any(|(name, _)| name == group)
        };
        // Nothing is allocated for an empty list.
        let groups = passage.areas().map(|area| &area.group);
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

    /// A swipe that was answered before: its card moved then, if it was granted. Changes nothing that is newer.
    pub fn repeated(
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
        for (group, place) in entered.into_iter().chain(left) {
            let now = Presence { place, at_ms };
            let before = self.memory.touch(card);
            let before = before.and_then(|known| memory::presence(known, group));
            if before.is_some_and(|before| before.at_ms > at_ms || *before == now) {
                continue;
            }
            let was = before.map(|before| &before.place);
            step.occupancy.moved(was, &now.place, step.book);
            self.moves
                .push((step.index, Arc::clone(group), now.clone()));
            self.memory.set(card, group, Some(now));
        }
    }
}

impl Step<'_> {
    fn verdict(&self, verdict: Verdict, memory: &Memory, point: &Point, known: &Known) -> Verdict {
        let Passage { from, to } = self.passage;
        let exempt = |what| memory.exemptions.contains(what);
        let violated = match exempt(Exemptions::PASSBACK) {
            true => PassbackMode::Off,
            false => self.violated(memory, known),
        };
        let full = to.is_some_and(|to| {
            let inside = from.is_some_and(|from| from.is_within(&to.id));
            let limit = i64::from(to.occupancy_upper);
            let limited = limit > 0 && !inside && !exempt(Exemptions::OCCUPANCY);
            limited && self.occupancy.count(&to.id) >= limit
        });
        let denied = match violated {
            PassbackMode::Hard => Some(Reason::AntiPassbackViolation),
            _ if full => Some(Reason::OccupancyLimit),
            _ => None,
        };
        let open = point.direction == Direction::Out && point.egress == Egress::AlwaysAllow;
        let verdict = match denied {
            None => verdict,
            Some(reason) if open => always_allowed(reason),
            Some(reason) => Verdict::of(reason),
        };
        Verdict {
            soft_apb: violated == PassbackMode::Soft,
            ..verdict
        }
    }

    /// Rule 21: the strictest mode that is violated.
    fn violated(&self, memory: &Memory, known: &Known) -> PassbackMode {
        let Passage { from, to } = self.passage;
        let place = |area: &AreaRules| {
            let presence = memory::presence(known, &area.group)?;
            let age_ms = self.swipe.swiped_at_ms.saturating_sub(presence.at_ms);
            let timeout = area.passback_timeout_ms;
            let counts = age_ms >= 0
                && (timeout == 0 || age_ms < timeout)
                && presence.at_ms >= memory.forgiven_ms;
            counts.then_some(&presence.place)
        };
        let is_in = |place: &Place, area: &AreaRules| match place {
            Place::Outside => false,
            Place::Inside(id) if *id == area.id => true,
            Place::Inside(id) => self
                .book
                .area(id)
                .is_some_and(|inner| inner.is_within(&area.id)),
        };
        let comes_out = |to: &AreaRules| from.is_some_and(|from| from.is_within(&to.id));
        let again =
            to.filter(|to| !comes_out(to) && place(to).is_some_and(|place| is_in(place, to)));
        let not_there = from.filter(|from| place(from).is_some_and(|place| !is_in(place, from)));
        let modes = again.into_iter().chain(not_there).map(|area| area.passback);
        modes.max_by_key(|mode| *mode as u8).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
