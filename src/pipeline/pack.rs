//! Packs events into KPL aggregates: many user records in one Kinesis record, readable by any KCL consumer. Pure.
//!
//! The KCL drops, silently, the user records of an aggregate whose hash key lies outside the shard that the aggregate was read
//! from; it takes a user record's explicit hash key where there is one, and the MD5 of its partition key otherwise. So every user
//! record here names the hash key that the aggregate itself is put by: both are always in the same shard, now and after any
//! reshard, and the shards need not be known.
//!
//! Keys are divided into groups by the high bits of their MD5, each group with one hash key, the middle of its range. An event that is alone in its
//! group is sent plain, by the same hash key, so that the decisions of a device stay in one shard and in order.
//!
//! Each event is copied once, into one buffer that is kept from page to page.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use md5::{Digest, Md5};

use super::{
    aggregate::{CHECKSUM_BYTES, MAGIC},
    batch::{BatchLimits, Outbox, cut},
    checksum::md5_each,
};

/// Most bytes of an aggregate: a quarter of what a shard stores in a second (1 MiB; Kinesis limits), so that a refused one is
/// sent again soon; and with that far below the largest record, 1 MiB by default.
const AGGREGATE_BYTES_MAX: usize = 256 << 10;

/// What an event takes in an aggregate beside its key and its payload, at most: three tags and a length before the payload, a tag and a
/// length around it, an index of the key and one of the hash key, a tag and a length before the key.
const OVERHEAD: usize = 3 + 3 + 1 + 3 + 3 + 1 + 1 + 3;

/// The partition key of every aggregate, as the KPL has it; the explicit hash key says where it goes.
const AGGREGATE_KEY: &str = "a";

/// Groups for each shard. With so many, the fullest shard has at most a quarter more groups than the mean: (g/n + 1) / (g/n).
const GROUPS_A_SHARD: u32 = 4;

/// Most groups: more shards than a stream has by default in any region (Kinesis quotas: 20 000) would make each aggregate too small.
const GROUPS_MAX: u32 = 4096;

/// Into how many groups keys are divided: a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    bits: u32,
}

impl Groups {
    /// The groups for a stream of so many open shards.
    pub fn for_shards(shards: u32) -> Self {
        let least = shards.max(1).saturating_mul(GROUPS_A_SHARD).min(GROUPS_MAX);
        Self {
            bits: least.next_power_of_two().ilog2(),
        }
    }

    /// How many there are.
    pub fn count(self) -> usize {
        1 << self.bits
    }

    /// The group of a partition key.
    fn of(self, key: &str) -> u32 {
        (hash_key(key) >> (128 - self.bits)) as u32
    }

    /// The hash key of a group: the middle of its range, so that it does not matter on which side of a shard's bound that is.
    fn hash_key(self, group: u32) -> u128 {
        (u128::from(group) << (128 - self.bits)) | (1 << (127 - self.bits))
    }
}

/// Where the service puts a record of this partition key: its MD5 as a number (Kinesis API, PutRecords).
pub fn hash_key(key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

/// What is known of a partition key of the page.
struct Key {
    group: u32,
    /// The aggregate that it was last put in the table of, and its index there.
    aggregate: usize,
    index: u32,
}

/// Packs the events of a page. Keeps its memory.
#[derive(Debug)]
pub struct Packer {
    groups: Groups,
    packed: Outbox,
    /// Which of the packed are aggregates.
    aggregates: Vec<usize>,
    /// Of each event, its key's place in the list of keys.
    key_of: Vec<u32>,
    /// Events by their group, in order.
    order: Vec<u32>,
}

impl Packer {
    /// Packs into so many groups.
    pub fn new(groups: Groups) -> Self {
        Self {
            groups,
            packed: Outbox::default(),
            aggregates: Vec::new(),
            key_of: Vec::new(),
            order: Vec::new(),
        }
    }

    /// The records of these events.
    pub fn pack(&mut self, events: &Outbox) -> &Outbox {
        self.packed.clear();
        self.aggregates.clear();
        let mut keys = self.divide(events);
        let mut ends = self.sort(&keys);
        let limits = BatchLimits {
            entries: usize::MAX,
            bytes: AGGREGATE_BYTES_MAX,
        };
        let mut start = 0;
        for (group, end) in ends.drain(..).enumerate() {
            let hash = self.groups.hash_key(group as u32);
            let members = &self.order[start..end];
            start = end;
            let sizes = members
                .iter()
                .map(|event| events.size(*event as usize) + OVERHEAD);
            for run in cut(sizes, limits) {
                match &members[run] {
                    [alone] => {
                        let event = events.event(*alone as usize);
                        let copy = |out: &mut Vec<u8>| out.extend_from_slice(event.data);
                        self.packed.push_at(event.key, hash, copy);
                    }
                    run => {
                        let aggregate = self.packed.len();
                        self.aggregates.push(aggregate);
                        let close = |out: &mut Vec<u8>| {
                            let indexes = run.iter().map(|event| *event as usize);
                            let entries = indexes.map(|index| (index, self.key_of[index]));
                            put_aggregate(out, events, entries, aggregate, &mut keys, hash);
                        };
                        self.packed.push_at(AGGREGATE_KEY, hash, close);
                    }
                }
            }
        }
        self.seal();
        &self.packed
    }

    /// Writes the checksums of all aggregates.
    fn seal(&mut self) {
        let aggregates = self
            .aggregates
            .iter()
            .map(|index| self.packed.event(*index).data);
        let messages = aggregates.map(|data| &data[MAGIC.len()..data.len() - CHECKSUM_BYTES]);
        let digests = md5_each(&messages.collect::<Vec<_>>());
        let mut payloads = self.packed.payloads_mut().enumerate();
        for (aggregate, digest) in self.aggregates.iter().zip(digests) {
            if let Some((_, payload)) = payloads.find(|(index, _)| index == aggregate) {
                let start = payload.len() - CHECKSUM_BYTES;
                payload[start..].copy_from_slice(&digest);
            }
        }
    }

    /// Finds the key of each event; hashes each key once.
    fn divide(&mut self, events: &Outbox) -> Vec<Key> {
        self.key_of.clear();
        let mut keys = Vec::new();
        let mut known: HashMap<&str, u32, RandomState> =
            HashMap::with_capacity_and_hasher(events.len(), RandomState::default());
        for index in 0..events.len() {
            let key = events.event(index).key;
            let place = *known.entry(key).or_insert_with(|| {
                keys.push(Key {
                    group: self.groups.of(key),
                    aggregate: usize::MAX,
                    index: 0,
                });
                keys.len() as u32 - 1
            });
            self.key_of.push(place);
        }
        keys
    }

    /// Sorts the events by their group, keeping their order; where each group ends.
    fn sort(&mut self, keys: &[Key]) -> Vec<usize> {
        let group = |place: &u32| keys[*place as usize].group as usize;
        let mut ends = vec![0; self.groups.count()];
        for place in &self.key_of {
            ends[group(place)] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            // Where the group begins; it moves to its end as the group is filled.
            sum += std::mem::replace(end, sum);
        }
        self.order.clear();
        self.order.resize(self.key_of.len(), 0);
        for (event, place) in (0..).zip(&self.key_of) {
            let next = &mut ends[group(place)];
            self.order[*next] = event;
            *next += 1;
        }
        ends
    }
}

/// Appends an aggregate of these events, each with its key's place, in order; its checksum is still to be written.
fn put_aggregate(
    out: &mut Vec<u8>,
    events: &Outbox,
    entries: impl Iterator<Item = (usize, u32)> + Clone,
    aggregate: usize,
    keys: &mut [Key],
    hash: u128,
) {
    const KEYS: u8 = 1 << 3 | 2;
    const HASH_KEYS: u8 = 2 << 3 | 2;
    const RECORDS: u8 = 3 << 3 | 2;
    const KEY_INDEX: u8 = 1 << 3;
    const HASH_KEY_INDEX: u8 = 2 << 3;
    const DATA: u8 = 3 << 3 | 2;
    out.extend_from_slice(&MAGIC);
    let mut length = 0;
    for (event, place) in entries.clone() {
        let key = &mut keys[place as usize];
        if key.aggregate != aggregate {
            (key.aggregate, key.index) = (aggregate, length);
            length += 1;
            field(out, KEYS, events.event(event).key.as_bytes());
        }
    }
    field(out, HASH_KEYS, itoa::Buffer::new().format(hash).as_bytes());
    for (event, place) in entries {
        let (index, data) = (keys[place as usize].index, events.event(event).data);
        let inner = 1 + varint_len(index as usize) + 2 + 1 + varint_len(data.len()) + data.len();
        out.push(RECORDS);
        varint(out, inner);
        out.push(KEY_INDEX);
        varint(out, index as usize);
        out.extend_from_slice(&[HASH_KEY_INDEX, 0]);
        field(out, DATA, data);
    }
    out.extend_from_slice(&[0; CHECKSUM_BYTES]);
}

fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_len(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests;
