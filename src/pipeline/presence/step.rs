//! Rules 21 and 24, asked of one swipe by what is known of its card.

use std::borrow::Cow;

use super::{
    areas::{Area, Areas, Names},
    memory::{Entry, Known},
    tally::Tally,
};
use crate::{
    access::rulebook::{Passage, Point, Rulebook},
    model::{
        card::Exemptions,
        decision::{Reason, Verdict},
        door::{Egress, PassbackMode},
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
    pub(super) passage: Passage<'a, Area>,
    pub(super) areas: &'a Areas,
    pub(super) names: &'a Names,
    pub(super) occupancy: &'a Occupancy,
}

impl<'a> Step<'a> {
    /// The step of a swipe at an access point where something is remembered, the access point, and what is known of the card.
    pub(super) fn of(
        index: usize,
        swipe: &'a Swipe<'a>,
        ruling: &Ruling,
        book: &'a Rulebook,
        (areas, names): (&'a Areas, &'a Names),
        occupancy: &'a Occupancy,
    ) -> Option<(Memory, &'a Point, Self)> {
        let memory = ruling.memory?;
        let point = book.point(memory.point)?;
        let step = Self {
            index,
            swipe,
            passage: areas.passage(point),
            areas,
            names,
            occupancy,
        };
        Some((memory, point, step))
    }

    /// The area of that name: nearly always it is one of the two of the access point.
    fn named(&self, name: u32) -> Option<&'a Area> {
        let near = self.passage.areas().find(|area| area.id == name);
        near.or_else(|| self.areas.named(name))
    }

    /// Every area that the card is in, each once: the inner ones and those that they lie within.
    pub(super) fn inside(&self, known: &Known) -> Cow<'a, [u32]> {
        match known.only() {
            Some(entry) => Cow::Borrowed(self.within(entry)),
            None => Cow::Owned(self.inside_each(known)),
        }
    }

    /// The area that the card is in, and those that this lies within. Nobody is within the place outside.
    fn within(&self, entry: &Entry) -> &'a [u32] {
        self.named(entry.place).map_or(&[], |area| &area.within)
    }

    #[cold]
    fn inside_each(&self, known: &Known) -> Vec<u32> {
        let mut inside = Vec::new();
        for area in known.seen().flat_map(|entry| self.within(entry)) {
            if !inside.contains(area) {
                inside.push(*area);
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
            let inside = from.is_some_and(|from| from.is_within(to.id));
            let limit = to.occupancy_upper;
            let limited = limit > 0 && !inside && !exempt(Exemptions::OCCUPANCY);
            limited && tally.count(to.id, self.names, self.occupancy) >= limit
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
        let seen = |area: &Area| {
            let counts = |entry: &&Entry| {
                let age_ms = self.swipe.swiped_at_ms.saturating_sub(entry.at_ms);
                let timeout = area.passback_timeout_ms;
                age_ms >= 0
                    && (timeout == 0 || age_ms < timeout)
                    && entry.at_ms >= memory.forgiven_ms
            };
            let seen = known.seen_in(area.group).filter(counts);
            seen.map(|entry| entry.place)
        };
        let is_in = |place: u32, area: &Area| {
            place == area.id || {
                let inner = self.areas.named(place);
                inner.is_some_and(|inner| inner.is_within(area.id))
            }
        };
        let comes_out = |to: &Area| from.is_some_and(|from| from.is_within(to.id));
        let again =
            to.filter(|to| !comes_out(to) && seen(to).is_some_and(|place| is_in(place, to)));
        let not_there = from.filter(|from| seen(from).is_some_and(|place| !is_in(place, from)));
        let modes = again.into_iter().chain(not_there).map(|area| area.passback);
        modes.max_by_key(|mode| *mode as u8).unwrap_or_default()
    }
}
