//! The rules: what is answered to a swipe, and why. First match wins, and the number of the rule that matched is
//! stored with the decision for ever, so a rule never changes its number or its meaning.
//!
//! The order is state, then rights, then time, then checks that would change state: a stolen card is reported as
//! stolen wherever it is used, and a denial has no effect beside itself. Rights are judged at the instant of the
//! swipe by what is known now. What is not known is never a grant.
//!
//! Pure: reads no clock, allocates nothing, hashes at most three strings (access point, device, card).

use std::cell::OnceCell;

use crate::{
    access::{
        cache::View,
        rulebook::{DeviceTrust, Point, Rights},
    },
    model::{
        card::{Card, CardStatus, Exemptions, HolderStatus},
        decision::{Outcome, Reason, Verdict},
        door::{Degraded, Egress, Posture},
        swipe::{Direction, Swipe},
    },
};

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

/// The answer to a swipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// Grant or deny, and why.
    pub verdict: Verdict,
    /// The access point's direction, when it is known.
    pub direction: Option<Direction>,
}

/// Decides one swipe by what `view` knows. `now_ms` is the decision's time, Unix epoch milliseconds.
pub fn decide(swipe: &Swipe<'_>, view: &View, policy: &Policy, now_ms: i64) -> Ruling {
    let book = view.rulebook();
    let id = book.point_id(&swipe.access_point);
    let point = id.and_then(|id| book.point(id));
    let trust = book.trust(&swipe.device_id, id);
    // Rule 1, a swipe that was decided before, is the sink's: what is stored stays.
    let before_the_door = untrusted_device(trust, policy) // 2
        // Rule 3 is kept for one (device, number) with different content.
        .or_else(|| wrong_time(swipe, policy, now_ms)); // 4
    let verdict = match (before_the_door, point) {
        (Some(reason), _) => Verdict::of(reason),
        (None, Some(point)) if agrees(swipe.direction, point.direction) => {
            let degraded = view.staleness_ms(now_ms) > policy.max_card_staleness_ms;
            at_the_door(&Case {
                swipe,
                view,
                point,
                degraded,
                card: OnceCell::new(),
            })
        }
        (None, _) => Verdict::of(Reason::AccessPointUnknown), // 5
    };
    Ruling {
        verdict,
        direction: point.map(|point| point.direction),
    }
}

/// Rule 6: the way out that is always open. The rules that follow only flag it.
fn at_the_door(case: &Case<'_>) -> Verdict {
    let reason = case.settle();
    if case.point.direction == Direction::Out && case.point.egress == Egress::AlwaysAllow {
        let would_deny = (reason.outcome() == Outcome::Deny).then_some(reason);
        return Verdict {
            would_deny,
            ..Verdict::of(Reason::GrantedEgress)
        };
    }
    Verdict::of(reason)
}

/// A swipe at a known access point.
struct Case<'a> {
    swipe: &'a Swipe<'a>,
    view: &'a View,
    point: &'a Point,
    /// Whether what is known about cards is missing or too old.
    degraded: bool,
    /// Looked up by the first rule that asks.
    card: OnceCell<Option<Card>>,
}

impl Case<'_> {
    /// Rules 7 to 29 in order.
    fn settle(&self) -> Reason {
        let at_ms = self.swipe.swiped_at_ms;
        if let Some(reason) = self
            .posture() // 7
            .or_else(|| self.unavailable())
        // 8
        // Rule 9 is kept for card formats and facility codes.
        {
            return reason;
        }
        let Some(card) = self.card() else {
            return Reason::CredentialNotFound;
        }; // 10
        // Rule 11 is kept for issue levels.
        physically_gone(card) // 12
            .or_else(|| not_in_use(card)) // 13
            .or_else(|| (card.holder != HolderStatus::Active).then_some(Reason::HolderInactive)) // 14
            .or_else(|| out_of_validity(card, at_ms)) // 15
            // Rule 16 is kept for lockout after failed attempts.
            .or_else(|| self.without_rights(card)) // 17, 18
            // Rule 19, threat level, comes here: `point.threat_level` against `card.threat_authority`.
            // Rule 20 is kept for PIN and duress.
            // Rule 21, anti-passback, comes here, and may set the verdict's `soft_apb`.
            // Rules 22 and 23 are kept for timed re-entry and implausible travel.
            // Rule 24, occupancy, comes here.
            // Rules 25 to 28 are kept for first card, interlock, second card and escort, and counted uses.
            .unwrap_or(if self.degraded {
                Reason::GrantedDegraded
            } else {
                Reason::Granted
            }) // 29, or 8 marked
    }

    fn card(&self) -> Option<&Card> {
        self.card
            .get_or_init(|| self.view.card(&self.swipe.card_id))
            .as_ref()
    }

    fn posture(&self) -> Option<Reason> {
        if self.point.posture == Posture::Disabled {
            return Some(Reason::AccessPointDisabled);
        }
        let lockdown = self.point.site_lockdown || self.point.posture == Posture::Lockdown;
        if lockdown
            && !self
                .card()
                .is_some_and(|card| card.exemptions.contains(Exemptions::LOCKDOWN))
        {
            return Some(Reason::Lockdown);
        }
        (self.point.posture == Posture::Unlocked).then_some(Reason::GrantedDoorUnlocked)
    }

    fn unavailable(&self) -> Option<Reason> {
        (self.degraded && self.point.degraded == Degraded::Deny)
            .then_some(Reason::AuthorizationUnavailable)
    }

    fn without_rights(&self, card: &Card) -> Option<Reason> {
        let links = self.view.profiles(card);
        match self
            .view
            .rulebook()
            .rights(links, self.point, self.swipe.swiped_at_ms)
        {
            Rights::Denied => Some(Reason::DeniedByRule),
            Rights::NotCovered => Some(Reason::Unauthorized),
            Rights::Closed => Some(Reason::NotPermittedAtThisTime),
            Rights::Open => None,
        }
    }
}

fn untrusted_device(trust: DeviceTrust, policy: &Policy) -> Option<Reason> {
    let untrusted = match trust {
        DeviceTrust::Trusted => false,
        DeviceTrust::Unknown => policy.require_known_devices,
        DeviceTrust::Untrusted => true,
    };
    untrusted.then_some(Reason::UntrustedDevice)
}

/// The edges themselves are still in time: exactly the skew ahead, exactly the greatest age.
fn wrong_time(swipe: &Swipe<'_>, policy: &Policy, now_ms: i64) -> Option<Reason> {
    let age_ms = now_ms.saturating_sub(swipe.swiped_at_ms);
    if age_ms < policy.max_clock_skew_ms.saturating_neg() {
        Some(Reason::FutureSwipe)
    } else if age_ms > policy.max_swipe_age_ms && !swipe.offline {
        Some(Reason::StaleSwipe)
    } else {
        None
    }
}

fn agrees(said: Option<Direction>, known: Direction) -> bool {
    said.is_none_or(|said| said == known)
}

fn physically_gone(card: &Card) -> Option<Reason> {
    match card.status {
        CardStatus::Stolen => Some(Reason::CredentialStolen),
        CardStatus::Lost => Some(Reason::CredentialLost),
        CardStatus::Destroyed => Some(Reason::CredentialDestroyed),
        CardStatus::Damaged => Some(Reason::CredentialDamaged),
        _ => None,
    }
}

fn not_in_use(card: &Card) -> Option<Reason> {
    match card.status {
        CardStatus::Unissued => Some(Reason::CredentialUnassigned),
        CardStatus::Revoked => Some(Reason::CredentialRevoked),
        CardStatus::Suspended => Some(Reason::CredentialSuspended),
        CardStatus::Inactive => Some(Reason::CredentialInactivity),
        _ => None,
    }
}

fn out_of_validity(card: &Card, at_ms: i64) -> Option<Reason> {
    if card.valid.not_yet(at_ms) {
        Some(Reason::CredentialNotActive)
    } else if card.valid.over(at_ms) || card.status == CardStatus::Expired {
        Some(Reason::CredentialExpired)
    } else {
        None
    }
}
