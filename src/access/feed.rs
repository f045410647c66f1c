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
pub mod lineage;
mod scan;
mod tally;

use std::{convert::Infallible, sync::Arc, time::Duration};

use fastrand::Rng;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinError,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{
    ask::{Answer, Ask, Trouble},
    lineage::{Gap, Lineage},
    tally::Tally,
};
use super::cache::{AccessCache, Snapshot};
use crate::{
    metrics::RebuildReason,
    model::position::{ShardId, ShardIterator},
    ports::{AccessTable, ChangePage, ChangeStart, Clock, Fault, FaultKind, backoff},
};

/// Iterators that are opened at once: enough for the round trips of a wide table, few for its service.
const OPENING_AT_ONCE: usize = 16;

/// How long to wait for the listing of shards that must come: the first ones of a new stream, the children of one
/// that ended. DescribeStream takes 10 calls a second for all readers; a fifth is ours.
const AWAITED_LISTING: Duration = Duration::from_millis(500);

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

/// What ends the work on one map.
#[derive(Debug)]
enum End {
    Gap(Gap),
    Fault(Fault),
}

impl From<Gap> for End {
    fn from(gap: Gap) -> Self {
        Self::Gap(gap)
    }
}

impl From<JoinError> for End {
    fn from(error: JoinError) -> Self {
        let message = error.to_string();
        Self::Fault(Fault {
            kind: FaultKind::Transient,
            operation: "Scan",
            message,
        })
    }
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

/// One map's way from the opened stream on.
struct Course {
    lineage: Lineage,
    /// The map that is built aside; nothing once it serves.
    aside: Option<Arc<Snapshot>>,
    /// When the scan ended, Unix epoch milliseconds.
    scanned_at_ms: Option<i64>,
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

    /// Opens the stream, scans, swaps the map in, and follows until the end of this map.
    async fn build_and_follow(
        &self,
        ready: &mut Option<oneshot::Sender<()>>,
        served: &mut bool,
        rng: &mut Rng,
    ) -> Result<Infallible, End> {
        let began = Instant::now();
        let (lineage, iterators) = self.open(rng).await?;
        let aside = Arc::new(Snapshot::new());
        let mut scans = self.scan(&aside, rng);
        let mut course = Course {
            lineage,
            aside: Some(aside),
            scanned_at_ms: None,
        };
        let mut asked = FuturesUnordered::new();
        asked.push(self.ask(
            Ask::List {
                wait: self.limits.relist,
            },
            rng.u64(..),
        ));
        for (shard, iterator) in iterators {
            asked.push(self.ask(
                Ask::Read {
                    shard,
                    iterator,
                    not_before: began,
                },
                rng.u64(..),
            ));
        }
        loop {
            tokio::select! {
                Some(answer) = asked.next() => {
                    for ask in self.take(&mut course, answer, ready.is_none())? {
                        asked.push(self.ask(ask, rng.u64(..)));
                    }
                }
                Some(segment) = scans.join_next() => {
                    segment?.map_err(End::Fault)?;
                    if scans.is_empty() {
                        course.scanned_at_ms = Some(self.clock.now_ms());
                    }
                }
                // A listing is always asked for, so something always answers.
                else => return Err(End::Gap(Gap::LostShard)),
            }
            if self.swap_in(&mut course, began)? {
                *served = true;
                if let Some(ready) = ready.take() {
                    // Nobody waits for it: then nobody needs to know.
                    ready.send(()).ok();
                }
            }
        }
    }

    /// Lists the shards until there is one, and opens every leaf at its tip.
    async fn open(&self, rng: &mut Rng) -> Result<(Lineage, Vec<(ShardId, ShardIterator)>), End> {
        let mut said = false;
        loop {
            let listed = self.list_once(rng.u64(..)).await.map_err(End::Fault)?;
            let (lineage, leaves) = Lineage::begin(&listed);
            if !leaves.is_empty() {
                return Ok((lineage, self.open_at_tip(leaves, rng).await?));
            }
            if !said {
                warn!("the access stream lists no shard to read yet; waiting for one");
                said = true;
            }
            sleep(AWAITED_LISTING).await;
        }
    }

    async fn open_at_tip(
        &self,
        leaves: Vec<ShardId>,
        rng: &mut Rng,
    ) -> Result<Vec<(ShardId, ShardIterator)>, End> {
        let mut opened = Vec::with_capacity(leaves.len());
        let mut left = leaves.into_iter();
        let mut opening = FuturesUnordered::new();
        let mut open = |shard| {
            self.ask(
                Ask::Open {
                    shard,
                    start: ChangeStart::Latest,
                },
                rng.u64(..),
            )
        };
        opening.extend(left.by_ref().take(OPENING_AT_ONCE).map(&mut open));
        while let Some(answer) = opening.next().await {
            if let Answer::Opened { shard, iterator } = answer {
                opened.push((shard, iterator.map_err(|fault| end(fault, true))?));
            }
            opening.extend(left.next().map(&mut open));
        }
        Ok(opened)
    }

    /// Takes one answer and says what to ask next.
    fn take(&self, course: &mut Course, answer: Answer, serving: bool) -> Result<Vec<Ask>, End> {
        let loading = course.aside.is_some();
        match answer {
            Answer::Listed(shards) => {
                let mut asks = at_the_beginning(course.lineage.listed(&shards)?);
                let awaited = course.lineage.awaits_children();
                let wait = if awaited {
                    AWAITED_LISTING
                } else {
                    self.limits.relist
                };
                asks.push(Ask::List { wait });
                Ok(asks)
            }
            Answer::Opened { shard, iterator } => {
                let iterator = iterator.map_err(|fault| end(fault, loading))?;
                Ok(vec![Ask::Read {
                    shard,
                    iterator,
                    not_before: Instant::now(),
                }])
            }
            Answer::Read {
                shard,
                reply: Err(fault),
            } if fault.kind == FaultKind::IteratorExpired => {
                let start = course.lineage.resume(&shard)?;
                info!(%shard, "an iterator of the access stream expired; going on after the last change");
                Ok(vec![Ask::Open { shard, start }])
            }
            Answer::Read {
                reply: Err(fault), ..
            } => Err(end(fault, loading)),
            Answer::Read {
                shard,
                reply: Ok((sent, page)),
            } => {
                self.apply(course, &page, serving);
                let mut asks = at_the_beginning(course.lineage.read(&shard, sent.ms, &page));
                match page.next {
                    Some(iterator) => {
                        let pause = if page.more {
                            Duration::ZERO
                        } else {
                            self.limits.poll
                        };
                        asks.push(Ask::Read {
                            shard,
                            iterator,
                            not_before: sent.at + pause,
                        });
                    }
                    None => {
                        info!(%shard, "a shard of the access stream ended");
                        self.relist.notify_one();
                    }
                }
                self.mark_fresh(course);
                Ok(asks)
            }
        }
    }

    /// Puts changes where they belong. While a fresh map is built beside one that serves, that one learns them too:
    /// each is the whole truth of its item, and a revoked card should not wait for the scan.
    fn apply(&self, course: &Course, page: &ChangePage, serving: bool) {
        if page.changes.is_empty() {
            return;
        }
        let applied = match &course.aside {
            Some(aside) => {
                if serving {
                    self.cache.apply(&page.changes);
                }
                aside.changed(&page.changes)
            }
            None => self.cache.apply(&page.changes),
        };
        self.tally.changed(&applied);
    }

    fn mark_fresh(&self, course: &Course) {
        if course.aside.is_none()
            && let Some(as_of_ms) = course.lineage.known_up_to_ms()
        {
            self.cache.mark_fresh(as_of_ms);
        }
    }

    /// Lets the map that was built aside serve, once every shard answered to its tip after the scan; true then.
    fn swap_in(&self, course: &mut Course, began: Instant) -> Result<bool, End> {
        let Some(scanned_at_ms) = course.scanned_at_ms else {
            return Ok(false);
        };
        if course.aside.is_none() || !course.lineage.caught_up(scanned_at_ms) {
            return Ok(false);
        }
        // Every segment ended and gave its share back; were one left, its map would not be whole.
        let Some(fresh) = course.aside.take().and_then(Arc::into_inner) else {
            return Err(End::Gap(Gap::LostShard));
        };
        self.cache.replace(fresh);
        self.mark_fresh(course);
        let took = began.elapsed();
        self.tally.scanned(took);
        let cards = self.cache.cards();
        info!(
            cards,
            seconds = took.as_secs_f64(),
            "the access table is loaded"
        );
        Ok(true)
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

fn at_the_beginning(shards: Vec<ShardId>) -> Vec<Ask> {
    let open = |shard| Ask::Open {
        shard,
        start: ChangeStart::TrimHorizon,
    };
    shards.into_iter().map(open).collect()
}

/// What a call that must not be repeated means. While loading, a refusal is final and its words are for the
/// operator; later it may be a cursor that the service no longer takes, and a fresh map needs none.
fn end(fault: Fault, loading: bool) -> End {
    match fault.kind {
        FaultKind::Trimmed => End::Gap(Gap::Trimmed),
        FaultKind::NotFound => End::Gap(Gap::LostShard),
        FaultKind::IteratorExpired => End::Gap(Gap::Unresumable),
        FaultKind::Refused if !loading => {
            warn!(error = %fault, "a read of the access stream was refused");
            End::Gap(Gap::Refused)
        }
        _ => End::Fault(fault),
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
