//! Which lease rows may be made side by side. Pure.

use crate::model::lease::LeaseRow;

/// Rows made at once when a stream is seen for the first time.
const CREATE_AT_ONCE: usize = 16;

/// Cuts rows, parents first, into what may be made at once: no row beside its parent, so that no child is ever there
/// without it.
pub fn generations(rows: &[LeaseRow]) -> Vec<&[LeaseRow]> {
    let (mut cut, mut start) = (Vec::new(), 0);
    for (at, row) in rows.iter().enumerate() {
        let beside = &rows[start..at];
        let has_parent = beside
            .iter()
            .any(|other| row.parents.contains(&other.shard));
        if has_parent || beside.len() == CREATE_AT_ONCE {
            cut.push(beside);
            start = at;
        }
    }
    cut.push(&rows[start..]);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::position::{Checkpoint, ShardId};

    #[test]
    fn rows_are_made_side_by_side_but_never_beside_their_parent() {
        let row = |name: &str, parents: &[&str]| LeaseRow {
            shard: ShardId::new(name),
            owner: None,
            counter: 0,
            checkpoint: Checkpoint::TrimHorizon,
            parents: parents.iter().map(|parent| ShardId::new(parent)).collect(),
            hash_range: None,
        };
        let rows = [
            row("a", &[]),
            row("b", &[]),
            row("c", &["a"]),
            row("d", &["a", "b"]),
            row("e", &["d"]),
        ];
        let lengths: Vec<_> = generations(&rows).into_iter().map(<[_]>::len).collect();
        assert_eq!(lengths, [2, 2, 1]);
        let many = vec![row("a", &[]); CREATE_AT_ONCE + 1];
        let lengths: Vec<_> = generations(&many).into_iter().map(<[_]>::len).collect();
        assert_eq!(lengths, [CREATE_AT_ONCE, 1]);
    }
}
