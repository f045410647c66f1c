//! Where a card is, as far as grants tell: the memory of anti-passback, occupancy and the list of who is inside.

use std::sync::Arc;

/// Where a card is within a group of areas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the area of that id.
    Inside(Arc<str>),
    /// In none of the group: it left.
    Outside,
}

/// What is remembered of a card in a group of areas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Where it is.
    pub place: Place,
    /// Since the swipe of this instant, by the device's clock (Unix epoch milliseconds). Never goes back.
    pub at_ms: i64,
}

/// A card that moved, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The card.
    pub card: Box<str>,
    /// The group of areas.
    pub group: Arc<str>,
    /// Where it is now.
    pub presence: Presence,
    /// The access point that it passed.
    pub access_point: Box<str>,
    /// The decision that let it pass.
    pub decision_id: String,
}
