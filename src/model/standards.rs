//! What other access-control systems call the reasons: the words of ONVIF and BACnet, in one table.
//!
//! ONVIF (Access Control Service Specification 21.06, `tns1:AccessControl` topics and the reasons of `Denied/Credential`) knows few
//! reasons; what it has no word for is `Other`, and an unknown card is a topic of its own. BACnet (ASHRAE 135-2020, enumeration
//! `BACnetAccessEvent`) has a number for nearly everything.

use super::decision::Reason;

/// A reason in the words of the standards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standards {
    /// Topic of the ONVIF event, below `tns1:AccessControl`.
    pub onvif_topic: &'static str,
    /// `Reason` of the ONVIF event; a grant has none, nor an unknown card.
    pub onvif_reason: Option<&'static str>,
    /// Name of the BACnet access event.
    pub bacnet_event: &'static str,
    /// Its number.
    pub bacnet_number: u8,
}

/// What ONVIF and BACnet call `reason`.
pub const fn standards(reason: Reason) -> Standards {
    let (onvif_topic, onvif_reason, bacnet_event, bacnet_number) = match reason {
        Reason::UntrustedDevice => ("Denied/Credential", Some("Other"), "denied-other", 164),
        Reason::FutureSwipe => ("Denied/Credential", Some("Other"), "denied-other", 164),
        Reason::StaleSwipe => ("Denied/Credential", Some("Other"), "denied-other", 164),
        Reason::AccessPointUnknown => ("Denied/Credential", Some("Other"), "denied-other", 164),
        Reason::GrantedEgress => ("AccessGranted/Credential", None, "granted", 1),
        Reason::AccessPointDisabled => ("Denied/Credential", Some("Other"), "out-of-service", 10),
        Reason::Lockdown => ("Denied/Credential", Some("Other"), "denied-lockout", 161),
        Reason::GrantedDoorUnlocked => ("AccessGranted/Credential", None, "granted", 1),
        Reason::AuthorizationUnavailable => (
            "Denied/Credential",
            Some("Other"),
            "denied-authentication-unavailable",
            130,
        ),
        Reason::GrantedDegraded => ("AccessGranted/Credential", None, "granted", 1),
        Reason::CredentialNotFound => (
            "Denied/CredentialNotFound",
            None,
            "denied-unknown-credential",
            129,
        ),
        Reason::CredentialStolen => (
            "Denied/Credential",
            Some("CredentialNotEnabled"),
            "denied-authentication-factor-stolen",
            144,
        ),
        Reason::CredentialLost => (
            "Denied/Credential",
            Some("CredentialNotEnabled"),
            "denied-authentication-factor-lost",
            143,
        ),
        Reason::CredentialDestroyed => (
            "Denied/Credential",
            Some("CredentialNotEnabled"),
            "denied-authentication-factor-destroyed",
            146,
        ),
        Reason::CredentialDamaged => (
            "Denied/Credential",
            Some("CredentialNotEnabled"),
            "denied-authentication-factor-damaged",
            145,
        ),
        Reason::CredentialUnassigned => (
            "Denied/Credential",
            Some("CredentialNotEnabled"),
            "denied-credential-unassigned",
            149,
        ),
        Reason::CredentialRevoked => (
            "Denied/Credential",
            Some("CredentialNotEnabled"),
            "denied-credential-manual-disable",
            153,
        ),
        Reason::CredentialSuspended => (
            "Denied/Credential",
            Some("CredentialNotEnabled"),
            "denied-credential-lockout",
            154,
        ),
        Reason::CredentialInactivity => (
            "Denied/Credential",
            Some("CredentialNotEnabled"),
            "denied-credential-inactivity",
            157,
        ),
        Reason::HolderInactive => (
            "Denied/Credential",
            Some("CredentialNotEnabled"),
            "denied-credential-disabled",
            158,
        ),
        Reason::CredentialNotActive => (
            "Denied/Credential",
            Some("CredentialNotActive"),
            "denied-credential-not-yet-active",
            151,
        ),
        Reason::CredentialExpired => (
            "Denied/Credential",
            Some("CredentialExpired"),
            "denied-credential-expired",
            152,
        ),
        Reason::DeniedByRule => (
            "Denied/Credential",
            Some("Unauthorized"),
            "denied-point-no-access-rights",
            134,
        ),
        Reason::Unauthorized => (
            "Denied/Credential",
            Some("Unauthorized"),
            "denied-no-access-rights",
            135,
        ),
        Reason::NotPermittedAtThisTime => (
            "Denied/Credential",
            Some("NotPermittedAtThisTime"),
            "denied-out-of-time-range",
            136,
        ),
        Reason::ThreatLevel => (
            "Denied/Credential",
            Some("Other"),
            "denied-threat-level",
            137,
        ),
        Reason::AntiPassbackViolation => (
            "Denied/Credential",
            Some("Unauthorized"),
            "denied-passback",
            138,
        ),
        Reason::OccupancyLimit => (
            "Denied/Credential",
            Some("Other"),
            "denied-upper-occupancy-limit",
            142,
        ),
        Reason::Granted => ("AccessGranted/Credential", None, "granted", 1),
    };
    Standards {
        onvif_topic,
        onvif_reason,
        bacnet_event,
        bacnet_number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::Outcome;

    #[test]
    fn a_grant_is_granted_and_a_denial_denied_in_every_language() {
        for reason in Reason::ALL {
            let words = standards(reason);
            let grants = reason.outcome() == Outcome::Grant;
            assert_eq!(
                words.onvif_topic.starts_with("AccessGranted/"),
                grants,
                "{reason:?}"
            );
            assert_eq!(words.bacnet_number == 1, grants, "{reason:?}");
            let named = words.onvif_reason.is_some();
            let unknown = reason == Reason::CredentialNotFound;
            assert_eq!(named, !grants && !unknown, "{reason:?}");
        }
    }

    #[test]
    fn an_event_of_bacnet_has_one_number() {
        for one in Reason::ALL.map(standards) {
            for other in Reason::ALL.map(standards) {
                let same = one.bacnet_event == other.bacnet_event;
                assert_eq!(same, one.bacnet_number == other.bacnet_number);
            }
        }
    }
}
