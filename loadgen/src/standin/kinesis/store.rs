//! Every stream of the stand-in, and the calls on them. A mutex round each stream, never held across an await.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    iterator::{Iterator as ShardIterator, Start},
    limits::{ReadLimit, WriteLimit},
    refusal::{Refusal, RefusalKind},
    stream::{Entry, MAX_SHARDS, Outcome, Plan, Stream},
    subscriptions::FanOut,
};

/// How the stand-in behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Named in resource names.
    pub region: String,
    /// How long an iterator holds (the service: five minutes).
    pub iterator_ttl_ms: u64,
    /// How long records are kept; `None`: as many hours as each stream says. A short one keeps memory flat.
    pub retention_ms: Option<u64>,
    /// What a shard takes; `None`: everything.
    pub write_limit: Option<WriteLimit>,
    /// What GetRecords may read from a shard; `None`: everything.
    pub read_limit: Option<ReadLimit>,
    /// How fan-out behaves.
    pub fan_out: FanOut,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            region: "eu-west-1".to_owned(),
            iterator_ttl_ms: 300_000,
            retention_ms: None,
            write_limit: None,
            read_limit: None,
            fan_out: FanOut::default(),
        }
    }
}

/// All streams.
#[derive(Debug)]
pub struct Store {
    pub(super) options: Options,
    streams: RwLock<BTreeMap<String, Arc<Mutex<Stream>>>>,
    incarnations: AtomicU64,
}

impl Store {
    /// A store without streams.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            streams: RwLock::default(),
            incarnations: AtomicU64::new(0),
        }
    }

    /// Creates a stream; it is active at once.
    ///
    /// # Errors
    /// `Validation` for a bad name, `InvalidArgument` for a bad shard count, `ResourceInUse` when it exists.
    pub fn create_stream(&self, name: &str, plan: Plan, now_ms: u64) -> Result<(), Refusal> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_name) {
            return Err(Refusal::validation(format!(
                "Value '{name}' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: \
                 [a-zA-Z0-9_.-]+"
            )));
        }
        if plan.shards == 0 || plan.shards > MAX_SHARDS {
            return Err(Refusal::invalid(format!(
                "ShardCount must be from 1 to {MAX_SHARDS}."
            )));
        }
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        if streams.contains_key(name) {
            return Err(Refusal::new(
                RefusalKind::ResourceInUse,
                format!(
                    "Stream {name} under account {} already exists.",
                    super::stream::ACCOUNT
                ),
            ));
        }
        let later = |last: u64| now_ms.max(last + 1);
        let incarnation = self
            .incarnations
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(later(last))
            })
            .map_or(now_ms, later);
        let stream = Stream::new(name, self.arn(name), plan, incarnation, now_ms);
        streams.insert(name.to_owned(), Arc::new(Mutex::new(stream)));
        Ok(())
    }

    /// Deletes a stream and all in it.
    ///
    /// # Errors
    /// `ResourceNotFound`.
    pub fn delete_stream(&self, name: &str) -> Result<(), Refusal> {
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams
            .remove(name)
            .map(|_| ())
            .ok_or_else(|| Refusal::no_stream(name))
    }

    /// Names after `after`, up to `limit`; and whether there are more.
    pub fn stream_names(&self, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names: Vec<String> = streams
            .range::<str, _>((from, Bound::Unbounded))
            .take(limit + 1)
            .map(|(name, _)| name.clone())
            .collect();
        let has_more = names.len() > limit;
        names.truncate(limit);
        (names, has_more)
    }

    /// Calls `f` with the stream, alone.
    ///
    /// # Errors
    /// `ResourceNotFound`, or what `f` answers.
    pub fn with<T>(
        &self,
        name: &str,
        f: impl FnOnce(&mut Stream) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let stream = {
            let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
            streams
                .get(name)
                .cloned()
                .ok_or_else(|| Refusal::no_stream(name))?
        };
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut stream)
    }

    /// Stores records in their order; they are visible when this returns. `refuses` says what a scripted
    /// fault makes of an entry and its shard.
    ///
    /// # Errors
    /// `ResourceNotFound`; `Validation` when a record is larger than the stream takes (nothing is stored then).
    pub fn put(
        &self,
        name: &str,
        entries: &[Entry<'_>],
        refuses: impl Fn(usize, u32) -> Option<Outcome>,
        now_ms: u64,
    ) -> Result<Vec<Outcome>, Refusal> {
        self.with(name, |stream| {
            let most = stream.plan.max_record_bytes;
            if let Some(at) = entries.iter().position(|entry| entry.size > most) {
                return Err(Refusal::validation(format!(
                    "1 validation error detected: Value at 'records.{}.member.data' failed to satisfy constraint: Member must have \
                     length less than or equal to {most}",
                    at + 1
                )));
            }
            if !stream.plan.is_auto_distributed && entries.iter().any(|entry| entry.key.is_empty()) {
                return Err(Refusal::validation("PartitionKey must be given for every record of this stream."));
            }
            stream.sweep(self.retention_ms(stream), now_ms);
            Ok(stream.put(entries, refuses, self.options.write_limit.as_ref(), now_ms))
        })
    }

    /// An iterator that begins at `start`.
    ///
    /// # Errors
    /// `ResourceNotFound`, `InvalidArgument`.
    pub fn iterator(
        &self,
        name: &str,
        shard: &str,
        start: &Start,
        now_ms: u64,
    ) -> Result<String, Refusal> {
        self.with(name, |stream| {
            let shard = stream.shard(shard)?;
            let iterator = ShardIterator {
                stream: stream.name.clone(),
                incarnation: stream.incarnation,
                shard: shard.index,
                position: stream.position(shard, start, now_ms)?,
                issued_ms: now_ms,
            };
            Ok(iterator.encode())
        })
    }

    /// Forgets the records of `shard` up to and with `sequence`, as time does in the service.
    ///
    /// # Errors
    /// `ResourceNotFound`, `InvalidArgument`.
    pub fn trim(&self, name: &str, shard: &str, sequence: &str) -> Result<(), Refusal> {
        self.with(name, |stream| {
            let shard = stream.shard(shard)?;
            let (index, number) = (shard.index, stream.number_of(shard, sequence)?);
            if let Some(shard) = stream.shard_at_mut(index) {
                shard.trim(number + 1);
            }
            Ok(())
        })
    }

    /// How fan-out behaves.
    pub fn fan_out(&self) -> &FanOut {
        &self.options.fan_out
    }

    /// How long `stream` keeps records, in ms.
    pub fn retention_ms(&self, stream: &Stream) -> u64 {
        let own = u64::from(stream.retention_hours) * 3_600_000;
        self.options.retention_ms.unwrap_or(own)
    }

    /// The resource name of a stream.
    pub fn arn(&self, name: &str) -> String {
        format!(
            "arn:aws:kinesis:{}:{}:stream/{name}",
            self.options.region,
            super::stream::ACCOUNT
        )
    }
}
