//! Why a call was refused, in the service's own words.

use std::fmt;

/// The error codes of the service that this stand-in can answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The stream or shard does not exist.
    ResourceNotFound,
    /// The stream exists already, or the shard is not in a state for the call.
    ResourceInUse,
    /// An argument is out of place for this stream.
    InvalidArgument,
    /// An argument breaks a limit of the interface.
    Validation,
    /// A control-plane limit is reached.
    LimitExceeded,
    /// A shard's throughput is used up.
    ProvisionedThroughputExceeded,
    /// The iterator is older than its life.
    ExpiredIterator,
    /// The paging token is older than its life.
    ExpiredNextToken,
    /// The body is no request of this operation.
    Serialization,
    /// The operation is not played here.
    UnknownOperation,
    /// The service failed; the caller may try again.
    InternalFailure,
}

impl RefusalKind {
    /// The code as the service spells it.
    pub fn code(self) -> &'static str {
        match self {
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::ResourceInUse => "ResourceInUseException",
            Self::InvalidArgument => "InvalidArgumentException",
            Self::Validation => "ValidationException",
            Self::LimitExceeded => "LimitExceededException",
            Self::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            Self::ExpiredIterator => "ExpiredIteratorException",
            Self::ExpiredNextToken => "ExpiredNextTokenException",
            Self::Serialization => "SerializationException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::InternalFailure => "InternalFailure",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        if self == Self::InternalFailure {
            500
        } else {
            400
        }
    }
}

/// A refused call: a code and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub kind: RefusalKind,
    /// The sentence that goes with it.
    pub message: String,
}

impl Refusal {
    /// A refusal of that kind, with that sentence.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// An argument that does not fit this stream.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::InvalidArgument, message)
    }

    /// An argument that breaks a limit of the interface.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Validation, message)
    }

    /// No such stream.
    pub fn no_stream(name: &str) -> Self {
        Self::new(
            RefusalKind::ResourceNotFound,
            format!(
                "Stream {name} under account {} not found.",
                super::stream::ACCOUNT
            ),
        )
    }

    /// No such shard.
    pub fn no_shard(stream: &str, shard: &str) -> Self {
        Self::new(
            RefusalKind::ResourceNotFound,
            format!(
                "Shard {shard} in stream {stream} under account {} does not exist",
                super::stream::ACCOUNT
            ),
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.code(), self.message)
    }
}

impl std::error::Error for Refusal {}
