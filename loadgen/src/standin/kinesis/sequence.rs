//! Sequence numbers as text: 56 decimal digits, like the service's own.
//!
//! `49`, 14 digits of the stream's incarnation, 26 digits of a number that the stream hands out once, 14 digits of the
//! shard's index. So numbers rise along a shard, a child's are above its parents', and a number tells where
//! it came from, which lets an iterator refuse the number of another shard or of a deleted stream.

/// Digits of a sequence number.
pub const SEQUENCE_DIGITS: usize = 56;
const PREFIX: &[u8; 2] = b"49";
const INCARNATION: std::ops::Range<usize> = 2..16;
const NUMBER: std::ops::Range<usize> = 16..42;
const SHARD: std::ops::Range<usize> = 42..56;

/// A rendered sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence([u8; SEQUENCE_DIGITS]);

impl Sequence {
    /// The `number`-th of `shard` in a stream's `incarnation` (both below 10^14).
    pub fn new(incarnation: u64, number: u64, shard: u32) -> Self {
        let mut digits = [b'0'; SEQUENCE_DIGITS];
        digits[..2].copy_from_slice(PREFIX);
        write_number(&mut digits[INCARNATION], incarnation);
        write_number(&mut digits[NUMBER], number);
        write_number(&mut digits[SHARD], u64::from(shard));
        Self(digits)
    }

    /// The same shard's sequence number for another `number`.
    pub fn with_number(mut self, number: u64) -> Self {
        let field = &mut self.0[NUMBER];
        field.fill(b'0');
        write_number(field, number);
        self
    }

    /// The number that `text` spells, if it is one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; SEQUENCE_DIGITS] = text.as_bytes().try_into().ok()?;
        let ours = digits.starts_with(PREFIX) && digits.iter().all(u8::is_ascii_digit);
        ours.then_some(Self(digits))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        // Only ASCII digits are ever written; an empty text would be refused by every reader.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The digits, as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The stream's incarnation; nothing when it is beyond what is handed out.
    pub fn incarnation(&self) -> Option<u64> {
        read_number(&self.0[INCARNATION])
    }

    /// The number within the stream; nothing when it is beyond what is handed out.
    pub fn number(&self) -> Option<u64> {
        read_number(&self.0[NUMBER])
    }

    /// The shard's index; nothing when it is beyond what is handed out.
    pub fn shard(&self) -> Option<u32> {
        read_number(&self.0[SHARD]).and_then(|index| u32::try_from(index).ok())
    }
}

fn write_number(field: &mut [u8], mut number: u64) {
    for digit in field.iter_mut().rev() {
        if number == 0 {
            break;
        }
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn read_number(field: &[u8]) -> Option<u64> {
    field.iter().try_fold(0_u64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_tells_where_it_came_from() {
        let made = Sequence::new(1_772_438_321_123, 987_654_321, 42);
        let read = Sequence::parse(made.as_str()).expect("one of ours");
        assert_eq!(made.as_str().len(), 56);
        assert_eq!(
            (read.incarnation(), read.number(), read.shard()),
            (Some(1_772_438_321_123), Some(987_654_321), Some(42))
        );
    }

    #[test]
    fn text_order_is_number_order_within_a_shard() {
        let shard = Sequence::new(7, 0, 3);
        let numbers = [1, 9, 10, 99, 100, 12_345, u64::MAX - 1, u64::MAX];
        for pair in numbers.windows(2) {
            assert!(shard.with_number(pair[0]).as_str() < shard.with_number(pair[1]).as_str());
        }
        assert_eq!(
            shard.with_number(u64::MAX).with_number(1),
            Sequence::new(7, 1, 3)
        );
    }

    #[test]
    fn what_is_no_number_of_ours_is_refused() {
        let good = Sequence::new(7, 1, 3);
        let mut other_prefix = good.as_str().to_owned();
        other_prefix.replace_range(0..1, "5");
        for text in ["", "49", "TRIM_HORIZON", &good.as_str()[1..], &other_prefix] {
            assert_eq!(Sequence::parse(text), None, "{text}");
        }
    }
}
