//! The course of one map: the stream opened, the table scanned, the map swapped in, the stream followed to a gap.
//!
//! One task takes every answer, so the lineage, the map and its freshness have one owner and no lock.

use std::{convert::Infallible, sync::Arc, time::Duration};

use fastrand::Rng;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::{sync::oneshot, task::JoinError, time::Instant};
use tracing::{info, warn};

use super::{
    AccessFeed,
    ask::{Answer, Ask},
    lineage::{Gap, Lineage},
};
use crate::{
    access::cache::Snapshot,
    model::position::ShardId,
    ports::{AccessTable, ChangePage, ChangeStart, Fault, FaultKind},
};

/// How long to wait for the listing of shards that must come: the first ones of a new stream, the children of one
/// that ended. DescribeStream takes 10 calls a second for all readers; a fifth is ours.
pub(super) const AWAITED_LISTING: Duration = Duration::from_millis(500);

/// What ends the work on one map.
#[derive(Debug)]
pub(super) enum End {
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

/// One map's way from the opened stream on.
struct Course {
    lineage: Lineage,
    /// The map that is built aside; nothing once it serves.
    aside: Option<Arc<Snapshot>>,
    /// When the scan ended, Unix epoch milliseconds.
    scanned_at_ms: Option<i64>,
}

impl<T: AccessTable> AccessFeed<T> {
    /// Opens the stream, scans, swaps the map in, and follows until the end of this map.
    pub(super) async fn build_and_follow(
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

    /// Takes one answer and says what to ask next.
    fn take(&self, course: &mut Course, answer: Answer, serving: bool) -> Result<Vec<Ask>, End> {
        let loading = course.aside.is_some();
        match answer {
            Answer::Listed(shards) => {
                let shards = shards.map_err(|fault| end(fault, loading))?;
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
pub(super) fn end(fault: Fault, loading: bool) -> End {
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
