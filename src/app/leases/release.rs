//! `swiped leases release`: takes owners away, so that the plan gives their leases anew.

use std::{collections::BTreeSet, process::ExitCode};

use super::{
    Chosen,
    application::{Application, Until, Watched, owners},
    print::{columns, out},
};
use crate::{
    lease::{
        amend::{self, Insist, Refusal},
        watch::Life,
    },
    model::{
        lease::{LeaseRow, Written},
        position::{Checkpoint, ShardId},
    },
    ports::Fault,
};

/// How often a release is tried that is insisted on while the owner writes its checkpoints.
const TRIES: u32 = 3;

/// Why a lease is as it was.
#[derive(Debug)]
pub struct Failed {
    why: String,
    /// Said once, however many leases it is true of.
    advice: Option<&'static str>,
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        let (why, advice) = (refusal.to_string(), refusal.advice());
        Self { why, advice }
    }
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        let advice = None;
        Self { why, advice }
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        fault.to_string().into()
    }
}

/// What came of one lease.
pub type Outcome = Result<String, Failed>;

/// Releases the chosen leases and prints what came of each.
///
/// # Errors
/// The lease tables cannot be read.
pub async fn release(
    application: &Application,
    chosen: &Chosen,
    force: bool,
) -> anyhow::Result<ExitCode> {
    let insist = Insist {
        force,
        skip_records: false,
    };
    let (rows, watched) = look(application, chosen, force).await?;
    let mut outcomes = Vec::new();
    for shard in chosen.shards(&rows) {
        let outcome = match find(&rows, &shard) {
            None => Err(Refusal::NoRow.into()),
            Some(row) => {
                let life = watched
                    .as_ref()
                    .and_then(|watched| watched.life(row.owner.as_ref()));
                release_one(application, row.clone(), life, insist).await
            }
        };
        outcomes.push((shard, outcome));
    }
    let code = print(chosen, &outcomes)?;
    if outcomes.iter().any(|(_, outcome)| outcome.is_ok()) {
        application.ring().await;
    }
    Ok(code)
}

/// The rows, and who of the chosen ones' owners lives; that does not matter to somebody who insists.
async fn look(
    application: &Application,
    chosen: &Chosen,
    force: bool,
) -> anyhow::Result<(Vec<LeaseRow>, Option<Watched>)> {
    let rows = application.rows().await?;
    if force {
        return Ok((rows, None));
    }
    let shards = chosen.shards(&rows);
    let meant = rows
        .iter()
        .filter(|row| shards.binary_search(&row.shard).is_ok());
    let watched = application.watch(&owners(meant), Until::Certain).await?;
    // A living owner has written meanwhile.
    Ok((application.rows().await?, Some(watched)))
}

async fn release_one(
    application: &Application,
    mut row: LeaseRow,
    life: Option<Life>,
    insist: Insist,
) -> Outcome {
    for _ in 0..TRIES {
        let Some(write) = amend::release(&row, life, insist)? else {
            return Ok(match row.checkpoint {
                Checkpoint::ShardEnd => "ended: nobody reads it".to_owned(),
                _ => "has no owner".to_owned(),
            });
        };
        match application.write(&write).await? {
            Written::Applied => {
                let owner = write.owner_was.map(|owner| owner.to_string());
                return Ok(format!("released by {}", owner.unwrap_or_default()));
            }
            Written::Conflict(Some(now)) if insist.force && now.owner == row.owner => row = now,
            Written::Conflict(now) => return Err(changed(now.as_ref())),
        }
    }
    Err(changed(Some(&row)))
}

/// The row of a shard; `rows` are by shard.
pub fn find<'a>(rows: &'a [LeaseRow], shard: &ShardId) -> Option<&'a LeaseRow> {
    let at = rows.binary_search_by(|row| row.shard.cmp(shard));
    rows.get(at.ok()?)
}

/// Somebody was faster.
pub fn changed(now: Option<&LeaseRow>) -> Failed {
    let now = match now.map(|row| &row.owner) {
        None => "its row is gone".to_owned(),
        Some(None) => "it has no owner".to_owned(),
        Some(Some(owner)) => format!("{owner} has it"),
    };
    format!("the lease changed meanwhile: {now} now; look again").into()
}

/// Prints every outcome, then each advice once, and says whether all is well.
pub fn print(chosen: &Chosen, outcomes: &[(ShardId, Outcome)]) -> anyhow::Result<ExitCode> {
    if outcomes.is_empty() {
        let none = match chosen {
            Chosen::Owner(owner) => format!("no lease is owned by {owner}"),
            _ => "the lease table is empty".to_owned(),
        };
        out(&format!("{none}\n"))?;
    }
    let rows = outcomes.iter().map(|(shard, outcome)| {
        let told = match outcome {
            Ok(done) => done.clone(),
            Err(failed) => format!("REFUSED: {}", failed.why),
        };
        [shard.to_string(), told]
    });
    out(&columns(&rows.collect::<Vec<_>>()))?;
    let failed = || {
        outcomes
            .iter()
            .filter_map(|(_, outcome)| outcome.as_ref().err())
    };
    let advice: BTreeSet<_> = failed().filter_map(|failed| failed.advice).collect();
    for advice in advice {
        eprintln!("{advice}");
    }
    Ok(ExitCode::from(u8::from(failed().next().is_some())))
}
