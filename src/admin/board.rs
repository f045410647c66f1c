//! What the loops last said of themselves: the source of `/readyz` and `/status.json`.
//!
//! Loops publish small values every second or so, or when something changes; a number that ages (staleness, time since
//! a page) goes on ageing here, so that a publisher that died does not look fresh. The lock is held for a copy.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::FailedCheck;

/// What the access feed knows about its cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessStatus {
    /// Whether the cache was ever complete.
    pub loaded: bool,
    /// How many cards it holds.
    pub cards: u64,
    /// How old what it knows was when this was published.
    pub staleness: Duration,
}

/// What this worker knows about one lease that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseStatus {
    /// The shard.
    pub shard: String,
    /// The stored checkpoint, as the lease table spells it.
    pub checkpoint: String,
    /// How far the last page was behind the tip, in milliseconds; nothing before the first page.
    pub behind_latest_ms: Option<i64>,
    /// Why the shard stopped, when it did.
    pub halted: Option<String>,
}

#[derive(Debug)]
struct Published {
    access: AccessStatus,
    access_at: Instant,
    leases: Vec<LeaseStatus>,
    workers: u64,
    draining: bool,
}

/// The last words of every loop.
#[derive(Debug)]
pub struct Board {
    worker_id: String,
    started: Instant,
    max_staleness: Duration,
    published: Mutex<Published>,
}

impl Board {
    /// Nothing is loaded and nothing held. `max_staleness` is the policy's: staler than that is not ready.
    pub fn new(worker_id: &str, max_staleness: Duration) -> Self {
        let now = Instant::now();
        let published = Published {
            access: AccessStatus::default(),
            access_at: now,
            leases: Vec::new(),
            workers: 0,
            draining: false,
        };
        Self {
            worker_id: worker_id.to_owned(),
            started: now,
            max_staleness,
            published: Mutex::new(published),
        }
    }

    /// The access feed says how it is.
    pub fn access(&self, access: AccessStatus) {
        let mut published = self.lock();
        published.access = access;
        published.access_at = Instant::now();
    }

    /// The coordinator says what it holds and how many workers live.
    pub fn leases(&self, held: Vec<LeaseStatus>, workers: u64) {
        let mut published = self.lock();
        published.leases = held;
        published.workers = workers;
    }

    /// From now on the daemon is not ready: it stops.
    pub fn draining(&self) {
        self.lock().draining = true;
    }

    /// Whether `/readyz` answers 200.
    pub fn is_ready(&self) -> bool {
        self.failed_checks().is_empty()
    }

    /// What speaks against being ready.
    pub(super) fn failed_checks(&self) -> Vec<FailedCheck> {
        let published = self.lock();
        let staleness = published.staleness();
        let mut failed = Vec::new();
        let mut fail = |check: &str, detail: String| {
            failed.push(FailedCheck {
                check: check.to_owned(),
                detail,
            })
        };
        if !published.access.loaded {
            fail("access_loaded", "the access table is being read".to_owned());
        } else if staleness > self.max_staleness {
            let detail = format!(
                "{} ms old, allowed are {}",
                staleness.as_millis(),
                self.max_staleness.as_millis()
            );
            fail("access_fresh", detail);
        }
        if published.draining {
            fail("not_draining", "the daemon is stopping".to_owned());
        }
        failed
    }

    /// Everything, for people.
    pub(super) fn to_json(&self) -> Value {
        let failed: Vec<_> = self
            .failed_checks()
            .into_iter()
            .map(|failed| failed.check)
            .collect();
        let published = self.lock();
        let leases: Vec<_> = published.leases.iter().map(LeaseStatus::to_json).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "worker_id": self.worker_id,
            "ready": failed.is_empty(),
            "failed_checks": failed,
            "draining": published.draining,
            "workers": published.workers,
            "access": {
                "loaded": published.access.loaded,
                "cards": published.access.cards,
                "staleness_ms": published.access.loaded.then(|| millis(published.staleness())),
            },
            "leases": leases,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Published {
    fn staleness(&self) -> Duration {
        self.access.staleness + self.access_at.elapsed()
    }
}

impl LeaseStatus {
    fn to_json(&self) -> Value {
        json!({
            "shard": self.shard,
            "checkpoint": self.checkpoint,
            "behind_latest_ms": self.behind_latest_ms,
            "halted": self.halted,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(board: &Board, expected: &[&str]) {
        let failed: Vec<_> = board
            .failed_checks()
            .into_iter()
            .map(|failed| failed.check)
            .collect();
        assert_eq!(failed, expected);
        assert_eq!(board.is_ready(), expected.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cache_is_ready_when_loaded_and_goes_on_ageing_when_its_feed_falls_silent() {
        let board = Board::new("w", Duration::from_secs(60));
        check(&board, &["access_loaded"]);
        let fresh = AccessStatus {
            loaded: true,
            cards: 5,
            staleness: Duration::from_secs(1),
        };
        board.access(fresh);
        check(&board, &[]);
        tokio::time::advance(Duration::from_secs(59)).await;
        check(&board, &[]);
        tokio::time::advance(Duration::from_secs(1)).await;
        check(&board, &["access_fresh"]);
        board.access(fresh);
        check(&board, &[]);
        board.draining();
        check(&board, &["not_draining"]);
    }
}
