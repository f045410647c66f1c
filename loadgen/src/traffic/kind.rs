//! The kinds of swipes, their shares, and their answers.

use crate::{
    answer::Reason,
    places::{DOORS, Door},
    population::Role,
};

/// What makes a swipe end the way it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A card of this role at an ordinary door of its home.
    Home(Role, Reason),
    /// A staff card at a checked exit of its home.
    CheckedExit,
    /// The laboratory, which the profile names by its area.
    Lab,
    /// A card that is exempt, at a door that is locked down.
    Exempt,
    /// A staff card, reported a day late by a gate that was offline.
    Offline,
    /// A staff card at a reader that has no item.
    UnlistedDevice,
    /// A way out that is always open, with any card.
    Egress,
    /// A door that is open for everybody, with any card.
    Open,
    /// A reader that was switched off.
    DisabledDevice,
    /// A reader that may not report this door.
    MovedDevice,
    /// A device whose clock is ahead.
    Future,
    /// A swipe of days ago, not marked offline.
    Stale,
    /// A door that does not exist.
    UnknownPoint,
    /// Out, by an entrance.
    WrongDirection,
    /// A door out of service.
    Broken,
    /// A door that is locked down.
    LockedDoor,
    /// A site that is locked down.
    LockedSite,
    /// A card that does not exist.
    UnknownCard,
    /// A staff card at another site.
    Foreign,
    /// A door that the card is barred from.
    Vault,
    /// The first instant of a card's validity.
    FirstInstant,
    /// One millisecond before it.
    BeforeFirst,
    /// The last instant of a card's validity.
    LastInstant,
    /// One millisecond later.
    AfterLast,
    /// A card that changes meanwhile.
    Churn,
    /// No swipe but a bad record.
    Fault,
}

/// Kinds and how many in ten thousand swipes are of it.
const MIX: [(Kind, u32); 45] = [
    (Kind::Home(Role::Staff, Reason::Granted), 5280),
    (Kind::Home(Role::Hours, Reason::Granted), 1000),
    (Kind::Home(Role::Assigned, Reason::Granted), 200),
    (Kind::Home(Role::Feast, Reason::Granted), 150),
    (Kind::CheckedExit, 600),
    (Kind::Lab, 500),
    (Kind::Exempt, 50),
    (Kind::Offline, 50),
    (Kind::UnlistedDevice, 50),
    (Kind::FirstInstant, 10),
    (Kind::LastInstant, 10),
    (Kind::Egress, 400),
    (Kind::Open, 200),
    (Kind::DisabledDevice, 20),
    (Kind::MovedDevice, 20),
    (Kind::Future, 30),
    (Kind::Stale, 30),
    (Kind::UnknownPoint, 30),
    (Kind::WrongDirection, 30),
    (Kind::Broken, 40),
    (Kind::LockedDoor, 30),
    (Kind::LockedSite, 20),
    (Kind::UnknownCard, 60),
    (Kind::Home(Role::Stolen, Reason::CredentialStolen), 40),
    (Kind::Home(Role::Lost, Reason::CredentialLost), 40),
    (Kind::Home(Role::Destroyed, Reason::CredentialDestroyed), 40),
    (Kind::Home(Role::Damaged, Reason::CredentialDamaged), 40),
    (Kind::Home(Role::Unissued, Reason::CredentialUnassigned), 30),
    (
        Kind::Home(Role::Available, Reason::CredentialUnassigned),
        30,
    ),
    (Kind::Home(Role::Revoked, Reason::CredentialRevoked), 60),
    (Kind::Home(Role::Suspended, Reason::CredentialSuspended), 60),
    (Kind::Home(Role::Inactive, Reason::CredentialInactivity), 60),
    (Kind::Home(Role::HolderGone, Reason::HolderInactive), 30),
    (Kind::Home(Role::HolderNew, Reason::HolderInactive), 30),
    (Kind::Home(Role::NotYet, Reason::CredentialNotActive), 40),
    (Kind::BeforeFirst, 10),
    (Kind::Home(Role::Past, Reason::CredentialExpired), 30),
    (Kind::Home(Role::Expired, Reason::CredentialExpired), 30),
    (Kind::AfterLast, 10),
    (Kind::Vault, 60),
    (Kind::Home(Role::Bare, Reason::Unauthorized), 30),
    (Kind::Home(Role::Lapsed, Reason::Unauthorized), 30),
    (Kind::Foreign, 100),
    (Kind::Home(Role::Night, Reason::NotPermittedAtThisTime), 100),
    (
        Kind::Home(Role::Workday, Reason::NotPermittedAtThisTime),
        60,
    ),
];

/// Swipes of churn cards, in ten thousand.
const CHURN_SHARE: u32 = 200;

/// Bad records, in ten thousand.
const FAULT_SHARE: u32 = 30;

impl Kind {
    /// The kind of a swipe that drew a number under 10 000.
    pub fn drawn(mut draw: u32) -> Self {
        for (kind, share) in MIX
            .into_iter()
            .chain([(Kind::Churn, CHURN_SHARE), (Kind::Fault, FAULT_SHARE)])
        {
            if draw < share {
                return kind;
            }
            draw -= share;
        }
        Kind::Home(Role::Staff, Reason::Granted)
    }

    /// At which door it is.
    pub fn door(self, draw: &mut fastrand::Rng) -> Door {
        match self {
            Kind::CheckedExit => Door::Exit(1 + 2 * draw.usize(..DOORS / 2)),
            Kind::Egress => Door::Exit(2 * draw.usize(..DOORS / 2)),
            Kind::Lab => Door::Lab,
            Kind::Exempt | Kind::LockedDoor => Door::Locked,
            Kind::Open => Door::Open,
            Kind::Broken => Door::Broken,
            Kind::Vault => Door::Vault,
            _ => Door::Entrance(draw.usize(..DOORS)),
        }
    }

    /// The answer that it must get, where the card does not change meanwhile.
    pub fn reason(self) -> Reason {
        match self {
            Kind::Home(_, reason) => reason,
            Kind::Egress => Reason::GrantedEgress,
            Kind::Open => Reason::GrantedDoorUnlocked,
            Kind::DisabledDevice | Kind::MovedDevice => Reason::UntrustedDevice,
            Kind::Future => Reason::FutureSwipe,
            Kind::Stale => Reason::StaleSwipe,
            Kind::UnknownPoint | Kind::WrongDirection => Reason::AccessPointUnknown,
            Kind::Broken => Reason::AccessPointDisabled,
            Kind::LockedDoor | Kind::LockedSite => Reason::Lockdown,
            Kind::UnknownCard => Reason::CredentialNotFound,
            Kind::Foreign => Reason::Unauthorized,
            Kind::Vault => Reason::DeniedByRule,
            Kind::BeforeFirst => Reason::CredentialNotActive,
            Kind::AfterLast => Reason::CredentialExpired,
            _ => Reason::Granted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_add_up() {
        assert_eq!(
            MIX.iter().map(|(_, share)| share).sum::<u32>() + CHURN_SHARE + FAULT_SHARE,
            10_000
        );
    }
}
