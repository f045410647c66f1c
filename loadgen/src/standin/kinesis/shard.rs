//! One shard: its place in the tree of shards, and its records.
//!
//! A put leaves one [`Block`] a shard: the records rendered as the JSON of GetRecords, side by side with commas. A
//! page is a few slices of blocks; nothing is decoded, copied or rendered a second time.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    limits::{ReadWindow, WriteWindow},
    sequence::Sequence,
};

/// Most payload of one page of GetRecords (API reference: 10 MiB).
pub const PAGE_BYTES: u64 = 10 << 20;
/// Most records of one page of GetRecords (API reference), and the default.
pub const PAGE_RECORDS: usize = 10_000;

/// Records that one put left in one shard. They share an arrival time.
#[derive(Debug)]
struct Block {
    first: u64,
    last: u64,
    arrival_ms: u64,
    ends: Box<[End]>,
    json: Bytes,
}

/// Where a record of a block ends.
#[derive(Clone, Copy, Debug)]
struct End {
    /// Its number, less the block's first.
    number: u32,
    /// Bytes of JSON up to its end, without the comma.
    json: u32,
    /// Payload bytes of the block up to and with it.
    payload: u32,
}

/// What is being put into a shard, until the put is complete.
#[derive(Debug, Default)]
struct Draft {
    first: u64,
    payload: u32,
    ends: Vec<End>,
    json: Vec<u8>,
}

/// A shard.
#[derive(Debug)]
pub struct Shard {
    /// Its index: `shardId-` and twelve digits.
    pub index: u32,
    /// Least hash key it takes.
    pub first_hash: u128,
    /// Greatest hash key it takes.
    pub last_hash: u128,
    /// The shards it came from: none, one (split) or two (merge).
    pub parents: Vec<u32>,
    /// The shards that came from it; empty while it is open.
    pub children: Vec<u32>,
    /// Any of its sequence numbers, as a pattern for the others.
    pub pattern: Sequence,
    /// Its starting number; its records' are greater.
    pub start: u64,
    /// Its ending number once it is closed; its records' are less.
    pub end: Option<u64>,
    /// When it was opened (Unix epoch ms).
    pub opened_ms: u64,
    /// When it was closed.
    pub closed_ms: Option<u64>,
    /// What it took in the present second.
    pub writes: WriteWindow,
    /// What was read in the present second.
    pub reads: ReadWindow,
    horizon: u64,
    blocks: VecDeque<Block>,
    draft: Draft,
    changes: watch::Sender<()>,
}

/// What a read found.
#[derive(Debug, Default)]
pub struct Found {
    /// Slices of rendered records; a comma belongs between two of them.
    pub parts: Vec<Bytes>,
    /// Records in them.
    pub records: usize,
    /// Payload bytes of them.
    pub payload: u64,
    /// Where the next read begins.
    pub next: u64,
    /// Arrival of the first record that was left for the next read.
    pub left_since_ms: Option<u64>,
}

impl Shard {
    /// A new open shard without records.
    pub fn new(
        index: u32,
        hashes: (u128, u128),
        parents: Vec<u32>,
        pattern: Sequence,
        start: u64,
        now_ms: u64,
    ) -> Self {
        Self {
            index,
            first_hash: hashes.0,
            last_hash: hashes.1,
            parents,
            children: Vec::new(),
            pattern,
            start,
            end: None,
            opened_ms: now_ms,
            closed_ms: None,
            writes: WriteWindow::default(),
            reads: ReadWindow::default(),
            horizon: start,
            blocks: VecDeque::new(),
            draft: Draft::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// Its name.
    pub fn id(&self) -> String {
        shard_id(self.index)
    }

    /// Whether it takes records.
    pub fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// The least number that is still kept.
    pub fn horizon(&self) -> u64 {
        self.horizon
    }

    /// Adds a record to the put under way; `true` when it is the first of it. [`Shard::seal`] makes the put visible.
    pub fn draft(
        &mut self,
        number: u64,
        arrival_ms: u64,
        data: &str,
        key: &str,
        payload: u32,
    ) -> bool {
        let draft = &mut self.draft;
        let is_first = draft.ends.is_empty();
        if is_first {
            draft.first = number;
            draft.payload = 0;
        } else {
            draft.json.push(b',');
        }
        render(
            &mut draft.json,
            &self.pattern.with_number(number),
            arrival_ms,
            data,
            key,
        );
        draft.payload += payload;
        draft.ends.push(End {
            number: (number - draft.first) as u32,
            json: draft.json.len() as u32,
            payload: draft.payload,
        });
        is_first
    }

    /// Makes the put under way visible to readers.
    pub fn seal(&mut self, arrival_ms: u64) {
        let Some(end) = self.draft.ends.last() else {
            return;
        };
        self.blocks.push_back(Block {
            first: self.draft.first,
            last: self.draft.first + u64::from(end.number),
            arrival_ms,
            ends: self.draft.ends.as_slice().into(),
            json: Bytes::copy_from_slice(&self.draft.json),
        });
        self.draft.ends.clear();
        self.draft.json.clear();
        self.wake();
    }

    /// Tells whoever watches this shard that there may be something new for it.
    pub fn wake(&self) {
        self.changes.send_replace(());
    }

    /// Changes with the shard: records, its end, and other calls of [`Shard::wake`].
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Forgets what arrived before `horizon_ms`.
    pub fn expire(&mut self, horizon_ms: u64) {
        while let Some(block) = self.blocks.front() {
            if block.arrival_ms >= horizon_ms {
                break;
            }
            self.horizon = self.horizon.max(block.last + 1);
            self.blocks.pop_front();
        }
    }

    /// Forgets every record whose number is below `number`.
    pub fn trim(&mut self, number: u64) {
        self.horizon = self.horizon.max(number);
        while self.blocks.front().is_some_and(|block| block.last < number) {
            self.blocks.pop_front();
        }
    }

    /// The position of the first record that arrived at or after `ms`, or of the next record to come.
    pub fn position_at(&self, ms: u64, tip: u64) -> u64 {
        let at = self.blocks.partition_point(|block| block.arrival_ms < ms);
        self.blocks.get(at).map_or(tip, |block| block.first)
    }

    /// Reads up to `limit` records and `bytes` of payload from `position` on, or from the horizon when that is later. One
    /// record is read however large it is.
    pub fn read(&self, position: u64, limit: usize, bytes: u64) -> Found {
        let mut found = Found {
            next: position.max(self.horizon),
            ..Found::default()
        };
        let mut at = self.blocks.partition_point(|block| block.last < found.next);
        while let Some(block) = self.blocks.get(at) {
            if block.read(limit, bytes, &mut found) {
                at += 1;
            } else {
                found.left_since_ms = Some(block.arrival_ms);
                break;
            }
        }
        found
    }
}

impl Block {
    /// Adds to `found` what still fits into its page; whether that was all of the block.
    fn read(&self, limit: usize, bytes: u64, found: &mut Found) -> bool {
        let skip = found.next.saturating_sub(self.first);
        let from = self
            .ends
            .partition_point(|end| u64::from(end.number) < skip);
        let before = from
            .checked_sub(1)
            .map_or(0, |index| self.ends[index].payload);
        let fits = self.ends[from..]
            .partition_point(|end| found.payload + u64::from(end.payload - before) <= bytes)
            .max(usize::from(found.records == 0))
            .min(limit - found.records);
        if fits == 0 {
            return false;
        }
        let to = from + fits;
        let start = from
            .checked_sub(1)
            .map_or(0, |index| self.ends[index].json as usize + 1);
        let last = self.ends[to - 1];
        found.parts.push(self.json.slice(start..last.json as usize));
        found.records += fits;
        found.payload += u64::from(last.payload - before);
        found.next = self.first + u64::from(last.number) + 1;
        to == self.ends.len()
    }
}

/// The name of the shard with that index.
pub fn shard_id(index: u32) -> String {
    format!("shardId-{index:012}")
}

/// The index that a shard's name spells. The service takes the bare number as well.
pub fn shard_index(id: &str) -> Option<u32> {
    id.strip_prefix("shardId-").unwrap_or(id).parse().ok()
}

fn render(json: &mut Vec<u8>, sequence: &Sequence, arrival_ms: u64, data: &str, key: &str) {
    use std::io::Write as _;
    json.extend_from_slice(br#"{"SequenceNumber":""#);
    json.extend_from_slice(sequence.as_bytes());
    json.extend_from_slice(br#"","Data":""#);
    json.extend_from_slice(data.as_bytes());
    json.push(b'"');
    // Writing to a vector does not fail.
    if !key.is_empty() {
        json.extend_from_slice(br#","PartitionKey":"#);
        serde_json::to_writer(&mut *json, key).ok();
    }
    write!(
        json,
        r#","ApproximateArrivalTimestamp":{}.{:03}}}"#,
        arrival_ms / 1000,
        arrival_ms % 1000
    )
    .ok();
}
