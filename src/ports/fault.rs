//! How a call to the outside fails, and whether it may be tried again.

use std::fmt;

/// What kind of failure a call met; decides what the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The service asks for less: retry later and slower.
    Throttled,
    /// A subscription that began a moment ago holds the shard: ask again in a second, no slower.
    InUse,
    /// One partition key is asked for too often: retry that later; what concerns other keys need not wait.
    HotKey,
    /// The network or the service hiccuped, or the reply was lost: retry. The call may have taken effect.
    Transient,
    /// The shard iterator is too old: get a new one after the last record.
    IteratorExpired,
    /// What was asked for is no longer kept: there is a gap.
    Trimmed,
    /// The stream, table or shard does not exist.
    NotFound,
    /// The service will never accept this call as it is (permission, validation): do not retry.
    Refused,
}

impl FaultKind {
    /// The metric label.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::InUse => "in_use",
            Self::HotKey => "hot_key",
            Self::Transient => "transient",
            Self::IteratorExpired => "iterator_expired",
            Self::Trimmed => "trimmed",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
        }
    }
}

/// A call to the outside failed.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What to do about it.
    pub kind: FaultKind,
    /// The operation, in the service's own name (`GetRecords`).
    pub operation: &'static str,
    /// What the service or the network said.
    pub message: String,
}

impl Fault {
    /// Whether the same call can succeed later.
    pub const fn may_retry(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::Throttled | FaultKind::InUse | FaultKind::HotKey | FaultKind::Transient
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} failed ({}): {}",
            self.operation,
            self.kind.as_label(),
            self.message
        )
    }
}

impl std::error::Error for Fault {}

/// An entry that a batch call did not store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its index in the batch that was passed.
    pub index: usize,
    /// Throttled, a hot key, or transient.
    pub kind: FaultKind,
}
