//! Rules 21 and 24, asked of one swipe by what is known of its card.

use std::{borrow::Cow, sync::Arc};

use super::{memory::Known, tally::Tally};
use crate::{
    access::rulebook::{AreaRules, Passage, Point, Rulebook},
    model::{
        card::Exemptions,
        decision::{Reason, Verdict},
        door::{Egress, PassbackMode},
        presence::{Place, Presence},
        swipe::{Direction, Swipe},
    },
    pipeline::{
        decide::{Memory, Ruling, always_allowed},
        occupancy::Occupancy,
    },
};

/// A swipe, its index in its part of a page, and what the rules go on with.
pub(super) struct Step<'a> {
    pub(super) index: usize,
    pub(super) swipe: &'a Swipe<'a>,
    pub(super) passage: Passage<'a>,
    pub(super) book: &'a Rulebook,
    pub(super) occupancy: &'a Occupancy,
}

impl<'a> Step<'a> {
    /// The step of a swipe at an access point where something is remembered, the access point, and what is known of the card.
    pub(super) fn of(
        index: usize,
        swipe: &'a Swipe<'a>,
        ruling: &Ruling,
        book: &'a Rulebook,
        occupancy: &'a Occupancy,
    ) -> Option<(Memory, &'a Point, Self)> {
        let memory = ruling.memory?;
        let point = book.point(memory.point)?;
        let step = Self {
            index,
            swipe,
            passage: book.passage(point),
            book,
            occupancy,
        };
        Some((memory, point, step))
    }

    /// Every area that the card is in, each once: the inner ones and those that they lie within.
    pub(super) fn inside(&self, known: &Known) -> Cow<'a, [Arc<str>]> {
        let mut inside: Cow<'a, [Arc<str>]> = Cow::Borrowed(&[]);
        for entry in known.entries() {
            let Some(Presence {
                place: Place::Inside(id),
                ..
            }) = &entry.presence
            else {
                continue;
            };
            // Nearly always it is one of the two areas of the door.
            let mut near = self.passage.areas();
            let near = near.find(|area| area.id == *id);
            let within = near.or_else(|| self.book.area(id)).map(AreaRules::within);
            let within = within.unwrap_or_default();
            match inside.is_empty() {
                true => inside = Cow::Borrowed(within),
                false => {
                    let missing = within.iter().filter(|area| !inside.contains(area));
                    let missing: Vec<Arc<str>> = missing.cloned().collect();
                    inside.to_mut().extend(missing);
                }
            }
        }
        inside
    }

    /// What is answered after rules 21 and 24.
    pub(super) fn verdict(
        &self,
        verdict: Verdict,
        memory: &Memory,
        point: &Point,
        known: &Known,
        tally: &mut Tally,
    ) -> Verdict {
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
            limited && tally.count(&to.id, self.occupancy) >= limit
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
            let presence = known.presence(&area.group)?;
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
