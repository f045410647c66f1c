//! Where things stand in a stream: shard, sequence number, place inside an aggregate, checkpoint.
//!
//! A sequence number of Kinesis has up to 129 decimal digits and fits no integer type: it stays text and is
//! ordered by length, then by digits. A [`Position`] names one *user* record: the Kinesis record by its
//! sequence number, and the place inside a KPL aggregate by its sub-sequence number (0 for a plain record).

mod payload;
mod sequence;

use std::{cmp::Ordering, fmt, sync::Arc};

pub use payload::{Payload, Payloads};
pub use sequence::SequenceNumber;

/// The name of a shard, for example `shardId-000000000003`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(Arc<str>);

impl ShardId {
    /// The shard of that name.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name as the service spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One user record of a shard: a Kinesis record, and the place inside it when it is an aggregate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The Kinesis record.
    pub sequence: SequenceNumber,
    /// Index of the user record inside a KPL aggregate, from 0; 0 for a plain record.
    pub sub: u64,
}

/// How far a shard is done. The order is KCL's: an instant comes before everything, the shard's end after
/// everything; two checkpoints of one shard only ever move up in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Nothing is done; begin with the first record that is published after this instant (Unix epoch ms).
    AtTimestamp(i64),
    /// Nothing is done; begin with the oldest record kept.
    TrimHorizon,
    /// Nothing is done; begin with what comes next. Only ever read from a table that KCL wrote:
    /// `swiped` turns its own `latest` into an instant once, so that a restart loses nothing.
    Latest,
    /// Everything up to and including this user record is done.
    At(Position),
    /// Every record of the shard is done.
    ShardEnd,
}

impl Checkpoint {
    fn rank(&self) -> u8 {
        match self {
            Self::AtTimestamp(_) => 0,
            Self::TrimHorizon => 1,
            Self::Latest => 2,
            Self::At(_) => 3,
            Self::ShardEnd => 4,
        }
    }
}

impl PartialOrd for Checkpoint {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Checkpoint {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::AtTimestamp(mine), Self::AtTimestamp(theirs)) => mine.cmp(theirs),
            (Self::At(mine), Self::At(theirs)) => mine.cmp(theirs),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// One Kinesis record as read: still bytes, perhaps an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the shard.
    pub sequence: SequenceNumber,
    /// The payload, at most 10 MiB.
    pub data: Payload,
}

/// One reply of the stream: the unit in which `swiped` reads, decides, writes and checkpoints.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records, in shard order; at most 10 000 and 10 MiB (service limits).
    pub records: Vec<Record>,
    /// How far the end of this page is behind the tip of the shard, in milliseconds; 0 at the tip.
    pub behind_latest_ms: i64,
    /// Where reading goes on.
    pub next: Next,
}

/// What follows a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The shard goes on; the iterator reads the page after this one.
    Iterator(ShardIterator),
    /// The shard goes on; a subscription that begins after this number misses nothing and repeats nothing. The number need
    /// not be a record's: it moves even where nothing is written.
    After(SequenceNumber),
    /// The shard is closed and this was its last page; these shards continue it.
    ShardEnd(Vec<ChildShard>),
}

impl Default for Next {
    fn default() -> Self {
        Self::ShardEnd(Vec::new())
    }
}

/// Where a subscription begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the record of this checkpoint, inclusive: the reader drops what is done.
    At(Checkpoint),
    /// With what comes after this number, where the subscription before it stopped.
    After(SequenceNumber),
}

/// A service's cursor into a shard; opaque, and good for five minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIterator(pub String);

/// A shard that continues one or two closed parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildShard {
    /// Its name.
    pub id: ShardId,
    /// One parent after a split, two after a merge.
    pub parents: Vec<ShardId>,
    /// First and last hash key, inclusive, decimal.
    pub hash_range: (String, String),
}

/// A shard as the stream lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// Its name.
    pub id: ShardId,
    /// None at birth of the stream, one after a split, two after a merge. They may no longer be listed.
    pub parents: Vec<ShardId>,
    /// First and last hash key, inclusive, decimal.
    pub hash_range: (String, String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(digits: &str, sub: u64) -> Checkpoint {
        Checkpoint::At(Position {
            sequence: SequenceNumber::parse(digits).expect("digits"),
            sub,
        })
    }

    #[test]
    fn checkpoints_only_move_up_from_start_through_records_to_shard_end() {
        let rising = [
            Checkpoint::AtTimestamp(5),
            Checkpoint::AtTimestamp(6),
            Checkpoint::TrimHorizon,
            Checkpoint::Latest,
            at("9", 0),
            at("10", 0),
            at("10", 3),
            at("11", 0),
            Checkpoint::ShardEnd,
        ];
        for pair in rising.windows(2) {
            assert!(pair[0] < pair[1], "{:?} < {:?}", pair[0], pair[1]);
        }
    }
}
