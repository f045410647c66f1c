//! The throughput of one shard, when a test asks for it: the service's figures, counted by whole seconds.
//!
//! A whole-second window admits up to twice the rate across its edge; the service's own buckets do as well.

/// What a shard takes in one second. The service: 1000 records and 1 MiB (developer guide, "Quotas and limits").
#[derive(Clone, Copy, Debug)]
pub struct WriteLimit {
    /// Records a second.
    pub records: u32,
    /// Bytes (payload and partition key) a second.
    pub bytes: u64,
}

impl Default for WriteLimit {
    fn default() -> Self {
        Self {
            records: 1000,
            bytes: 1 << 20,
        }
    }
}

/// What may be read from a shard. The service: 5 calls and 2 MB a second; a page above 2 MB is paid for afterwards.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// GetRecords calls a second.
    pub calls: u32,
    /// Bytes a second.
    pub bytes: u64,
}

impl Default for ReadLimit {
    fn default() -> Self {
        Self {
            calls: 5,
            bytes: 2 << 20,
        }
    }
}

/// What a shard took in the present second.
#[derive(Debug, Default)]
pub struct WriteWindow {
    second: u64,
    records: u32,
    bytes: u64,
}

impl WriteWindow {
    /// Counts a record of `bytes`, or refuses it.
    pub fn admit(&mut self, limit: &WriteLimit, bytes: u64, now_ms: u64) -> bool {
        if self.second != now_ms / 1000 {
            *self = Self {
                second: now_ms / 1000,
                ..Self::default()
            };
        }
        if self.records >= limit.records || self.bytes + bytes > limit.bytes {
            return false;
        }
        self.records += 1;
        self.bytes += bytes;
        true
    }
}

/// What was read from a shard in the present second, and until when a large page has to be paid for.
#[derive(Debug, Default)]
pub struct ReadWindow {
    second: u64,
    calls: u32,
    paid_until_ms: u64,
}

impl ReadWindow {
    /// Counts a call, or refuses it.
    pub fn admit(&mut self, limit: &ReadLimit, now_ms: u64) -> bool {
        if now_ms < self.paid_until_ms {
            return false;
        }
        if self.second != now_ms / 1000 {
            self.second = now_ms / 1000;
            self.calls = 0;
        }
        if self.calls >= limit.calls {
            return false;
        }
        self.calls += 1;
        true
    }

    /// Charges a page of `bytes` that was handed out.
    pub fn charge(&mut self, limit: &ReadLimit, bytes: u64, now_ms: u64) {
        if bytes > limit.bytes {
            self.paid_until_ms = now_ms + bytes * 1000 / limit.bytes.max(1);
        }
    }
}
