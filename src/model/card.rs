//! A card: the credential a person carries, and what it may open.

/// Where a card is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CardStatus {
    /// In use.
    Issued,
    /// Locked out for a time.
    Suspended,
    /// Reported lost.
    Lost,
    /// Reported stolen.
    Stolen,
    /// No longer readable.
    Damaged,
    /// Shredded.
    Destroyed,
    /// Withdrawn.
    Revoked,
    /// Its time is over.
    Expired,
    /// Unused for too long.
    Inactive,
    /// In the pool.
    Unissued,
}

/// Where the holder of a card is in theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HolderStatus {
    /// Not yet.
    Onboarding,
    /// Works here.
    Active,
    /// No longer, or unknown: what is not said is never a grant.
    Inactive,
}

/// Checks that a card is exempt from, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exemptions(pub u8);

impl Exemptions {
    /// Enters during a lockdown.
    pub const LOCKDOWN: Self = Self(1);
    /// Not held to anti-passback.
    pub const PASSBACK: Self = Self(2);
    /// Not held to occupancy limits.
    pub const OCCUPANCY: Self = Self(4);

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
