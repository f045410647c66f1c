//! Liveness: every main loop moves a counter of its own, and the admin thread sees which stands still.
//!
//! The loop reads no clock for it, and liveness asks nothing of AWS: a daemon that waits out an outage is alive. The
//! counter leaves the list when its [`Pulse`] is dropped, since a loop that ends is its supervisor's matter.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::FailedCheck;

/// The counter of one loop.
#[derive(Debug)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The loop went round once more.
    pub fn beat(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Beats for ever: spawned on a runtime, it says that the runtime still polls tasks.
    pub async fn keep_beating(self, every: Duration) {
        let mut tick = tokio::time::interval(every);
        loop {
            tick.tick().await;
            self.beat();
        }
    }
}

#[derive(Debug)]
struct Watched {
    name: String,
    limit: Duration,
    count: Arc<AtomicU64>,
    seen: u64,
    since: Instant,
}

/// Every loop that must beat.
#[derive(Debug, Default)]
pub struct Pulses {
    watched: Mutex<Vec<Watched>>,
}

impl Pulses {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A loop that must beat at least once in `limit` from now on.
    pub fn watch(&self, name: &str, limit: Duration) -> Pulse {
        let count = Arc::new(AtomicU64::new(0));
        let watched = Watched {
            name: name.to_owned(),
            limit,
            count: Arc::clone(&count),
            seen: 0,
            since: Instant::now(),
        };
        self.watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(watched);
        Pulse(count)
    }

    /// Notes which loops moved since the last look, and forgets those that ended.
    pub(super) fn look(&self) {
        let now = Instant::now();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|loop_| Arc::strong_count(&loop_.count) > 1);
        for loop_ in watched.iter_mut() {
            let count = loop_.count.load(Relaxed);
            if count != loop_.seen {
                loop_.seen = count;
                loop_.since = now;
            }
        }
    }

    /// Whether every loop goes round: what the service manager's watchdog is told.
    pub fn is_alive(&self) -> bool {
        self.overdue().is_empty()
    }

    /// The loops that have stood still for longer than they may.
    pub(super) fn overdue(&self) -> Vec<FailedCheck> {
        self.look();
        let now = Instant::now();
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let late = watched
            .iter()
            .filter(|loop_| now.duration_since(loop_.since) > loop_.limit);
        late.map(|loop_| FailedCheck {
            check: loop_.name.clone(),
            detail: format!(
                "no sign of life for {} ms, allowed are {}",
                now.duration_since(loop_.since).as_millis(),
                loop_.limit.as_millis()
            ),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overdue(pulses: &Pulses) -> Vec<String> {
        pulses
            .overdue()
            .into_iter()
            .map(|failed| failed.check)
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_is_overdue_until_it_moves_or_ends() {
        let pulses = Pulses::new();
        let feed = pulses.watch("access feed", Duration::from_secs(5));
        let coordinator = pulses.watch("coordinator", Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(overdue(&pulses), Vec::<String>::new());
        coordinator.beat();
        pulses.look();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(overdue(&pulses), ["access feed"]);
        feed.beat();
        assert_eq!(overdue(&pulses), Vec::<String>::new());
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(overdue(&pulses), ["access feed", "coordinator"]);
        drop(feed);
        assert_eq!(overdue(&pulses), ["coordinator"]);
    }
}
