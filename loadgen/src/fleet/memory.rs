//! How much a worker may grow by while it is behind: what its readers and writers hold at most.
//!
//! By the shard, since few shards stay below what all of a worker's share (128 MiB of events, 64 MiB of requests). Sizes are those
//! of the load generator's swipes and of the decisions on them; factors are copies that the SDK makes.

/// A decision as an event, and what it is before that.
const DECISION: u64 = 430 + 250;

/// What a record takes beside its payload: its sequence number and partition key as texts of their own, and its fields.
const RECORD: u64 = 230;

/// Requests of one shard under way: 8 of 500 decisions, each four times (events, entries, base64, the socket).
const REQUESTS: u64 = 4 * 8 * 500 * 430;

/// What is read at once.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Bytes of payload at most.
    bytes: u64,
    /// Records at most.
    records: u64,
}

impl Page {
    /// An event of a subscription: 2 MiB (service limit), 250 bytes a swipe.
    pub const EVENT: Self = Self {
        bytes: 2 << 20,
        records: (2 << 20) / 250,
    };

    /// A page of GetRecords with single swipes: 10 000 (service limit), 300 bytes each with its key.
    pub const PLAIN: Self = Self {
        bytes: 10_000 * 300,
        records: 10_000,
    };

    /// A page of GetRecords with aggregates: 10 MiB (service limit), handled in parts of 10 000 swipes.
    pub const AGGREGATES: Self = Self {
        bytes: 10 << 20,
        records: 10_000,
    };

    /// What a shard takes that is read by such pages, in bytes: one page is handled and one is read ahead; the next one comes from
    /// the network, in base64, in a buffer that grows by doubling, and is there once more as it is taken apart.
    const fn held(self) -> u64 {
        let held = 2 * (self.bytes + self.records * RECORD);
        let network = 3 * self.bytes / 3 * 4;
        held + network + REQUESTS + self.records * DECISION
    }
}

/// By how many bytes a worker may grow that reads so many shards by such pages. Half as much again: freed blocks that
/// the allocator keeps between others, and for a second before it gives them back.
pub fn growth_bound(shards: u32, page: Page) -> u64 {
    u64::from(shards) * page.held() / 2 * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_takes_some_tens_of_mib_and_pages_of_aggregates_the_most() {
        let mib = [Page::EVENT, Page::PLAIN, Page::AGGREGATES].map(|page| page.held() >> 20);
        assert_eq!(mib, [27, 34, 77]);
        assert_eq!(growth_bound(4, Page::EVENT), Page::EVENT.held() * 6);
    }
}
