//! How long shards stood still: from one page to the next, whoever read them.

use std::collections::BTreeMap;

use crate::{
    model::position::{Checkpoint, ShardId},
    sim::log::{Event, Log, Ms},
};

/// The longest time that a shard which was being read was not read, and which. A shard begins with its first page and is
/// done with its end; what is still open is looked at until `until`.
pub fn longest(log: &Log, until: Ms) -> (Ms, Option<ShardId>) {
    let mut read_at: BTreeMap<&ShardId, Ms> = BTreeMap::new();
    let mut longest = (0, None);
    let mut idle = |shard: &ShardId, gap: Ms| {
        if gap > longest.0 {
            longest = (gap, Some(shard.clone()));
        }
    };
    for (_, at, event) in log.entries().filter(|(_, at, _)| *at <= until) {
        match event {
            Event::Read { shard, .. } => {
                let before = read_at.insert(shard, at).unwrap_or(at);
                idle(shard, at - before);
            }
            Event::RowWritten {
                shard,
                checkpoint: Some(Checkpoint::ShardEnd),
                ..
            } => drop(read_at.remove(shard)),
            _ => {}
        }
    }
    for (shard, at) in read_at {
        idle(shard, until - at);
    }
    longest
}
