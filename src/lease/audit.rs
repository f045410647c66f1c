//! The audit: is every hash key of the stream covered by a lease that somebody reads or will read? Pure.
//!
//! Whatever went wrong with rows (deleted by hand, lost by another program, ended too early) shows as a hole here, within one
//! listing of the stream.

use std::collections::BTreeMap;

use crate::model::{
    lease::LeaseRow,
    position::{Checkpoint, ShardId, ShardInfo},
};

/// The last hash key of a stream: 128 bits (Kinesis API reference, `HashKeyRange`).
const LAST: u128 = u128::MAX;

/// The ranges of hash keys, first and last inclusive, that no unended lease covers. A row without a range has that of its
/// shard in `shards`; one whose range is known from neither covers nothing.
pub fn uncovered(rows: &[&LeaseRow], shards: &[ShardInfo]) -> Vec<(u128, u128)> {
    let by_id: BTreeMap<&ShardId, &ShardInfo> =
        shards.iter().map(|shard| (&shard.id, shard)).collect();
    let live = rows
        .iter()
        .filter(|row| row.checkpoint != Checkpoint::ShardEnd);
    let mut covered: Vec<(u128, u128)> = live
        .filter_map(|row| {
            let listed = || by_id.get(&row.shard).map(|shard| &shard.hash_range);
            let (first, last) = row.hash_range.as_ref().or_else(listed)?;
            Some((first.parse().ok()?, last.parse().ok()?))
        })
        .collect();
    covered.sort_unstable();
    let mut holes = Vec::new();
    let mut next = Some(0);
    for (first, last) in covered {
        let Some(from) = next else { break };
        if first > from {
            holes.push((from, first - 1));
        }
        // Nothing comes after the last key.
        next = last.max(from.saturating_sub(1)).checked_add(1);
    }
    holes.extend(next.map(|from| (from, LAST)));
    holes
}

/// The part of all hash keys that these ranges are, 0 to 1.
pub fn share(ranges: &[(u128, u128)]) -> f64 {
    let keys = ranges
        .iter()
        .map(|(first, last)| (last - first) as f64 + 1.0);
    keys.sum::<f64>() / LAST as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u128 = LAST / 2;

    fn row(shard: &str, range: Option<(u128, u128)>, checkpoint: Checkpoint) -> LeaseRow {
        LeaseRow {
            shard: ShardId::new(shard),
            owner: None,
            counter: 0,
            checkpoint,
            parents: Vec::new(),
            hash_range: range.map(|(first, last)| (first.to_string(), last.to_string())),
        }
    }

    #[track_caller]
    fn check(rows: &[LeaseRow], expected: &[(u128, u128)]) {
        let listed = ShardInfo {
            id: ShardId::new("listed"),
            parents: Vec::new(),
            hash_range: ("0".to_owned(), HALF.to_string()),
        };
        let rows: Vec<_> = rows.iter().collect();
        assert_eq!(uncovered(&rows, &[listed]), expected);
    }

    #[test]
    fn every_key_that_no_unended_lease_covers_is_found() {
        let open = |name, range| row(name, Some(range), Checkpoint::TrimHorizon);
        let ended = |name, range| row(name, Some(range), Checkpoint::ShardEnd);
        check(&[], &[(0, LAST)]);
        check(&[open("a", (0, LAST))], &[]);
        check(&[open("a", (0, HALF)), open("b", (HALF + 1, LAST))], &[]);
        check(&[open("b", (HALF + 1, LAST))], &[(0, HALF)]);
        check(&[open("a", (0, 9)), open("b", (20, LAST))], &[(10, 19)]);
        // The parent ended, and one child has no row.
        check(
            &[ended("p", (0, LAST)), open("a", (0, HALF))],
            &[(HALF + 1, LAST)],
        );
        // A parent that is still read covers its children's keys, and overlaps are none.
        check(&[open("p", (0, LAST)), open("a", (5, HALF))], &[]);
        check(&[open("a", (1, 1)), open("b", (0, LAST))], &[]);
    }

    #[test]
    fn a_row_without_a_range_has_that_of_its_shard() {
        let horizon = Checkpoint::TrimHorizon;
        check(&[row("listed", None, horizon.clone())], &[(HALF + 1, LAST)]);
        check(&[row("unlisted", None, horizon)], &[(0, LAST)]);
    }

    #[test]
    fn the_share_of_all_keys_and_of_none() {
        assert!((share(&[(0, LAST)]) - 1.0).abs() < 1e-9);
        assert!((share(&[(0, HALF)]) - 0.5).abs() < 1e-9);
        assert_eq!(share(&[]), 0.0);
    }
}
