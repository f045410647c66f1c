//! A swipe: a card held to a reader, as the gate reported it.

use std::borrow::Cow;

/// Longest identifier of a device, access point or card, in bytes.
pub const ID_BYTES_MAX: usize = 64;

/// Longest trace id, in bytes.
pub const TRACE_ID_BYTES_MAX: usize = 128;

/// Largest swipe event, in bytes. Real ones have about 250.
pub const SWIPE_BYTES_MAX: usize = 4096;

/// Which way an access point lets people pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Into the area behind the door.
    In,
    /// Out of it.
    Out,
}

impl Direction {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }

    /// The direction of that word, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "in" => Some(Self::In),
            "out" => Some(Self::Out),
            _ => None,
        }
    }
}

/// One swipe, borrowing its text from the record it came in. Every field is already valid: text has the
/// alphabet and the length of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swipe<'a> {
    /// The reader or gate controller that reports.
    pub device_id: Cow<'a, str>,
    /// The device's own number of this swipe; never reused, repeated by a producer's retry.
    pub device_seq: u64,
    /// One direction of one door.
    pub access_point: Cow<'a, str>,
    /// What was read from the card.
    pub card_id: Cow<'a, str>,
    /// When, by the device's clock: Unix epoch milliseconds. Rights are judged at this instant.
    pub swiped_at_ms: i64,
    /// Which way, if the device says so.
    pub direction: Option<Direction>,
    /// The gate decided alone and reports later; the age of the swipe is not judged.
    pub offline: bool,
    /// Copied to the decision.
    pub trace_id: Option<Cow<'a, str>>,
}

/// Whether `text` can be the id of a device, access point or card: 1–64 of `A-Za-z0-9._:-`.
pub fn is_id(text: &[u8]) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len())
        && text
            .iter()
            .fold(true, |all, byte| all & ID_ALPHABET[usize::from(*byte)])
}

/// Of every byte, whether an id may hold it.
const ID_ALPHABET: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        allowed[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        byte += 1;
    }
    allowed
};
