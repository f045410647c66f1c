//! A sequence number. Held in place and without an allocation, since every record of a page has one; as text, since whoever
//! stores or asks for one does so by its digits.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

/// A sequence number: decimal digits without leading zeros, compared as the number they spell. Those of today, of 56 digits,
/// are held in place: a page has ten thousand of them.
#[derive(Clone)]
pub struct SequenceNumber(Digits);

#[derive(Clone)]
enum Digits {
    /// So many, from the first byte on.
    Few(u8, [u8; FEW]),
    Many(Box<[u8]>),
}

/// Digits held in place: what is left of a cache line beside their count and which of the two it is.
const FEW: usize = 62;

impl SequenceNumber {
    /// The number spelled by `digits`, or nothing when that is no decimal number.
    pub fn parse(digits: &str) -> Option<Self> {
        Self::from_ascii(digits.as_bytes())
    }

    /// As [`Self::parse`].
    pub fn from_ascii(digits: &[u8]) -> Option<Self> {
        // All are looked at, so that they are looked at many at a time.
        let strange = digits.iter().filter(|byte| !byte.is_ascii_digit()).count();
        if digits.is_empty() || strange > 0 {
            return None;
        }
        let last = digits.len() - 1;
        let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
        let digits = &digits[zeros.min(last)..];
        let mut few = [0; FEW];
        Some(Self(match few.get_mut(..digits.len()) {
            Some(place) => {
                place.copy_from_slice(digits);
                Digits::Few(digits.len() as u8, few)
            }
            None => Digits::Many(digits.into()),
        }))
    }

    fn digits(&self) -> &[u8] {
        match &self.0 {
            Digits::Few(count, digits) => &digits[..usize::from(*count)],
            Digits::Many(digits) => digits,
        }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.digits()).expect("digits are text")
    }
}

impl PartialEq for SequenceNumber {
    fn eq(&self, other: &Self) -> bool {
        self.digits() == other.digits()
    }
}

impl Eq for SequenceNumber {}

impl Hash for SequenceNumber {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digits().hash(state);
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, theirs) = (self.digits(), other.digits());
        (mine.len(), mine).cmp(&(theirs.len(), theirs))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SequenceNumber")
            .field(&self.as_str())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_compare_as_numbers_however_long_they_are() {
        let rows = [
            "0",
            "9",
            "10",
            "99",
            "100",
            "49680427550845405794076313658409477259353495647127863298",
        ];
        for pair in rows.windows(2) {
            let (low, high) = (
                SequenceNumber::parse(pair[0]),
                SequenceNumber::parse(pair[1]),
            );
            assert!(low < high, "{} < {}", pair[0], pair[1]);
        }
        assert_eq!(SequenceNumber::parse("007"), SequenceNumber::parse("7"));
        assert_eq!(SequenceNumber::parse(""), None);
        assert_eq!(SequenceNumber::parse("12a"), None);
    }

    #[test]
    fn a_sequence_number_of_any_length_is_spelled_as_it_was_parsed() {
        for count in [1, 56, FEW, FEW + 1, 129] {
            let digits = "7".repeat(count);
            let number = SequenceNumber::parse(&format!("00{digits}")).expect("digits");
            assert_eq!(number.as_str(), digits);
            assert_eq!(Some(&number), SequenceNumber::parse(&digits).as_ref());
            let next = SequenceNumber::parse(&format!("{digits}0")).expect("digits");
            assert!(number < next, "{number} < {next}");
        }
        assert_eq!(size_of::<SequenceNumber>(), 64, "one cache line");
        assert_eq!(SequenceNumber::parse("000").expect("zero").as_str(), "0");
    }
}
