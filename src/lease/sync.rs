//! Shard sync: which lease rows a stream needs that the table does not have. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    lease::LeaseRow,
    position::{Checkpoint, ShardId, ShardInfo},
};

/// The rows to make for `shards` beside those that exist, parents first. They begin at `start`, where the stream was begun:
/// nothing that came later is missed, and what came before was never asked for.
///
/// A shard of which a descendant has a row was read to its end before (its row was removed) and gets none; unless that is a
/// child that was never begun: the rows of ended parents stay until then, so this one was lost.
pub fn missing<'a>(
    shards: &[ShardInfo],
    rows: impl Iterator<Item = &'a LeaseRow>,
    start: &Checkpoint,
) -> Vec<LeaseRow> {
    let by_id: BTreeMap<&ShardId, &ShardInfo> =
        shards.iter().map(|shard| (&shard.id, shard)).collect();
    let known: BTreeMap<&ShardId, &Checkpoint> =
        rows.map(|row| (&row.shard, &row.checkpoint)).collect();
    let mut done: BTreeSet<&ShardId> = BTreeSet::new();
    let begun = known
        .iter()
        .filter(|(_, checkpoint)| **checkpoint != &Checkpoint::TrimHorizon);
    let mut walk: Vec<&ShardId> = begun.map(|(shard, _)| *shard).collect();
    while let Some(shard) = walk.pop() {
        for parent in by_id.get(shard).into_iter().flat_map(|info| &info.parents) {
            if done.insert(parent) {
                walk.push(parent);
            }
        }
    }
    let missing = shards
        .iter()
        .filter(|shard| !known.contains_key(&shard.id) && !done.contains(&shard.id));
    let mut rows: Vec<LeaseRow> = missing
        .map(|shard| LeaseRow {
            shard: shard.id.clone(),
            owner: None,
            counter: 0,
            checkpoint: start.clone(),
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

    const START: Checkpoint = Checkpoint::AtTimestamp(5);

    #[track_caller]
    fn check(shards: &[ShardInfo], known: &[(&str, Checkpoint)], expected: &[&str]) {
        let known: Vec<LeaseRow> = known
            .iter()
            .map(|(id, checkpoint)| LeaseRow {
                shard: ShardId::new(id),
                owner: None,
                counter: 1,
                checkpoint: checkpoint.clone(),
                parents: Vec::new(),
                hash_range: None,
            })
            .collect();
        let rows = missing(shards, known.iter(), &START);
        assert!(rows.iter().all(|row| row.checkpoint == START));
        let rows: Vec<_> = rows.iter().map(|row| row.shard.as_str()).collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn the_first_start_makes_every_shard_parents_first() {
        check(&[shard("b", &["a"]), shard("a", &[])], &[], &["a", "b"]);
    }

    #[test]
    fn a_shard_that_appears_later_or_lost_its_row_gets_one() {
        let ended = Checkpoint::ShardEnd;
        let shards = [shard("a", &[]), shard("b", &["a"]), shard("c", &["a"])];
        check(&shards, &[("a", ended.clone()), ("b", START)], &["c"]);
        let all = [("a", ended.clone()), ("b", START), ("c", START)];
        check(&shards, &all, &[]);
        let shards = [shard("c", &["b"]), shard("b", &["a"]), shard("x", &[])];
        check(&shards, &[("x", ended)], &["b", "c"]);
    }

    #[test]
    fn an_ancestor_of_a_shard_that_was_begun_was_read_before() {
        let shards = [
            shard("a", &[]),
            shard("b", &["a"]),
            shard("c", &["b"]),
            shard("d", &["b"]),
        ];
        check(&shards, &[("c", Checkpoint::ShardEnd)], &["d"]);
    }

    #[test]
    fn a_parent_whose_child_was_never_begun_lost_its_row() {
        let shards = [shard("b", &["a"]), shard("c", &["b"])];
        check(&shards, &[("c", Checkpoint::TrimHorizon)], &["b"]);
        check(&shards, &[("c", Checkpoint::Latest)], &[]);
    }
}
