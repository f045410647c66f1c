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

pub use super::cards::{CardKey, RUN_MAX};
pub use super::take::{Applied, MalformedItem};
use super::{
    cards::{Cards, Fate},
    change::{self, Entity},
    fields,
    profiles::ProfileLink,
    rulebook::Rulebook,
    take::{Rules, owned, put_card, take},
};
use crate::{
    model::item::Change,
    model::{card::Card, item::Item},
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

    /// The cards of `ids`, at most [`RUN_MAX`] of them, in order; faster than one by one.
    pub fn cards<'a>(&self, ids: impl Iterator<Item = &'a str> + Clone) -> [Option<Card>; RUN_MAX] {
        self.state.cards.get_run(ids)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::fixtures::{item, list, map, n, put, removed, s},
        model::item::Value,
    };

    /// Card 7 with this threat authority, by which the tests tell images apart.
    fn card(mark: i64, version: Option<i64>) -> Item {
        let mut card = item(
            "CARD#7",
            "CARD#STATUS",
            [
                ("CardStatus", s("issued")),
                ("HolderStatus", s("active")),
                ("ThreatAuthority", n(mark)),
            ],
        );
        card.extend(version.map(|version| ("Version".to_owned(), n(version))));
        card
    }

    fn malformed(version: Option<i64>) -> Item {
        let mut card = card(0, version);
        card.insert("CardStatus".to_owned(), s("issud"));
        card
    }

    fn gone() -> Change {
        removed("CARD#7", "CARD#STATUS")
    }

    fn door(id: &str, level: i64) -> Item {
        item(
            &format!("AP#{id}"),
            "CONFIG",
            [("Direction", s("in")), ("ThreatLevel", n(level))],
        )
    }

    fn mark(cache: &AccessCache) -> Option<u8> {
        cache.view().card("7").map(|card| card.threat_authority)
    }

    fn level(cache: &AccessCache, id: &str) -> Option<u8> {
        let view = cache.view();
        let id = view.rulebook().point_id(id)?;
        view.rulebook().point(id).map(|point| point.threat_level)
    }

    fn loaded(snapshot: Snapshot) -> AccessCache {
        let cache = AccessCache::new();
        cache.replace(snapshot);
        cache
    }

    enum Step {
        Scan(Item),
        Stream(Change),
    }
    use Step::{Scan, Stream};

    #[test]
    fn what_the_stream_said_wins_over_what_the_scan_saw_whatever_the_order() {
        let rows: [(&str, Vec<Step>, Option<u8>); 12] = [
            ("a scan alone", vec![Scan(card(1, None))], Some(1)),
            (
                "scan, then stream",
                vec![Scan(card(1, None)), Stream(put(card(2, None)))],
                Some(2),
            ),
            (
                "stream, then scan",
                vec![Stream(put(card(2, None))), Scan(card(1, None))],
                Some(2),
            ),
            (
                "scan, then removed",
                vec![Scan(card(1, None)), Stream(gone())],
                None,
            ),
            (
                "removed, then scan",
                vec![Stream(gone()), Scan(card(1, None))],
                None,
            ),
            (
                "removed, then scan of any version",
                vec![Stream(gone()), Scan(card(1, Some(9)))],
                None,
            ),
            (
                "removed, made again",
                vec![Stream(gone()), Stream(put(card(2, None)))],
                Some(2),
            ),
            (
                "the stream replays what was scanned",
                vec![Scan(card(3, Some(3))), Stream(put(card(1, Some(1))))],
                Some(3),
            ),
            (
                "the same version again",
                vec![Scan(card(3, Some(3))), Stream(put(card(4, Some(3))))],
                Some(4),
            ),
            ("a malformed scan", vec![Scan(malformed(None))], None),
            (
                "a malformed change over a scan",
                vec![Scan(card(1, None)), Stream(put(malformed(None)))],
                None,
            ),
            (
                "a scan under a malformed change",
                vec![Stream(put(malformed(None))), Scan(card(1, None))],
                None,
            ),
        ];
        for (name, steps, expected) in rows {
            let snapshot = Snapshot::new();
            for step in steps {
                let applied = match step {
                    Scan(item) => snapshot.scanned(&[item]),
                    Stream(change) => snapshot.changed(&[change]),
                };
                let counted = applied.put
                    + applied.removed
                    + applied.ignored
                    + applied.older
                    + applied.malformed.len();
                assert_eq!(counted, 1, "{name}");
            }
            let cache = loaded(snapshot);
            assert_eq!(mark(&cache), expected, "{name}");
            assert_eq!(cache.cards(), usize::from(expected.is_some()), "{name}");
        }
    }

    #[test]
    fn an_older_version_never_comes_back_until_the_card_was_removed() {
        let rows: [(&str, Vec<Change>, Option<u8>); 10] = [
            (
                "rising",
                vec![put(card(1, Some(1))), put(card(2, Some(2)))],
                Some(2),
            ),
            (
                "falling",
                vec![put(card(2, Some(2))), put(card(1, Some(1)))],
                Some(2),
            ),
            (
                "from zero",
                vec![
                    put(card(1, Some(0))),
                    put(card(2, Some(1))),
                    put(card(3, Some(0))),
                ],
                Some(2),
            ),
            (
                "without a version it counts",
                vec![put(card(2, Some(2))), put(card(1, None))],
                Some(1),
            ),
            (
                "after one without, any counts",
                vec![
                    put(card(2, Some(2))),
                    put(card(1, None)),
                    put(card(3, Some(1))),
                ],
                Some(3),
            ),
            (
                "a removal forgets",
                vec![put(card(2, Some(2))), gone(), put(card(1, Some(1)))],
                Some(1),
            ),
            (
                "malformed and newer",
                vec![put(card(1, Some(1))), put(malformed(Some(2)))],
                None,
            ),
            (
                "malformed and older",
                vec![put(card(2, Some(2))), put(malformed(Some(1)))],
                Some(2),
            ),
            (
                "late after malformed",
                vec![put(malformed(Some(2))), put(card(1, Some(1)))],
                None,
            ),
            (
                "repaired",
                vec![put(malformed(Some(2))), put(card(3, Some(3)))],
                Some(3),
            ),
        ];
        for (name, changes, expected) in rows {
            let cache = AccessCache::new();
            let one_page = AccessCache::new();
            one_page.apply(&changes);
            for change in changes {
                cache.apply(&[change]);
            }
            assert_eq!(mark(&cache), expected, "{name}");
            assert_eq!(mark(&one_page), expected, "{name}, as one page");
            assert_eq!(cache.cards(), usize::from(expected.is_some()), "{name}");
        }
    }

    #[test]
    fn rules_keep_to_the_same_order_as_cards() {
        let versioned = |level: i64, version: i64| {
            let mut door = door("d", level);
            door.insert("Version".to_owned(), n(version));
            door
        };
        let mut broken = versioned(9, 3);
        broken.insert("Direction".to_owned(), s("up"));
        let snapshot = Snapshot::new();
        snapshot.changed(&[put(versioned(2, 2))]);
        assert_eq!(snapshot.scanned(&[versioned(3, 3)]).older, 1);
        let cache = loaded(snapshot);
        assert_eq!(level(&cache, "d"), Some(2));
        assert_eq!(cache.apply(&[put(versioned(1, 1))]).older, 1);
        assert_eq!(level(&cache, "d"), Some(2));
        assert_eq!(cache.apply(&[put(broken)]).malformed.len(), 1);
        assert_eq!(level(&cache, "d"), None);
        assert_eq!(cache.apply(&[put(versioned(2, 2))]).older, 1);
        assert_eq!(level(&cache, "d"), None);
        cache.apply(&[removed("AP#d", "CONFIG"), put(versioned(1, 1))]);
        assert_eq!(level(&cache, "d"), Some(1));
    }

    #[test]
    fn every_change_is_counted_once_and_a_malformed_one_is_named() {
        let foreign = item("CARD#7", "CARD#EVENT#SCAN#1#gate#1", []);
        let changes = [
            put(card(1, Some(5))),
            put(card(2, Some(4))),
            put(foreign.clone()),
            gone(),
            put(malformed(None)),
        ];
        let applied = AccessCache::new().apply(&changes);
        let expected = Applied {
            put: 1,
            removed: 1,
            ignored: 1,
            older: 1,
            malformed: vec![MalformedItem {
                pk: "CARD#7".to_owned(),
                sk: "CARD#STATUS".to_owned(),
                why: fields::ItemError::new("CardStatus", "is not a known word"),
            }],
        };
        assert_eq!(applied, expected);
        assert_eq!(
            expected.malformed[0].why.to_string(),
            "CardStatus is not a known word"
        );
        assert_eq!(Snapshot::new().scanned(&[foreign]).ignored, 1);
        let keyless = Snapshot::new().scanned(&[Item::new()]);
        assert_eq!(keyless.malformed.len(), 1);
    }

    #[test]
    fn a_view_sees_cards_change_but_keeps_its_rules_and_its_freshness() {
        let cache = AccessCache::new();
        cache.apply(&[put(card(1, None)), put(door("d", 1))]);
        cache.mark_fresh(1000);
        let view = cache.view();
        cache.apply(&[put(card(2, None)), put(door("d", 2))]);
        cache.mark_fresh(2000);
        assert_eq!(view.card("7").map(|card| card.threat_authority), Some(2));
        let id = view.rulebook().point_id("d").expect("a door");
        assert_eq!(
            view.rulebook().point(id).map(|point| point.threat_level),
            Some(1)
        );
        assert_eq!(level(&cache, "d"), Some(2));
        assert_eq!(
            (view.staleness_ms(2500), cache.staleness_ms(2500)),
            (1500, 500)
        );
    }

    #[test]
    fn a_page_without_rules_leaves_the_rulebook_where_it_is() {
        let cache = AccessCache::new();
        cache.apply(&[put(door("d", 1))]);
        let before = cache.view();
        cache.apply(&[put(card(1, None)), gone()]);
        assert!(Arc::ptr_eq(&before.state, &cache.view().state));
        cache.apply(&[put(door("d", 2)), put(door("e", 2))]);
        assert!(!Arc::ptr_eq(&before.state, &cache.view().state));
    }

    #[test]
    fn a_fresh_map_takes_the_place_of_everything_at_once() {
        let cache = AccessCache::new();
        cache.apply(&[put(card(1, Some(9))), put(door("old", 1))]);
        let old = cache.view();
        let snapshot = Snapshot::new();
        snapshot.changed(&[put(door("new", 2))]);
        snapshot.scanned(&[door("new", 1)]);
        cache.replace(snapshot);
        assert_eq!((mark(&cache), cache.cards()), (None, 0));
        assert_eq!(
            (level(&cache, "old"), level(&cache, "new")),
            (None, Some(2))
        );
        assert!(old.card("7").is_some() && old.rulebook().point_id("old").is_some());
        // Changes after it land in the new map, which knows nothing of the old versions.
        cache.apply(&[put(card(2, Some(1))), put(door("new", 3))]);
        assert_eq!((mark(&cache), level(&cache, "new")), (Some(2), Some(3)));
    }

    #[test]
    fn freshness_only_rises_and_nothing_loaded_is_as_stale_as_can_be() {
        let cache = AccessCache::new();
        assert_eq!(
            (cache.staleness_ms(0), cache.view().staleness_ms(i64::MAX)),
            (i64::MAX, i64::MAX)
        );
        cache.mark_fresh(1000);
        assert_eq!(cache.staleness_ms(1500), 500);
        cache.mark_fresh(900);
        assert_eq!(cache.staleness_ms(1500), 500);
        assert_eq!(cache.staleness_ms(500), 0);
        cache.mark_fresh(1400);
        assert_eq!(cache.staleness_ms(1500), 100);
    }

    #[test]
    fn cards_with_the_same_profiles_share_one_list_also_across_pages() {
        let cache = AccessCache::new();
        let with = |id: &str, profiles: Value| {
            let fields = [("CardStatus", s("issued")), ("AccessProfiles", profiles)];
            put(item(&format!("CARD#{id}"), "CARD#STATUS", fields))
        };
        cache.apply(&[
            with("1", list([s("a"), s("b")])),
            with("2", list([map([("Id", s("b"))]), s("a")])),
        ]);
        cache.apply(&[
            put(door("d", 1)),
            with("3", list([s("b"), s("a")])),
            with("4", list([s("a")])),
        ]);
        let view = cache.view();
        let list_of = |id: &str| view.card(id).map(|card| card.profiles);
        assert!(list_of("1").is_some());
        assert_eq!((list_of("1"), list_of("1")), (list_of("2"), list_of("3")));
        assert_ne!(list_of("1"), list_of("4"));
    }

    #[test]
    fn scans_and_the_stream_may_fill_a_snapshot_at_the_same_time() {
        let snapshot = Snapshot::new();
        let numbered = |number: usize, mark: i64| {
            let fields = [("CardStatus", s("issued")), ("ThreatAuthority", n(mark))];
            item(&format!("CARD#{number}"), "CARD#STATUS", fields)
        };
        let cards = 400;
        std::thread::scope(|scope| {
            for segment in 0..4 {
                let snapshot = &snapshot;
                scope.spawn(move || {
                    for number in (segment..cards).step_by(4) {
                        snapshot.scanned(&[numbered(number, 1)]);
                    }
                });
            }
            scope.spawn(|| {
                for number in (0..cards).step_by(2) {
                    snapshot.changed(&[put(numbered(number, 2))]);
                }
            });
        });
        let view = loaded(snapshot).view();
        for number in 0..cards {
            let mark = view
                .card(&number.to_string())
                .map(|card| card.threat_authority);
            assert_eq!(
                mark,
                Some(if number % 2 == 0 { 2 } else { 1 }),
                "card {number}"
            );
        }
    }
}
