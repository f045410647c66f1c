//! What is wrong, or right, with a card.

use crate::rights::Profile;

/// What a card is, and by that what it may do at its home site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Ordinary doors at any time.
    Staff,
    /// Ordinary doors by a schedule that is open now.
    Hours,
    /// The laboratory by its area.
    Lab,
    /// Ordinary doors, by a profile that is assigned for a time which includes now.
    Assigned,
    /// Ordinary doors, by a schedule that a special day opens.
    Feast,
    /// Exempt from lockdown.
    Responder,
    /// Valid until ten minutes before seeding, from two hours before it: for swipes at the very edges.
    Edge,
    /// Reported stolen.
    Stolen,
    /// Reported lost.
    Lost,
    /// Destroyed.
    Destroyed,
    /// Damaged.
    Damaged,
    /// In the pool by its status.
    Unissued,
    /// In the pool by its flag.
    Available,
    /// Withdrawn.
    Revoked,
    /// Locked out.
    Suspended,
    /// Unused for too long.
    Inactive,
    /// Holder left.
    HolderGone,
    /// Holder not started yet.
    HolderNew,
    /// Valid from next month.
    NotYet,
    /// Valid until yesterday.
    Past,
    /// Marked expired.
    Expired,
    /// Barred from the vault by an explicit deny.
    Barred,
    /// Holds no profile.
    Bare,
    /// Holds a profile whose assignment is over.
    Lapsed,
    /// Ordinary doors by a schedule that is closed now.
    Night,
    /// Ordinary doors by a schedule that a special day closes.
    Workday,
}

impl Role {
    /// Roles and how many cards of a block have them; the numbers add up to a hundred.
    pub const SLOTS: [(Self, usize); 26] = [
        (Self::Staff, 52),
        (Self::Hours, 12),
        (Self::Lab, 8),
        (Self::Assigned, 3),
        (Self::Feast, 3),
        (Self::Responder, 2),
        (Self::Edge, 1),
        (Self::Stolen, 1),
        (Self::Lost, 1),
        (Self::Destroyed, 1),
        (Self::Damaged, 1),
        (Self::Unissued, 1),
        (Self::Available, 1),
        (Self::Revoked, 1),
        (Self::Suspended, 1),
        (Self::Inactive, 1),
        (Self::HolderGone, 1),
        (Self::HolderNew, 1),
        (Self::NotYet, 1),
        (Self::Past, 1),
        (Self::Expired, 1),
        (Self::Barred, 1),
        (Self::Bare, 1),
        (Self::Lapsed, 1),
        (Self::Night, 1),
        (Self::Workday, 1),
    ];

    /// The word of its status.
    pub fn status(self) -> &'static str {
        match self {
            Self::Stolen => "stolen",
            Self::Lost => "lost",
            Self::Destroyed => "destroyed",
            Self::Damaged => "damaged",
            Self::Unissued => "unissued",
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::Inactive => "inactive",
            Self::Expired => "expired",
            _ => "issued",
        }
    }

    /// The profile that it holds.
    pub fn profile(self) -> Profile {
        match self {
            Self::Hours => Profile::Hours,
            Self::Lab => Profile::Lab,
            Self::Feast => Profile::Feastdays,
            Self::Responder => Profile::Responder,
            Self::Barred => Profile::Barred,
            Self::Night => Profile::Night,
            Self::Workday => Profile::Workdays,
            _ => Profile::Staff,
        }
    }
}
