//! Taking images in: what an item or a change does to the cards and to the items that rules are written from.
//!
//! The first question is age, the second is form: an older image does nothing, malformed or not. A newer one that
//! is malformed removes its entity and leaves its version behind, so that a late older image cannot bring it back.
//! A removal forgets the version: what is made again may count from 1. An image without a version always counts.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::{
    cards::{CardKey, Cards, Fate, Version},
    change::{self, Entity, RuleItem},
    fields::ItemError,
    read,
    rulebook::Rulebook,
};
use crate::{
    model::item::Change,
    model::{card::Card, item::Item},
};

/// An item that could not be read; its entity counts as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedItem {
    /// `PK`
    pub pk: String,
    /// `SK`
    pub sk: String,
    /// The attribute, and what is wrong with it.
    pub why: ItemError,
}

/// What became of some items or changes: each counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entities that are now as the item says.
    pub put: usize,
    /// Removals.
    pub removed: usize,
    /// Items of keys that are not ours to read.
    pub ignored: usize,
    /// Images older than what is known: a lower `Version`, or a scanned item that the stream spoke of.
    pub older: usize,
    /// Items that could not be read.
    pub malformed: Vec<MalformedItem>,
}

impl Applied {
    pub(super) fn note(&mut self, key: (&str, &str), fate: Result<Fate, ItemError>) {
        match fate {
            Ok(Fate::Taken) => self.put += 1,
            Ok(Fate::Older) => self.older += 1,
            Err(why) => self.malformed.push(MalformedItem {
                pk: key.0.to_owned(),
                sk: key.1.to_owned(),
                why,
            }),
        }
    }
}

pub(super) type Key = (Box<str>, Box<str>);

pub(super) fn owned((pk, sk): (&str, &str)) -> Key {
    (Box::from(pk), Box::from(sk))
}

/// Everything that is known of other things than cards, as read: what a rulebook is written from.
#[derive(Debug, Default)]
pub(super) struct Rules {
    items: HashMap<Key, (Version, Option<RuleItem>), RandomState>,
    /// Keys that the stream spoke of, while a snapshot is built.
    pub(super) touched: HashSet<Key, RandomState>,
}

impl Rules {
    /// Takes an image, unless it is older than what is kept.
    pub(super) fn put(
        &mut self,
        entity: Entity<'_>,
        key: Key,
        item: &Item,
    ) -> Result<Fate, ItemError> {
        let (version, read) = versioned(item, |item| read::rule(entity, item));
        if self
            .items
            .get(&key)
            .is_some_and(|(known, _)| version.is_older_than(*known))
        {
            return Ok(Fate::Older);
        }
        match read {
            Err(why) if !version.is_some() => {
                self.items.remove(&key);
                Err(why)
            }
            Err(why) => {
                self.items.insert(key, (version, None));
                Err(why)
            }
            Ok(item) => {
                self.items.insert(key, (version, Some(item)));
                Ok(Fate::Taken)
            }
        }
    }

    /// The book of what is kept.
    pub(super) fn write(&self, cards: &Cards) -> Rulebook {
        let known = self.items.iter().filter_map(|((pk, sk), (_, item))| {
            let entity = change::entity_of(pk, sk)?;
            Some((entity, item.as_ref()?))
        });
        Rulebook::write(known, &cards.profiles)
    }
}

/// The version of an item, and what it says. An item without a readable version is malformed, and of no version.
fn versioned<T>(
    item: &Item,
    parse: impl Fn(&Item) -> Result<T, ItemError>,
) -> (Version, Result<T, ItemError>) {
    match read::version(item) {
        Ok(version) => (Version::new(version), parse(item)),
        Err(why) => (Version::new(None), Err(why)),
    }
}

pub(super) fn put_card(
    cards: &Cards,
    id: &str,
    item: &Item,
    superseded: impl Fn(&CardKey) -> bool,
) -> Result<Fate, ItemError> {
    let (version, read) = versioned(item, |item| read::card(id, item));
    match read {
        Ok(said) => {
            let card = Card {
                status: said.status,
                holder: said.holder,
                exemptions: said.exemptions,
                threat_authority: said.threat_authority,
                forgiven_s: said.forgiven_s,
                valid: said.valid,
                profiles: cards.profiles.list(&said.profiles),
            };
            Ok(cards.put(id, version, Some(card), superseded))
        }
        Err(why) => match cards.put(id, version, None, superseded) {
            Fate::Older => Ok(Fate::Older),
            Fate::Taken => Err(why),
        },
    }
}

/// Takes one change of the stream. Whether it touched the rules.
pub(super) fn take(
    change: &Change,
    cards: &Cards,
    rules: &mut Rules,
    applied: &mut Applied,
) -> bool {
    let key = (change.key.0.as_str(), change.key.1.as_str());
    let entity = change::entity_of(key.0, key.1);
    match (entity, &change.image) {
        (None, _) => applied.ignored += 1,
        (Some(Entity::Card(id)), Some(item)) => {
            applied.note(key, put_card(cards, id, item, |_| false))
        }
        (Some(Entity::Card(id)), None) => {
            cards.remove(id);
            applied.removed += 1;
        }
        (Some(entity), Some(item)) => applied.note(key, rules.put(entity, owned(key), item)),
        (Some(_), None) => {
            rules.items.remove(&owned(key));
            applied.removed += 1;
        }
    }
    !matches!(entity, None | Some(Entity::Card(_)))
}
