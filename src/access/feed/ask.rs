//! The calls of the feed: each waits until it is due, is tried until the answer is final, and says what came.
//!
//! Never touches the cache or the lineage: several are under way at once, and one owner takes their answers.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fastrand::Rng;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::{AccessFeed, FeedLimits};
use crate::{
    metrics,
    model::position::{ShardId, ShardIterator},
    ports::{AccessTable, ChangePage, ChangeShard, ChangeStart, Fault, FaultKind, backoff},
};

/// At most one line about failing calls in this time: a throttled scan fails thousands of times.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// One call to make.
#[derive(Debug)]
pub(super) enum Ask {
    /// The shards, after a wait or as soon as one ends.
    List { wait: Duration },
    /// An iterator.
    Open { shard: ShardId, start: ChangeStart },
    /// A page.
    Read {
        shard: ShardId,
        iterator: ShardIterator,
        not_before: Instant,
    },
}

/// When a request was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// By the wall clock, Unix epoch milliseconds: for freshness.
    pub(super) ms: i64,
    /// By the steady clock: for pacing.
    pub(super) at: Instant,
}

/// What came of a call. A fault here is final.
#[derive(Debug)]
pub(super) enum Answer {
    Listed(Result<Vec<ChangeShard>, Fault>),
    Opened {
        shard: ShardId,
        iterator: Result<ShardIterator, Fault>,
    },
    Read {
        shard: ShardId,
        reply: Result<(Sent, ChangePage), Fault>,
    },
}

impl<T: AccessTable> AccessFeed<T> {
    /// Makes a call and waits for its final answer. `seed` begins its jitter.
    pub(super) async fn ask(&self, ask: Ask, seed: u64) -> Answer {
        match ask {
            Ask::List { wait } => {
                tokio::select! {
                    () = sleep(wait) => {}
                    () = self.relist.notified() => {}
                }
                Answer::Listed(self.list(seed).await)
            }
            Ask::Open { shard, start } => {
                let call = || self.table.change_iterator(&shard, &start);
                let iterator = patiently(&self.limits, &self.trouble, seed, call).await;
                Answer::Opened { shard, iterator }
            }
            Ask::Read {
                shard,
                iterator,
                not_before,
            } => {
                sleep_until(not_before).await;
                let call = || async {
                    let sent = Sent {
                        ms: self.clock.now_ms(),
                        at: Instant::now(),
                    };
                    let page = self.table.changes(iterator.clone()).await?;
                    Ok((sent, page))
                };
                let reply = patiently(&self.limits, &self.trouble, seed, call).await;
                Answer::Read { shard, reply }
            }
        }
    }

    /// Lists the shards; a refusal is final.
    pub(super) async fn list_once(&self, seed: u64) -> Result<Vec<ChangeShard>, Fault> {
        patiently(&self.limits, &self.trouble, seed, || {
            self.table.change_shards()
        })
        .await
    }

    /// Lists the shards, whatever it takes: while shards are being read a listing that is refused costs no
    /// change, and staleness tells when one is missed. Only a stream that gave way to another is final.
    async fn list(&self, seed: u64) -> Result<Vec<ChangeShard>, Fault> {
        let mut rng = Rng::with_seed(seed);
        let mut wait = backoff(self.limits.retry_first, self.limits.relist, || rng.f64());
        loop {
            match self.list_once(seed).await {
                Ok(shards) => return Ok(shards),
                Err(fault) if fault.kind == FaultKind::Trimmed => return Err(fault),
                Err(fault) => {
                    self.trouble.complain(&fault);
                    sleep(wait()).await;
                }
            }
        }
    }
}

/// Repeats a call for as long as a retry can help.
pub(super) async fn patiently<V, F>(
    limits: &FeedLimits,
    trouble: &Trouble,
    seed: u64,
    mut call: impl FnMut() -> F,
) -> Result<V, Fault>
where
    F: Future<Output = Result<V, Fault>>,
{
    let mut rng = Rng::with_seed(seed);
    let mut wait = backoff(limits.retry_first, limits.retry_cap, || rng.f64());
    loop {
        let fault = match call().await {
            Ok(value) => return Ok(value),
            Err(fault) => fault,
        };
        metrics::fault(&fault);
        if !fault.may_retry() {
            return Err(fault);
        }
        trouble.complain(&fault);
        sleep(wait()).await;
    }
}

/// Says that calls fail, once in a while. That they no longer do shows in the staleness, which the feed reports.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Complaints>);

#[derive(Debug, Default)]
struct Complaints {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Trouble {
    fn complain(&self, fault: &Fault) {
        let mut complaints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if complaints
            .said_at
            .is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY)
        {
            let unsaid = std::mem::take(&mut complaints.unsaid);
            complaints.said_at = Some(Instant::now());
            warn!(error = %fault, unsaid, "a call for the access cache failed; trying again");
        } else {
            complaints.unsaid = complaints.unsaid.saturating_add(1);
        }
    }
}
