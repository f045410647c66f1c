//! Areas as the rules read them, and the way that an access point leads from one to another.

use std::sync::Arc;

use crate::model::door::PassbackMode;

/// An area as the rules read it: one in whose group it is remembered where cards are, because an area of it, or one that it lies
/// within, has anti-passback, a limit, or a list of who is inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaRules {
    /// Its id.
    pub id: Arc<str>,
    /// Its `AreaGroup`: a card is in one area of a group at a time. Without one, the area is a group of its own.
    pub group: Arc<str>,
    /// It, and every area that it lies within.
    pub(in crate::access) within: Box<[Arc<str>]>,
    /// The groups of all areas that share its outermost one, its own among them: who is counted there has to be known in
    /// all of them, or a card would count twice.
    pub(in crate::access) family: Box<[Arc<str>]>,
    /// What entering twice costs.
    pub passback: PassbackMode,
    /// After so long without a passage what was remembered counts no more, in milliseconds; 0: it always counts.
    pub passback_timeout_ms: i64,
    /// How many cards it holds; 0: any number.
    pub occupancy_upper: u32,
    /// Whether an area of its family has a limit, so that cards are counted.
    pub is_counted: bool,
}

impl AreaRules {
    /// Whether who is in this area is in `other`, too.
    pub fn is_within(&self, other: &str) -> bool {
        self.within.iter().any(|area| **area == *other)
    }

    /// The groups in which it has to be known where a card is, before it moves here.
    pub fn family(&self) -> &[Arc<str>] {
        &self.family
    }

    /// It, and every area that it lies within.
    pub fn within(&self) -> &[Arc<str>] {
        &self.within
    }
}

/// Where an access point leads.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a, A> {
    /// The area that is left.
    pub from: Option<&'a A>,
    /// The area that is entered.
    pub to: Option<&'a A>,
}

impl<'a, A> Passage<'a, A> {
    /// Both areas.
    pub fn areas(&self) -> impl Iterator<Item = &'a A> + use<'a, A> {
        self.from.into_iter().chain(self.to)
    }
}
