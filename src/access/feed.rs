//! Loads the access cache and keeps it fresh: opens the change stream, scans the table, follows the stream.
//!
//! Order is everything. Iterators are opened before the scan begins, and the stream is read into the map while the
//! scan runs, so that nothing falls between the two and no iterator ages. The map serves once every shard answered
//! to its tip after the scan ended. Where the stream cannot be read on without a gap, a fresh map is built aside by
//! the same steps and swapped in; the old one serves meanwhile, and its staleness grows.
//!
//! One task owns the lineage and applies every page; only the scan's segments run beside it.
//!
//! What must hold: the cache is never marked fresh over a gap; a feed that was ready once never ends but by its
//! stop, whatever the table answers.

mod ask;
mod course;
pub mod lineage;
mod open;
mod scan;
mod tally;

use std::{convert::Infallible, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::{
    sync::{Notify, oneshot},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{ask::Trouble, course::End, lineage::Gap, tally::Tally};
use super::cache::AccessCache;
use crate::{
    metrics::RebuildReason,
    ports::{AccessTable, Clock, Fault, FaultKind, backoff},
};

/// Between two failed attempts at a fresh map: its scan is what an account pays for.
const REBUILD_CAP: Duration = Duration::from_secs(30);

/// Age at which what is known is called stale in the log: forty missed polls, well before the default policy's minute.
const STALE_MS: i64 = 10_000;

/// How often age and size are reported.
const REPORT: Duration = Duration::from_secs(1);

/// How hard the feed works.
#[derive(Clone, Copy, Debug)]
pub struct FeedLimits {
    /// From one read of a shard to the next when nothing waits.
    pub poll: Duration,
    /// From one listing of the shards to the next.
    pub relist: Duration,
    /// Parts of the table that are scanned side by side, 1 at least; each holds one page (1 MiB) in memory.
    pub segments: u32,
    /// The first wait after a failed call; full jitter, doubling.
    pub retry_first: Duration,
    /// The longest wait between two attempts of a call.
    pub retry_cap: Duration,
    /// Where the jitter begins.
    pub seed: u64,
}

impl Default for FeedLimits {
    /// Four reads a second of each shard, of which the service lets two workers share five and more; a listing
    /// every ten seconds finds the children of a roll that came without a closing page.
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(250),
            relist: Duration::from_secs(10),
            segments: 8,
            retry_first: Duration::from_millis(250),
            retry_cap: Duration::from_secs(5),
            seed: 0,
        }
    }
}

/// Why the access cache cannot be loaded. Only a start ends like this.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Permission, or a stream that is off or without new images.
    #[error(
        "the access table cannot be loaded: {0}; allow Scan and DescribeTable on the table, DescribeStream, \
         GetShardIterator and GetRecords on its stream, and turn the stream on with new images"
    )]
    Refused(Fault),
    /// No such table or stream.
    #[error(
        "the access table cannot be loaded: {0}; check access.table, the region and the endpoint"
    )]
    Missing(Fault),
}

/// Loads the cache and keeps it fresh.
#[derive(Debug)]
pub struct AccessFeed<T> {
    table: Arc<T>,
    cache: Arc<AccessCache>,
    limits: FeedLimits,
    clock: Clock,
    tally: Tally,
    trouble: Arc<Trouble>,
    /// A shard ended: its children should be listed now.
    relist: Notify,
}

impl<T: AccessTable> AccessFeed<T> {
    /// A feed of `cache` from `table`. It does nothing before [`Self::run`].
    pub fn new(table: T, cache: Arc<AccessCache>, limits: FeedLimits, clock: Clock) -> Self {
        Self {
            table: Arc::new(table),
            cache,
            limits: FeedLimits {
                segments: limits.segments.max(1),
                ..limits
            },
            clock,
            tally: Tally::new(),
            trouble: Arc::default(),
            relist: Notify::new(),
        }
    }

    /// Loads the cache, says so once by `ready`, and follows the stream until `stop`.
    ///
    /// # Errors
    ///
    /// Before `ready` only: the table is missing, or the service refuses what loading needs. Everything else is
    /// retried for ever.
    pub async fn run(
        self,
        ready: oneshot::Sender<()>,
        stop: CancellationToken,
    ) -> Result<(), FeedError> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            error = self.keep(ready) => Err(error),
            never = self.report() => match never {},
        }
    }

    /// Builds map after map, each until a gap.
    async fn keep(&self, ready: oneshot::Sender<()>) -> FeedError {
        let mut ready = Some(ready);
        let mut rng = Rng::with_seed(self.limits.seed);
        let mut said: Option<(&'static str, FaultKind)> = None;
        self.tally.rebuild(RebuildReason::Start);
        loop {
            let mut dice = rng.fork();
            let mut wait = backoff(self.limits.retry_first, REBUILD_CAP, || dice.f64());
            loop {
                let mut served = false;
                let end = match self
                    .build_and_follow(&mut ready, &mut served, &mut rng)
                    .await
                {
                    Ok(never) => match never {},
                    Err(end) => end,
                };
                if served {
                    said = None;
                }
                match end {
                    End::Gap(gap) => {
                        warn!(reason = %gap, "the access stream cannot be read on; scanning afresh");
                        self.tally.rebuild(reason(gap));
                    }
                    End::Fault(fault) => {
                        if ready.is_some()
                            && let Some(error) = fatal(&fault)
                        {
                            return error;
                        }
                        if said.replace((fault.operation, fault.kind))
                            != Some((fault.operation, fault.kind))
                        {
                            warn!(error = %fault, "the access table cannot be scanned afresh; trying again");
                        }
                    }
                }
                sleep(wait()).await;
                if served {
                    break;
                }
            }
        }
    }

    /// Reports age and size for ever, whatever the feed waits for.
    async fn report(&self) -> Infallible {
        let mut tick = interval(REPORT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stale = false;
        loop {
            tick.tick().await;
            let age_ms = self.cache.staleness_ms(self.clock.now_ms());
            self.tally.state(self.cache.cards(), age_ms);
            let loaded = age_ms != i64::MAX;
            if loaded && stale != (age_ms > STALE_MS) {
                stale = !stale;
                match stale {
                    true => warn!(age_ms, "what is known of cards is getting old"),
                    false => info!(age_ms, "what is known of cards is fresh again"),
                }
            }
        }
    }
}

fn fatal(fault: &Fault) -> Option<FeedError> {
    match fault.kind {
        FaultKind::Refused => Some(FeedError::Refused(fault.clone())),
        FaultKind::NotFound => Some(FeedError::Missing(fault.clone())),
        _ => None,
    }
}

const fn reason(gap: Gap) -> RebuildReason {
    match gap {
        Gap::Trimmed => RebuildReason::Trimmed,
        Gap::Unresumable => RebuildReason::IteratorExpired,
        Gap::LostShard | Gap::Refused => RebuildReason::LostShard,
    }
}

#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;
