//! Shard sync: which lease rows a stream needs that the table does not have. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    lease::LeaseRow,
    position::{Checkpoint, ShardId, ShardInfo},
};

/// The rows to make for `shards`, given the shards that have one.
///
/// An empty table is a first start: every listed shard, closed ones too, begins at `start`. Later a shard without a row is
/// one whose row was lost: it begins with its oldest record, because nothing may be missed. A shard of which a
/// descendant has a row was read to its end before (KCL deletes such rows) and gets none.
pub fn missing(
    shards: &[ShardInfo],
    known: &BTreeSet<ShardId>,
    start: &Checkpoint,
) -> Vec<LeaseRow> {
    let by_id: BTreeMap<&ShardId, &ShardInfo> =
        shards.iter().map(|shard| (&shard.id, shard)).collect();
    let mut done: BTreeSet<&ShardId> = BTreeSet::new();
    let mut walk: Vec<&ShardId> = known.iter().collect();
    while let Some(shard) = walk.pop() {
        for parent in by_id.get(shard).into_iter().flat_map(|info| &info.parents) {
            if done.insert(parent) {
                walk.push(parent);
            }
        }
    }
    let checkpoint = if known.is_empty() {
        start
    } else {
        &Checkpoint::TrimHorizon
    };
    let missing = shards
        .iter()
        .filter(|shard| !known.contains(&shard.id) && !done.contains(&shard.id));
    let mut rows: Vec<LeaseRow> = missing
        .map(|shard| LeaseRow {
            shard: shard.id.clone(),
            owner: None,
            counter: 0,
            checkpoint: checkpoint.clone(),
            parents: shard.parents.clone(),
            hash_range: Some(shard.hash_range.clone()),
        })
        .collect();
    // Parents first: a child that had a row alone would look as if they had ended. Later shards have higher numbers.
    rows.sort_by(|one, other| one.shard.cmp(&other.shard));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> ShardInfo {
        ShardInfo {
            id: ShardId::new(id),
            parents: parents.iter().map(|parent| ShardId::new(parent)).collect(),
            hash_range: ("0".to_owned(), "1".to_owned()),
        }
    }

    #[track_caller]
    fn check(shards: &[ShardInfo], known: &[&str], expected: &[(&str, Checkpoint)]) {
        let known = known.iter().map(|id| ShardId::new(id)).collect();
        let rows = missing(shards, &known, &Checkpoint::AtTimestamp(5));
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.shard.as_str(), row.checkpoint.clone()))
            .collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn the_first_start_begins_every_shard_where_it_was_told() {
        let shards = [shard("a", &[]), shard("b", &["a"])];
        let start = Checkpoint::AtTimestamp(5);
        check(&shards, &[], &[("a", start.clone()), ("b", start)]);
    }

    #[test]
    fn a_shard_that_appears_later_begins_with_its_oldest_record() {
        let shards = [shard("a", &[]), shard("b", &["a"]), shard("c", &["a"])];
        check(&shards, &["a", "b"], &[("c", Checkpoint::TrimHorizon)]);
        check(&shards, &["a", "b", "c"], &[]);
        let shards = [shard("c", &["b"]), shard("b", &["a"]), shard("x", &[])];
        let horizon = Checkpoint::TrimHorizon;
        check(&shards, &["x"], &[("b", horizon.clone()), ("c", horizon)]);
    }

    #[test]
    fn an_ancestor_of_a_shard_that_has_a_row_was_read_before() {
        let shards = [
            shard("a", &[]),
            shard("b", &["a"]),
            shard("c", &["b"]),
            shard("d", &["b"]),
        ];
        check(&shards, &["c"], &[("d", Checkpoint::TrimHorizon)]);
    }
}
