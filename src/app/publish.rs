//! Keeps the status page up to date and the service manager's watchdog quiet.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

use super::{REPORT, leases, notify};
use crate::{
    access::cache::AccessCache,
    admin::{AccessStatus, Board, LeaseStatus, Pulses},
    lease::coordinator::LeaseReport,
    ports::Clock,
};

/// The workers of one fleet that may follow the change stream of the access table: two readers a stream shard is the
/// limit that DynamoDB Streams documents.
const CHANGE_READERS_MAX: usize = 2;

/// Keeps the status page up to date and the watchdog quiet.
pub(super) async fn publish(
    board: Arc<Board>,
    cache: Arc<AccessCache>,
    reports: watch::Receiver<LeaseReport>,
    pulses: Arc<Pulses>,
) {
    let mut tick = interval(REPORT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut outgrown = false;
    loop {
        tick.tick().await;
        let staleness = cache.staleness_ms(Clock::System.now_ms());
        board.access(AccessStatus {
            loaded: staleness < i64::MAX,
            cards: cache.cards() as u64,
            staleness: Duration::from_millis(u64::try_from(staleness).unwrap_or(0)),
        });
        let report = reports.borrow().clone();
        if report.workers > CHANGE_READERS_MAX && !std::mem::replace(&mut outgrown, true) {
            warn!(
                workers = report.workers,
                "more workers than DynamoDB Streams allow readers; card changes may be throttled"
            );
        }
        let held = report.held.iter().map(|held| LeaseStatus {
            shard: held.shard.to_string(),
            checkpoint: held
                .checkpoint
                .as_ref()
                .map_or_else(String::new, leases::spell),
            behind_latest_ms: Some(held.behind_latest_ms),
            halted: held.halted.then(|| "see the log".to_owned()),
        });
        board.leases(held.collect(), report.workers as u64);
        if pulses.is_alive() {
            notify(&[NotifyState::Watchdog]);
        }
    }
}
