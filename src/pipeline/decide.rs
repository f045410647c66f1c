//! The rules: what is answered to a swipe, and why. First match wins, and the number of the rule that matched is
//! stored with the decision for ever, so a rule never changes its number or its meaning.
//!
//! The order is state, then rights, then time, then checks that would change state: a stolen card is reported as
//! stolen wherever it is used, and a denial has no effect beside itself. Rights are judged at the instant of the
//! swipe by what is known now. What is not known is never a grant.
//!
//! Pure: reads no clock, allocates nothing, hashes at most three strings (access point, device, card).

mod policy;
mod ruling;

use crate::{
    access::{
        cache::{RUN_MAX, View},
        rulebook::{DeviceTrust, Point, PointId, Rights},
    },
    model::{
        card::{Card, CardStatus, Exemptions, HolderStatus},
        decision::{Decision, Outcome, Reason, Verdict},
        door::{Degraded, Egress, Posture},
        swipe::{Direction, Swipe},
    },
};

pub use policy::Policy;
pub use ruling::{Memory, Ruling};

/// Decides one swipe by what `view` knows. `now_ms` is the decision's time, Unix epoch milliseconds.
pub fn decide(swipe: &Swipe<'_>, view: &View, policy: &Policy, now_ms: i64) -> Ruling {
    decide_card(swipe, view.card(&swipe.card_id), view, policy, now_ms)
}

/// Appends the rulings on the swipes of `decisions`, in order. Their cards are looked up before the first rule is asked, so
/// that the look-ups, each of which goes to memory, wait together instead of one after another.
pub fn decide_run(
    decisions: &[Decision<'_>],
    view: &View,
    policy: &Policy,
    now_ms: i64,
    rulings: &mut Vec<Ruling>,
) {
    for run in decisions.chunks(RUN_MAX) {
        let swipes = run.iter().map(|decision| &decision.swipe);
        let cards = view.cards(swipes.clone().map(|swipe| &*swipe.card_id));
        let ruled = swipes.zip(cards);
        rulings.extend(ruled.map(|(swipe, card)| decide_card(swipe, card, view, policy, now_ms)));
    }
}

/// Decides one swipe when what `view` knows of its card was looked up already.
pub fn decide_card(
    swipe: &Swipe<'_>,
    card: Option<Card>,
    view: &View,
    policy: &Policy,
    now_ms: i64,
) -> Ruling {
    let id = view.rulebook().point_id(&swipe.access_point);
    let point = id.and_then(|id| view.rulebook().point(id));
    let mut memory = None;
    let verdict = match before_the_door(swipe, view, id, policy, now_ms) {
        Err(reason) => Verdict::of(reason),
        Ok(point) => {
            let degraded = view.staleness_ms(now_ms) > policy.max_card_staleness_ms;
            let case = Case {
                swipe,
                view,
                point,
                degraded,
                card,
            };
            let settled = case.at_the_door().err();
            memory = case.memory(settled.is_none());
            case.egress(settled.unwrap_or(case.granted()))
        }
    };
    Ruling {
        verdict,
        direction: point.map(|point| point.direction),
        memory,
    }
}

/// What a rule says: nothing, or the reason that settles the swipe, be it a denial or a grant.
type Heard<T = ()> = Result<T, Reason>;

/// Rules 1 to 5: whether this is a swipe at a door at all.
fn before_the_door<'a>(
    swipe: &Swipe<'_>,
    view: &'a View,
    id: Option<PointId>,
    policy: &Policy,
    now_ms: i64,
) -> Heard<&'a Point> {
    let book = view.rulebook();
    // 1, a swipe that was decided before, is the sink's to find: what is stored stays.
    // 2
    trusted_device(book.trust(&swipe.device_id, id), policy)?;
    // 3 is kept for one number of a device with two contents.
    // 4
    in_time(swipe, policy, now_ms)?;
    // 5
    known_access_point(swipe, id.and_then(|id| book.point(id)))
}

/// A swipe at a known access point.
struct Case<'a> {
    swipe: &'a Swipe<'a>,
    view: &'a View,
    point: &'a Point,
    /// Whether what is known about cards is missing or too old.
    degraded: bool,
    card: Option<Card>,
}

impl Case<'_> {
    /// Rules 7 to 28, in order. Rule 6 stands around them: see [`Case::egress`].
    fn at_the_door(&self) -> Heard {
        // 7
        self.posture()?;
        // 8
        self.available()?;
        // 9 is kept for card formats and facility codes.
        // 10
        let card = self.card.as_ref().ok_or(Reason::CredentialNotFound)?;
        // 11 is kept for issue levels.
        // 12
        at_hand(card)?;
        // 13
        in_use(card)?;
        // 14
        active_holder(card)?;
        // 15
        valid(card, self.swipe.swiped_at_ms)?;
        // 16 is kept for the lockout after failed attempts.
        // 17 and 18
        self.rights(card)?;
        // 19
        deny_unless(
            card.threat_authority >= self.point.threat_level,
            Reason::ThreatLevel,
        )
        // 20 is kept for PIN and duress.
        // 21, anti-passback, and 24, occupancy, need to know where the card is: `presence` asks them, after this.
        // 22 and 23 are kept for timed re-entry and implausible travel.
        // 25 to 28 are kept for first card, interlock, second card and escort, and counted uses.
    }

    fn memory(&self, reached: bool) -> Option<Memory> {
        let card = self.card.as_ref().filter(|_| self.point.remembers)?;
        Some(Memory {
            point: self.point.id,
            reached,
            exemptions: card.exemptions,
            forgiven_ms: i64::from(card.forgiven_s) * 1000,
        })
    }

    /// Rule 6: the way out that is always open. What the later rules would have denied is a flag only.
    fn egress(&self, reason: Reason) -> Verdict {
        if self.point.direction == Direction::Out && self.point.egress == Egress::AlwaysAllow {
            return always_allowed(reason);
        }
        Verdict::of(reason)
    }

    fn posture(&self) -> Heard {
        if self.point.posture == Posture::Disabled {
            return Err(Reason::AccessPointDisabled);
        }
        if self.point.site_lockdown || self.point.posture == Posture::Lockdown {
            let exempt = |card: &Card| card.exemptions.contains(Exemptions::LOCKDOWN);
            deny_unless(self.card.as_ref().is_some_and(exempt), Reason::Lockdown)?;
        }
        match self.point.posture {
            Posture::Unlocked => Err(Reason::GrantedDoorUnlocked),
            _ => Ok(()),
        }
    }

    /// Rule 8. A door that goes on by what was last known says so in its grant.
    fn available(&self) -> Heard {
        let answers = !self.degraded || self.point.degraded == Degraded::LastKnown;
        deny_unless(answers, Reason::AuthorizationUnavailable)
    }

    fn rights(&self, card: &Card) -> Heard {
        let links = self.view.profiles(card);
        match self
            .view
            .rulebook()
            .rights(links, self.point, self.swipe.swiped_at_ms)
        {
            Rights::Denied => Err(Reason::DeniedByRule),
            Rights::NotCovered => Err(Reason::Unauthorized),
            Rights::Closed => Err(Reason::NotPermittedAtThisTime),
            Rights::Open => Ok(()),
        }
    }

    /// Rule 29, or the mark of rule 8.
    fn granted(&self) -> Reason {
        if self.degraded {
            Reason::GrantedDegraded
        } else {
            Reason::Granted
        }
    }
}

/// Rule 6: granted, whatever a later rule says.
pub fn always_allowed(reason: Reason) -> Verdict {
    let would_deny = (reason.outcome() == Outcome::Deny).then_some(reason);
    Verdict {
        would_deny,
        ..Verdict::of(Reason::GrantedEgress)
    }
}

fn deny_unless(holds: bool, reason: Reason) -> Heard {
    if holds { Ok(()) } else { Err(reason) }
}

fn trusted_device(trust: DeviceTrust, policy: &Policy) -> Heard {
    let trusted = match trust {
        DeviceTrust::Trusted => true,
        DeviceTrust::Unknown => !policy.require_known_devices,
        DeviceTrust::Untrusted => false,
    };
    deny_unless(trusted, Reason::UntrustedDevice)
}

/// The edges themselves are still in time: exactly the skew ahead, exactly the greatest age.
fn in_time(swipe: &Swipe<'_>, policy: &Policy, now_ms: i64) -> Heard {
    let age_ms = now_ms.saturating_sub(swipe.swiped_at_ms);
    deny_unless(
        age_ms >= policy.max_clock_skew_ms.saturating_neg(),
        Reason::FutureSwipe,
    )?;
    deny_unless(
        swipe.offline || age_ms <= policy.max_swipe_age_ms,
        Reason::StaleSwipe,
    )
}

fn known_access_point<'a>(swipe: &Swipe<'_>, point: Option<&'a Point>) -> Heard<&'a Point> {
    let agrees = |point: &&Point| swipe.direction.is_none_or(|said| said == point.direction);
    point.filter(agrees).ok_or(Reason::AccessPointUnknown)
}

/// A card that is stolen, lost, destroyed or damaged is reported as that before anything else about it.
fn at_hand(card: &Card) -> Heard {
    match card.status {
        CardStatus::Stolen => Err(Reason::CredentialStolen),
        CardStatus::Lost => Err(Reason::CredentialLost),
        CardStatus::Destroyed => Err(Reason::CredentialDestroyed),
        CardStatus::Damaged => Err(Reason::CredentialDamaged),
        _ => Ok(()),
    }
}

fn in_use(card: &Card) -> Heard {
    match card.status {
        CardStatus::Unissued => Err(Reason::CredentialUnassigned),
        CardStatus::Revoked => Err(Reason::CredentialRevoked),
        CardStatus::Suspended => Err(Reason::CredentialSuspended),
        CardStatus::Inactive => Err(Reason::CredentialInactivity),
        _ => Ok(()),
    }
}

fn active_holder(card: &Card) -> Heard {
    deny_unless(card.holder == HolderStatus::Active, Reason::HolderInactive)
}

fn valid(card: &Card, at_ms: i64) -> Heard {
    deny_unless(!card.valid.not_yet(at_ms), Reason::CredentialNotActive)?;
    let expired = card.valid.over(at_ms) || card.status == CardStatus::Expired;
    deny_unless(!expired, Reason::CredentialExpired)
}

#[cfg(test)]
mod tests;
