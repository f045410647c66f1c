//! Scans the table into a map, its segments side by side.
//!
//! The segments are tasks of their own: reading 3.5 million items is work for every core, and the map takes them
//! concurrently. They end with the set that holds them, so a map that is given up leaves no reader behind.

use std::sync::Arc;

use fastrand::Rng;
use tokio::task::JoinSet;

use super::{
    AccessFeed, FeedLimits,
    ask::{Trouble, patiently},
    tally::Tally,
};
use crate::{
    access::cache::Snapshot,
    ports::{AccessTable, Fault},
};

impl<T: AccessTable> AccessFeed<T> {
    /// Begins the scan of every segment into `aside`.
    pub(super) fn scan(&self, aside: &Arc<Snapshot>, rng: &mut Rng) -> JoinSet<Result<(), Fault>> {
        let mut scans = JoinSet::new();
        for number in 0..self.limits.segments {
            let segment = Segment {
                table: Arc::clone(&self.table),
                aside: Arc::clone(aside),
                tally: self.tally.clone(),
                trouble: Arc::clone(&self.trouble),
                limits: self.limits,
                number,
            };
            scans.spawn(segment.scan(rng.fork()));
        }
        scans
    }
}

struct Segment<T> {
    table: Arc<T>,
    aside: Arc<Snapshot>,
    tally: Tally,
    trouble: Arc<Trouble>,
    limits: FeedLimits,
    number: u32,
}

impl<T: AccessTable> Segment<T> {
    /// Reads the segment to its end.
    async fn scan(self, mut rng: Rng) -> Result<(), Fault> {
        let mut from = None;
        loop {
            let call = || {
                self.table
                    .scan(self.number, self.limits.segments, from.clone())
            };
            let page = patiently(&self.limits, &self.trouble, rng.u64(..), call).await?;
            self.tally.scanned_items(&self.aside.scanned(&page.items));
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }
}
