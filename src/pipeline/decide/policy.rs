//! What the operator sets, and the rules may assume.

/// What the operator sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How old what is known about cards may be before rule 8 speaks, in milliseconds.
    pub max_card_staleness_ms: i64,
    /// How far a device's clock may be ahead, in milliseconds.
    pub max_clock_skew_ms: i64,
    /// How old a swipe may be unless it is marked `offline`, in milliseconds. Long, so that a backlog is decided
    /// and not refused.
    pub max_swipe_age_ms: i64,
    /// How old a swipe may be for the gate to act on its decision, in milliseconds.
    pub actuate_within_ms: i64,
    /// Whether a device without an item is refused.
    pub require_known_devices: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_card_staleness_ms: 60_000,
            max_clock_skew_ms: 30_000,
            max_swipe_age_ms: 86_400_000,
            actuate_within_ms: 2_000,
            require_known_devices: false,
        }
    }
}

impl Policy {
    /// Whether a gate should still act on a decision made at `now_ms`.
    pub const fn actuates(&self, swiped_at_ms: i64, now_ms: i64) -> bool {
        now_ms.saturating_sub(swiped_at_ms) <= self.actuate_within_ms
    }
}
