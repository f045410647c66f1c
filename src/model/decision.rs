//! What is answered: a verdict with its reason, and the decision event that carries it.

use super::swipe::{Direction, Swipe};

/// Grant or deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The door may open.
    Grant,
    /// It may not.
    Deny,
}

impl Outcome {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Deny => "deny",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $rule:literal $outcome:ident,)+) => {
        /// Why a swipe was granted or denied: one word, in the order of the rules. Each reason belongs to one rule
        /// and has one outcome, so that a stored word explains itself for ever.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)+
        }

        impl Reason {
            /// Every reason, in rule order; the index is `reason as usize`.
            pub const ALL: [Reason; [$($rule),+].len()] = [$(Reason::$name),+];

            /// The word on the wire and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// The number of the rule that speaks this reason.
            pub const fn rule(self) -> u8 {
                match self { $(Self::$name => $rule,)+ }
            }

            /// What it means for the door.
            pub const fn outcome(self) -> Outcome {
                match self { $(Self::$name => Outcome::$outcome,)+ }
            }

            /// The reason of that word, if it is one.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $(stringify!($name) => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// The device is disabled, may not report this access point, or is unknown where devices must be known.
    UntrustedDevice = 2 Deny,
    /// The device's clock is ahead by more than the allowed skew.
    FutureSwipe = 4 Deny,
    /// Too old to be a live swipe, and not marked `offline`.
    StaleSwipe = 4 Deny,
    /// No such access point, or the swipe's direction contradicts it.
    AccessPointUnknown = 5 Deny,
    /// A way out that is always open.
    GrantedEgress = 6 Grant,
    /// The door is out of service.
    AccessPointDisabled = 7 Deny,
    /// The site or the door is locked down and the card is not exempt.
    Lockdown = 7 Deny,
    /// The door stands open for everybody.
    GrantedDoorUnlocked = 7 Grant,
    /// What is known about cards is missing or too old to answer by.
    AuthorizationUnavailable = 8 Deny,
    /// Granted by last known data, at a door that allows that.
    GrantedDegraded = 8 Grant,
    /// No such card.
    CredentialNotFound = 10 Deny,
    /// Reported stolen.
    CredentialStolen = 12 Deny,
    /// Reported lost.
    CredentialLost = 12 Deny,
    /// Destroyed.
    CredentialDestroyed = 12 Deny,
    /// Damaged.
    CredentialDamaged = 12 Deny,
    /// In the pool: issued to nobody.
    CredentialUnassigned = 13 Deny,
    /// Withdrawn by hand.
    CredentialRevoked = 13 Deny,
    /// Locked out for a time.
    CredentialSuspended = 13 Deny,
    /// Unused for too long.
    CredentialInactivity = 13 Deny,
    /// The holder is not, or no longer, active.
    HolderInactive = 14 Deny,
    /// Before the card's first valid second.
    CredentialNotActive = 15 Deny,
    /// At or after the end of its validity, or marked expired.
    CredentialExpired = 15 Deny,
    /// A policy denies this access point explicitly.
    DeniedByRule = 17 Deny,
    /// No policy of the card covers this access point.
    Unauthorized = 17 Deny,
    /// Covered, but not at this time.
    NotPermittedAtThisTime = 18 Deny,
    /// The threat level of the door is above the card's authority.
    ThreatLevel = 19 Deny,
    /// Already inside, or not where the door leads from.
    AntiPassbackViolation = 21 Deny,
    /// The area is full.
    OccupancyLimit = 24 Deny,
    /// Nothing spoke against it.
    Granted = 29 Grant,
}

/// The answer of the rules to one swipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why, and by that which rule and which outcome.
    pub reason: Reason,
    /// The later rule that would have denied, had an earlier one not granted (ways out that are always open).
    /// Its word becomes a flag of the decision.
    pub would_deny: Option<Reason>,
    /// Soft anti-passback was violated; becomes the flag `soft_apb`.
    pub soft_apb: bool,
}

impl Verdict {
    /// The verdict of `reason` alone.
    pub const fn of(reason: Reason) -> Self {
        Self {
            reason,
            would_deny: None,
            soft_apb: false,
        }
    }

    /// The flags on the wire, in a fixed order.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let soft = self.soft_apb.then_some("soft_apb");
        self.would_deny.map(Reason::as_str).into_iter().chain(soft)
    }
}

/// An answer that was given, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer.
    pub verdict: Verdict,
    /// When it was decided: Unix epoch milliseconds by the clock of the daemon that decided.
    pub decided_at_ms: i64,
}

/// Where the swipe of a decision came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// The shard.
    pub shard: &'a str,
    /// The sequence number of the Kinesis record.
    pub sequence: &'a str,
    /// The index inside an aggregate, 0 for a plain record.
    pub sub: u64,
}

/// One decision, borrowing from the page it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The swipe it answers.
    pub swipe: Swipe<'a>,
    /// What stands, and since when.
    pub answer: Answer,
    /// The swipe's direction, or else the access point's, when either is known.
    pub direction: Option<Direction>,
    /// Whether the gate should act on it; false for a late decision and for a repeat.
    pub actuate: bool,
    /// The swipe was answered before: this is the answer that stands, said again. It is stored already.
    pub repeat: bool,
    /// Where the swipe stands in its stream.
    pub source: Source<'a>,
}

/// One event to put on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The partition key, 1–256 characters.
    pub key: &'a str,
    /// The payload.
    pub data: &'a [u8],
    /// Where on the stream it goes, instead of where its partition key says.
    pub hash: Option<u128>,
}

impl Decision<'_> {
    /// The idempotency key: the same swipe has the same id, whatever the shard, worker or retry.
    pub fn id(&self) -> String {
        format!("{}#{}", self.swipe.device_id, self.swipe.device_seq)
    }

    /// The sort key in the decision table: thirteen digits keep the order of instants up to the year 2286.
    pub fn sort_key(&self) -> String {
        format!(
            "CARD#EVENT#SCAN#{:013}#{}",
            self.swipe.swiped_at_ms,
            self.id()
        )
    }

    /// The partition key in the decision table.
    pub fn partition_key(&self) -> String {
        format!("CARD#{}", self.swipe.card_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_from_its_word_and_the_rules_never_go_down() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
            assert_eq!(reason as usize, index);
        }
        assert!(
            Reason::ALL
                .windows(2)
                .all(|pair| pair[0].rule() <= pair[1].rule())
        );
        assert_eq!(Reason::parse("granted"), None);
    }
}
