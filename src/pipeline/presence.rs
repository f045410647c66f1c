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

use std::{collections::BTreeSet, sync::Arc};

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

use memory::Memories;

/// Where the cards of one shard are.
#[derive(Debug, Default)]
pub struct Presences {
    memory: Memories,
    /// What changed since it was stored last.
    moves: Vec<Move>,
}

impl Presences {
    /// The groups of `passage` of which nothing is remembered for `card`, not even that it was never there.
    pub fn missing<'a>(
        &'a self,
        card: &str,
        passage: Passage<'a>,
    ) -> impl Iterator<Item = &'a Arc<str>> {
        let known = self.memory.of(card);
        let remembered = move |group: &Arc<str>| {
            known.is_some_and(|known| known.iter().any(|(name, _)| name == group))
        };
        let groups = passage.from.into_iter().chain(passage.to);
        let groups = groups.map(|area| &area.group);
        groups.filter(move |group| !remembered(group))
    }

    /// Whether where the card of each ruling is, is remembered.
    pub fn knows(&self, decisions: &[Decision<'_>], rulings: &[Ruling], book: &Rulebook) -> bool {
        decisions.iter().zip(rulings).all(|(decision, ruling)| {
            let point = ruling.memory.and_then(|memory| book.point(memory.point));
            point.is_none_or(|point| {
                let passage = book.passage(point);
                self.missing(&decision.swipe.card_id, passage)
                    .next()
                    .is_none()
            })
        })
    }

    /// The cards and groups of these swipes that the table has to be asked about, each once.
    pub fn unknown(
        &self,
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

    /// The table was asked about `card` in `group`.
    pub fn learn(&mut self, card: &str, group: &Arc<str>, presence: Option<Presence>) {
        self.memory.set(card, group, presence);
    }

    /// Takes what changed since the last call, the last state of each card and group.
    pub fn take_moves(&mut self) -> Vec<Move> {
        let mut moves = std::mem::take(&mut self.moves);
        // The last one of a card and group is what counts, and a key may stand once in a write.
        let mut seen = BTreeSet::new();
        moves.reverse();
        moves.retain(|moved| seen.insert((moved.card.clone(), Arc::clone(&moved.group))));
        moves
    }

    /// What is answered to `swipe` after rules 21 and 24; a grant moves the card.
    pub fn settle(
        &mut self,
        swipe: &Swipe<'_>,
        ruling: &Ruling,
        book: &Rulebook,
        occupancy: &Occupancy,
    ) -> Verdict {
        let Some(memory) = ruling.memory else {
            return ruling.verdict;
        };
        let Some(point) = book.point(memory.point) else {
            return ruling.verdict;
        };
        let passage = book.passage(point);
        let verdict = match memory.reached {
            true => self.verdict(
                swipe,
                ruling.verdict,
                &memory,
                (point, passage),
                book,
                occupancy,
            ),
            false => ruling.verdict,
        };
        self.follow(swipe, verdict, passage, book, occupancy);
        verdict
    }

    /// A swipe that was answered before: its card moved then, if it was granted. Changes nothing that is newer.
    pub fn repeated(
        &mut self,
        swipe: &Swipe<'_>,
        answer: &Answer,
        ruling: &Ruling,
        book: &Rulebook,
        occupancy: &Occupancy,
    ) {
        let point = ruling.memory.and_then(|memory| book.point(memory.point));
        if let Some(point) = point {
            self.follow(swipe, answer.verdict, book.passage(point), book, occupancy);
        }
    }

    fn verdict(
        &self,
        swipe: &Swipe<'_>,
        verdict: Verdict,
        memory: &Memory,
        (point, passage): (&Point, Passage<'_>),
        book: &Rulebook,
        occupancy: &Occupancy,
    ) -> Verdict {
        let exempt = |what| memory.exemptions.contains(what);
        let violated = match exempt(Exemptions::PASSBACK) {
            true => PassbackMode::Off,
            false => self.violated(swipe, memory, passage, book),
        };
        let full = passage.to.filter(|to| {
            let inside = passage.from.is_some_and(|from| from.is_within(&to.id));
            let limit = i64::from(to.occupancy_upper);
            limit > 0
                && !inside
                && !exempt(Exemptions::OCCUPANCY)
                && occupancy.count(&to.id) >= limit
        });
        let denied = match (violated, full) {
            (PassbackMode::Hard, _) => Some(Reason::AntiPassbackViolation),
            (_, Some(_)) => Some(Reason::OccupancyLimit),
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
    fn violated(
        &self,
        swipe: &Swipe<'_>,
        memory: &Memory,
        Passage { from, to }: Passage<'_>,
        book: &Rulebook,
    ) -> PassbackMode {
        let known = |area: &AreaRules| {
            let presence = self.memory.presence(&swipe.card_id, &area.group)?;
            let age_ms = swipe.swiped_at_ms.saturating_sub(presence.at_ms);
            let timeout = area.passback_timeout_ms;
            let counts = age_ms >= 0
                && (timeout == 0 || age_ms < timeout)
                && presence.at_ms >= memory.forgiven_ms;
            counts.then_some(&presence.place)
        };
        let is_in = |place: &Place, area: &AreaRules| match place {
            Place::Outside => false,
            Place::Inside(id) => match book.area(id) {
                Some(inner) => inner.is_within(&area.id),
                None => *id == area.id,
            },
        };
        let comes_out = |to: &AreaRules| from.is_some_and(|from| from.is_within(&to.id));
        let again =
            to.filter(|to| !comes_out(to) && known(to).is_some_and(|place| is_in(place, to)));
        let not_there = from.filter(|from| known(from).is_some_and(|place| !is_in(place, from)));
        let modes = again.into_iter().chain(not_there).map(|area| area.passback);
        modes.max_by_key(|mode| *mode as u8).unwrap_or_default()
    }

    /// What a grant changes.
    fn follow(
        &mut self,
        swipe: &Swipe<'_>,
        verdict: Verdict,
        Passage { from, to }: Passage<'_>,
        book: &Rulebook,
        occupancy: &Occupancy,
    ) {
        if verdict.reason.outcome() != Outcome::Grant {
            return;
        }
        let entered = to.map(|to| (&to.group, Place::Inside(Arc::clone(&to.id))));
        // Whoever enters an inner area stays in the outer one.
        let left = from
            .filter(|from| to.is_none_or(|to| to.group != from.group && !to.is_within(&from.id)));
        let left = left.map(|from| (&from.group, Place::Outside));
        for (group, place) in entered.into_iter().chain(left) {
            let before = self.memory.presence(&swipe.card_id, group);
            if before.is_some_and(|before| before.at_ms > swipe.swiped_at_ms) {
                continue;
            }
            let was = before.map(|before| before.place.clone());
            if before
                .is_some_and(|before| before.at_ms == swipe.swiped_at_ms && before.place == place)
            {
                continue;
            }
            occupancy.moved(was.as_ref(), &place, book);
            let presence = Presence {
                place,
                at_ms: swipe.swiped_at_ms,
            };
            self.moves.push(Move {
                card: Box::from(&*swipe.card_id),
                group: Arc::clone(group),
                presence: presence.clone(),
                access_point: Box::from(&*swipe.access_point),
                decision_id: format!("{}#{}", swipe.device_id, swipe.device_seq),
            });
            self.memory.set(&swipe.card_id, group, Some(presence));
        }
    }
}

#[cfg(test)]
mod tests;
