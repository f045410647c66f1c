//! Opens KPL aggregates: one Kinesis record that carries many user records.
//!
//! The format is the producer library's (`aggregation-format.md` of amazon-kinesis-producer): the magic bytes
//! `F3 89 9A C2`, a protobuf `AggregatedRecord { partition_key_table = 1; explicit_hash_key_table = 2; records = 3 }`
//! with `Record { partition_key_index = 1; explicit_hash_key_index = 2; data = 3; tags = 4 }`, and the MD5 of the
//! protobuf. The whole aggregate is checked before its first user record counts: it opens completely or is one reject,
//! and nothing in it is ever dropped for lying outside a shard's hash range.
//!
//! Borrows from the record; the caller's list of user records is reused from page to page.

use crate::{model::reject::RejectKind, pipeline::decode::Reject};

/// First bytes of every aggregate.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Bytes of the checksum at the end.
pub const CHECKSUM_BYTES: usize = 16;

/// What the checksum of an aggregate is of; nothing of a plain record, and of one that is too short to have a checksum.
pub fn sealed(data: &[u8]) -> Option<&[u8]> {
    let body = data.strip_prefix(&MAGIC)?;
    Some(body.split_last_chunk::<CHECKSUM_BYTES>()?.0)
}

/// Appends the user records of `data` to `users`: itself when it is a plain record, else what the aggregate holds, in
/// order. `checksum` is asked for the MD5 of what is [`sealed`]. On a reject nothing is appended.
pub fn open<'a>(
    data: &'a [u8],
    checksum: impl FnOnce(&[u8]) -> [u8; CHECKSUM_BYTES],
    users: &mut Vec<&'a [u8]>,
) -> Result<(), Reject> {
    let Some(body) = data.strip_prefix(&MAGIC) else {
        users.push(data);
        return Ok(());
    };
    let before = users.len();
    open_body(body, checksum, users).map_err(|detail| {
        users.truncate(before);
        Reject::new(RejectKind::BadAggregate, detail)
    })
}

fn open_body<'a>(
    body: &'a [u8],
    checksum: impl FnOnce(&[u8]) -> [u8; CHECKSUM_BYTES],
    users: &mut Vec<&'a [u8]>,
) -> Result<(), &'static str> {
    let Some((message, stated)) = body.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err("too short for a checksum");
    };
    if checksum(message) != *stated {
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
            (2, Wire::Bytes(key)) => {
                std::str::from_utf8(key).map_err(|_| "explicit hash key is not UTF-8")?;
                hash_keys += 1;
            }
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
        if tag >> 3 == 0 || tag > u64::from(u32::MAX) {
            return Err("field number out of range");
        }
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
    use md5::{Digest, Md5};
    use proptest::{
        collection::vec,
        option,
        prelude::{Strategy, any, prop_oneof},
        sample::Index,
    };
    use prost::Message as _;

    use super::*;

    /// Made by the aggregator of PyPI `aws-kinesis-agg` 1.2.3 from the user records `("card-1", "first")`,
    /// `("card-2", "", explicit hash key 12345)` and `("card-1", "dritté")`.
    const GOLDEN_THREE: &str = "f3899ac20a06636172642d310a06636172642d32120531323334351a0908001a0566697273741a06080110001a001a0b08001a076472697474c3a93caaa543a20ad914263e6c03e2b8de94";

    fn users(data: &[u8]) -> Result<Vec<&[u8]>, Reject> {
        let mut users = Vec::new();
        open(data, md5, &mut users).map(|()| users)
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
            .collect()
    }

    fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC[..], message, &md5(message)].concat()
    }

    /// By another implementation than the daemon's.
    fn md5(message: &[u8]) -> [u8; 16] {
        Md5::digest(message).into()
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
        let rows: [(&[u8], &str); 11] = [
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
            (b"\x12\x01\xff", "explicit hash key is not UTF-8"),
            (b"\x00\x01", "field number out of range"),
            (b"\x80\x80\x80\x80\x10\x01", "field number out of range"),
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

    /// The format's messages as the protobuf library reads them; tags stay bytes, as nobody looks into them.
    mod protobuf {
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct AggregatedRecord {
            #[prost(string, repeated, tag = "1")]
            pub(super) partition_key_table: Vec<String>,
            #[prost(string, repeated, tag = "2")]
            pub(super) explicit_hash_key_table: Vec<String>,
            #[prost(message, repeated, tag = "3")]
            pub(super) records: Vec<Record>,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Record {
            #[prost(uint64, optional, tag = "1")]
            pub(super) partition_key_index: Option<u64>,
            #[prost(uint64, optional, tag = "2")]
            pub(super) explicit_hash_key_index: Option<u64>,
            #[prost(bytes = "vec", optional, tag = "3")]
            pub(super) data: Option<Vec<u8>>,
            #[prost(bytes = "vec", repeated, tag = "4")]
            pub(super) tags: Vec<Vec<u8>>,
        }
    }

    /// What the format says of a message that the protobuf library could read.
    fn users_of(message: &protobuf::AggregatedRecord) -> Option<Vec<&[u8]>> {
        let in_table = |index: u64, table: &[String]| {
            usize::try_from(index).is_ok_and(|index| index < table.len())
        };
        let users = message.records.iter().map(|record| {
            let hashed = record
                .explicit_hash_key_index
                .is_none_or(|index| in_table(index, &message.explicit_hash_key_table));
            let keyed = in_table(record.partition_key_index?, &message.partition_key_table);
            record.data.as_deref().filter(|_| keyed && hashed)
        });
        let users: Option<Vec<&[u8]>> = users.collect();
        users.filter(|users| !users.is_empty())
    }

    fn message() -> impl Strategy<Value = protobuf::AggregatedRecord> {
        let record = (
            option::weighted(0.95, 0_u64..3),
            option::weighted(0.3, 0_u64..3),
            option::weighted(0.95, vec(any::<u8>(), 0..200)),
            vec(vec(any::<u8>(), 0..6), 0..2),
        );
        let record = record.prop_map(|(key, hash_key, data, tags)| protobuf::Record {
            partition_key_index: key,
            explicit_hash_key_index: hash_key,
            data,
            tags,
        });
        let tables = (vec(".{0,4}", 1..4), vec("[0-9]{1,39}", 0..4));
        (tables, vec(record, 0..20)).prop_map(|((keys, hash_keys), records)| {
            protobuf::AggregatedRecord {
                partition_key_table: keys,
                explicit_hash_key_table: hash_keys,
                records,
            }
        })
    }

    proptest::proptest! {
        #[test]
        fn every_message_opens_as_the_protobuf_library_wrote_it(message in message()) {
            let packed = sealed(&message.encode_to_vec());
            proptest::prop_assert_eq!(users(&packed).ok(), users_of(&message));
        }

        /// Bytes are changed, put in and cut out *before* the message is sealed, so that its checksum is right.
        #[test]
        fn whatever_opens_is_what_the_protobuf_library_reads(
            message in message(),
            edits in vec((any::<Index>(), prop_oneof![any::<u8>(), 0..8_u8, 0x80..=0xff_u8], 0..3_u8), 1..5),
        ) {
            let mut bytes = message.encode_to_vec();
            for (at, byte, how) in edits {
                let at = at.index(bytes.len() + 1);
                match how {
                    0 if at < bytes.len() => bytes[at] = byte,
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    _ => bytes.insert(at, byte),
                }
            }
            let packed = sealed(&bytes);
            let read = protobuf::AggregatedRecord::decode(&bytes[..]);
            match (users(&packed), &read) {
                (Ok(mine), Ok(theirs)) => proptest::prop_assert_eq!(Some(mine), users_of(theirs)),
                (Ok(_), Err(error)) => proptest::prop_assert!(false, "opened, though {}", error),
                // Groups, which no producer library ever wrote, are the one thing refused here that is protobuf.
                (Err(reject), Ok(theirs)) if users_of(theirs).is_some() => {
                    proptest::prop_assert_eq!(reject.detail, "unknown wire type");
                }
                (Err(_), _) => {}
            }
        }

        #[test]
        fn sealed_random_bytes_never_panic(message in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let packed = sealed(&message);
            let mut out = vec![&b"kept"[..]];
            if open(&packed, md5, &mut out).is_err() {
                proptest::prop_assert_eq!(out.len(), 1);
            }
        }
    }
}
