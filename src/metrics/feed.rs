//! What the access feed says about the cache and how fresh it is.

use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::{
    catalogue,
    labels::{AccessEntity, ChangeEffect, RebuildReason},
};

/// What the access feed says. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FeedMetrics {
    cards: Gauge,
    staleness: Gauge,
    changes: [Counter; ChangeEffect::ALL.len()],
    malformed: [Counter; AccessEntity::ALL.len()],
    rebuilds: [Counter; RebuildReason::ALL.len()],
    scan: Histogram,
}

impl FeedMetrics {
    /// Binds.
    pub fn new() -> Self {
        Self {
            cards: gauge!(catalogue::ACCESS_CARDS),
            staleness: gauge!(catalogue::ACCESS_STALENESS),
            changes: ChangeEffect::ALL
                .map(|effect| counter!(catalogue::ACCESS_CHANGES, "effect" => effect.as_label())),
            malformed: AccessEntity::ALL
                .map(|entity| counter!(catalogue::ACCESS_MALFORMED, "entity" => entity.as_label())),
            rebuilds: RebuildReason::ALL
                .map(|reason| counter!(catalogue::ACCESS_REBUILDS, "reason" => reason.as_label())),
            scan: histogram!(catalogue::ACCESS_SCAN),
        }
    }

    /// How many cards the cache holds.
    pub fn cards(&self, count: u64) {
        self.cards.set(count as f64);
    }

    /// How old what the cache knows is.
    pub fn staleness(&self, age: Duration) {
        self.staleness.set(age.as_secs_f64());
    }

    /// Changes that had this effect.
    pub fn changes(&self, effect: ChangeEffect, count: u64) {
        self.changes[effect as usize].increment(count);
    }

    /// An item cannot be read.
    pub fn malformed(&self, entity: AccessEntity) {
        self.malformed[entity as usize].increment(1);
    }

    /// A fresh scan begins.
    pub fn rebuild(&self, reason: RebuildReason) {
        self.rebuilds[reason as usize].increment(1);
    }

    /// A scan and its replay are done.
    pub fn scanned(&self, took: Duration) {
        self.scan.record(took);
    }
}

impl Default for FeedMetrics {
    fn default() -> Self {
        Self::new()
    }
}
