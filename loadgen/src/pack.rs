//! From swipes to Kinesis records: one each, or many in a KPL aggregate.
//!
//! As the KPL does it, an aggregate holds only swipes that belong to one shard by the hash of their own partition
//! key, and is sent there by an explicit hash key. So a card's swipes stay in order, also where plain and aggregated
//! records are mixed.

use std::str::FromStr;

use md5::{Digest, Md5};

use crate::{
    aggregate,
    answer::Expect,
    traffic::{self, Planned},
};

/// Bytes of an aggregate at most; the service takes 1 MiB.
const AGGREGATE_BYTES: usize = 500_000;

/// User records of an aggregate when nobody says how many.
const AGGREGATE_RECORDS: usize = 20;

/// Most user records of an aggregate.
const AGGREGATE_RECORDS_MAX: usize = 2_000;

/// How swipes travel: `off`, a number of user records an aggregate, `mixed`, or `mixed:NUMBER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// One record a swipe.
    #[default]
    Plain,
    /// Up to that many swipes a record.
    Aggregated(usize),
    /// Half of the groups of that many in an aggregate, the others plain.
    Mixed(usize),
}

impl FromStr for Packing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| match text.parse() {
            Ok(number) if (1..=AGGREGATE_RECORDS_MAX).contains(&number) => Ok(number),
            _ => Err(format!(
                "`{text}`: use off, mixed, mixed:K, or K user records an aggregate, 1 to {AGGREGATE_RECORDS_MAX}"
            )),
        };
        match text.split_once(':') {
            None if text == "off" => Ok(Self::Plain),
            None if text == "mixed" => Ok(Self::Mixed(AGGREGATE_RECORDS)),
            None => number(text).map(Self::Aggregated),
            Some(("mixed", text)) => number(text).map(Self::Mixed),
            Some(_) => number(text).map(Self::Aggregated),
        }
    }
}

/// The hash keys of a shard, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardRange {
    /// First.
    pub first: u128,
    /// Last.
    pub last: u128,
}

/// A swipe with its number.
pub type Numbered = (u64, Planned);

/// One entry of a PutRecords request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Partition key.
    pub key: String,
    /// Explicit hash key, of aggregates.
    pub hash: Option<u128>,
    /// Payload.
    pub data: Vec<u8>,
    /// The swipes in it.
    pub swipes: Vec<u64>,
    /// Place inside the aggregate and expected error of those that are none.
    pub bad: Vec<(u64, &'static str)>,
}

/// Packs swipes, keeping their order within a shard.
pub fn entries(swipes: Vec<Numbered>, packing: Packing, shards: &[ShardRange]) -> Vec<Entry> {
    let size = match packing {
        Packing::Plain => return swipes.into_iter().map(plain).collect(),
        Packing::Aggregated(size) | Packing::Mixed(size) => size,
    };
    let mut groups: Vec<Vec<Numbered>> = vec![Vec::new(); shards.len().max(1)];
    for swipe in swipes {
        groups[shard_of(&swipe.1.card, shards)].push(swipe);
    }
    let mut entries = Vec::new();
    for (index, group) in groups.into_iter().enumerate() {
        let hash = shards.get(index).map(|shard| shard.first);
        for chunk in chunks(group, size) {
            let coin = traffic::mix(chunk.first().map_or(0, |(k, _)| *k)).is_multiple_of(2);
            let alone = chunk.iter().any(|(_, planned)| planned.alone);
            if alone || (coin && matches!(packing, Packing::Mixed(_))) {
                entries.extend(chunk.into_iter().map(plain));
            } else {
                entries.push(aggregated(chunk, hash));
            }
        }
    }
    entries
}

fn plain((k, planned): Numbered) -> Entry {
    let bad = bad(&planned).map(|error| (0, error)).into_iter().collect();
    Entry {
        key: planned.card,
        hash: None,
        data: planned.payload,
        swipes: vec![k],
        bad,
    }
}

fn aggregated(chunk: Vec<Numbered>, hash: Option<u128>) -> Entry {
    let data = aggregate::pack(
        chunk
            .iter()
            .map(|(_, planned)| (planned.card.as_str(), planned.payload.as_slice())),
    );
    let bad = (0..)
        .zip(&chunk)
        .filter_map(|(sub, (_, planned))| bad(planned).map(|error| (sub, error)))
        .collect();
    // The KPL calls every aggregate "a"; where it goes is said by the explicit hash key.
    Entry {
        key: "a".to_owned(),
        hash,
        data,
        swipes: chunk.iter().map(|(k, _)| *k).collect(),
        bad,
    }
}

fn bad(planned: &Planned) -> Option<&'static str> {
    match planned.expect {
        Expect::Reject(error) => Some(error),
        _ => None,
    }
}

/// Groups of up to `size` swipes and [`AGGREGATE_BYTES`]; what must travel alone is a group of its own.
fn chunks(swipes: Vec<Numbered>, size: usize) -> Vec<Vec<Numbered>> {
    let mut chunks: Vec<Vec<Numbered>> = Vec::new();
    let mut bytes = 0;
    let mut closed = true;
    for swipe in swipes {
        bytes += swipe.1.payload.len();
        let alone = swipe.1.alone;
        match chunks.last_mut() {
            Some(last) if !closed && !alone && last.len() < size && bytes <= AGGREGATE_BYTES => {
                last.push(swipe)
            }
            _ => {
                bytes = swipe.1.payload.len();
                chunks.push(vec![swipe]);
            }
        }
        closed = alone;
    }
    chunks
}

fn shard_of(key: &str, shards: &[ShardRange]) -> usize {
    let hash = u128::from_be_bytes(Md5::digest(key.as_bytes()).into());
    shards
        .iter()
        .position(|shard| (shard.first..=shard.last).contains(&hash))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Reason;

    const HALVES: [ShardRange; 2] = [
        ShardRange {
            first: 0,
            last: u128::MAX / 2,
        },
        ShardRange {
            first: u128::MAX / 2 + 1,
            last: u128::MAX,
        },
    ];

    fn swipes(count: u64) -> Vec<Numbered> {
        let swipe = |k| Planned {
            payload: format!("{{\"k\":{k}}}").into_bytes(),
            card: format!("card-{}", k % 13),
            expect: if k % 10 == 3 {
                Expect::Reject("Malformed")
            } else {
                Expect::Decision(Reason::Granted)
            },
            fingerprint: 0,
            repeat: false,
            alone: k % 20 == 3,
        };
        (0..count).map(|k| (k, swipe(k))).collect()
    }

    #[track_caller]
    fn check(packing: &str, aggregates: std::ops::Range<usize>, plain: std::ops::Range<usize>) {
        let entries = entries(swipes(200), packing.parse().expect("a packing"), &HALVES);
        let opened: Vec<_> = entries
            .iter()
            .map(|entry| aggregate::open(&entry.data))
            .collect();
        let count = opened.iter().flatten().count();
        assert!(aggregates.contains(&count), "{count} aggregates");
        assert!(
            plain.contains(&(entries.len() - count)),
            "{} plain",
            entries.len() - count
        );
        let mut all: Vec<u64> = entries
            .iter()
            .flat_map(|entry| entry.swipes.clone())
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..200).collect::<Vec<u64>>());
        for (entry, opened) in entries.iter().zip(&opened) {
            assert!(entry.swipes.is_sorted(), "order within a shard");
            for (sub, error) in &entry.bad {
                assert_eq!((entry.swipes[*sub as usize] % 10, *error), (3, "Malformed"));
            }
            if let Some(records) = opened {
                assert!(records.len() == entry.swipes.len() && entry.hash.is_some());
                assert!(
                    entry.swipes.iter().all(|k| k % 20 != 3),
                    "what travels alone is in no aggregate"
                );
            }
        }
    }

    #[test]
    fn every_swipe_travels_once_whatever_the_packing() {
        check("off", 0..1, 200..201);
        check("20", 10..40, 10..11);
        check("mixed:5", 5..50, 20..180);
    }

    #[test]
    fn a_packing_that_is_none_is_refused() {
        for text in ["", "0", "mixed:", "mixed:0", "all", "3000"] {
            assert!(text.parse::<Packing>().is_err(), "{text}");
        }
        assert_eq!("mixed".parse(), Ok(Packing::Mixed(20)));
    }
}
