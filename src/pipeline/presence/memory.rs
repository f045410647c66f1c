//! What is remembered of the cards of one shard; bounded, and of what is dropped the table is asked again.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use crate::model::presence::Presence;

/// Cards of one generation of the memory: those of one shard's busiest hour (1 000 swipes a second, four a card and hour
/// would be more; what is dropped is read again), in about 10 MiB.
pub(super) const GENERATION: usize = 65_536;

/// What is known of a card in each group of areas that it was asked about; nothing, when it was never seen there.
pub(super) type Known = Vec<(Arc<str>, Option<Presence>)>;

/// Two generations of cards; the older one is dropped whole.
#[derive(Debug, Default)]
pub(super) struct Memories {
    young: HashMap<Box<str>, Known, RandomState>,
    old: HashMap<Box<str>, Known, RandomState>,
}

impl Memories {
    /// What is known of the card, which counts as young from now on.
    pub(super) fn touch(&mut self, card: &str) -> Option<&mut Known> {
        if !self.young.contains_key(card) {
            let known = self.old.remove(card)?;
            self.insert(card, known);
        }
        self.young.get_mut(card)
    }

    /// From now on the card is there in that group, or was never seen there.
    pub(super) fn set(&mut self, card: &str, group: &Arc<str>, presence: Option<Presence>) {
        match self.touch(card) {
            Some(known) => set(known, group, presence),
            None => self.insert(card, vec![(Arc::clone(group), presence)]),
        }
    }

    fn insert(&mut self, card: &str, known: Known) {
        if self.young.len() >= GENERATION {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(Box::from(card), known);
    }
}

/// Where the card is in the group, if it was ever seen there.
pub(super) fn presence<'a>(known: &'a Known, group: &str) -> Option<&'a Presence> {
    let (_, presence) = known.iter().find(|(name, _)| **name == *group)?;
    presence.as_ref()
}

/// From now on the card is there in that group.
pub(super) fn set(known: &mut Known, group: &Arc<str>, presence: Option<Presence>) {
    match known.iter_mut().find(|(name, _)| name == group) {
        Some((_, before)) => *before = presence,
        None => known.push((Arc::clone(group), presence)),
    }
}
