//! Polling: one GetRecords after the other, at the pace the service allows.
//!
//! An iterator that expired is ordinary: a new one begins at the last record read.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Pace, place::Place};
use crate::{
    model::position::{Next, Page, ShardIterator},
    ports::{Fault, FaultKind, SwipeStream},
};

/// What came of one read.
#[derive(Debug)]
pub(super) enum Polled {
    /// A page, and when it arrived.
    Page(Page, Instant),
    /// The stream says that there is no such shard.
    Gone(Fault),
    /// Nothing; the next read waits a little.
    Failed,
}

/// Polls one shard.
#[derive(Debug)]
pub(super) struct Polling {
    pace: Pace,
    iterator: Option<ShardIterator>,
    not_before: Instant,
}

impl Polling {
    /// The first read is due at once.
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            iterator: None,
            not_before: Instant::now(),
        }
    }

    /// The next page is read another way: an iterator of now would be old by then.
    pub(super) fn forget(&mut self) {
        self.iterator = None;
    }

    /// Reads once, when it is time for it.
    pub(super) async fn ask<S: SwipeStream>(
        &mut self,
        stream: &S,
        place: &mut Place,
        mut waits: impl FnMut() -> Duration,
    ) -> Polled {
        sleep_until(self.not_before).await;
        let asked = Instant::now();
        match self.page(stream, place).await {
            Ok(page) => {
                let arrived = Instant::now();
                place.metrics.read(arrived - asked);
                let hurry = page.behind_latest_ms > 0;
                self.not_before = asked
                    + if hurry {
                        self.pace.hurry
                    } else {
                        self.pace.poll
                    };
                Polled::Page(page, arrived)
            }
            Err(fault) if fault.kind == FaultKind::NotFound => Polled::Gone(fault),
            Err(fault) => {
                if matches!(fault.kind, FaultKind::IteratorExpired | FaultKind::Trimmed) {
                    self.iterator = None;
                }
                place.recover(&fault);
                self.not_before = Instant::now() + waits();
                Polled::Failed
            }
        }
    }

    async fn page<S: SwipeStream>(&mut self, stream: &S, place: &mut Place) -> Result<Page, Fault> {
        let iterator = match &self.iterator {
            Some(iterator) => iterator.clone(),
            None => stream.iterator(&place.shard, place.from()).await?,
        };
        self.iterator = Some(iterator.clone());
        let page = stream.read(&place.shard, iterator).await?;
        if let Next::Iterator(next) = &page.next {
            self.iterator = Some(next.clone());
        }
        place.passed(stream, &page).await;
        Ok(page)
    }
}
