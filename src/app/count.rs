//! Counts once a second how many cards are in each area that has a limit.
//!
//! The count is of the decision table's index, so it holds what every worker let in; what this worker let in since it asked
//! is added by `pipeline::occupancy`.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::{
    access::{cache::AccessCache, rulebook::AreaRules},
    metrics,
    pipeline::occupancy::Occupancy,
    ports::DecisionTable,
};

/// Between two counts. A limit may be passed by as many as other workers let in meanwhile.
const EVERY: Duration = Duration::from_secs(1);

/// Counts for ever.
pub(super) async fn count<T: DecisionTable>(
    table: Arc<T>,
    cache: Arc<AccessCache>,
    occupancy: Arc<Occupancy>,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = false;
    loop {
        ticks.tick().await;
        for (area, inner) in limited(&cache) {
            let asked = occupancy.asked(&area);
            match table.count_inside(&inner).await {
                Ok(Some(count)) => {
                    let count = i64::try_from(count).unwrap_or(i64::MAX);
                    occupancy.counted(&area, asked, count);
                }
                Ok(None) if told => {}
                Ok(None) => {
                    told = true;
                    warn!(
                        "the decision table has no index ByArea: occupancy limits know only what this worker let in"
                    );
                }
                Err(fault) => {
                    metrics::fault(&fault);
                    debug!(%fault, %area, "not counted, the last count stands");
                }
            }
        }
    }
}

/// Each area with a limit, and the areas within it, itself included.
fn limited(cache: &AccessCache) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
    let view = cache.view();
    let book = view.rulebook();
    let within = |outer: &AreaRules| {
        let inner = book.areas().filter(|area| area.is_within(&outer.id));
        inner.map(|area| Arc::clone(&area.id)).collect()
    };
    let limited = book.areas().filter(|area| area.occupancy_upper > 0);
    limited
        .map(|area| (Arc::clone(&area.id), within(area)))
        .collect()
}
