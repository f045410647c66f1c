//! A card: the credential a person carries, and what it may open.
//!
//! Cards are many (millions), so a [`Card`] is twenty bytes without a pointer: words are bytes, validity is whole
//! seconds in 32 bits, and its list of access profiles is the number of a list that many cards share.

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

impl CardStatus {
    /// The status of that word in the access table, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "issued" => Self::Issued,
            "suspended" => Self::Suspended,
            "lost" => Self::Lost,
            "stolen" => Self::Stolen,
            "damaged" => Self::Damaged,
            "destroyed" => Self::Destroyed,
            "revoked" => Self::Revoked,
            "expired" => Self::Expired,
            "inactive" => Self::Inactive,
            "unissued" => Self::Unissued,
            _ => return None,
        })
    }

    /// What this status comes to when the card is also marked available for issue: it is nobody's, unless it is
    /// physically gone, which rule 12 reports before rule 13 asks whose it is.
    pub const fn available_for_issue(self) -> Self {
        match self {
            Self::Stolen | Self::Lost | Self::Destroyed | Self::Damaged => self,
            _ => Self::Unissued,
        }
    }
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

impl HolderStatus {
    /// The status of that word in the access table, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "onboarding" => Self::Onboarding,
            "active" => Self::Active,
            "inactive" => Self::Inactive,
            _ => return None,
        })
    }
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

    /// This set and `other` together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The exemption of that word in the access table. A word of a system that knows more exemptions than we do
    /// is the empty set: it exempts from nothing.
    pub fn of_word(word: &str) -> Self {
        match word {
            "lockdown" => Self::LOCKDOWN,
            "passback" => Self::PASSBACK,
            "occupancy" => Self::OCCUPANCY,
            _ => Self(0),
        }
    }
}

/// From when until when something is valid: whole seconds since the Unix epoch, the end exclusive.
///
/// Kept in 32 bits, good until February 2106: a start before 1970 counts as none, an end after 2106 as none, an
/// end before 1970 as over, a start after 2106 as not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Validity {
    /// 0 stands for "from the beginning".
    from_s: u32,
    /// `u32::MAX` stands for "without end", 0 for "never".
    to_s: u32,
}

impl Validity {
    /// Without beginning and end.
    pub const ALWAYS: Self = Self {
        from_s: 0,
        to_s: u32::MAX,
    };

    /// Valid in `from_s <= t < to_s`, in epoch seconds; a missing side is open.
    pub fn new(from_s: Option<i64>, to_s: Option<i64>) -> Self {
        let clamp = |seconds: i64| u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        Self {
            from_s: from_s.map_or(0, clamp),
            to_s: to_s.map_or(u32::MAX, clamp),
        }
    }

    /// Whether `at_ms` (Unix epoch milliseconds) is before the first valid instant.
    pub const fn not_yet(self, at_ms: i64) -> bool {
        self.from_s != 0 && at_ms < self.from_s as i64 * 1000
    }

    /// Whether `at_ms` (Unix epoch milliseconds) is at or after the end.
    pub const fn over(self, at_ms: i64) -> bool {
        self.to_s == 0 || (self.to_s != u32::MAX && at_ms >= self.to_s as i64 * 1000)
    }

    /// Whether `at_ms` (Unix epoch milliseconds) is inside.
    pub const fn covers(self, at_ms: i64) -> bool {
        !self.not_yet(at_ms) && !self.over(at_ms)
    }
}

/// The number of a list of access profiles; cards with equal lists share one. Means something only to the cache
/// that gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProfileList(pub u32);

/// What is known of one card, as far as the rules ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// Where it is in its life; [`CardStatus::Unissued`] also when it is marked available for issue.
    pub status: CardStatus,
    /// Where its holder is in theirs.
    pub holder: HolderStatus,
    /// Checks it is exempt from.
    pub exemptions: Exemptions,
    /// Up to which threat level it opens doors; 0 when not said.
    pub threat_authority: u8,
    /// When it is valid.
    pub valid: Validity,
    /// Where the card was before this instant counts no more (Unix epoch seconds, 0: it always counts): anti-passback is
    /// forgiven.
    pub forgiven_s: u32,
    /// The access profiles assigned to it.
    pub profiles: ProfileList,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_begins_with_its_first_second_and_ends_before_its_last() {
        let valid = Validity::new(Some(100), Some(200));
        let rows = [
            (99_999, false),
            (100_000, true),
            (199_999, true),
            (200_000, false),
        ];
        for (at_ms, covered) in rows {
            assert_eq!(valid.covers(at_ms), covered, "at {at_ms}");
        }
        assert!(valid.not_yet(99_999) && !valid.over(99_999));
        assert!(valid.over(200_000) && !valid.not_yet(200_000));
    }

    #[test]
    fn a_side_that_is_missing_or_out_of_range_is_open_or_shut_but_never_wraps() {
        let now_ms = 1_800_000_000_000;
        let rows = [
            (None, None, true),
            (Some(-1), None, true),
            (Some(i64::MIN), Some(i64::MAX), true),
            (Some(i64::MAX), None, false),
            (None, Some(i64::MIN), false),
            (None, Some(0), false),
            (Some(5_000_000_000), None, false),
            (None, Some(5_000_000_000), true),
        ];
        for (from_s, to_s, covered) in rows {
            assert_eq!(
                Validity::new(from_s, to_s).covers(now_ms),
                covered,
                "{from_s:?}..{to_s:?}"
            );
        }
    }

    #[test]
    fn a_card_is_sixteen_bytes_also_when_it_may_be_missing() {
        assert_eq!(size_of::<Option<Card>>(), 20);
    }
}
