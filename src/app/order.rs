//! Anti-passback needs the swipes of a card in their order, and a place to remember where the card is.

use anyhow::bail;
use tracing::warn;

use crate::{access::rulebook::Rulebook, model::door::PassbackMode};

/// Refuses to start where hard anti-passback would deny by chance: on a stream that does not keep a card's swipes on one shard,
/// or without a decision table. Soft anti-passback is a flag only, and a warning here.
///
/// # Errors
/// An area asks for what cannot be kept; the text says which and what to do.
pub(super) fn judge(keeps_order: bool, has_table: bool, book: &Rulebook) -> anyhow::Result<()> {
    let areas = |mode| {
        let areas = book.areas().filter(move |area| area.passback == mode);
        areas.map(|area| area.id.to_string()).collect::<Vec<_>>()
    };
    let (hard, soft) = (areas(PassbackMode::Hard), areas(PassbackMode::Soft));
    let why = if !keeps_order {
        "the swipe stream distributes records by itself (RecordDistributionStrategy = AUTO), so the swipes of a card are on \
         several shards and out of order; use USER_PARTITION_KEY with a key derived from the card, or PassbackMode off or soft"
    } else if !has_table {
        "there is no decisions.table to remember in where cards are, so a restart would forget it; configure one, or use \
         PassbackMode off or soft"
    } else {
        return Ok(());
    };
    if !hard.is_empty() {
        let areas = hard.join(", ");
        bail!("hard anti-passback (areas: {areas}) cannot be kept: {why}");
    }
    if !soft.is_empty() {
        warn!(?soft, "soft anti-passback is not exact: {why}");
    } else if !keeps_order {
        warn!("the swipes of a card are not in order: {why}");
    }
    Ok(())
}

/// Refuses to start where decisions are to be packed and nobody would read them.
///
/// # Errors
/// The decision stream distributes records by itself; the text says what to do.
pub(super) fn judge_packing(keeps_order: bool) -> anyhow::Result<()> {
    if !keeps_order {
        bail!(
            "the decision stream distributes records by itself (RecordDistributionStrategy = AUTO): aggregates are then in any \
             shard, and KCL consumers drop them without an error; use decisions.aggregate = false, or USER_PARTITION_KEY"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{
        cache::{AccessCache, Snapshot},
        fixtures::{item, put, s},
    };

    #[test]
    fn packed_decisions_are_refused_on_a_stream_that_distributes_by_itself() {
        assert!(judge_packing(true).is_ok());
        let text = judge_packing(false).map_err(|error| error.to_string());
        assert!(
            text.is_err_and(|text| text.contains("AUTO") && text.contains("decisions.aggregate"))
        );
    }

    #[test]
    fn hard_anti_passback_is_refused_without_order_or_memory_and_nothing_else_is() {
        for (mode, keeps_order, has_table, refused) in [
            ("hard", true, true, None),
            ("hard", false, true, Some("AUTO")),
            ("hard", true, false, Some("decisions.table")),
            ("soft", false, false, None),
            ("off", false, false, None),
        ] {
            let cache = AccessCache::new();
            cache.replace(Snapshot::new());
            let hall = item("AREA#hall", "CONFIG", [("PassbackMode", s(mode))]);
            cache.apply(&[put(hall)]);
            let judged = judge(keeps_order, has_table, cache.view().rulebook());
            let text = judged.err().map(|error| error.to_string());
            match (&text, refused) {
                (None, None) => {}
                (Some(text), Some(why)) => {
                    assert!(text.contains("hall") && text.contains(why), "{text}");
                }
                _ => panic!("{mode} {keeps_order} {has_table}: {text:?}"),
            }
        }
    }
}
