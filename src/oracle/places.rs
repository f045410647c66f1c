//! Rules 21 and 24 and the memory that they need: where each card is, per group of areas, from grants only.
//!
//! Readings where the contract is silent: an area lies within its `Parent`s, and who is in the inner one is in the outer
//! one; an area without `AreaGroup` is a group of its own; nothing known violates nothing; a swipe older than what is
//! known is judged as if nothing were known, and moves nothing; what was known before `ForgivenAt` counts no more.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    items::{self, Area, Door, Table},
    rules::{
        Answer, Case,
        Says::{self, Deny, Flag, Nothing},
    },
};

/// By card and group: the area it is in, or none of the group, and since which swipe.
pub type Known = BTreeMap<(String, String), (Option<String>, i64)>;

pub fn group(table: &Table, area: &str) -> String {
    items::area(table, area)
        .and_then(|says| says.group.map(str::to_owned))
        .unwrap_or_else(|| area.to_owned())
}

/// Whether `inner` is `outer`, or one of its parents is.
pub fn within(table: &Table, inner: &str, outer: &str) -> bool {
    let mut passed = vec![inner.to_owned()];
    loop {
        let here = passed.last().expect("begins with one").clone();
        if here == outer {
            return true;
        }
        match items::area(table, &here).and_then(|area| area.parent.map(str::to_owned)) {
            Some(parent) if !passed.contains(&parent) => passed.push(parent),
            _ => return false,
        }
    }
}

/// What of the readings is kept; all of it, unless an error is planted.
#[derive(Clone, Copy)]
pub struct Reading {
    pub timeouts: bool,
    pub forgiveness: bool,
    pub late: bool,
    pub coming_out: bool,
    pub nested: bool,
    pub asks_from: bool,
    pub asks_to: bool,
    pub exemptions: bool,
}

pub const CONTRACT: Reading = Reading {
    timeouts: true,
    forgiveness: true,
    late: true,
    coming_out: true,
    nested: true,
    asks_from: true,
    asks_to: true,
    exemptions: true,
};

impl Reading {
    fn within(&self, table: &Table, inner: &str, outer: &str) -> bool {
        if self.nested {
            within(table, inner, outer)
        } else {
            inner == outer
        }
    }

    /// Where the card is in the group of area `id`, as far as that counts for this swipe under the area's timeout.
    fn counted<'c>(
        &self,
        case: &'c Case<'_>,
        id: &str,
        area: &Area<'_>,
    ) -> Option<&'c Option<String>> {
        let key = (case.swipe.card.clone(), group(case.table, id));
        let (place, since_ms) = case.known.get(&key)?;
        let age_ms = case.swipe.at_ms - since_ms;
        let forgiven = *since_ms < case.card().forgiven_s * 1000;
        let timed_out = area.timeout_min > 0 && age_ms >= area.timeout_min * 60_000;
        let counts = !(age_ms < 0 && self.late
            || forgiven && self.forgiveness
            || timed_out && self.timeouts);
        counts.then_some(place)
    }

    /// The modes of the areas whose passback this swipe violates.
    fn violated<'c>(&self, case: &'c Case<'c>) -> Vec<&'c str> {
        let (table, door) = (case.table, case.door());
        let mut modes = Vec::new();
        if self.asks_to
            && let Some((id, area)) = known_area(table, door.to)
            && let Some(Some(place)) = self.counted(case, id, &area)
            && self.within(table, place, id)
            && !(self.coming_out && comes_out(table, door))
        {
            modes.push(area.mode);
        }
        if self.asks_from
            && let Some((id, area)) = known_area(table, door.from)
            && let Some(place) = self.counted(case, id, &area)
            && !place
                .as_ref()
                .is_some_and(|place| self.within(table, place, id))
        {
            modes.push(area.mode);
        }
        modes
    }
}

fn known_area<'t>(table: &'t Table, id: Option<&'t str>) -> Option<(&'t str, Area<'t>)> {
    let id = id?;
    Some((id, items::area(table, id)?))
}

/// Whether the door leads out of an inner area into one that it lies within.
pub fn comes_out(table: &Table, door: &Door<'_>) -> bool {
    match (door.from, door.to) {
        (Some(from), Some(to)) => within(table, from, to),
        _ => false,
    }
}

pub fn passback(case: &Case<'_>) -> Says {
    passback_by(case, CONTRACT)
}

pub fn passback_by(case: &Case<'_>, reading: Reading) -> Says {
    let modes = reading.violated(case);
    if reading.exemptions && case.is_exempt("passback") {
        Nothing
    } else if modes.contains(&"hard") {
        Deny("AntiPassbackViolation")
    } else if modes.contains(&"soft") {
        Flag("soft_apb")
    } else {
        Nothing
    }
}

/// The cards that are known to be in the area or in one within it.
fn inside<'k>(case: &'k Case<'_>, area: &str, reading: Reading) -> BTreeSet<&'k str> {
    let places = case.known.iter().filter(|(_, (place, _))| {
        let place = place.as_deref();
        place.is_some_and(|place| reading.within(case.table, place, area))
    });
    places.map(|((card, _), _)| card.as_str()).collect()
}

pub fn occupancy(case: &Case<'_>) -> Says {
    occupancy_by(case, CONTRACT, 0)
}

/// `spare` is by how many too many are let in.
pub fn occupancy_by(case: &Case<'_>, reading: Reading, spare: usize) -> Says {
    let Some((id, area)) = known_area(case.table, case.door().to) else {
        return Nothing;
    };
    let upper = usize::try_from(area.upper).unwrap_or(usize::MAX);
    let full = upper > 0 && inside(case, id, reading).len() >= upper + spare;
    let exempt = reading.exemptions && case.is_exempt("occupancy");
    let comes_out = reading.coming_out && comes_out(case.table, case.door());
    if full && !exempt && !comes_out {
        Deny("OccupancyLimit")
    } else {
        Nothing
    }
}

/// Where a granted swipe leaves the card: the groups that it speaks of, and the place in each.
pub fn moves(table: &Table, door: &Door<'_>) -> Vec<(String, Option<String>)> {
    let mut moves = Vec::new();
    if let Some(to) = door.to {
        moves.push((group(table, to), Some(to.to_owned())));
    }
    if let Some(from) = door.from {
        let stays = door
            .to
            .is_some_and(|to| group(table, to) == group(table, from) || within(table, to, from));
        if !stays {
            moves.push((group(table, from), None));
        }
    }
    moves
}

/// What is known after a swipe was answered: a denial changes nothing, nor does a card that is unknown.
pub fn after(case: &Case<'_>, answer: &Answer) -> Known {
    let mut known = case.known.clone();
    if let (Some(door), Some(_), "grant") = (&case.door, &case.card, answer.decision) {
        for (group, place) in moves(case.table, door) {
            let at_ms = case.swipe.at_ms;
            let since = known
                .entry((case.swipe.card.clone(), group))
                .or_insert((None, i64::MIN));
            if at_ms >= since.1 {
                *since = (place, at_ms);
            }
        }
    }
    known
}
