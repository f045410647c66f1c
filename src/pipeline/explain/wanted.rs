//! Which items an explanation still needs: what the swipe names, and what those name in turn.

use std::collections::BTreeSet;

use super::PRESENCE;
use crate::{
    access::{
        amend::kind::Kind,
        change::{Entity, entity_of},
        read,
        references::{self, Reference},
    },
    model::item::{Item, Value},
};

/// Something to be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// The item of this `PK` and `SK`.
    Item(String, String),
    /// Every day of this calendar.
    Calendar(String),
}

/// What is to be read beside `items` to explain the swipe of a card at a door. What was asked for before and is not there
/// is named again. Doors that a profile or a device lists are not wanted: only whether the one in question is among them.
pub fn wanted(items: &[Item], card: &str, door: &str, device: Option<&str>) -> BTreeSet<Wanted> {
    let item = |(pk, sk)| Wanted::Item(pk, sk);
    let swipe = [
        (Kind::Cards, Some(card)),
        (Kind::Doors, Some(door)),
        (Kind::Devices, device),
    ];
    let named = swipe
        .into_iter()
        .filter_map(|(kind, id)| Some(item(kind.key(id?, ""))));
    let mut wanted: BTreeSet<_> = named.collect();
    let text = |item: &Item, name| item.get(name).and_then(Value::as_text).map(str::to_owned);
    for known in items {
        let (Some(pk), Some(sk)) = (text(known, "PK"), text(known, "SK")) else {
            continue;
        };
        let named = match entity_of(&pk, &sk) {
            Some(Entity::Card(id)) => read::card(id, known).map(|card| references::of_card(&card)),
            Some(entity) => read::rule(entity, known).map(|item| references::of_rule(&item)),
            None if sk.starts_with(PRESENCE) => {
                let area = text(known, "Area");
                wanted.extend(area.map(|area| item(Kind::Areas.key(&area, ""))));
                continue;
            }
            None => continue,
        };
        // A malformed item counts as absent: what it names does not matter.
        for Reference { kind, id, .. } in named.unwrap_or_default() {
            match kind {
                Kind::Doors => {}
                Kind::Calendars => drop(wanted.insert(Wanted::Calendar(id.into()))),
                kind => drop(wanted.insert(item(kind.key(&id, "")))),
            }
        }
    }
    for known in items {
        if let Some(key) = text(known, "PK").zip(text(known, "SK")) {
            wanted.remove(&item(key));
        }
    }
    wanted
}
