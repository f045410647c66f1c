//! Anti-passback needs the swipes of a card in their order, and a place to remember where the card is.

use anyhow::bail;
use tracing::warn;

use crate::{model::door::PassbackMode, pipeline::consumer::Shared};

/// Refuses to start where hard anti-passback would deny by chance: on a stream that does not keep a card's swipes on one shard,
/// or without a decision table. Soft anti-passback is a flag only, and a warning here.
///
/// # Errors
/// An area asks for what cannot be kept; the text says which and what to do.
pub(super) fn judge<S, E, T>(keeps_order: bool, shared: &Shared<S, E, T>) -> anyhow::Result<()> {
    let view = shared.cache.view();
    let areas = |mode| {
        let book = view.rulebook();
        let areas = book.areas().filter(move |area| area.passback == mode);
        areas.map(|area| area.id.to_string()).collect::<Vec<_>>()
    };
    let (hard, soft) = (areas(PassbackMode::Hard), areas(PassbackMode::Soft));
    let why = if !keeps_order {
        "the swipe stream distributes records by itself (RecordDistributionStrategy = AUTO), so the swipes of a card are on several \
         shards and out of order; use USER_PARTITION_KEY with a key derived from the card, or PassbackMode off or soft"
    } else if shared.sinks.table.is_none() {
        "there is no decisions.table to remember in where cards are, so a restart would forget it; configure one, or \
         PassbackMode off or soft"
    } else {
        return Ok(());
    };
    if !hard.is_empty() {
        bail!(
            "areas {} have hard anti-passback, but {why}",
            hard.join(", ")
        );
    }
    if !soft.is_empty() {
        warn!(?soft, "soft anti-passback is not exact: {why}");
    } else if !keeps_order {
        warn!("{why}; later changes of areas to hard anti-passback will deny by chance");
    }
    Ok(())
}
