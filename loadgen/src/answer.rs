//! The words a decision or a reject may carry, as the contract lists them.
//!
//! A copy on purpose: the daemon's own table is what is being checked, so it cannot be the reference too.

macro_rules! reasons {
    ($($name:ident = $rule:literal $grant:literal,)+) => {
        /// Why a swipe is granted or denied.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // the contract explains each word
        pub enum Reason {
            $($name,)+
        }

        impl Reason {
            /// Every reason, in rule order; the index is `reason as usize`.
            pub const ALL: [Reason; [$($rule),+].len()] = [$(Reason::$name),+];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// The number of the rule that speaks it.
            pub const fn rule(self) -> u64 {
                match self { $(Self::$name => $rule,)+ }
            }

            /// The decision that goes with it.
            pub const fn decision(self) -> &'static str {
                match self { $(Self::$name => if $grant { "grant" } else { "deny" },)+ }
            }

            /// The reason of that word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $(stringify!($name) => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

reasons! {
    UntrustedDevice = 2 false,
    FutureSwipe = 4 false,
    StaleSwipe = 4 false,
    AccessPointUnknown = 5 false,
    GrantedEgress = 6 true,
    AccessPointDisabled = 7 false,
    Lockdown = 7 false,
    GrantedDoorUnlocked = 7 true,
    AuthorizationUnavailable = 8 false,
    GrantedDegraded = 8 true,
    CredentialNotFound = 10 false,
    CredentialStolen = 12 false,
    CredentialLost = 12 false,
    CredentialDestroyed = 12 false,
    CredentialDamaged = 12 false,
    CredentialUnassigned = 13 false,
    CredentialRevoked = 13 false,
    CredentialSuspended = 13 false,
    CredentialInactivity = 13 false,
    HolderInactive = 14 false,
    CredentialNotActive = 15 false,
    CredentialExpired = 15 false,
    DeniedByRule = 17 false,
    Unauthorized = 17 false,
    NotPermittedAtThisTime = 18 false,
    ThreatLevel = 19 false,
    AntiPassbackViolation = 21 false,
    OccupancyLimit = 24 false,
    Granted = 29 true,
}

/// The words of the dead-letter contract.
pub const REJECT_ERRORS: [&str; 6] = [
    "Malformed",
    "MissingField",
    "InvalidField",
    "UnsupportedVersion",
    "Oversize",
    "BadAggregate",
];

/// What must come back for one record that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expect {
    /// This decision, whenever it is made.
    Decision(Reason),
    /// The decision that fits what this churn card was when it was decided.
    Churn(u16),
    /// No decision but a reject with this error.
    Reject(&'static str),
}
