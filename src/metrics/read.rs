//! How shards are read: by which way, and what became of their subscriptions.

use std::sync::Arc;

use ::metrics::{Counter, Gauge, counter, gauge};

use super::{
    catalogue,
    labels::{SubscriptionEnd, Way},
};
use crate::model::position::ShardId;

/// What a shard's reader says. Cheap to clone; when the last one is dropped the shard's gauges retire.
#[derive(Clone, Debug)]
pub struct ReadMetrics {
    ways: Arc<Ways>,
    begun: Counter,
    ended: Arc<[Counter]>,
    fell_back: Counter,
}

/// By `way as usize`.
#[derive(Debug)]
struct Ways([Gauge; Way::ALL.len()]);

impl Drop for Ways {
    fn drop(&mut self) {
        for way in &self.0 {
            way.set(f64::NAN);
        }
    }
}

impl ReadMetrics {
    /// Binds the series of a shard.
    pub fn new(shard: &ShardId) -> Self {
        let of_way = |way: Way| {
            let shard = shard.as_str().to_owned();
            gauge!(catalogue::SHARD_READ_BY, "shard" => shard, "way" => way.as_label())
        };
        Self {
            ways: Arc::new(Ways(Way::ALL.map(of_way))),
            begun: counter!(catalogue::SUBSCRIPTIONS),
            ended: SubscriptionEnd::ALL.into_iter().map(ended).collect(),
            fell_back: counter!(catalogue::FAN_OUT_FALL_BACKS),
        }
    }

    /// The shard is read this way now.
    pub fn read_by(&self, way: Way) {
        for (index, gauge) in self.ways.0.iter().enumerate() {
            gauge.set(f64::from(u8::from(index == way as usize)));
        }
    }

    /// A subscription was begun.
    pub fn subscribed(&self) {
        self.begun.increment(1);
    }

    /// A subscription ended.
    pub fn unsubscribed(&self, why: SubscriptionEnd) {
        self.ended[why as usize].increment(1);
    }

    /// The shard is polled for a while because fan-out failed.
    pub fn fell_back(&self) {
        self.fell_back.increment(1);
    }
}

fn ended(why: SubscriptionEnd) -> Counter {
    counter!(catalogue::SUBSCRIPTIONS_ENDED, "reason" => why.as_label())
}

/// What the budget for events says.
#[derive(Clone, Debug)]
pub struct BudgetMetrics(Gauge);

impl BudgetMetrics {
    /// Binds.
    pub fn new() -> Self {
        Self(gauge!(catalogue::READ_BUDGET_USED))
    }

    /// So many bytes are held.
    pub fn used(&self, bytes: u64) {
        self.0.set(bytes as f64);
    }
}

impl Default for BudgetMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes the series that are no shard's.
pub(super) fn start_at_zero() {
    counter!(catalogue::SUBSCRIPTIONS).increment(0);
    for why in SubscriptionEnd::ALL {
        ended(why).increment(0);
    }
    counter!(catalogue::FAN_OUT_FALL_BACKS).increment(0);
    BudgetMetrics::new().used(0);
}
