//! `swiped leases rewind`: moves checkpoints. Everything is looked at first; when one lease is refused, none is written.

use std::process::ExitCode;

use futures::{StreamExt, stream};

use super::{
    Chosen, Place,
    application::{Application, Until, owners},
    print::tell,
    probe,
    release::{Outcome, changed, find, print},
};
use crate::{
    lease::amend::{self, Insist, Refusal, Wanted},
    model::lease::{LeaseWrite, Written},
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
    let rows = application.rows().await?;
    let now_ms = Clock::System.now_ms();
    let to = place.checkpoint(now_ms);
    let begun = amend::begun(&rows, &shards.iter().cloned().collect(), &to);
    let planned = shards.iter().map(|shard| async {
        let row = find(&rows, shard).ok_or(Refusal::NoRow)?;
        let life = watched.life(row.owner.as_ref());
        if let Some(held) = amend::held(row, life) {
            return Err(held);
        }
        let begins = probe::begins(&application.stream, shard, &to).await;
        let (to, begun) = (to.clone(), begun.get(shard).map_or(&[][..], Vec::as_slice));
        let wanted = Wanted { to, begins, now_ms };
        amend::rewind(row, life, begun, &wanted, insist)
    });
    let planned: Vec<Planned> = stream::iter(planned).buffered(AT_ONCE).collect().await;
    let all_well = planned.iter().all(Result::is_ok);
    let mut outcomes = Vec::new();
    for (shard, planned) in shards.into_iter().zip(planned) {
        let outcome = match planned {
            Err(refusal) => Err(refusal.into()),
            Ok(None) => Ok(format!("is at {} already", tell(&to))),
            Ok(Some(_)) if !all_well => {
                Err("another lease was refused; none is moved".to_owned().into())
            }
            Ok(Some(write)) if dry_run => Ok(format!("would go {}", told(&write))),
            Ok(Some(write)) => move_one(application, &write).await,
        };
        outcomes.push((shard, outcome));
    }
    let code = print(chosen, &outcomes)?;
    if !dry_run && outcomes.iter().any(|(_, outcome)| outcome.is_ok()) {
        application.ring().await;
    }
    Ok(code)
}

async fn move_one(application: &Application, write: &LeaseWrite) -> Outcome {
    match application.write(write).await? {
        Written::Applied => Ok(format!("moved {}", told(write))),
        Written::Conflict(now) => Err(changed(now.as_ref())),
    }
}

fn told(write: &LeaseWrite) -> String {
    let to = write.checkpoint.as_ref().unwrap_or(&write.checkpoint_was);
    format!("from {} to {}", tell(&write.checkpoint_was), tell(to))
}
