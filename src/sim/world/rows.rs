//! A lease table that is not empty when the fleet comes: as an application of KCL leaves it, whose workers have no heartbeat and
//! live by their leases' counters; or as the fleet itself left it.

use std::collections::BTreeMap;

use super::{Caller, Event, LeaseRow, LeaseWrite, Shard, ShardId, ShardInfo, WorkerId, World};
use crate::model::position::{Checkpoint, Position, SequenceNumber};

/// Workers of the other application.
const KCL_WORKERS: u32 = 2;

fn kcl_worker(number: u32) -> WorkerId {
    WorkerId::new(&format!("kcl-{}", number % KCL_WORKERS))
}

impl World {
    /// Rows for every shard, somewhere in what it holds by now. The row of a shard that ended may be gone when all its
    /// children were begun: KCL removes it then, and not before.
    pub fn left_by_kcl(&mut self) {
        let shards: Vec<ShardId> = self.shards.keys().cloned().collect();
        let mut places = BTreeMap::new();
        for id in &shards {
            let shard = &self.shards[id];
            let place = match shard.closed {
                true => Checkpoint::ShardEnd,
                false => somewhere(shard, &mut self.dice),
            };
            places.insert(id.clone(), place);
        }
        for (index, id) in (0..).zip(shards) {
            let (shard, checkpoint) = (&self.shards[&id], places[&id].clone());
            let ended = shard.closed;
            let begun = |child| places[child] > Checkpoint::TrimHorizon;
            let removed = ended && shard.children.iter().all(begun) && self.dice.bool();
            let row = LeaseRow {
                owner: (!ended).then(|| kcl_worker(index)),
                counter: self.dice.u64(1..10_000),
                checkpoint: checkpoint.clone(),
                parents: shard.parents.clone(),
                hash_range: None,
                shard: id.clone(),
            };
            self.tell(Event::DoneElsewhere {
                shard: id.clone(),
                checkpoint: checkpoint.clone(),
            });
            if !removed {
                self.tell(Event::RowFound {
                    shard: id.clone(),
                    owner: row.owner.clone(),
                    checkpoint,
                });
                self.leases.insert(id, row);
            }
        }
    }

    /// A row for every shard, at its beginning, as `owners` left them in turn.
    pub fn left_by(&mut self, owners: &[WorkerId]) {
        let shards: Vec<ShardInfo> = self.list();
        let rows: Vec<LeaseRow> = shards
            .into_iter()
            .map(|shard| LeaseRow {
                shard: shard.id,
                owner: None,
                counter: 0,
                checkpoint: Checkpoint::TrimHorizon,
                parents: shard.parents,
                hash_range: None,
            })
            .collect();
        for (row, owner) in rows.into_iter().zip(owners.iter().cycle()) {
            let from = Caller {
                worker: owner.clone(),
                sent: self.log.mark(),
            };
            let take = LeaseWrite {
                shard: row.shard.clone(),
                owner_was: None,
                counter_was: 0,
                owner: Some(owner.clone()),
                checkpoint_was: Checkpoint::TrimHorizon,
                checkpoint: None,
                children: Vec::new(),
            };
            self.create(&from, &[row]);
            let _new = self.write(&from, &take, &[]);
        }
    }

    /// One worker of the other application renews what it still owns.
    pub fn renewed_by_kcl(&mut self, number: u32) {
        let worker = kcl_worker(number);
        let rows = self.leases.values_mut();
        let own = rows.filter(|row| row.owner.as_ref() == Some(&worker));
        let renewed: Vec<ShardId> = own
            .map(|row| {
                row.counter += 1;
                row.shard.clone()
            })
            .collect();
        for shard in renewed {
            let worker = worker.clone();
            self.tell(Event::Renewed { worker, shard });
        }
    }
}

/// A record of the shard, as done; or its beginning.
fn somewhere(shard: &Shard, dice: &mut fastrand::Rng) -> Checkpoint {
    let place = dice.usize(..=shard.records.len());
    let Some((sequence, _, _)) = shard.records.get(place) else {
        return Checkpoint::TrimHorizon;
    };
    let sequence = SequenceNumber::parse(&sequence.to_string()).expect("digits");
    // Of an aggregate, perhaps a part.
    Checkpoint::At(Position {
        sequence,
        sub: dice.u64(0..2),
    })
}
