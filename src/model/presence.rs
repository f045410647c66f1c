//! Where a card is, as far as grants tell: the memory of anti-passback, occupancy and the list of who is inside.

use std::sync::Arc;

use super::swipe::Swipe;

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
    /// The swipe that was granted: the card, when, and through which access point.
    pub swipe: &'a Swipe<'a>,
    /// The group of areas.
    pub group: &'a Arc<str>,
    /// Where the card is now.
    pub place: &'a Place,
}

impl Move<'_> {
    /// `device_id#device_seq`: the decision that let the card pass.
    pub fn decision_id(&self) -> String {
        format!("{}#{}", self.swipe.device_id, self.swipe.device_seq)
    }

    /// What is remembered of the card.
    pub fn presence(&self) -> Presence {
        Presence {
            place: self.place.clone(),
            at_ms: self.swipe.swiped_at_ms,
        }
    }
}
