//! What is remembered of the cards of one shard; bounded, and of what is dropped the table is asked again.
//!
//! A card's place in memory is a number, its slot, found once a swipe and valid until the part of the page is stored. The
//! table of slots holds nothing but these numbers, so that it stays near the processor; the card's id is beside what is
//! known of it, and both come from memory at once.

use std::{borrow::Borrow, hash::BuildHasher, hint::black_box};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::access::cache::CardKey;

/// Cards of one generation, 4.5 MiB: more than a shard sees in a minute at 1 000 swipes a second. What is dropped is read
/// from the table again. A part of a page may go over it.
pub(super) const GENERATION: usize = 65_536;

/// Not the number of anything.
pub(super) const NONE: u32 = u32::MAX;

/// Where a card is in one group of areas. Groups and places are numbers of names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) group: u32,
    /// [`NONE`], when it was never seen there.
    pub(super) place: u32,
    /// Since the swipe of this instant; see [`crate::model::presence::Presence`].
    pub(super) at_ms: i64,
    /// The part of a page in which it moved last, and where in the list of its moves that stands.
    pub(super) moved: (u32, u32),
}

impl Entry {
    const fn new(group: u32) -> Self {
        Self {
            group,
            place: NONE,
            at_ms: 0,
            moved: (NONE, NONE),
        }
    }
}

/// A card, and where it is in each group of areas that it was asked about. Most cards have one, and then all of it is one line of
/// the processor's cache.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Known {
    card: CardKey,
    /// Its group is [`NONE`] where the card was asked about in none.
    first: Entry,
    /// The box keeps it to a pointer: a second group is rare.
    #[expect(
        clippy::box_collection,
        reason = "a vector is three words, and nearly always empty"
    )]
    more: Option<Box<Vec<Entry>>>,
}

impl Known {
    fn new(card: &str) -> Self {
        Self {
            card: CardKey::new(card),
            first: Entry::new(NONE),
            more: None,
        }
    }

    fn is_of(&self, card: &str) -> bool {
        Borrow::<[u8]>::borrow(&self.card) == card.as_bytes()
    }

    /// What is known of a card that was asked about in one group, or none.
    pub(super) fn only(&self) -> Option<&Entry> {
        self.more.is_none().then_some(&self.first)
    }

    /// Where it is in each group in which it was ever seen.
    pub(super) fn seen(&self) -> impl Iterator<Item = &Entry> {
        let entries = std::iter::once(&self.first).chain(self.more());
        entries.filter(|entry| entry.place != NONE)
    }

    fn more(&self) -> &[Entry] {
        self.more.as_deref().map_or(&[], Vec::as_slice)
    }

    fn entry(&self, group: u32) -> Option<&Entry> {
        if self.first.group == group {
            return Some(&self.first);
        }
        self.more().iter().find(|entry| entry.group == group)
    }

    /// Where the card is in the group, if it was ever seen there.
    pub(super) fn seen_in(&self, group: u32) -> Option<&Entry> {
        self.entry(group).filter(|entry| entry.place != NONE)
    }

    /// Whether it was asked about in that group.
    pub(super) fn knows(&self, group: u32) -> bool {
        self.entry(group).is_some()
    }

    /// What is known in that group, made when there is nothing.
    pub(super) fn entry_mut(&mut self, group: u32) -> &mut Entry {
        if self.first.group == NONE {
            self.first = Entry::new(group);
        }
        if self.first.group == group {
            return &mut self.first;
        }
        let more = self.more.get_or_insert_default();
        let known = more.iter().position(|entry| entry.group == group);
        let at = known.unwrap_or(more.len());
        if known.is_none() {
            more.push(Entry::new(group));
        }
        &mut more[at]
    }
}

/// One generation: the slots of cards, and what is in them.
#[derive(Debug, Default)]
struct Generation {
    slots: HashTable<u32>,
    known: Vec<Known>,
}

impl Generation {
    fn find(&self, hash: u64, card: &str) -> Option<u32> {
        let is_it = |slot: &u32| self.known[*slot as usize].is_of(card);
        self.slots.find(hash, is_it).copied()
    }
}

/// Two generations of cards; the older one is dropped whole.
#[derive(Debug, Default)]
pub(super) struct Memories {
    hasher: RandomState,
    young: Generation,
    old: Generation,
    /// The hashes of a run.
    hashes: Vec<u64>,
}

impl Memories {
    /// The slot of the card, which counts as young from now on; nothing when nothing is remembered of it.
    pub(super) fn find(&mut self, card: &str) -> Option<u32> {
        self.find_hashed(hash(&self.hasher, card.as_bytes()), card)
    }

    fn find_hashed(&mut self, hash: u64, card: &str) -> Option<u32> {
        if let Some(slot) = self.young.find(hash, card) {
            return Some(slot);
        }
        let old = &mut self.old;
        let is_it = |slot: &u32| old.known[*slot as usize].is_of(card);
        let (slot, _) = old.slots.find_entry(hash, is_it).ok()?.remove();
        let known = std::mem::replace(&mut old.known[slot as usize], Known::new(""));
        Some(self.insert(hash, known))
    }

    /// The slots of `cards`, in order, into `slots`; [`NONE`] where there is no card to ask for, or nothing is remembered of it.
    ///
    /// In short passes of the same kind, so that the look-ups, each of which goes to memory twice, wait together.
    pub(super) fn find_run<'a>(
        &mut self,
        cards: impl Iterator<Item = Option<&'a str>> + Clone,
        slots: &mut Vec<u32>,
    ) {
        self.hashes.clear();
        let hashes = cards.clone();
        let hashes = hashes.map(|card| card.map_or(0, |card| hash(&self.hasher, card.as_bytes())));
        self.hashes.extend(hashes);
        let young = &self.young;
        let likely = |hash: &u64| young.slots.iter_hash(*hash).next().copied();
        slots.clear();
        slots.extend(self.hashes.iter().map(|hash| likely(hash).unwrap_or(NONE)));
        self.touch(slots);
        for (at, card) in cards.enumerate() {
            let Some(card) = card else {
                slots[at] = NONE;
                continue;
            };
            let likely = self.young.known.get(slots[at] as usize);
            // One tag in 128 belongs to another card.
            if !likely.is_some_and(|known| known.is_of(card)) {
                let found = self.find_hashed(self.hashes[at], card);
                slots[at] = found.unwrap_or(NONE);
            }
        }
    }

    /// Nothing but loads of what is in these slots.
    fn touch(&self, slots: &[u32]) {
        let known = &self.young.known;
        let slots = slots.iter().filter_map(|slot| known.get(*slot as usize));
        let numbers = slots.map(|known| known.first.group);
        black_box(numbers.fold(0, u32::wrapping_add));
    }

    /// The slot of the card, made when it has none.
    pub(super) fn slot(&mut self, card: &str) -> u32 {
        let hash = hash(&self.hasher, card.as_bytes());
        match self.find_hashed(hash, card) {
            Some(slot) => slot,
            None => self.insert(hash, Known::new(card)),
        }
    }

    /// What is in a slot.
    pub(super) fn known(&mut self, slot: u32) -> &mut Known {
        &mut self.young.known[slot as usize]
    }

    /// What is in a slot.
    pub(super) fn at(&self, slot: u32) -> &Known {
        &self.young.known[slot as usize]
    }

    /// Between two parts of a page: drops the older generation when the younger one is full. No slot is valid afterwards.
    pub(super) fn turn(&mut self) {
        if self.young.slots.len() >= GENERATION {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.slots.clear();
            self.young.known.clear();
        }
    }

    fn insert(&mut self, hash_of_card: u64, known: Known) -> u32 {
        let Generation { slots, known: all } = &mut self.young;
        let slot = u32::try_from(all.len()).unwrap_or(NONE);
        if all.capacity() == 0 {
            // Once, so that no page waits for it to grow.
            all.reserve_exact(GENERATION);
        }
        all.push(known);
        let hash_of = |slot: &u32| hash(&self.hasher, all[*slot as usize].card.borrow());
        slots.insert_unique(hash_of_card, slot, hash_of);
        slot
    }
}

fn hash(hasher: &RandomState, card: &[u8]) -> u64 {
    hasher.hash_one(card)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_card_is_one_cache_line() {
        assert_eq!((size_of::<Known>(), align_of::<Known>()), (64, 64));
    }

    #[test]
    fn a_run_finds_what_one_by_one_finds() {
        let mut memory = Memories::default();
        let cards: Vec<String> = (0..5_000).map(|card: u32| card.to_string()).collect();
        for (at, card) in cards.iter().enumerate().filter(|(at, _)| at % 3 != 0) {
            let slot = memory.slot(card);
            memory.known(slot).entry_mut(1).at_ms = at as i64;
        }
        // Half of them are of the older generation.
        std::mem::swap(&mut memory.young, &mut memory.old);
        for card in &cards[..2_500] {
            memory.find(card);
        }
        let mut slots = Vec::new();
        for (run, first) in cards.chunks(64).zip((0..).step_by(64)) {
            let asked = run.iter().enumerate();
            let asked = asked.map(|(at, card)| (at % 5 != 0).then_some(card.as_str()));
            memory.find_run(asked, &mut slots);
            assert_eq!(slots.len(), run.len());
            for (at, slot) in slots.iter().enumerate() {
                let expected = at % 5 != 0 && (first + at) % 3 != 0;
                assert_eq!(*slot != NONE, expected, "{}", run[at]);
                if expected {
                    let known = memory.at(*slot);
                    assert!(known.is_of(&run[at]));
                    let entry = known.entry(1).expect("learnt");
                    assert_eq!(entry.at_ms, (first + at) as i64);
                }
            }
        }
    }
}
