//! KPL aggregates: many user records in one Kinesis record, and back.
//!
//! Layout: magic `F3 89 9A C2`, a protobuf `AggregatedRecord { repeated string partition_key_table = 1;
//! repeated string explicit_hash_key_table = 2; repeated Record { uint64 partition_key_index = 1;
//! optional uint64 explicit_hash_key_index = 2; bytes data = 3 } records = 3 }`, then the MD5 of that protobuf
//! (amazon-kinesis-producer, `aggregation-format.md`). Written here a second time on purpose: what the daemon
//! opens must have been closed by somebody else.

use md5::{Digest, Md5};

/// The first bytes of every aggregate.
pub const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// Bytes of the checksum at the end.
const MD5_BYTES: usize = 16;

/// Packs user records (partition key, payload), in order.
pub fn pack<'a>(records: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut keys: Vec<&str> = Vec::new();
    let mut body = Vec::new();
    for (key, data) in records {
        let index = keys
            .iter()
            .position(|known| *known == key)
            .unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            });
        let mut record = vec![0x08];
        varint(&mut record, index as u64);
        field(&mut record, 3, data);
        field(&mut body, 3, &record);
    }
    let mut message = Vec::new();
    for key in &keys {
        field(&mut message, 1, key.as_bytes());
    }
    message.extend_from_slice(&body);
    let digest = Md5::digest(&message);
    [&MAGIC[..], &message, &digest[..]].concat()
}

/// A user record of an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// Its partition key.
    pub key: &'a str,
    /// Its explicit hash key, if it has one.
    pub hash_key: Option<&'a str>,
    /// Its payload.
    pub data: &'a [u8],
}

impl User<'_> {
    /// Where the KCL expects it: it drops a user record that it reads from a shard of other hash keys
    /// (amazon-kinesis-client, `AggregatorUtil`).
    pub fn effective_hash_key(&self) -> Option<u128> {
        match self.hash_key {
            Some(hash_key) => hash_key.parse().ok(),
            None => Some(u128::from_be_bytes(Md5::digest(self.key).into())),
        }
    }
}

/// The payloads of an aggregate, in order; nothing when `record` is a plain record or a damaged aggregate.
pub fn open(record: &[u8]) -> Option<Vec<&[u8]>> {
    let users = open_users(record)?;
    Some(users.into_iter().map(|user| user.data).collect())
}

/// As [`open`], with the keys.
pub fn open_users(record: &[u8]) -> Option<Vec<User<'_>>> {
    let rest = record.strip_prefix(&MAGIC)?;
    let (mut message, digest) = rest.split_at_checked(rest.len().checked_sub(MD5_BYTES)?)?;
    if Md5::digest(message)[..] != *digest {
        return None;
    }
    let (mut keys, mut hash_keys, mut records) = (Vec::new(), Vec::new(), Vec::new());
    while !message.is_empty() {
        match take_field(&mut message)? {
            (1, Field::Bytes(key)) => keys.push(std::str::from_utf8(key).ok()?),
            (2, Field::Bytes(key)) => hash_keys.push(std::str::from_utf8(key).ok()?),
            (3, Field::Bytes(record)) => records.push(record),
            _ => {}
        }
    }
    let users = records
        .into_iter()
        .map(|record| user(record, &keys, &hash_keys));
    users.collect()
}

fn user<'a>(mut record: &'a [u8], keys: &[&'a str], hash_keys: &[&'a str]) -> Option<User<'a>> {
    let (mut key, mut hash_key, mut data) = (None, None, None);
    let at = |table: &[&'a str], index: u64| table.get(usize::try_from(index).ok()?).copied();
    while !record.is_empty() {
        match take_field(&mut record)? {
            (1, Field::Number(index)) => key = Some(at(keys, index)?),
            (2, Field::Number(index)) => hash_key = Some(at(hash_keys, index)?),
            (3, Field::Bytes(bytes)) => data = Some(bytes),
            _ => {}
        }
    }
    Some(User {
        key: key?,
        hash_key,
        data: data?,
    })
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A field's value.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The next field: its number and its value.
fn take_field<'a>(input: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = take_varint(input)?;
    match tag & 7 {
        0 => take_varint(input).map(|number| (tag >> 3, Field::Number(number))),
        2 => {
            let length = usize::try_from(take_varint(input)?).ok()?;
            let (bytes, rest) = input.split_at_checked(length)?;
            *input = rest;
            Some((tag >> 3, Field::Bytes(bytes)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Golden bytes made by PyPI `aws-kinesis-agg` 1.2.3 (the Python aggregator of awslabs/kinesis-aggregation).
    #[test]
    fn an_aggregate_has_the_bytes_that_another_aggregator_writes() {
        let mine = pack([
            ("card-1", &b"{\"v\":1}"[..]),
            ("card-2", b""),
            ("card-1", &[b'x'; 200]),
        ]);
        let golden = [
            "f3899ac20a06636172642d310a06636172642d321a0b08001a077b2276223a317d1a0408011a001acd0108001ac801",
            &"78".repeat(200),
            "4177addd615ae8b65ab74b9602dd0c51",
        ];
        assert_eq!(hex(&mine), golden.concat());
    }

    #[test]
    fn a_user_record_belongs_where_its_explicit_hash_key_says_or_else_its_partition_key() {
        // As above, with explicit hash keys; made by the same aggregator.
        let golden = "f3899ac20a06676174652d380a07676174652d313212273132373630353838373539353335313932333739383736353437373738363931333037393239361a0b080010001a0566697273741a06080110001a001a0d080010001a076472697474c3a914f62d5660e745ced3a8e7cccc03fde3";
        let bytes: Vec<u8> = (0..golden.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&golden[at..at + 2], 16).expect("hexadecimal"))
            .collect();
        let users = open_users(&bytes).expect("it opens");
        let of = |user: &User<'_>| (user.key.to_owned(), user.effective_hash_key());
        let expected = Some(3 << 125);
        assert_eq!(
            users.iter().map(of).collect::<Vec<_>>(),
            [
                ("gate-8".to_owned(), expected),
                ("gate-12".to_owned(), expected),
                ("gate-8".to_owned(), expected)
            ]
        );
        let packed = pack([("card-1", &b""[..])]);
        let users = open_users(&packed).expect("it opens");
        let md5 = 0xa388_8993_df94_31ff_12f6_d1e4_0877_06d9;
        assert_eq!(users[0].effective_hash_key(), Some(md5));
    }

    #[test]
    fn what_was_packed_opens_in_order_and_a_flipped_byte_does_not_open() {
        let records: Vec<(String, Vec<u8>)> = (0..300)
            .map(|i| (format!("key-{}", i % 7), vec![i as u8; i]))
            .collect();
        let mut packed = pack(
            records
                .iter()
                .map(|(key, data)| (key.as_str(), data.as_slice())),
        );
        let opened = open(&packed).expect("own aggregate opens");
        assert_eq!(
            opened,
            records
                .iter()
                .map(|(_, data)| data.as_slice())
                .collect::<Vec<_>>()
        );
        packed[9] ^= 1;
        assert_eq!(open(&packed), None);
        assert_eq!(open(b"{\"v\":1}"), None);
        assert_eq!(open(&MAGIC), None);
    }

    #[test]
    fn an_aggregate_with_explicit_hash_keys_opens_too() {
        // aws-kinesis-agg 1.2.3: ("a", "hello") and ("b", "world") with explicit hash key 2^127.
        let golden = "f3899ac20a01610a016212273137303134313138333436303436393233313733313638373330333731353838\
                      343130353732381a0b080010001a0568656c6c6f1a0b080110001a05776f726c64f00ba13487ee769dd90ad9ce07761118";
        let bytes: Vec<u8> = (0..golden.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&golden[at..at + 2], 16).expect("hex"))
            .collect();
        assert_eq!(open(&bytes), Some(vec![&b"hello"[..], &b"world"[..]]));
    }
}
