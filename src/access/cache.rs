//! What is known, as the rules see it, and how it changes.
//!
//! Cards live in one concurrent table that changes in place; everything else is a [`Rulebook`] that is written
//! anew and swapped in. Both hang on one pointer, so a [`View`] never mixes the cards of one map with the rules of
//! another, and a fresh map that was built aside ([`Snapshot`]) replaces all of it at once.
//!
//! What must hold: what the stream said wins over what a scan saw; an older `Version` never replaces a newer one;
//! a malformed item is absent. Freshness is a promise of the caller ([`AccessCache::mark_fresh`]) and only rises.
//!
//! Never reads a clock, never waits, never hands out a lock.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::{
    cards::{CardKey, Cards, Fate, Version},
    change::{self, Entity, RuleItem},
    fields::{self, ItemError},
    profiles::ProfileLink,
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
    fn note(&mut self, key: (&str, &str), fate: Result<Fate, ItemError>) {
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

type Key = (Box<str>, Box<str>);

fn owned((pk, sk): (&str, &str)) -> Key {
    (Box::from(pk), Box::from(sk))
}

/// Everything that is known of other things than cards, as read: what a rulebook is written from.
#[derive(Debug, Default)]
struct Rules {
    items: HashMap<Key, (Version, Option<RuleItem>), RandomState>,
    /// Keys that the stream spoke of, while a snapshot is built.
    touched: HashSet<Key, RandomState>,
}

impl Rules {
    fn put(&mut self, entity: Entity<'_>, key: Key, item: &Item) -> Result<Fate, ItemError> {
        let (version, read) = read(item, |item| change::rule(entity, item));
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

    fn write(&self, cards: &Cards) -> Rulebook {
        let known = self.items.iter().filter_map(|((pk, sk), (_, item))| {
            let entity = change::entity_of(pk, sk)?;
            Some((entity, item.as_ref()?))
        });
        Rulebook::write(known, &cards.profiles)
    }
}

/// The version of an item, and what it says. An item without a readable version is malformed, and of no version.
fn read<T>(
    item: &Item,
    parse: impl Fn(&Item) -> Result<T, ItemError>,
) -> (Version, Result<T, ItemError>) {
    match change::version(item) {
        Ok(version) => (Version::new(version), parse(item)),
        Err(why) => (Version::new(None), Err(why)),
    }
}

fn put_card(
    cards: &Cards,
    id: &str,
    item: &Item,
    superseded: impl Fn(&CardKey) -> bool,
) -> Result<Fate, ItemError> {
    let (version, read) = read(item, |item| change::card(id, item));
    match read {
        Ok(said) => {
            let card = Card {
                status: said.status,
                holder: said.holder,
                exemptions: said.exemptions,
                threat_authority: said.threat_authority,
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

/// A map being built aside: scanned in several segments at once while the stream is replayed into it.
#[derive(Debug, Default)]
pub struct Snapshot {
    cards: Arc<Cards>,
    rules: Mutex<Rules>,
    /// Cards that the stream spoke of; dropped when the snapshot takes over.
    touched: DashMap<CardKey, (), RandomState>,
}

impl Snapshot {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes items that a scan saw, except those that the stream spoke of.
    pub fn scanned(&self, items: &[Item]) -> Applied {
        let mut applied = Applied::default();
        for item in items {
            match (
                fields::required_text(item, "PK"),
                fields::required_text(item, "SK"),
            ) {
                (Ok(pk), Ok(sk)) => self.scanned_item((pk, sk), item, &mut applied),
                (Err(why), _) => applied.note(("", ""), Err(why)),
                (Ok(pk), Err(why)) => applied.note((pk, ""), Err(why)),
            }
        }
        applied
    }

    fn scanned_item(&self, key: (&str, &str), item: &Item, applied: &mut Applied) {
        let fate = match change::entity_of(key.0, key.1) {
            None => return applied.ignored += 1,
            Some(Entity::Card(id)) => put_card(&self.cards, id, item, |card| {
                self.touched.contains_key(card)
            }),
            Some(entity) => {
                let (key, mut rules) = (owned(key), lock(&self.rules));
                if rules.touched.contains(&key) {
                    Ok(Fate::Older)
                } else {
                    rules.put(entity, key, item)
                }
            }
        };
        applied.note(key, fate);
    }

    /// Takes what the stream spoke of. Whatever a scan says of these keys, before or after, gives way.
    pub fn changed(&self, changes: &[Change]) -> Applied {
        let mut applied = Applied::default();
        for change in changes {
            let key = (change.key.0.as_str(), change.key.1.as_str());
            let mut rules = lock(&self.rules);
            match change::entity_of(key.0, key.1) {
                // Noted before the change itself: a scan at the same time sees the note, or is overwritten.
                Some(Entity::Card(id)) => drop(self.touched.insert(CardKey::new(id), ())),
                Some(_) => drop(rules.touched.insert(owned(key))),
                None => {}
            }
            take(change, &self.cards, &mut rules, &mut applied);
        }
        applied
    }
}

/// Takes one change of the stream. Whether it touched the rules.
fn take(change: &Change, cards: &Cards, rules: &mut Rules, applied: &mut Applied) -> bool {
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

/// No invariant spans two entries of the rules, so a panic elsewhere while they were locked leaves them sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cards and the rules that belong together.
#[derive(Debug, Default)]
struct State {
    cards: Arc<Cards>,
    rulebook: Rulebook,
}

/// Before anything was loaded.
const NEVER: i64 = i64::MIN;

/// What is known of cards, doors and rules: changed by one feed, read by every shard.
#[derive(Debug)]
pub struct AccessCache {
    state: ArcSwap<State>,
    /// What the rulebook was written from. Also keeps writers apart: whoever stores `state` holds it.
    rules: Mutex<Rules>,
    fresh_as_of_ms: AtomicI64,
}

impl Default for AccessCache {
    fn default() -> Self {
        Self::new()
    }
}

impl AccessCache {
    /// A cache that knows nothing yet, of which rule 8 makes a denial.
    pub fn new() -> Self {
        Self {
            state: ArcSwap::from_pointee(State::default()),
            rules: Mutex::default(),
            fresh_as_of_ms: AtomicI64::new(NEVER),
        }
    }

    /// What is known now. Taken once a page: cards go on changing underneath, the rules of a view do not.
    pub fn view(&self) -> View {
        // The promise is read before what it is about, which can only be newer.
        let fresh_as_of_ms = self.fresh_as_of_ms.load(Ordering::Acquire);
        View {
            state: self.state.load_full(),
            fresh_as_of_ms,
        }
    }

    /// Takes a page of live changes. The rules are rewritten at most once.
    pub fn apply(&self, changes: &[Change]) -> Applied {
        let mut applied = Applied::default();
        let mut rules = lock(&self.rules);
        let cards = Arc::clone(&self.state.load().cards);
        let mut rewrite = false;
        for change in changes {
            rewrite |= take(change, &cards, &mut rules, &mut applied);
        }
        if rewrite {
            let rulebook = rules.write(&cards);
            self.state.store(Arc::new(State { cards, rulebook }));
        }
        applied
    }

    /// Puts a fresh map in place of everything that is known, at once. Its freshness is the caller's to promise.
    pub fn replace(&self, fresh: Snapshot) {
        let Snapshot {
            cards,
            rules,
            touched,
        } = fresh;
        drop(touched);
        let mut rules = rules.into_inner().unwrap_or_else(PoisonError::into_inner);
        rules.touched = HashSet::default();
        let rulebook = rules.write(&cards);
        let mut mine = lock(&self.rules);
        *mine = rules;
        self.state.store(Arc::new(State { cards, rulebook }));
    }

    /// Promises that everything that happened up to this instant (Unix epoch milliseconds) is known. An earlier
    /// instant than the one promised before changes nothing.
    pub fn mark_fresh(&self, as_of_ms: i64) {
        self.fresh_as_of_ms.fetch_max(as_of_ms, Ordering::AcqRel);
    }

    /// How old what is known is at `now_ms`, in milliseconds, 0 at least; `i64::MAX` when nothing was loaded.
    pub fn staleness_ms(&self, now_ms: i64) -> i64 {
        staleness_ms(self.fresh_as_of_ms.load(Ordering::Acquire), now_ms)
    }

    /// How many cards are known.
    pub fn cards(&self) -> usize {
        self.state.load().cards.live()
    }
}

fn staleness_ms(fresh_as_of_ms: i64, now_ms: i64) -> i64 {
    if fresh_as_of_ms == NEVER {
        i64::MAX
    } else {
        now_ms.saturating_sub(fresh_as_of_ms).max(0)
    }
}

/// What is known, as of the moment it was taken. Cheap to take; holds no lock.
#[derive(Clone, Debug)]
pub struct View {
    state: Arc<State>,
    fresh_as_of_ms: i64,
}

impl View {
    /// The card of that id.
    pub fn card(&self, id: &str) -> Option<Card> {
        self.state.cards.get(id)
    }

    /// The profiles that are assigned to a card of this view.
    pub fn profiles(&self, card: &Card) -> &[ProfileLink] {
        self.state.cards.profiles.links(card.profiles)
    }

    /// Everything but cards.
    pub fn rulebook(&self) -> &Rulebook {
        &self.state.rulebook
    }

    /// How old what is known was at `now_ms`, in milliseconds; `i64::MAX` when nothing was loaded.
    pub fn staleness_ms(&self, now_ms: i64) -> i64 {
        staleness_ms(self.fresh_as_of_ms, now_ms)
    }
}
