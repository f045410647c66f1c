//! How the workers are: what they hold in memory, and how far they are.

use super::Fleet;
use crate::scrape;

/// All workers that run, together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vitals {
    /// Resident memory, in KiB.
    pub resident_kib: u64,
    /// Its peak since [`Fleet::reset_peaks`], in KiB: the sum of each one's.
    pub peak_kib: u64,
    /// Bytes of requests to sinks that are under way.
    pub in_flight: f64,
    /// Bytes of events that are read and not yet stored.
    pub read_ahead: f64,
    /// Swipes that were dealt with: decided or rejected, and stored.
    pub handled: f64,
    /// Subscriptions that were given up since nothing came, or since their connection broke.
    pub subscriptions_lost: f64,
}

impl Vitals {
    /// Adds a worker by its memory in KiB, now and at its peak, and by its metrics.
    pub(crate) fn add(&mut self, (resident, peak): (u64, u64), metrics: &str) {
        self.resident_kib += resident;
        self.peak_kib += peak;
        let metric = |name: &str| scrape::metric(metrics, name).unwrap_or(0.0);
        let ended = |reason| {
            metric(&format!(
                "swiped_subscriptions_ended_total{{reason=\"{reason}\"}}"
            ))
        };
        self.in_flight += metric("swiped_in_flight_bytes");
        self.read_ahead += metric("swiped_read_budget_used_bytes");
        self.handled += metric("swiped_decisions_total") + metric("swiped_rejects_total");
        self.subscriptions_lost += ended("silent") + ended("cut");
    }
}

impl Fleet {
    /// From now on the peak of each worker's memory counts.
    pub fn reset_peaks(&self) {
        self.daemons.iter().for_each(|daemon| daemon.reset_peak());
    }

    /// Looks at all workers that run. What one does not tell is missing.
    pub async fn vitals(&mut self) -> Vitals {
        self.sample();
        let mut vitals = Vitals::default();
        for daemon in self.daemons.iter().filter(|daemon| daemon.status.is_none()) {
            let memory = daemon.resident_kib().unwrap_or_default();
            let metrics = scrape::get(daemon.admin, "/metrics").await;
            vitals.add(memory, &metrics.map(|(_, text)| text).unwrap_or_default());
        }
        vitals
    }
}
