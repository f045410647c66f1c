//! The areas of which it is remembered who is inside.
//!
//! Areas that share a group, or of which one is the other's parent, are a family: where a card is in one of them says something
//! about the others. A family is kept as soon as one of its areas has anti-passback, a limit, or a list of who is inside.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use crate::{
    access::rulebook::AreaRules,
    model::door::{Area, PassbackMode},
};

/// What the items say of the areas, by number; nothing where an area is only mentioned.
type Said = [Option<(Arc<str>, Area)>];

/// The numbers of the areas by their ids.
type Numbers = HashMap<Box<str>, u32, RandomState>;

fn find<'a>(said: &'a Said, numbers: &Numbers, id: &str) -> Option<(usize, &'a (Arc<str>, Area))> {
    let number = *numbers.get(id)? as usize;
    Some((number, said.get(number)?.as_ref()?))
}

/// The areas as the rules read them, by their numbers; nothing where nothing is remembered, or there is no item.
pub(super) fn rules(said: &Said, numbers: &Numbers) -> Vec<Option<AreaRules>> {
    let families = families(said, numbers);
    let kept = |number: usize| {
        let mut asks = said.iter().zip(&families).filter_map(|(said, family)| {
            let (_, item) = said.as_ref()?;
            (*family == families[number]).then(|| asks(item))
        });
        asks.any(|asks| asks)
    };
    let rules = |(number, (id, item)): (usize, &(Arc<str>, Area))| {
        let others = || {
            let areas = said.iter().zip(&families);
            let areas = areas.filter(|(_, family)| **family == families[number]);
            areas.filter_map(|(said, _)| said.as_ref())
        };
        let mut family: Vec<Arc<str>> = others().map(|(id, item)| group(id, item)).collect();
        family.sort();
        family.dedup();
        AreaRules {
            id: Arc::clone(id),
            group: group(id, item),
            within: within(id, item, said, numbers).into(),
            family: family.into(),
            passback: item.passback,
            passback_timeout_ms: i64::from(item.passback_timeout_min) * 60_000,
            occupancy_upper: item.occupancy_upper,
            is_counted: others().any(|(_, item)| item.occupancy_upper > 0),
        }
    };
    let numbered = said.iter().enumerate();
    numbered
        .map(|(number, said)| {
            let said = said.as_ref().filter(|_| kept(number))?;
            Some(rules((number, said)))
        })
        .collect()
}

fn asks(item: &Area) -> bool {
    item.passback != PassbackMode::Off || item.occupancy_upper > 0 || item.muster
}

/// Without an `AreaGroup`, an area is a group of its own.
fn group(id: &Arc<str>, item: &Area) -> Arc<str> {
    let group = item.group.as_deref();
    group.map_or_else(|| Arc::clone(id), Arc::from)
}

/// The area, and every one that it lies within.
fn within(id: &Arc<str>, item: &Area, said: &Said, numbers: &Numbers) -> Vec<Arc<str>> {
    let mut within = vec![Arc::clone(id)];
    let mut parent = item.parent.as_deref();
    // A chain of parents that bites its own tail ends there.
    while let Some((_, (id, item))) = parent.and_then(|parent| find(said, numbers, parent))
        && !within.contains(id)
    {
        within.push(Arc::clone(id));
        parent = item.parent.as_deref();
    }
    within
}

/// The family of each area: the least number of an area in it.
fn families(said: &Said, numbers: &Numbers) -> Vec<usize> {
    let mut families: Vec<usize> = (0..said.len()).collect();
    let join = |families: &mut Vec<usize>, one: usize, other: usize| {
        let (one, other) = (families[one], families[other]);
        let (least, greatest) = (one.min(other), one.max(other));
        for family in families.iter_mut().filter(|family| **family == greatest) {
            *family = least;
        }
    };
    let mut first: HashMap<Arc<str>, usize> = HashMap::new();
    for (number, area) in said.iter().enumerate() {
        let Some((id, item)) = area else { continue };
        let kin = *first.entry(group(id, item)).or_insert(number);
        join(&mut families, number, kin);
        let parent = item.parent.as_deref();
        if let Some((parent, _)) = parent.and_then(|parent| find(said, numbers, parent)) {
            join(&mut families, number, parent);
        }
    }
    families
}
