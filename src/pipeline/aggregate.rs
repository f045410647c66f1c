//! Opens KPL aggregates: one Kinesis record that carries many user records.
//!
//! The format is the producer library's (`aggregation-format.md` of amazon-kinesis-producer): the magic bytes
//! `F3 89 9A C2`, a protobuf `AggregatedRecord { partition_key_table = 1; explicit_hash_key_table = 2; records = 3 }`
//! with `Record { partition_key_index = 1; explicit_hash_key_index = 2; data = 3; tags = 4 }`, and the MD5 of the
//! protobuf. The whole aggregate is checked before its first user record counts: it opens completely or is one reject,
//! and nothing in it is ever dropped for lying outside a shard's hash range.
//!
//! Borrows from the record; the caller's list of user records is reused from page to page.

use md5::{Digest, Md5};

use crate::{model::reject::RejectKind, pipeline::decode::Reject};

/// First bytes of every aggregate.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Bytes of the checksum at the end.
pub const CHECKSUM_BYTES: usize = 16;

/// Appends the user records of `data` to `users`: itself when it is a plain record, else what the aggregate holds, in
/// order. On a reject nothing is appended.
pub fn open<'a>(data: &'a [u8], users: &mut Vec<&'a [u8]>) -> Result<(), Reject> {
    let Some(body) = data.strip_prefix(&MAGIC) else {
        users.push(data);
        return Ok(());
    };
    let before = users.len();
    open_body(body, users).map_err(|detail| {
        users.truncate(before);
        Reject::new(RejectKind::BadAggregate, detail)
    })
}

fn open_body<'a>(body: &'a [u8], users: &mut Vec<&'a [u8]>) -> Result<(), &'static str> {
    let Some(split) = body.len().checked_sub(CHECKSUM_BYTES) else {
        return Err("too short for a checksum");
    };
    let (message, checksum) = body.split_at(split);
    if Md5::digest(message).as_slice() != checksum {
        return Err("checksum does not match");
    }
    let before = users.len();
    let (mut keys, mut hash_keys) = (0_u64, 0_u64);
    let (mut key_bound, mut hash_key_bound) = (0, 0);
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Wire::Bytes(key)) => {
                std::str::from_utf8(key).map_err(|_| "partition key is not UTF-8")?;
                keys += 1;
            }
            (2, Wire::Bytes(_)) => hash_keys += 1,
            (3, Wire::Bytes(record)) => {
                let user = UserRecord::read(record)?;
                key_bound = key_bound.max(user.key_bound);
                hash_key_bound = hash_key_bound.max(user.hash_key_bound);
                users.push(user.data);
            }
            (1..=3, _) => return Err("field of the wrong type"),
            _ => {}
        }
    }
    if key_bound > keys || hash_key_bound > hash_keys {
        return Err("key index outside its table");
    }
    if users.len() == before {
        Err("holds no user record")
    } else {
        Ok(())
    }
}

/// One user record, and how long the key tables must be for its indexes (an index of `u64::MAX` never fits).
struct UserRecord<'a> {
    data: &'a [u8],
    key_bound: u64,
    hash_key_bound: u64,
}

impl<'a> UserRecord<'a> {
    fn read(record: &'a [u8]) -> Result<Self, &'static str> {
        let (mut data, mut key_bound, mut hash_key_bound) = (None, None, 0);
        let mut fields = Fields(record);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Wire::Varint(index)) => key_bound = Some(index.saturating_add(1)),
                (2, Wire::Varint(index)) => hash_key_bound = index.saturating_add(1),
                (3, Wire::Bytes(bytes)) => data = Some(bytes),
                (1..=3, _) => return Err("field of the wrong type"),
                _ => {}
            }
        }
        match (data, key_bound) {
            (Some(data), Some(key_bound)) => Ok(Self {
                data,
                key_bound,
                hash_key_bound,
            }),
            (None, _) => Err("user record without data"),
            (_, None) => Err("user record without a partition key"),
        }
    }
}

/// A protobuf field's value.
enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// Reads the fields of one protobuf message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, &'static str> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => self.fixed(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| "length out of range")?;
                Wire::Bytes(self.bytes(length)?)
            }
            5 => self.fixed(4)?,
            _ => return Err("unknown wire type"),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn fixed(&mut self, length: usize) -> Result<Wire<'a>, &'static str> {
        self.bytes(length).map(|_| Wire::Fixed)
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (head, tail) = self
            .0
            .split_at_checked(length)
            .ok_or("ends in the middle of a field")?;
        self.0 = tail;
        Ok(head)
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.bytes(1)? else {
                return Err("ends in the middle of a field");
            };
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return if shift == 63 && byte > 1 {
                    Err("varint out of range")
                } else {
                    Ok(value)
                };
            }
        }
        Err("varint out of range")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the aggregator of PyPI `aws-kinesis-agg` 1.2.3 from the user records `("card-1", "first")`,
    /// `("card-2", "", explicit hash key 12345)` and `("card-1", "dritté")`.
    const GOLDEN_THREE: &str = "f3899ac20a06636172642d310a06636172642d32120531323334351a0908001a0566697273741a06080110001a001a0b08001a076472697474c3a93caaa543a20ad914263e6c03e2b8de94";

    fn users(data: &[u8]) -> Result<Vec<&[u8]>, Reject> {
        let mut users = Vec::new();
        open(data, &mut users).map(|()| users)
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
            .collect()
    }

    fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC[..], message, &Md5::digest(message)].concat()
    }

    #[test]
    fn opens_what_another_implementation_packed() {
        let packed = hex(GOLDEN_THREE);
        assert_eq!(
            users(&packed),
            Ok(vec![&b"first"[..], b"", "dritté".as_bytes()])
        );
    }

    #[test]
    fn a_plain_record_is_itself_even_when_empty() {
        assert_eq!(users(b"{\"v\":1}"), Ok(vec![&b"{\"v\":1}"[..]]));
        assert_eq!(users(b""), Ok(vec![&b""[..]]));
        assert_eq!(users(&MAGIC[..3]), Ok(vec![&MAGIC[..3]]));
    }

    #[test]
    fn a_damaged_aggregate_is_one_reject_and_leaves_nothing_behind() {
        let whole = hex(GOLDEN_THREE);
        for at in 4..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert_eq!(
                users(&damaged).expect_err("damaged").kind,
                RejectKind::BadAggregate,
                "byte {at}"
            );
        }
        for length in 4..whole.len() {
            assert!(users(&whole[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn a_sealed_message_still_has_to_make_sense() {
        let rows: [(&[u8], &str); 8] = [
            (b"", "holds no user record"),
            (b"\x0a\x01k", "holds no user record"),
            (
                b"\x0a\x01k\x1a\x04\x08\x00\x1a\x05",
                "ends in the middle of a field",
            ),
            (b"\x0a\x01k\x1a\x02\x08\x00", "user record without data"),
            (
                b"\x0a\x01k\x1a\x03\x1a\x01x",
                "user record without a partition key",
            ),
            (
                b"\x0a\x01k\x1a\x05\x08\x01\x1a\x01x",
                "key index outside its table",
            ),
            (
                b"\x0a\x01k\x1a\x07\x08\x00\x10\x00\x1a\x01x",
                "key index outside its table",
            ),
            (b"\x18\x01", "field of the wrong type"),
        ];
        for (message, why) in rows {
            assert_eq!(
                users(&sealed(message)).expect_err(why).detail,
                why,
                "{message:?}"
            );
        }
        assert_eq!(
            users(&sealed(b"\x0a\x01k\x1a\x05\x08\x00\x1a\x01x\x22\x01y")),
            Ok(vec![&b"x"[..]]),
            "tags ignored"
        );
    }

    proptest::proptest! {
        #[test]
        fn sealed_random_bytes_never_panic(message in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let packed = sealed(&message);
            let mut out = vec![&b"kept"[..]];
            if open(&packed, &mut out).is_err() {
                proptest::prop_assert_eq!(out.len(), 1);
            }
        }
    }
}
