//! Reads one shard by polling, page after page, at the pace the service allows.
//!
//! An iterator that expired is ordinary: a new one begins at the last record read. A position that is no longer kept is
//! a data-loss event: said once, counted, and reading goes on with the oldest record there is; it never passes in
//! silence and never stops the shard.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    metrics::{self, PageMetrics},
    model::position::{Checkpoint, Next, Page, Position, ShardId, ShardIterator},
    ports::{Fault, FaultKind, SwipeStream, backoff},
};

/// How fast a shard is polled.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one read to the next at the tip.
    pub poll: Duration,
    /// From one read to the next when more is waiting.
    pub hurry: Duration,
}

/// First wait after a failed call; doubles up to [`BACKOFF_CAP`].
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Longest wait after a failed call: five seconds is how long a shard refuses reads after a full 10 MiB.
const BACKOFF_CAP: Duration = Duration::from_secs(5);

/// What came of asking for the next page.
#[derive(Debug)]
pub enum Read {
    /// A page, and when it arrived.
    Page(Page, Instant),
    /// The reader was told to stop.
    Stopped,
    /// The stream says that there is no such shard.
    Gone(Fault),
}

/// Reads one shard.
#[derive(Debug)]
pub struct PageReader<S> {
    stream: Arc<S>,
    shard: ShardId,
    pace: Pace,
    metrics: PageMetrics,
    iterator: Option<ShardIterator>,
    /// Where an iterator begins when there is none.
    from: Checkpoint,
    /// The record that the next page has to begin with when nothing was trimmed.
    expected: Option<Position>,
    not_before: Instant,
}

impl<S: SwipeStream> PageReader<S> {
    /// A reader of `shard` that begins with the record of `from`, inclusive.
    pub fn new(stream: Arc<S>, shard: ShardId, from: Checkpoint, pace: Pace) -> Self {
        let expected = match &from {
            Checkpoint::At(position) => Some(position.clone()),
            _ => None,
        };
        let metrics = PageMetrics::new();
        Self {
            stream,
            shard,
            pace,
            metrics,
            iterator: None,
            from,
            expected,
            not_before: Instant::now(),
        }
    }

    /// The next page, when it is time for it. Retries whatever may be retried until `stop`.
    pub async fn next(&mut self, stop: &CancellationToken) -> Read {
        let mut waits = backoff(BACKOFF_FIRST, BACKOFF_CAP, fastrand::f64);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Read::Stopped,
                () = sleep_until(self.not_before) => {}
            }
            let asked = Instant::now();
            let reply = tokio::select! {
                biased;
                () = stop.cancelled() => return Read::Stopped,
                reply = self.ask() => reply,
            };
            match reply {
                Ok(page) => {
                    let arrived = Instant::now();
                    self.metrics.read(arrived - asked);
                    let hurry = page.behind_latest_ms > 0;
                    self.not_before = asked
                        + if hurry {
                            self.pace.hurry
                        } else {
                            self.pace.poll
                        };
                    return Read::Page(page, arrived);
                }
                Err(fault) if fault.kind == FaultKind::NotFound => return Read::Gone(fault),
                Err(fault) => {
                    self.recover(&fault);
                    self.not_before = Instant::now() + waits();
                }
            }
        }
    }

    /// As [`PageReader::next`], when there is a next page.
    pub async fn next_if(&mut self, more: bool, stop: &CancellationToken) -> Read {
        if more {
            self.next(stop).await
        } else {
            Read::Stopped
        }
    }

    async fn ask(&mut self) -> Result<Page, Fault> {
        let iterator = match &self.iterator {
            Some(iterator) => iterator.clone(),
            None => self.stream.iterator(&self.shard, &self.from).await?,
        };
        self.iterator = Some(iterator.clone());
        let page = self.stream.read(&self.shard, iterator).await?;
        if let Next::Iterator(next) = &page.next {
            self.iterator = Some(next.clone());
        }
        if let Some(first) = page.records.first() {
            if let Some(expected) = self.expected.take()
                && first.sequence > expected.sequence
            {
                self.check_gap(&expected).await;
            }
            let last = page.records.last().unwrap_or(first);
            self.from = Checkpoint::At(Position {
                sequence: last.sequence.clone(),
                sub: u64::MAX,
            });
        }
        Ok(page)
    }

    /// The page does not begin with the record of the checkpoint: says so when the stream no longer holds that record.
    async fn check_gap(&self, expected: &Position) {
        let oldest = async {
            let iterator = self
                .stream
                .iterator(&self.shard, &Checkpoint::TrimHorizon)
                .await?;
            self.stream.read(&self.shard, iterator).await
        };
        match oldest.await {
            Ok(page) => {
                if let Some(oldest) = page
                    .records
                    .first()
                    .filter(|oldest| oldest.sequence > expected.sequence)
                {
                    self.lost(&format!(
                        "checkpoint {} is older than {}",
                        expected.sequence, oldest.sequence
                    ));
                }
            }
            Err(fault) => {
                warn!(shard = %self.shard, %fault, "could not look for a gap behind the checkpoint")
            }
        }
    }

    fn recover(&mut self, fault: &Fault) {
        metrics::fault(fault);
        match fault.kind {
            FaultKind::IteratorExpired => {
                self.metrics.iterator_refreshed();
                info!(shard = %self.shard, "shard iterator expired, taking a new one");
                self.iterator = None;
            }
            FaultKind::Trimmed => {
                self.lost(&fault.message);
                (self.iterator, self.from) = (None, Checkpoint::TrimHorizon);
            }
            FaultKind::Throttled | FaultKind::HotKey => {
                info!(shard = %self.shard, %fault, "read throttled, slowing down")
            }
            FaultKind::Transient => warn!(shard = %self.shard, %fault, "read failed, trying again"),
            FaultKind::Refused | FaultKind::NotFound => {
                error!(shard = %self.shard, %fault, "read refused, trying again; check the permissions");
            }
        }
    }

    fn lost(&self, gap: &str) {
        self.metrics.data_lost();
        error!(shard = %self.shard, gap, "DATA LOSS: swipes were trimmed from the stream before they were read");
    }
}
