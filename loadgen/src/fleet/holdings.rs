//! What the workers say of themselves: leases that they hold, and what happened to leases there.

use std::time::Duration;

use tokio::time::Instant;

use super::{Fleet, LOOK_EVERY};
use crate::scrape;

impl Fleet {
    /// The leases that each worker says it holds, by its number from 1: those that run and answer.
    pub async fn holdings(&mut self) -> Vec<(usize, f64)> {
        self.sample();
        let mut held = Vec::new();
        for (number, daemon) in (1..).zip(&self.daemons) {
            if daemon.status.is_some() || daemon.paused {
                continue;
            }
            if let Ok((_, text)) = scrape::get(daemon.admin, "/metrics").await {
                held.push((
                    number,
                    scrape::metric(&text, "swiped_leases_held").unwrap_or(0.0),
                ));
            }
        }
        held
    }

    /// Waits until the workers that run hold all leases; how long that took, or nothing when the time is over.
    pub async fn wait_until_held(&mut self, leases: u32, within: Duration) -> Option<Duration> {
        self.wait_for_holdings(within, |held| sum(held) == f64::from(leases))
            .await
    }

    /// Waits until the workers that run hold all leases, and none more than one lease more than another.
    pub async fn wait_until_balanced(&mut self, leases: u32, within: Duration) -> Option<Duration> {
        self.wait_for_holdings(within, |held| balanced(held, leases))
            .await
    }

    async fn wait_for_holdings(
        &mut self,
        within: Duration,
        enough: impl Fn(&[(usize, f64)]) -> bool,
    ) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() < within {
            let held = self.holdings().await;
            if enough(&held) {
                return Some(began.elapsed());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        None
    }

    /// Waits until a worker, by its number from 1, is ready.
    pub async fn wait_until_one_is_ready(&mut self, worker: usize, within: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < within {
            let ready = match self.daemons.get(worker - 1) {
                Some(daemon) => scrape::get(daemon.admin, "/readyz").await,
                None => return false,
            };
            if ready.is_ok_and(|(status, _)| status == 200) {
                return true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        false
    }

    /// Waits until a worker has ended; how long that took, or nothing when the time is over.
    pub async fn wait_until_ended(&mut self, worker: usize, within: Duration) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() < within {
            self.sample();
            if self.daemons.get(worker - 1)?.status.is_some() {
                return Some(began.elapsed());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        None
    }

    /// How often something happened to a lease, over the workers that run: `taken`, `fenced`, `lost`, `given`.
    pub async fn lease_events(&mut self, event: &str) -> f64 {
        self.sample();
        let name = format!("swiped_lease_events_total{{event=\"{event}\"}}");
        let mut sum = 0.0;
        for daemon in &self.daemons {
            if daemon.status.is_none()
                && !daemon.paused
                && let Ok((_, text)) = scrape::get(daemon.admin, "/metrics").await
            {
                sum += scrape::metric(&text, &name).unwrap_or(0.0);
            }
        }
        sum
    }
}

fn sum(held: &[(usize, f64)]) -> f64 {
    held.iter().map(|(_, held)| held).sum()
}

fn balanced(held: &[(usize, f64)], leases: u32) -> bool {
    let shares = || held.iter().map(|(_, held)| *held);
    let (least, most) = (
        shares().fold(f64::MAX, f64::min),
        shares().fold(0.0, f64::max),
    );
    sum(held) == f64::from(leases) && most - least <= 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shares: &[f64], expected: bool) {
        let held: Vec<_> = (1..).zip(shares.iter().copied()).collect();
        assert_eq!(balanced(&held, 16), expected, "{shares:?}");
    }

    #[test]
    fn shares_that_differ_by_one_at_most_are_balanced_when_nothing_is_missing() {
        check(&[8.0, 8.0], true);
        check(&[5.0, 6.0, 5.0], true);
        check(&[16.0], true);
        check(&[9.0, 7.0], false);
        check(&[5.0, 5.0, 5.0], false);
        check(&[16.0, 0.0], false);
        check(&[], false);
    }
}
