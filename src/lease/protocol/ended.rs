//! Which rows of ended leases may go.
//!
//! The row of an ended shard keeps its children from being begun early, and itself from being made again. It goes, oldest
//! first, when its children were read beyond their beginning, or when the stream has forgotten the shard. One worker
//! removes for all; nothing depends on when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Action, Protocol};
use crate::model::{
    lease::LeaseRow,
    position::{Checkpoint, ShardId, ShardInfo},
};

/// Rows removed after one listing of the stream: they are in no hurry.
const REMOVED_AT_ONCE: usize = 10;

impl Protocol {
    pub(super) fn remove_ended(&self, now: Duration, shards: &[ShardInfo], out: &mut Vec<Action>) {
        let removes = self.view.targets(true).first() == Some(&self.me);
        if self.is_fenced(now) || self.leaving.is_some() || !removes {
            return;
        }
        let listed: BTreeSet<&ShardId> = shards.iter().map(|shard| &shard.id).collect();
        let mut children: BTreeMap<&ShardId, Vec<&ShardId>> = BTreeMap::new();
        let named = shards.iter().map(|shard| (&shard.id, &shard.parents));
        let rows = self.view.leases().map(|row| (&row.shard, &row.parents));
        for (child, parents) in named.chain(rows) {
            for parent in parents {
                children.entry(parent).or_default().push(child);
            }
        }
        let may_go = |row: &&LeaseRow| {
            let ended = row.checkpoint == Checkpoint::ShardEnd;
            ended
                && self.view.still(&row.shard) >= self.timing.keep_ended
                && row
                    .parents
                    .iter()
                    .all(|parent| self.view.lease(parent).is_none())
                && match children.get(&row.shard) {
                    _ if !listed.contains(&row.shard) => true,
                    Some(children) => children.iter().all(|child| self.is_begun(child)),
                    None => false,
                }
        };
        let gone = self.view.leases().filter(may_go).take(REMOVED_AT_ONCE);
        out.extend(gone.map(|row| Action::Remove(row.clone())));
    }

    fn is_begun(&self, shard: &ShardId) -> bool {
        let row = self.view.lease(shard);
        row.is_some_and(|row| matches!(row.checkpoint, Checkpoint::At(_) | Checkpoint::ShardEnd))
    }
}
