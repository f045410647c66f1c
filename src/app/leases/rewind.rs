//! `swiped leases rewind`: moves checkpoints. Everything is looked at first; when one lease is refused, none is written.

use std::{collections::BTreeSet, process::ExitCode};

use futures::{StreamExt, stream};

use super::{
    Chosen, Place,
    application::{Application, Until, Watched, owners},
    print::tell,
    probe,
    release::{Outcome, changed, print},
};
use crate::{
    lease::amend::{self, Begins, Insist, Refusal, Wanted},
    model::{
        lease::{LeaseRow, LeaseWrite, Written},
        position::{Checkpoint, ShardId},
    },
    ports::Clock,
};

/// Shards that the stream is asked about at once.
const AT_ONCE: usize = 16;

/// What is to be done to one lease; nothing when its checkpoint is there already.
type Planned = Result<Option<LeaseWrite>, Refusal>;

/// Moves the checkpoints of the chosen leases and prints what came of each.
///
/// # Errors
/// The lease tables cannot be read.
pub async fn rewind(
    application: &Application,
    chosen: &Chosen,
    place: &Place,
    insist: Insist,
    dry_run: bool,
) -> anyhow::Result<ExitCode> {
    let rows = application.rows().await?;
    let shards = chosen.shards(&rows);
    let meant = rows
        .iter()
        .filter(|row| shards.binary_search(&row.shard).is_ok());
    let watched = application.watch(&owners(meant), Until::Certain).await?;
    let (rows, now_ms) = (application.rows().await?, Clock::System.now_ms());
    let to = place.checkpoint(now_ms);
    let begins = begins(application, &shards, &to).await;
    let planned: Vec<Planned> = shards
        .iter()
        .zip(begins)
        .map(|(shard, begins)| {
            let (to, begun) = (to.clone(), begun(&rows, shard, &shards, &to));
            let wanted = Wanted { to, begins, now_ms };
            plan(&rows, shard, &watched, &begun, &wanted, insist)
        })
        .collect();
    let all_well = planned.iter().all(Result::is_ok);
    let mut outcomes = Vec::new();
    for (shard, planned) in shards.into_iter().zip(planned) {
        let outcome = match planned {
            Err(refusal) => Err(refusal.to_string()),
            Ok(None) => Ok(format!("is at {} already", tell(&to))),
            Ok(Some(write)) if dry_run => Ok(format!("would go {}", told(&write))),
            Ok(Some(_)) if !all_well => Err("another lease was refused; none is moved".to_owned()),
            Ok(Some(write)) => move_one(application, &write).await,
        };
        outcomes.push((shard, outcome));
    }
    print(chosen, &outcomes)
}

/// Where reading begins in each shard, in the order of `shards`.
async fn begins(application: &Application, shards: &[ShardId], to: &Checkpoint) -> Vec<Begins> {
    let asked = shards
        .iter()
        .map(|shard| probe::begins(&application.stream, shard, to));
    stream::iter(asked).buffered(AT_ONCE).collect().await
}

fn begun(rows: &[LeaseRow], shard: &ShardId, rewound: &[ShardId], to: &Checkpoint) -> Vec<ShardId> {
    let rewound: BTreeSet<ShardId> = rewound.iter().cloned().collect();
    let begun = amend::begun(rows, shard, &rewound, to);
    begun.into_iter().cloned().collect()
}

fn plan(
    rows: &[LeaseRow],
    shard: &ShardId,
    watched: &Watched,
    begun: &[ShardId],
    wanted: &Wanted,
    insist: Insist,
) -> Planned {
    let row = rows.iter().find(|row| row.shard == *shard);
    let row = row.ok_or(Refusal::NoRow)?;
    let life = watched.life(row.owner.as_ref());
    amend::rewind(row, life, begun, wanted, insist)
}

async fn move_one(application: &Application, write: &LeaseWrite) -> Outcome {
    match application.write(write).await {
        Ok(Written::Applied) => Ok(format!("moved {}", told(write))),
        Ok(Written::Conflict(now)) => Err(changed(now.as_ref())),
        Err(fault) => Err(fault.to_string()),
    }
}

fn told(write: &LeaseWrite) -> String {
    let to = write.checkpoint.as_ref().unwrap_or(&write.checkpoint_was);
    format!("from {} to {}", tell(&write.checkpoint_was), tell(to))
}
