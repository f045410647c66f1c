//! Every card, by its number: the one big table of the process.
//!
//! Bytes count here (3.5 M cards): a card id of at most 22 bytes lives inside the table's slot instead of on the
//! heap, and a card is twenty bytes without a pointer. A slot is 56 bytes, so a card costs about 70 at the usual
//! load of the table.
//!
//! A removal forgets the card's version: who is made again may count from 1. A malformed image leaves the version
//! behind without a card, so that an older image that arrives late cannot bring the card back.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    sync::atomic::{AtomicUsize, Ordering},
};

use dashmap::{DashMap, Entry};
use foldhash::fast::RandomState;

use super::profiles::Profiles;
use crate::model::card::Card;

/// The longest card id that needs no heap: what is left of 24 bytes.
const INLINE_BYTES: usize = 22;

/// A card id, inline when it is short. Compared and hashed as its bytes.
#[derive(Clone, Debug)]
pub enum CardKey {
    /// Length and bytes.
    Inline(u8, [u8; INLINE_BYTES]),
    /// The rest.
    Heap(Box<[u8]>),
}

impl CardKey {
    /// The key of that id.
    pub fn new(id: &str) -> Self {
        let mut bytes = [0; INLINE_BYTES];
        match (bytes.get_mut(..id.len()), u8::try_from(id.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(id.as_bytes());
                Self::Inline(length, bytes)
            }
            _ => Self::Heap(Box::from(id.as_bytes())),
        }
    }
}

impl Borrow<[u8]> for CardKey {
    fn borrow(&self) -> &[u8] {
        match self {
            Self::Inline(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for CardKey {
    fn eq(&self, other: &Self) -> bool {
        let (mine, theirs): (&[u8], &[u8]) = (self.borrow(), other.borrow());
        mine == theirs
    }
}

impl Eq for CardKey {}

impl Hash for CardKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes: &[u8] = self.borrow();
        bytes.hash(state);
    }
}

/// `Version` in eight bytes: 0 is none, otherwise one more than the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(u64);

impl Version {
    /// The version of an image.
    pub fn new(version: Option<u64>) -> Self {
        Self(version.map_or(0, |version| version.saturating_add(1)))
    }

    /// Whether an image of this version is older than one of `known`; where either has none, it is not.
    pub fn is_older_than(self, known: Self) -> bool {
        self.0 != 0 && self.0 < known.0
    }

    /// Whether there is one.
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// What is kept for a card id.
#[derive(Clone, Copy, Debug)]
struct Kept {
    version: Version,
    /// Nothing when the newest image was malformed.
    card: Option<Card>,
}

/// What became of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is what is known now.
    Taken,
    /// Something newer was known already.
    Older,
}

/// Parts of the table, each with its own lock: so many that the one writer is seldom met, so few that a reader can hold all.
const PARTS: usize = 16;

/// Cards that one [`Cards::get_run`] looks up: microseconds for which no card changes.
pub const RUN_MAX: usize = 64;

/// The cards and the profile lists that they share.
#[derive(Debug)]
pub struct Cards {
    map: DashMap<CardKey, Kept, RandomState>,
    live: AtomicUsize,
    /// Numbers of profiles and of lists of them.
    pub profiles: Profiles,
}

impl Default for Cards {
    fn default() -> Self {
        Self {
            map: DashMap::with_hasher_and_shard_amount(RandomState::default(), PARTS),
            live: AtomicUsize::new(0),
            profiles: Profiles::default(),
        }
    }
}

impl Cards {
    /// The cards of `ids`, in order.
    ///
    /// A look-up goes to memory twice: for the tag of a slot, then for the slot. Here all tags are asked for before the first
    /// slot is, in loops so short that the processor has several of the same kind under way. All parts are read-locked
    /// once, since an atomic operation between two look-ups would have the second wait for the first. Readers lock the
    /// parts in one order and writers one part alone, so that nobody waits in a circle.
    pub fn get_run<'a>(
        &self,
        ids: impl Iterator<Item = &'a str> + Clone,
    ) -> [Option<Card>; RUN_MAX] {
        let parts: [_; PARTS] = std::array::from_fn(|part| self.map.shards()[part].read());
        let mut hashes = [0; RUN_MAX];
        for (hash, id) in hashes.iter_mut().zip(ids.clone()) {
            *hash = self.map.hash_usize(&id.as_bytes());
        }
        let part = |hash| &parts[self.map.determine_shard(hash)];
        let likely = hashes.map(|hash| part(hash).get(hash as u64, |_| true));
        let mut cards = [None; RUN_MAX];
        for ((card, id), (hash, likely)) in cards.iter_mut().zip(ids).zip(hashes.iter().zip(likely))
        {
            let is_it = |(key, _): &(CardKey, _)| Borrow::<[u8]>::borrow(key) == id.as_bytes();
            let slot = match likely {
                // One tag in 128 belongs to another card: then the search starts again.
                Some(slot) if !is_it(slot) => part(*hash).get(*hash as u64, is_it),
                slot => slot,
            };
            *card = slot.and_then(|(_, kept)| kept.get().card);
        }
        cards
    }

    /// The card of that id. One hash, one short read lock of a part of the table.
    pub fn get(&self, id: &str) -> Option<Card> {
        self.map.get(id.as_bytes()).and_then(|kept| kept.card)
    }

    /// How many cards there are.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Takes the image `card` (nothing: it is malformed) unless it is older than what is kept, or `superseded`
    /// says so; that is asked while the id is locked.
    pub fn put(
        &self,
        id: &str,
        version: Version,
        card: Option<Card>,
        superseded: impl Fn(&CardKey) -> bool,
    ) -> Fate {
        let entry = self.map.entry(CardKey::new(id));
        let known = match &entry {
            Entry::Occupied(kept) => Some(*kept.get()),
            Entry::Vacant(_) => None,
        };
        if superseded(entry.key())
            || known.is_some_and(|known| version.is_older_than(known.version))
        {
            return Fate::Older;
        }
        let was_live = known.is_some_and(|known| known.card.is_some());
        match entry {
            Entry::Occupied(kept) if card.is_none() && !version.is_some() => drop(kept.remove()),
            Entry::Vacant(_) if card.is_none() && !version.is_some() => {}
            entry => drop(entry.insert(Kept { version, card })),
        }
        self.count(was_live, card.is_some());
        Fate::Taken
    }

    /// Forgets a card and its version.
    pub fn remove(&self, id: &str) {
        if let Some((_, kept)) = self.map.remove(id.as_bytes()) {
            self.count(kept.card.is_some(), false);
        }
    }

    fn count(&self, was_live: bool, is_live: bool) {
        match (was_live, is_live) {
            (false, true) => self.live.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.live.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_48_bytes() {
        assert_eq!(size_of::<CardKey>(), 24);
        assert_eq!(size_of::<(CardKey, Kept)>(), 56);
    }

    #[test]
    fn ids_of_every_length_are_found_by_their_text() {
        let cards = Cards::default();
        let ids: Vec<String> = (1..=64).map(|length| "x".repeat(length)).collect();
        let list = cards.profiles.list(&[]);
        for (number, id) in (0_u8..).zip(&ids) {
            cards.put(
                id,
                Version::new(None),
                Some(tests::card(number, list)),
                |_| false,
            );
        }
        for (number, id) in (0_u8..).zip(&ids) {
            assert_eq!(
                cards.get(id).map(|card| card.threat_authority),
                Some(number),
                "{id}"
            );
        }
        assert_eq!(cards.live(), 64);
        assert_eq!(cards.get(&"x".repeat(65)), None);
    }

    fn card(threat_authority: u8, profiles: crate::model::card::ProfileList) -> Card {
        use crate::model::card::{CardStatus, Exemptions, HolderStatus, Validity};
        Card {
            status: CardStatus::Issued,
            holder: HolderStatus::Active,
            exemptions: Exemptions::default(),
            threat_authority,
            forgiven_s: 0,
            valid: Validity::ALWAYS,
            profiles,
        }
    }
}
