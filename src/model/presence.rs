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
pub struct Move<'a> {
    /// The card.
    pub card: &'a str,
    /// The group of areas.
    pub group: Arc<str>,
    /// Where it is now.
    pub presence: Presence,
    /// The access point that it passed.
    pub access_point: &'a str,
    /// Device and number of the swipe that was granted.
    pub device_id: &'a str,
    /// See `device_id`.
    pub device_seq: u64,
}

impl Move<'_> {
    /// `device_id#device_seq`: the decision that let the card pass.
    pub fn decision_id(&self) -> String {
        format!("{}#{}", self.device_id, self.device_seq)
    }
}
