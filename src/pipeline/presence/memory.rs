//! What is remembered of the cards of one shard; bounded, and of what is dropped the table is asked again.
//!
//! A card's place in memory is a number, its slot, found once a swipe and valid until the part of the page is stored.

use std::{collections::HashMap, hint::black_box, sync::Arc};

use foldhash::fast::RandomState;

use crate::{access::cache::CardKey, model::presence::Presence};

/// Cards of one generation, about 7 MiB: more than a shard sees in a minute at 1 000 swipes a second. What is dropped is read
/// from the table again. A part of a page may go over it.
pub(super) const GENERATION: usize = 65_536;

/// Not the number of anything.
pub(super) const NONE: u32 = u32::MAX;

/// What is known of a card in one group of areas.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) group: Arc<str>,
    /// Nothing, when it was never seen there.
    pub(super) presence: Option<Presence>,
    /// The part of a page in which it moved last, and where in the list of its moves that stands.
    pub(super) moved: (u32, u32),
}

/// What is known of a card in each group of areas that it was asked about. Most cards have one, and then all of it is one
/// line of the processor's cache.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Known {
    first: Option<Entry>,
    /// The box keeps it to a pointer: a second group is rare.
    #[expect(
        clippy::box_collection,
        reason = "a vector is three words, and nearly always empty"
    )]
    more: Option<Box<Vec<Entry>>>,
}

impl Known {
    /// All of it.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.first.iter().chain(self.more())
    }

    fn more(&self) -> &[Entry] {
        self.more.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Where the card is in the group, if it was ever seen there.
    pub(super) fn presence(&self, group: &Arc<str>) -> Option<&Presence> {
        let entry = self.entries().find(|entry| entry.group == *group)?;
        entry.presence.as_ref()
    }

    /// Whether it was asked about in that group.
    pub(super) fn knows(&self, group: &Arc<str>) -> bool {
        self.entries().any(|entry| entry.group == *group)
    }

    /// What is known in the group of that number.
    pub(super) fn at(&self, number: u32) -> Option<&Entry> {
        match number.checked_sub(1) {
            None => self.first.as_ref(),
            Some(at) => self.more().get(at as usize),
        }
    }

    /// From now on the card is there in that group, or was never seen there; and the number of the group.
    pub(super) fn set(
        &mut self,
        group: &Arc<str>,
        presence: Option<Presence>,
    ) -> (u32, &mut Entry) {
        let fresh = || Entry {
            group: Arc::clone(group),
            presence: None,
            moved: (NONE, NONE),
        };
        let first = self.first.get_or_insert_with(fresh);
        if first.group == *group {
            first.presence = presence;
            return (0, first);
        }
        let more = self.more.get_or_insert_default();
        let known = more.iter().position(|entry| entry.group == *group);
        let at = known.unwrap_or(more.len());
        if known.is_none() {
            more.push(fresh());
        }
        let entry = &mut more[at];
        entry.presence = presence;
        (u32::try_from(at + 1).unwrap_or(NONE), entry)
    }
}

/// One generation: the slots of cards, and what is in them.
#[derive(Debug, Default)]
struct Generation {
    slots: HashMap<CardKey, u32, RandomState>,
    known: Vec<Known>,
}

/// Two generations of cards; the older one is dropped whole.
#[derive(Debug, Default)]
pub(super) struct Memories {
    young: Generation,
    old: Generation,
}

impl Memories {
    /// The slot of the card, which counts as young from now on; nothing when nothing is remembered of it.
    pub(super) fn find(&mut self, card: &str) -> Option<u32> {
        if let Some(slot) = self.young.slots.get(card.as_bytes()) {
            return Some(*slot);
        }
        let slot = self.old.slots.remove(card.as_bytes())?;
        let known = std::mem::take(self.old.known.get_mut(slot as usize)?);
        Some(self.insert(card, known))
    }

    /// The slot of the card, made when it has none.
    pub(super) fn slot(&mut self, card: &str) -> u32 {
        match self.find(card) {
            Some(slot) => slot,
            None => self.insert(card, Known::default()),
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

    /// Loads what is in these slots.
    pub(super) fn touch(&self, slots: &[u32]) {
        let known = &self.young.known;
        let slots = slots.iter().filter_map(|slot| known.get(*slot as usize));
        let numbers = slots.map(|known| known.first.as_ref().map_or(0, |entry| entry.moved.0));
        black_box(numbers.fold(0, u32::wrapping_add));
    }

    /// Between two parts of a page: drops the older generation when the younger one is full. No slot is valid afterwards.
    pub(super) fn turn(&mut self) {
        if self.young.slots.len() >= GENERATION {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.slots.clear();
            self.young.known.clear();
        }
    }

    fn insert(&mut self, card: &str, known: Known) -> u32 {
        let slot = u32::try_from(self.young.known.len()).unwrap_or(NONE);
        self.young.known.push(known);
        self.young.slots.insert(CardKey::new(card), slot);
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_card_is_one_cache_line() {
        assert_eq!((size_of::<Known>(), align_of::<Known>()), (64, 64));
    }
}
