//! Numbers for access profiles and for lists of them.
//!
//! Millions of cards carry a few thousand different lists, so a card stores the number of its list. Lists are
//! only ever added, and read without a lock: a slot is written once, before its number is given out. They live as
//! long as the card map they belong to; a fresh map starts without the lists that no card uses any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use foldhash::fast::RandomState;

use crate::model::card::{ProfileList, Validity};

/// One profile on a card's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileLink {
    /// The profile's number.
    pub profile: u32,
    /// When the link is valid; outside, the profile counts as not assigned.
    pub valid: Validity,
}

/// Slots of the first block; each further block is twice the one before.
const FIRST_BLOCK: u32 = 64;

/// Blocks until all 2^32 numbers have a slot: 64 · (2^27 − 1) > 2^32.
const BLOCKS: usize = 27;

type Slot = OnceLock<Arc<[ProfileLink]>>;

#[derive(Debug, Default)]
struct Numbers {
    profiles: HashMap<Box<str>, u32, RandomState>,
    lists: HashMap<Arc<[ProfileLink]>, u32, RandomState>,
}

/// The numbers given out so far.
#[derive(Debug, Default)]
pub struct Profiles {
    numbers: Mutex<Numbers>,
    blocks: [OnceLock<Box<[Slot]>>; BLOCKS],
}

impl Profiles {
    /// The number of the profile `id`, for ever.
    pub fn number(&self, id: &str) -> u32 {
        number_of(&mut self.lock().profiles, id)
    }

    /// The number of this list; order and repetition make no difference.
    pub fn list(&self, links: &[(Box<str>, Validity)]) -> ProfileList {
        let mut numbers = self.lock();
        let mut list: Vec<ProfileLink> = links
            .iter()
            .map(|(id, valid)| ProfileLink {
                profile: number_of(&mut numbers.profiles, id),
                valid: *valid,
            })
            .collect();
        list.sort_unstable();
        list.dedup();
        if let Some(&known) = numbers.lists.get(list.as_slice()) {
            return ProfileList(known);
        }
        let list: Arc<[ProfileLink]> = list.into();
        let number = u32::try_from(numbers.lists.len()).unwrap_or(u32::MAX);
        // A number that is already taken (only after 2^32 lists) keeps its first list.
        self.slot(number, true)
            .map(|slot| slot.get_or_init(|| Arc::clone(&list)));
        numbers.lists.insert(list, number);
        ProfileList(number)
    }

    /// The links of a list; empty for a number that was never given out.
    pub fn links(&self, list: ProfileList) -> &[ProfileLink] {
        self.slot(list.0, false)
            .and_then(Slot::get)
            .map_or(&[], |links| links)
    }

    /// How many different lists are kept.
    pub fn lists(&self) -> usize {
        self.lock().lists.len()
    }

    fn slot(&self, number: u32, create: bool) -> Option<&Slot> {
        let (block, index, length) = place(number);
        let block = self.blocks.get(block)?;
        let slots = if create {
            block.get_or_init(|| (0..length).map(|_| Slot::new()).collect())
        } else {
            block.get()?
        };
        slots.get(index)
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        // Whoever panicked here left at worst a number without a list, which reads as an empty list.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number_of(numbers: &mut HashMap<Box<str>, u32, RandomState>, id: &str) -> u32 {
    if let Some(&known) = numbers.get(id) {
        return known;
    }
    let number = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    numbers.insert(Box::from(id), number);
    number
}

/// Block, index in the block, and the block's length.
fn place(number: u32) -> (usize, usize, usize) {
    let from_first = u64::from(number) + u64::from(FIRST_BLOCK);
    let block = from_first.ilog2() - FIRST_BLOCK.ilog2();
    let length = u64::from(FIRST_BLOCK) << block;
    // Both are below 2^32 plus the first block: they fit wherever a table of that size does.
    (
        block as usize,
        (from_first - length) as usize,
        length as usize,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_share_a_number_whatever_their_order() {
        let profiles = Profiles::default();
        let staff = (Box::from("staff"), Validity::ALWAYS);
        let night = (Box::from("night"), Validity::new(Some(1), Some(2)));
        let list = profiles.list(&[staff.clone(), night.clone()]);
        assert_eq!(profiles.list(&[night.clone(), staff.clone(), night]), list);
        assert_ne!(profiles.list(std::slice::from_ref(&staff)), list);
        assert_eq!(profiles.links(list).len(), 2);
        assert_eq!(
            profiles.links(list)[0],
            ProfileLink {
                profile: profiles.number("staff"),
                valid: Validity::ALWAYS
            }
        );
        assert_eq!(profiles.lists(), 2);
    }

    #[test]
    fn a_number_that_was_never_given_out_reads_as_no_profiles() {
        let profiles = Profiles::default();
        assert!(profiles.links(ProfileList(0)).is_empty());
        assert!(profiles.links(ProfileList(u32::MAX)).is_empty());
    }

    #[test]
    fn every_number_keeps_its_list_across_blocks() {
        let profiles = Profiles::default();
        let lists: Vec<_> = (0..1000_i64)
            .map(|until| profiles.list(&[(Box::from("staff"), Validity::new(None, Some(until)))]))
            .collect();
        for (until, list) in (0..1000_i64).zip(lists) {
            assert_eq!(
                profiles.links(list)[0].valid,
                Validity::new(None, Some(until))
            );
        }
    }

    #[test]
    fn blocks_double_and_hold_every_number_once() {
        let rows = [
            (0, (0, 0, 64)),
            (63, (0, 63, 64)),
            (64, (1, 0, 128)),
            (191, (1, 127, 128)),
            (192, (2, 0, 256)),
        ];
        for (number, expected) in rows {
            assert_eq!(place(number), expected, "number {number}");
        }
        assert!(place(u32::MAX).0 < BLOCKS);
    }
}
