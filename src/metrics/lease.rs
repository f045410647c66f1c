//! What the coordinator says about leases, workers and checkpoints.

use std::time::Duration;

use ::metrics::{Counter, Gauge, counter, gauge};

use super::{
    catalogue,
    labels::{CheckpointOutcome, LeaseEvent, LeaseState},
};

/// What the coordinator says. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LeaseMetrics {
    held: Gauge,
    planned: Gauge,
    orphan_age: Gauge,
    states: [Gauge; LeaseState::ALL.len()],
    events: [Counter; LeaseEvent::ALL.len()],
    checkpoints: [Counter; CheckpointOutcome::ALL.len()],
    heartbeat_age: Gauge,
    workers: Gauge,
    halted: Gauge,
    uncovered: Gauge,
}

impl LeaseMetrics {
    /// Binds.
    pub fn new() -> Self {
        Self {
            held: gauge!(catalogue::LEASES_HELD),
            planned: gauge!(catalogue::LEASES_PLANNED),
            orphan_age: gauge!(catalogue::LEASE_ORPHAN_AGE),
            states: LeaseState::ALL
                .map(|state| gauge!(catalogue::LEASES, "state" => state.as_label())),
            events: LeaseEvent::ALL
                .map(|event| counter!(catalogue::LEASE_EVENTS, "event" => event.as_label())),
            checkpoints: CheckpointOutcome::ALL
                .map(|outcome| counter!(catalogue::CHECKPOINTS, "outcome" => outcome.as_label())),
            heartbeat_age: gauge!(catalogue::HEARTBEAT_AGE),
            workers: gauge!(catalogue::WORKERS),
            halted: gauge!(catalogue::SHARDS_HALTED),
            uncovered: gauge!(catalogue::LEASE_UNCOVERED),
        }
    }

    /// How many leases stand where, by `state as usize`.
    pub fn leases(&self, count: &[u64; LeaseState::ALL.len()]) {
        self.held.set(count[LeaseState::Held as usize] as f64);
        for (gauge, count) in self.states.iter().zip(count) {
            gauge.set(*count as f64);
        }
    }

    /// How many leases the plan gives this worker.
    pub fn planned(&self, count: u64) {
        self.planned.set(count as f64);
    }

    /// For how long nobody alive has had the lease that this is true of longest; 0 when it is true of none.
    pub fn orphan_age(&self, age: Duration) {
        self.orphan_age.set(age.as_secs_f64());
    }

    /// Something happened to a lease.
    pub fn event(&self, event: LeaseEvent) {
        self.events[event as usize].increment(1);
    }

    /// A write of a checkpoint ended.
    pub fn checkpoint(&self, outcome: CheckpointOutcome) {
        self.checkpoints[outcome as usize].increment(1);
    }

    /// Time since this worker's last stored heartbeat.
    pub fn heartbeat_age(&self, age: Duration) {
        self.heartbeat_age.set(age.as_secs_f64());
    }

    /// How many workers live.
    pub fn workers(&self, count: u64) {
        self.workers.set(count as f64);
    }

    /// The part of the hash keys that no lease covers.
    pub fn uncovered(&self, share: f64) {
        self.uncovered.set(share);
    }

    /// How many shards of this worker stopped rather than lose a record.
    pub fn halted(&self, count: u64) {
        self.halted.set(count as f64);
    }
}

impl Default for LeaseMetrics {
    fn default() -> Self {
        Self::new()
    }
}
