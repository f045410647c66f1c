//! One stream: its shards, who takes which hash key, and the put.

use md5::{Digest as _, Md5};

use super::{
    consumers::Consumers,
    limits::WriteLimit,
    refusal::{Refusal, RefusalKind},
    sequence::Sequence,
    shard::{Shard, shard_id, shard_index},
};

/// The account that every local stream belongs to.
pub const ACCOUNT: &str = "000000000000";

/// What a stream is made of when it is created.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Open shards at first (1 to [`MAX_SHARDS`]); an on-demand stream has 4.
    pub shards: u32,
    /// Whether the stream is of the on-demand mode.
    pub is_on_demand: bool,
    /// Most bytes of a record, payload and partition key.
    pub max_record_bytes: u32,
    /// Whether records are spread without regard to their keys (`RecordDistributionStrategy` = `AUTO`).
    pub is_auto_distributed: bool,
}

/// Most open shards of a stream here; the service's largest default quota.
pub const MAX_SHARDS: u32 = 20_000;
/// Open shards of a new on-demand stream (developer guide, "Choose the data stream capacity mode").
pub const ON_DEMAND_SHARDS: u32 = 4;
/// Bytes of a record unless the stream was told otherwise (API reference, `MaxRecordSizeInKiB`).
pub const DEFAULT_RECORD_BYTES: u32 = 1 << 20;
/// Most that a stream can be told.
pub const MAX_RECORD_BYTES: u32 = 10 << 20;

/// A record that is to be put.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The payload, base64 with padding; must have passed [`super::puts::decoded_len`].
    pub data: &'a str,
    /// The partition key; empty when there is none.
    pub key: &'a str,
    /// Where it goes: [`hash_key`] of the partition key, or the explicit hash key.
    pub hash: u128,
    /// Bytes of the payload and the partition key.
    pub size: u32,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored in that shard under that number.
    Stored(u32, Sequence),
    /// Its shard's throughput is used up.
    Throttled(u32),
    /// A scripted fault refused it.
    Failed,
}

/// A stream.
#[derive(Debug)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Its resource name.
    pub arn: String,
    /// What it was created with; `max_record_bytes` can change.
    pub plan: Plan,
    /// Which stream of that name this is: later ones have greater numbers.
    pub incarnation: u64,
    /// When it was created (Unix epoch ms).
    pub created_ms: u64,
    /// Hours that records are kept.
    pub retention_hours: u32,
    /// Who is registered for fan-out.
    pub consumers: Consumers,
    shards: Vec<Option<Shard>>,
    /// Least hash key and index of each open shard, in order of the key.
    open: Vec<(u128, u32)>,
    tip: u64,
    last_arrival_ms: u64,
    swept_ms: u64,
    turn: usize,
}

impl Stream {
    /// A stream with its first shards.
    pub fn new(name: &str, arn: String, plan: Plan, incarnation: u64, now_ms: u64) -> Self {
        let mut stream = Self {
            name: name.to_owned(),
            arn,
            incarnation,
            created_ms: now_ms,
            retention_hours: 24,
            consumers: Consumers::default(),
            shards: Vec::new(),
            open: Vec::new(),
            tip: 1,
            last_arrival_ms: 0,
            swept_ms: now_ms,
            turn: 0,
            plan,
        };
        let first: Vec<u128> = even_starts(stream.plan.shards).collect();
        for (at, start) in first.iter().enumerate() {
            let last = first.get(at + 1).map_or(u128::MAX, |next| next - 1);
            stream.add_shard((*start, last), Vec::new(), now_ms);
        }
        stream
    }

    /// Opens a shard; its index.
    pub(super) fn add_shard(
        &mut self,
        hashes: (u128, u128),
        parents: Vec<u32>,
        now_ms: u64,
    ) -> u32 {
        let index = self.shards.len() as u32;
        let start = self.next_number();
        let pattern = Sequence::new(self.incarnation, 0, index);
        self.shards.push(Some(Shard::new(
            index, hashes, parents, pattern, start, now_ms,
        )));
        let at = self.open.partition_point(|(first, _)| *first < hashes.0);
        self.open.insert(at, (hashes.0, index));
        index
    }

    /// Closes a shard and names its children.
    pub(super) fn close_shard(&mut self, index: u32, now_ms: u64) {
        let end = self.next_number();
        self.open.retain(|(_, open)| *open != index);
        if let Some(shard) = self.shards.get_mut(index as usize).and_then(Option::as_mut) {
            shard.end = Some(end);
            shard.closed_ms = Some(now_ms);
            shard.wake();
        }
    }

    /// Exchanges all records with `other`, a stream of the same incarnation and the same shards that was filled aside: so a
    /// backlog of any size appears, and is taken away again, between two reads.
    pub fn exchange_records(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.tip, &mut other.tip);
        std::mem::swap(&mut self.last_arrival_ms, &mut other.last_arrival_ms);
        let shards = self.shards.iter_mut().flatten();
        for (one, other) in shards.zip(other.shards.iter_mut().flatten()) {
            one.exchange_records(other);
        }
    }

    fn next_number(&mut self) -> u64 {
        self.tip += 1;
        self.tip - 1
    }

    /// The number that the next record will have at the least.
    pub fn tip(&self) -> u64 {
        self.tip
    }

    /// How many records were ever put, when no shard was forgotten: the other numbers went to the shards.
    pub fn records_put(&self) -> u64 {
        let closed = self.shards().filter(|shard| !shard.is_open()).count();
        self.tip - 1 - (self.shards().count() + closed) as u64
    }

    /// Open shards, in order of their hash keys.
    pub fn open_shards(&self) -> impl Iterator<Item = &Shard> {
        self.open
            .iter()
            .filter_map(|(_, index)| self.shards[*index as usize].as_ref())
    }

    /// Every shard that is still known, in order of creation.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().flatten()
    }

    /// The shard of that index.
    pub fn shard_at(&self, index: u32) -> Option<&Shard> {
        self.shards.get(index as usize)?.as_ref()
    }

    /// The shard of that index, to change.
    pub fn shard_at_mut(&mut self, index: u32) -> Option<&mut Shard> {
        self.shards.get_mut(index as usize)?.as_mut()
    }

    /// The shard of that name.
    ///
    /// # Errors
    /// `ResourceNotFound` when there is none, or none any more.
    pub fn shard(&self, id: &str) -> Result<&Shard, Refusal> {
        shard_index(id)
            .and_then(|index| self.shard_at(index))
            .ok_or_else(|| Refusal::no_shard(&self.name, id))
    }

    /// A text sequence number of one of this stream's numbers.
    pub fn sequence(&self, shard: &Shard, number: u64) -> Sequence {
        shard.pattern.with_number(number)
    }

    /// Stores `entries` in their order; readers see them when this returns. `refuses` says what a scripted
    /// fault makes of an entry and its shard.
    pub fn put(
        &mut self,
        entries: &[Entry<'_>],
        refuses: impl Fn(usize, u32) -> Option<Outcome>,
        limit: Option<&WriteLimit>,
        now_ms: u64,
    ) -> Vec<Outcome> {
        let arrival_ms = now_ms.max(self.last_arrival_ms);
        self.last_arrival_ms = arrival_ms;
        let mut touched: Vec<u32> = Vec::new();
        let mut outcomes = Vec::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            let index = self.route(entry.hash);
            let number = self.tip;
            let Some(shard) = self.shards[index as usize].as_mut() else {
                outcomes.push(Outcome::Failed);
                continue;
            };
            if let Some(refused) = refuses(at, index) {
                outcomes.push(refused);
            } else if limit
                .is_some_and(|limit| !shard.writes.admit(limit, entry.size.into(), arrival_ms))
            {
                outcomes.push(Outcome::Throttled(index));
            } else {
                self.tip += 1;
                if shard.draft(number, arrival_ms, entry.data, entry.key, entry.size) {
                    touched.push(index);
                }
                outcomes.push(Outcome::Stored(index, shard.pattern.with_number(number)));
            }
        }
        for index in touched {
            if let Some(shard) = self.shards[index as usize].as_mut() {
                shard.seal(arrival_ms);
            }
        }
        outcomes
    }

    fn route(&mut self, hash: u128) -> u32 {
        if self.plan.is_auto_distributed {
            self.turn = (self.turn + 1) % self.open.len();
            return self.open[self.turn].1;
        }
        // The first open shard begins at 0, so there is always one at or below the hash.
        self.open[self.open.partition_point(|(first, _)| *first <= hash) - 1].1
    }

    /// Forgets what is older than `retention_ms`, and closed shards that are; at most once a second.
    pub fn sweep(&mut self, retention_ms: u64, now_ms: u64) {
        if now_ms < self.swept_ms + 1000 {
            return;
        }
        self.swept_ms = now_ms;
        let horizon_ms = now_ms.saturating_sub(retention_ms);
        for slot in &mut self.shards {
            let Some(shard) = slot else { continue };
            shard.expire(horizon_ms);
            if shard.closed_ms.is_some_and(|closed| closed < horizon_ms) {
                *slot = None;
            }
        }
    }

    /// Forgets a closed shard, as the service does when all of it is older than the retention.
    ///
    /// # Errors
    /// `ResourceNotFound` for an unknown shard, `ResourceInUse` for an open one.
    pub fn forget(&mut self, id: &str) -> Result<(), Refusal> {
        let shard = self.shard(id)?;
        if shard.is_open() {
            return Err(Refusal::new(
                RefusalKind::ResourceInUse,
                format!("Shard {id} in stream {} is open.", self.name),
            ));
        }
        let index = shard.index as usize;
        self.shards[index] = None;
        Ok(())
    }

    /// The sentence with which the service throttles a record.
    pub fn rate_exceeded(&self, shard: u32) -> String {
        format!(
            "Rate exceeded for shard {} in stream {} under account {ACCOUNT}.",
            shard_id(shard),
            self.name
        )
    }
}

/// The hash key of a partition key: its MD5 as a 128-bit number.
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// The least hash keys of `count` even shards: multiples of 2^128 / `count`, rounded down, as the service has them.
pub fn even_starts(count: u32) -> impl Iterator<Item = u128> {
    let count = u128::from(count.max(1));
    // 2^128 does not fit: the quotient is that of 2^128 - 1, one more when the remainder completes it.
    let whole = u128::MAX / count + u128::from(count > 1 && u128::MAX % count == count - 1);
    (0..count).map(move |at| at * whole)
}
