//! Records that are no swipes, each with the reject it must end as.

use crate::aggregate;

/// Share of the one record in a run that is as large as a plain record may be (1 MiB with its key).
const HUGE_BYTES: usize = 1_000_000;

/// A little over the largest swipe (4 KiB).
const OVERSIZE_BYTES: usize = 5_000;

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No bytes.
    Empty,
    /// Random bytes.
    Noise,
    /// JSON that stops in the middle.
    Truncated,
    /// A JSON list.
    List,
    /// A key twice.
    TwiceAKey,
    /// Bytes that are no UTF-8, inside a text.
    BadText,
    /// A number where a text belongs.
    NumberForText,
    /// A text where a number belongs.
    TextForNumber,
    /// A card number with a blank in it.
    BadAlphabet,
    /// A field is not there.
    Missing(&'static str),
    /// Version 2.
    Version,
    /// Over 4 KiB.
    Oversize,
    /// Nearly 1 MiB.
    Huge,
    /// The magic of an aggregate over something else.
    NoAggregate,
    /// An aggregate whose checksum is wrong.
    WrongChecksum,
}

impl Fault {
    /// Every fault that is drawn; [`Fault::Huge`] is not among them, it comes once a run.
    pub const DRAWN: [Self; 18] = [
        Self::Empty,
        Self::Noise,
        Self::Truncated,
        Self::List,
        Self::TwiceAKey,
        Self::BadText,
        Self::NumberForText,
        Self::TextForNumber,
        Self::BadAlphabet,
        Self::Missing("device_id"),
        Self::Missing("device_seq"),
        Self::Missing("access_point"),
        Self::Missing("card_id"),
        Self::Missing("swiped_at_ms"),
        Self::Version,
        Self::Oversize,
        Self::NoAggregate,
        Self::WrongChecksum,
    ];

    /// The error that the reject must carry.
    pub fn error(self) -> &'static str {
        match self {
            Self::Empty
            | Self::Noise
            | Self::Truncated
            | Self::List
            | Self::TwiceAKey
            | Self::BadText => "Malformed",
            Self::NumberForText | Self::TextForNumber | Self::BadAlphabet => "InvalidField",
            Self::Missing(_) => "MissingField",
            Self::Version => "UnsupportedVersion",
            Self::Oversize | Self::Huge => "Oversize",
            Self::NoAggregate | Self::WrongChecksum => "BadAggregate",
        }
    }

    /// Whether the record must travel alone: what it breaks is the aggregate itself, or it is too large for one.
    pub fn travels_alone(self) -> bool {
        matches!(self, Self::NoAggregate | Self::WrongChecksum | Self::Huge)
    }
}

/// Turns a good swipe into a bad record.
pub fn corrupt(swipe: &str, fault: Fault, draw: &mut fastrand::Rng) -> Vec<u8> {
    let padded = |bytes: usize| {
        format!(
            "{},\"note\":\"{}\"}}",
            &swipe[..swipe.len() - 1],
            "x".repeat(bytes)
        )
        .into_bytes()
    };
    match fault {
        Fault::Empty => Vec::new(),
        // A leading zero byte keeps noise from being an aggregate, or JSON, by chance.
        Fault::Noise => std::iter::once(0)
            .chain((0..draw.usize(1..400)).map(|_| draw.u8(..)))
            .collect(),
        Fault::Truncated => swipe.as_bytes()[..draw.usize(1..swipe.len() - 1)].to_vec(),
        Fault::List => format!("[{swipe}]").into_bytes(),
        Fault::TwiceAKey => swipe
            .replacen("{\"v\":1,", "{\"v\":1,\"card_id\":\"0\",", 1)
            .into_bytes(),
        Fault::BadText => {
            let mut bytes = swipe.as_bytes().to_vec();
            let at = value_at(swipe, "card_id") + 1;
            bytes[at] = 0xFF;
            bytes
        }
        Fault::NumberForText => with_value(swipe, "card_id", "100000000189"),
        Fault::TextForNumber => with_value(swipe, "device_seq", "\"918273\""),
        Fault::BadAlphabet => with_value(swipe, "card_id", "\"1000 0000\""),
        Fault::Missing(field) => without(swipe, field),
        Fault::Version => with_value(swipe, "v", "2"),
        Fault::Oversize => padded(OVERSIZE_BYTES),
        Fault::Huge => padded(HUGE_BYTES),
        Fault::NoAggregate => aggregate::MAGIC
            .iter()
            .copied()
            .chain((0..60).map(|_| draw.u8(..)))
            .collect(),
        Fault::WrongChecksum => {
            let mut packed = aggregate::pack([("card", swipe.as_bytes())]);
            if let Some(last) = packed.last_mut() {
                *last ^= 0x55;
            }
            packed
        }
    }
}

/// Where the value of a field starts in a swipe of [`crate::traffic`].
fn value_at(swipe: &str, field: &str) -> usize {
    let key = format!("\"{field}\":");
    swipe.find(&key).map_or(0, |at| at + key.len())
}

/// Where the value that starts there ends; values of a swipe hold neither commas nor braces.
fn value_end(swipe: &str, start: usize) -> usize {
    swipe[start..]
        .find([',', '}'])
        .map_or(swipe.len(), |length| start + length)
}

fn with_value(swipe: &str, field: &str, value: &str) -> Vec<u8> {
    let start = value_at(swipe, field);
    [&swipe[..start], value, &swipe[value_end(swipe, start)..]]
        .concat()
        .into_bytes()
}

fn without(swipe: &str, field: &str) -> Vec<u8> {
    let start = value_at(swipe, field);
    let (key_at, end) = (start - field.len() - 3, value_end(swipe, start));
    // The comma before the key goes with it; `v` is first and never taken out.
    [&swipe[..key_at - 1], &swipe[end..]].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWIPE: &str = r#"{"v":1,"device_id":"gate-hq-1","device_seq":5,"access_point":"hq-door-1-in","card_id":"100000000189","swiped_at_ms":1772438321123,"direction":"in"}"#;

    fn made(fault: Fault) -> Vec<u8> {
        corrupt(SWIPE, fault, &mut fastrand::Rng::with_seed(3))
    }

    #[track_caller]
    fn check_json(fault: Fault, field: &str, expected: Option<serde_json::Value>) {
        let json: serde_json::Value = serde_json::from_slice(&made(fault)).expect("still JSON");
        assert_eq!(json.get(field).cloned(), expected, "{fault:?}");
        let other = if field == "device_id" {
            "card_id"
        } else {
            "device_id"
        };
        assert!(json.get(other).is_some(), "{fault:?} leaves the rest");
    }

    #[test]
    fn every_fault_is_the_fault_it_says() {
        for field in [
            "device_id",
            "device_seq",
            "access_point",
            "card_id",
            "swiped_at_ms",
        ] {
            check_json(Fault::Missing(field), field, None);
        }
        check_json(
            Fault::NumberForText,
            "card_id",
            Some(100_000_000_189_u64.into()),
        );
        check_json(Fault::TextForNumber, "device_seq", Some("918273".into()));
        check_json(Fault::BadAlphabet, "card_id", Some("1000 0000".into()));
        check_json(Fault::Version, "v", Some(2.into()));
        assert!(made(Fault::Oversize).len() > 4096 && made(Fault::Huge).len() < 1 << 20);
        assert!(std::str::from_utf8(&made(Fault::BadText)).is_err());
        assert_eq!(
            String::from_utf8_lossy(&made(Fault::TwiceAKey))
                .matches("card_id")
                .count(),
            2
        );
        for fault in [Fault::NoAggregate, Fault::WrongChecksum] {
            assert!(
                made(fault).starts_with(&aggregate::MAGIC)
                    && aggregate::open(&made(fault)).is_none()
            );
        }
        for seed in 0..200 {
            let cut = corrupt(SWIPE, Fault::Truncated, &mut fastrand::Rng::with_seed(seed));
            assert!(!cut.is_empty() && serde_json::from_slice::<serde_json::Value>(&cut).is_err());
        }
        assert!(
            made(Fault::Empty).is_empty()
                && made(Fault::List)[0] == b'['
                && made(Fault::Noise)[0] == 0
        );
    }
}
