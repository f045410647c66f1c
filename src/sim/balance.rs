//! From when on the leases were spread evenly over those who worked.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{
        lease::WorkerId,
        position::{Checkpoint, ShardId},
    },
    sim::log::{Event, Fate, Log, Ms},
};

/// The time from which on every lease had a working owner and no two workers' shares differed by more than one; nothing
/// when it never came so far.
pub fn reached(log: &Log) -> Option<Ms> {
    let mut working: BTreeSet<&WorkerId> = BTreeSet::new();
    let mut owners: BTreeMap<&ShardId, Option<&WorkerId>> = BTreeMap::new();
    let mut since = None;
    for (_, at, event) in log.entries() {
        match event {
            Event::Fleet { worker, what } => match what {
                Fate::Started => drop(working.insert(worker)),
                Fate::Crashed | Fate::Draining | Fate::Left => drop(working.remove(worker)),
                Fate::Paused(_) | Fate::CutOff(_) => continue,
            },
            Event::RowMade { shard, .. } => drop(owners.insert(shard, None)),
            Event::RowWritten {
                shard,
                owner,
                checkpoint,
                ..
            } => {
                if *checkpoint == Some(Checkpoint::ShardEnd) {
                    owners.remove(shard);
                } else {
                    owners.insert(shard, owner.as_ref());
                }
            }
            _ => continue,
        }
        match (is_even(&working, &owners), since) {
            (true, None) => since = Some(at),
            (true, Some(_)) => {}
            (false, _) => since = None,
        }
    }
    since
}

fn is_even(working: &BTreeSet<&WorkerId>, owners: &BTreeMap<&ShardId, Option<&WorkerId>>) -> bool {
    let mut shares: BTreeMap<&WorkerId, usize> =
        working.iter().map(|worker| (*worker, 0)).collect();
    for owner in owners.values() {
        match owner.and_then(|owner| shares.get_mut(owner)) {
            Some(share) => *share += 1,
            None => return false,
        }
    }
    let (low, high) = (shares.values().min(), shares.values().max());
    high.zip(low).is_some_and(|(high, low)| high - low <= 1)
}
