//! Bytes to a swipe, strictly: a record is a valid swipe or a reject that says why.
//!
//! What wins when several things are wrong: bytes that are no JSON object, then the version (another version may have
//! another shape), then the first invalid field, then the first missing one in the contract's order.

use std::borrow::Cow;

use crate::{
    model::{
        reject::RejectKind,
        swipe::{Direction, SWIPE_BYTES_MAX, Swipe, TRACE_ID_BYTES_MAX, is_id},
    },
    pipeline::json::{Reader, Syntax, Value},
};

/// The version of the swipe event that is understood.
const VERSION: &str = "1";

/// Last instant that thirteen digits can name, which is what the decision table's sort key has: November 2286.
const SWIPED_AT_MS_MAX: i64 = 9_999_999_999_999;

/// Why a record is no swipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The closed word.
    pub kind: RejectKind,
    /// The field's name, or what was wrong and where.
    pub detail: Cow<'static, str>,
}

impl Reject {
    pub(super) const fn new(kind: RejectKind, detail: &'static str) -> Self {
        Self {
            kind,
            detail: Cow::Borrowed(detail),
        }
    }
}

/// The swipe in `bytes`, borrowing from them.
pub fn decode(bytes: &[u8]) -> Result<Swipe<'_>, Reject> {
    if bytes.len() > SWIPE_BYTES_MAX {
        let detail = format!("{} bytes, at most {SWIPE_BYTES_MAX}", bytes.len());
        return Err(Reject {
            kind: RejectKind::Oversize,
            detail: Cow::Owned(detail),
        });
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| malformed("not UTF-8", error.valid_up_to()))?;
    let mut fields = Fields::default();
    Reader::new(text)
        .object(|key, value| fields.take(key, value))
        .map_err(|Syntax { what, at }| malformed(what, at))?;
    fields.swipe()
}

fn malformed(what: &str, at: usize) -> Reject {
    Reject {
        kind: RejectKind::Malformed,
        detail: Cow::Owned(format!("{what} at byte {at}")),
    }
}

/// What has been seen of the object so far.
#[derive(Default)]
struct Fields<'a> {
    version: Option<Value<'a>>,
    device_id: Option<Cow<'a, str>>,
    device_seq: Option<u64>,
    access_point: Option<Cow<'a, str>>,
    card_id: Option<Cow<'a, str>>,
    swiped_at_ms: Option<i64>,
    direction: Option<Direction>,
    offline: Option<bool>,
    trace_id: Option<Cow<'a, str>>,
    /// One bit a known field that was seen, valid or not.
    seen: u16,
    /// Keys that nobody asked for; kept to notice one that comes twice.
    unknown: Vec<Cow<'a, str>>,
    /// The first field whose value is not what it has to be.
    invalid: Option<&'static str>,
}

impl<'a> Fields<'a> {
    #[inline(always)]
    fn take(&mut self, key: Cow<'a, str>, value: Value<'a>) -> Result<(), Syntax> {
        match key.as_ref() {
            "v" => self.field(0, "v", |fields| {
                fields.version = Some(value);
                true
            }),
            "device_id" => self.field(1, "device_id", |fields| {
                set(&mut fields.device_id, id(value))
            }),
            "device_seq" => self.field(2, "device_seq", |fields| {
                set(&mut fields.device_seq, unsigned(&value))
            }),
            "access_point" => self.field(3, "access_point", |fields| {
                set(&mut fields.access_point, id(value))
            }),
            "card_id" => self.field(4, "card_id", |fields| set(&mut fields.card_id, id(value))),
            "swiped_at_ms" => self.field(5, "swiped_at_ms", |fields| {
                set(&mut fields.swiped_at_ms, instant(&value))
            }),
            "direction" => self.field(6, "direction", |fields| {
                set(&mut fields.direction, direction(&value))
            }),
            "offline" => self.field(7, "offline", |fields| {
                set(&mut fields.offline, boolean(&value))
            }),
            "trace_id" => self.field(8, "trace_id", |fields| {
                set(&mut fields.trace_id, trace_id(value))
            }),
            _ if self.unknown.contains(&key) => Err(DUPLICATE),
            _ => {
                self.unknown.push(key);
                Ok(())
            }
        }
    }

    #[inline(always)]
    fn field(
        &mut self,
        bit: u16,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> bool,
    ) -> Result<(), Syntax> {
        if self.seen & (1 << bit) != 0 {
            return Err(DUPLICATE);
        }
        self.seen |= 1 << bit;
        if !read(self) && self.invalid.is_none() {
            self.invalid = Some(name);
        }
        Ok(())
    }

    fn swipe(self) -> Result<Swipe<'a>, Reject> {
        match self.version {
            None => return Err(Reject::new(RejectKind::MissingField, "v")),
            Some(Value::Number(VERSION)) => {}
            Some(Value::Number(digits))
                if digits
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'-') =>
            {
                let detail = Cow::Owned(digits.chars().take(32).collect());
                return Err(Reject {
                    kind: RejectKind::UnsupportedVersion,
                    detail,
                });
            }
            Some(_) => return Err(Reject::new(RejectKind::InvalidField, "v")),
        }
        if let Some(name) = self.invalid {
            return Err(Reject::new(RejectKind::InvalidField, name));
        }
        let missing = |name| Reject::new(RejectKind::MissingField, name);
        Ok(Swipe {
            device_id: self.device_id.ok_or_else(|| missing("device_id"))?,
            device_seq: self.device_seq.ok_or_else(|| missing("device_seq"))?,
            access_point: self.access_point.ok_or_else(|| missing("access_point"))?,
            card_id: self.card_id.ok_or_else(|| missing("card_id"))?,
            swiped_at_ms: self.swiped_at_ms.ok_or_else(|| missing("swiped_at_ms"))?,
            direction: self.direction,
            offline: self.offline.unwrap_or(false),
            trace_id: self.trace_id,
        })
    }
}

/// The place of the second key is not worth carrying through: the record holds it.
const DUPLICATE: Syntax = Syntax {
    what: "a key comes twice; counted from the object's start,",
    at: 0,
};

fn set<T>(field: &mut Option<T>, value: Option<T>) -> bool {
    *field = value;
    field.is_some()
}

fn id<'a>(value: Value<'a>) -> Option<Cow<'a, str>> {
    match value {
        Value::Text(text) if is_id(text.as_bytes()) => Some(text),
        _ => None,
    }
}

fn trace_id<'a>(value: Value<'a>) -> Option<Cow<'a, str>> {
    match value {
        Value::Text(text) if text.len() <= TRACE_ID_BYTES_MAX => Some(text),
        _ => None,
    }
}

fn unsigned(value: &Value<'_>) -> Option<u64> {
    match value {
        Value::Number(digits) => digits.parse().ok(),
        _ => None,
    }
}

fn instant(value: &Value<'_>) -> Option<i64> {
    unsigned(value)
        .and_then(|ms| i64::try_from(ms).ok())
        .filter(|ms| *ms <= SWIPED_AT_MS_MAX)
}

fn direction(value: &Value<'_>) -> Option<Direction> {
    match value {
        Value::Text(word) => Direction::parse(word),
        _ => None,
    }
}

fn boolean(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RejectKind::{InvalidField, Malformed, MissingField, Oversize, UnsupportedVersion};

    const GOLDEN: &str = r#"{"v":1,"device_id":"gate-hq-17","device_seq":918273,"access_point":"hq-lobby-in-3","card_id":"100000000189","swiped_at_ms":1772438321123,"direction":"in","trace_id":"1-67a"}"#;

    #[test]
    fn the_contracts_example_decodes_without_a_copy() {
        let swipe = decode(GOLDEN.as_bytes()).expect("valid");
        assert_eq!(
            swipe,
            Swipe {
                device_id: "gate-hq-17".into(),
                device_seq: 918_273,
                access_point: "hq-lobby-in-3".into(),
                card_id: "100000000189".into(),
                swiped_at_ms: 1_772_438_321_123,
                direction: Some(Direction::In),
                offline: false,
                trace_id: Some("1-67a".into()),
            }
        );
        assert!(
            matches!(swipe.device_id, Cow::Borrowed(_))
                && matches!(swipe.card_id, Cow::Borrowed(_))
        );
    }

    #[track_caller]
    fn check(change: (&str, &str), kind: RejectKind, detail: &str) {
        assert!(GOLDEN.contains(change.0), "the row changes something");
        let text = GOLDEN.replacen(change.0, change.1, 1);
        let reject = decode(text.as_bytes()).expect_err(&text);
        assert_eq!(
            (reject.kind, reject.detail.as_ref()),
            (kind, detail),
            "{text}"
        );
    }

    #[test]
    fn every_way_to_be_no_swipe_is_named() {
        check(("\"v\":1,", ""), MissingField, "v");
        check(("\"v\":1", "\"v\":2"), UnsupportedVersion, "2");
        check(("\"v\":1", "\"v\":-1"), UnsupportedVersion, "-1");
        check(("\"v\":1", "\"v\":\"1\""), InvalidField, "v");
        check(("\"v\":1", "\"v\":1.0"), InvalidField, "v");
        check(
            ("\"device_id\":\"gate-hq-17\",", ""),
            MissingField,
            "device_id",
        );
        check(("\"device_seq\":918273,", ""), MissingField, "device_seq");
        check(
            ("\"access_point\":\"hq-lobby-in-3\",", ""),
            MissingField,
            "access_point",
        );
        check(
            ("\"card_id\":\"100000000189\",", ""),
            MissingField,
            "card_id",
        );
        check(
            ("\"swiped_at_ms\":1772438321123,", ""),
            MissingField,
            "swiped_at_ms",
        );
        check(("gate-hq-17", "gate hq"), InvalidField, "device_id");
        check(("gate-hq-17", ""), InvalidField, "device_id");
        check(("gate-hq-17", &"x".repeat(65)), InvalidField, "device_id");
        check(("918273", "-1"), InvalidField, "device_seq");
        check(("918273", "1.5"), InvalidField, "device_seq");
        check(
            ("918273", "18446744073709551616"),
            InvalidField,
            "device_seq",
        );
        check(("918273", "\"918273\""), InvalidField, "device_seq");
        check(
            ("\"100000000189\"", "100000000189"),
            InvalidField,
            "card_id",
        );
        check(("\"100000000189\"", "null"), InvalidField, "card_id");
        check(("\"100000000189\"", "[\"1\"]"), InvalidField, "card_id");
        check(("1772438321123", "-5"), InvalidField, "swiped_at_ms");
        check(
            ("1772438321123", "10000000000000"),
            InvalidField,
            "swiped_at_ms",
        );
        check(("\"in\"", "\"In\""), InvalidField, "direction");
        check(("\"in\"", "null"), InvalidField, "direction");
        check(
            ("\"1-67a\"", &format!("\"{}\"", "t".repeat(129))),
            InvalidField,
            "trace_id",
        );
        check(
            ("\"trace_id\"", "\"offline\":\"true\",\"trace_id\""),
            InvalidField,
            "offline",
        );
    }

    #[test]
    fn what_is_no_json_object_is_malformed_and_says_where() {
        for bytes in [
            &b""[..],
            b"null",
            b"[]",
            b"\"x\"",
            b"{",
            b"{\"v\":1",
            b"{\"v\":1}x",
            b"\xff\xfe",
            b"{\"v\":1,\"device_id\":\"\xff\"}",
            b"{\"v\":1,\"v\":1}",
            b"{\"x\":1,\"x\":2}",
            b"{\"v\":01}",
            b"\xf3\x89",
        ] {
            let reject = decode(bytes).expect_err("no swipe");
            assert_eq!(reject.kind, Malformed, "{bytes:?}");
            assert!(reject.detail.contains("at byte"), "{reject:?}");
        }
    }

    #[test]
    fn size_is_judged_first_and_a_swipe_may_have_exactly_the_largest() {
        let pad = SWIPE_BYTES_MAX - GOLDEN.len();
        let largest = format!("{GOLDEN}{}", " ".repeat(pad));
        assert!(decode(largest.as_bytes()).is_ok());
        assert_eq!(
            decode(format!("{largest} ").as_bytes())
                .expect_err("oversize")
                .kind,
            Oversize
        );
        assert_eq!(
            decode(&vec![0xff; 1 << 20]).expect_err("oversize").kind,
            Oversize
        );
    }

    #[test]
    fn unknown_fields_are_ignored_and_escapes_are_undone() {
        let text = GOLDEN
            .replace("\"v\":1", "\"new\":{\"a\":[1,2]},\"\\u0076\":1")
            .replace("gate", "g\\u0061te");
        assert_eq!(
            decode(text.as_bytes()).expect("valid").device_id,
            "gate-hq-17"
        );
    }

    #[test]
    fn version_wins_over_other_faults_and_invalid_over_missing() {
        let kind = |text: &str| decode(text.as_bytes()).expect_err(text).kind;
        assert_eq!(kind(r#"{"v":7,"device_id":5}"#), UnsupportedVersion);
        assert_eq!(kind(r#"{"v":1,"device_id":5}"#), InvalidField);
        assert_eq!(kind(r#"{"v":7,"#), Malformed);
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            proptest::prop_assert!(decode(&bytes).is_err());
        }
    }
}
