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
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use foldhash::fast::RandomState;

pub use super::take::{Applied, MalformedItem};
use super::{
    cards::{CardKey, Cards, Fate},
    change::{self, Entity},
    fields,
    profiles::ProfileLink,
    rulebook::Rulebook,
    take::{Rules, owned, put_card, take},
};
use crate::{
    model::{card::Card, item::Item},
    ports::Change,
};

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
