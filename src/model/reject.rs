//! A record that is no swipe, and why.

/// Why a record was rejected: the closed set of the dead-letter contract, and the metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectKind {
    /// Not one JSON object in UTF-8, or a key twice.
    Malformed,
    /// A required field is absent.
    MissingField,
    /// A field has the wrong type, alphabet or range.
    InvalidField,
    /// `v` is not 1.
    UnsupportedVersion,
    /// Larger than a swipe can be.
    Oversize,
    /// The magic of a KPL aggregate over something that is none.
    BadAggregate,
}

impl RejectKind {
    /// Every kind; the index is `kind as usize`.
    pub const ALL: [Self; 6] = [
        Self::Malformed,
        Self::MissingField,
        Self::InvalidField,
        Self::UnsupportedVersion,
        Self::Oversize,
        Self::BadAggregate,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "Malformed",
            Self::MissingField => "MissingField",
            Self::InvalidField => "InvalidField",
            Self::UnsupportedVersion => "UnsupportedVersion",
            Self::Oversize => "Oversize",
            Self::BadAggregate => "BadAggregate",
        }
    }
}
