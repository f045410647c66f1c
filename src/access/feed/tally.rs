//! What the feed says of its work, in numbers and in the log.
//!
//! A card's number is in the key of its item: it is logged at debug level only.

use std::{collections::BTreeMap, time::Duration};

use tracing::{debug, warn};

use crate::{
    access::cache::Applied,
    metrics::{AccessEntity, ChangeEffect, FeedMetrics, RebuildReason},
};

/// The feed's numbers. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Tally(FeedMetrics);

impl Tally {
    pub(super) fn new() -> Self {
        Self(FeedMetrics::new())
    }

    /// A fresh map is begun.
    pub(super) fn rebuild(&self, reason: RebuildReason) {
        self.0.rebuild(reason);
    }

    /// A fresh map serves, this long after it was begun.
    pub(super) fn scanned(&self, took: Duration) {
        self.0.scanned(took);
    }

    /// Size and age of what is known; `i64::MAX` when nothing is.
    pub(super) fn state(&self, cards: usize, age_ms: i64) {
        self.0.cards(cards as u64);
        self.0
            .staleness(Duration::from_millis(age_ms.unsigned_abs()));
    }

    /// A page of changes was taken.
    pub(super) fn changed(&self, applied: &Applied) {
        for (effect, count) in [
            (ChangeEffect::Applied, applied.put),
            (ChangeEffect::Removed, applied.removed),
            (ChangeEffect::Stale, applied.older),
            (ChangeEffect::Ignored, applied.ignored),
            (ChangeEffect::Malformed, applied.malformed.len()),
        ] {
            self.0.changes(effect, count as u64);
        }
        self.malformed(applied);
    }

    /// A page of the scan was taken.
    pub(super) fn scanned_items(&self, applied: &Applied) {
        self.malformed(applied);
    }

    /// One line a page, kind and reason: a table full of the same mistake does not fill the log.
    fn malformed(&self, applied: &Applied) {
        let mut kinds: BTreeMap<(&str, String), u64> = BTreeMap::new();
        for item in &applied.malformed {
            debug!(pk = item.pk, sk = item.sk, why = %item.why, "malformed item of the access table");
            let prefix = item.pk.split_once('#').map_or("", |(prefix, _)| prefix);
            if let Some(entity) = entity(prefix) {
                self.0.malformed(entity);
            }
            *kinds.entry((prefix, item.why.to_string())).or_default() += 1;
        }
        for ((kind, why), count) in kinds {
            warn!(
                kind,
                why, count, "malformed items of the access table count as absent"
            );
        }
    }
}

/// The entity of a partition key's first part (contract §4).
fn entity(prefix: &str) -> Option<AccessEntity> {
    Some(match prefix {
        "CARD" => AccessEntity::Card,
        "AP" => AccessEntity::AccessPoint,
        "AREA" => AccessEntity::Area,
        "SITE" => AccessEntity::Site,
        "PROFILE" => AccessEntity::Profile,
        "SCHED" => AccessEntity::Schedule,
        "CAL" => AccessEntity::Calendar,
        "DEV" => AccessEntity::Device,
        _ => return None,
    })
}
