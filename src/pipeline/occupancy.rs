//! How many cards are in each area: what the table counted last, and what this worker's own grants changed since.
//!
//! Approximate in a fleet: what other workers let in since the last count is not known here. A count is taken once a second
//! (`app`), so a limit may be passed by as many as the others let in within that time and the table's index needs
//! to show them. Never negative, never blocks.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use dashmap::DashMap;
use foldhash::fast::RandomState;

/// The count of one area.
#[derive(Debug, Default)]
struct Count {
    /// What the table counted, less what had been moved here when it was asked.
    base: AtomicI64,
    /// What this worker's grants changed since it started.
    moved: AtomicI64,
}

/// The count of each area, shared by all shards of a worker.
#[derive(Debug, Default)]
pub struct Occupancy(DashMap<Arc<str>, Count, RandomState>);

impl Occupancy {
    /// How many cards are in the area.
    pub fn count(&self, area: &str) -> i64 {
        self.0.get(area).map_or(0, |count| {
            let (base, moved) = (&count.base, &count.moved);
            (base.load(Ordering::Relaxed) + moved.load(Ordering::Relaxed)).max(0)
        })
    }

    /// So many more cards are in the area, or fewer.
    pub fn moved(&self, area: &Arc<str>, change: i64) {
        match self.0.get(&**area) {
            Some(count) => count.moved.fetch_add(change, Ordering::Relaxed),
            None => {
                let count = self.0.entry(Arc::clone(area)).or_default();
                count.moved.fetch_add(change, Ordering::Relaxed)
            }
        };
    }

    /// What this worker's grants changed so far: to be given back with the count that is asked for now.
    pub fn asked(&self, area: &str) -> i64 {
        let count = self.0.get(area);
        count.map_or(0, |count| count.moved.load(Ordering::Relaxed))
    }

    /// The table counted so many in the area, when it was asked at `asked`.
    pub fn counted(&self, area: &Arc<str>, asked: i64, count: i64) {
        let entry = self.0.entry(Arc::clone(area)).or_default();
        entry.base.store(count - asked, Ordering::Relaxed);
    }
}
