//! `swiped leases list`: one row a shard.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use serde_json::json;

use super::build::endpoints;
use crate::{
    aws::{Clients, dynamo_leases::DynamoLeases},
    config::Config,
    model::{
        lease::{LeaseRow, WorkerRow},
        position::{Checkpoint, ShardId},
    },
    ports::LeaseTable,
};

/// Prints the leases, as a table or as JSON. Takes a heartbeat to see which owners live.
///
/// # Errors
/// The tables cannot be read.
pub fn list(config: &Config, json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (rows, before, after) = runtime.block_on(look(config))?;
    let listed: Vec<Listed> = rows
        .iter()
        .map(|row| Listed::of(row, &rows, &before, &after))
        .collect();
    if json {
        let rows = listed.iter().map(|row| {
            json!({ "shard": row.shard, "owner": row.owner, "state": row.state, "checkpoint": row.checkpoint,
                    "parents": row.parents })
        });
        println!(
            "{}",
            serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?
        );
        return Ok(());
    }
    let wide = |column: fn(&Listed) -> usize, least: usize| {
        listed.iter().map(column).max().unwrap_or(0).max(least)
    };
    let shard = wide(|row| row.shard.len(), 5);
    let owner = wide(|row| row.owner.as_ref().map_or(1, String::len), 5);
    println!(
        "{:shard$}  {:owner$}  {:8}  CHECKPOINT",
        "SHARD", "OWNER", "STATE"
    );
    for row in &listed {
        let name = row.owner.as_deref().unwrap_or("-");
        println!(
            "{:shard$}  {name:owner$}  {:8}  {}",
            row.shard, row.state, row.checkpoint
        );
    }
    Ok(())
}

async fn look(config: &Config) -> anyhow::Result<(Vec<LeaseRow>, Vec<WorkerRow>, Vec<WorkerRow>)> {
    let clients = Clients::open(&endpoints(config), Duration::from_secs(5)).await;
    let table = DynamoLeases::new(clients.leases, &config.leases.table);
    let before = table
        .workers()
        .await
        .context("the workers table cannot be read")?;
    tokio::time::sleep(config.leases.heartbeat * 3 / 2).await;
    let after = table
        .workers()
        .await
        .context("the workers table cannot be read")?;
    let mut rows = table
        .leases()
        .await
        .context("the lease table cannot be read")?;
    rows.sort_by(|one, other| one.shard.cmp(&other.shard));
    Ok((rows, before, after))
}

/// What is printed of one lease.
struct Listed {
    shard: String,
    owner: Option<String>,
    state: &'static str,
    checkpoint: String,
    parents: Vec<String>,
}

impl Listed {
    fn of(row: &LeaseRow, rows: &[LeaseRow], before: &[WorkerRow], after: &[WorkerRow]) -> Self {
        Self {
            shard: row.shard.to_string(),
            owner: row.owner.as_ref().map(ToString::to_string),
            state: state(row, rows, before, after),
            checkpoint: spell(&row.checkpoint),
            parents: row.parents.iter().map(ToString::to_string).collect(),
        }
    }
}

fn state(
    row: &LeaseRow,
    rows: &[LeaseRow],
    before: &[WorkerRow],
    after: &[WorkerRow],
) -> &'static str {
    let beats: BTreeMap<_, _> = before
        .iter()
        .map(|worker| (&worker.id, worker.heartbeat))
        .collect();
    let open = |parent: &ShardId| {
        rows.iter()
            .any(|row| row.shard == *parent && row.checkpoint != Checkpoint::ShardEnd)
    };
    match &row.owner {
        _ if row.checkpoint == Checkpoint::ShardEnd => "ended",
        _ if row.parents.iter().any(open) => "waiting",
        None => "orphaned",
        Some(owner) => {
            let now = after
                .iter()
                .find(|worker| worker.id == *owner)
                .map(|worker| worker.heartbeat);
            if now.is_some() && now != beats.get(owner).copied() {
                "held"
            } else {
                "silent"
            }
        }
    }
}

/// A checkpoint as the lease table spells it, the place in an aggregate behind a slash.
pub fn spell(checkpoint: &Checkpoint) -> String {
    match checkpoint {
        Checkpoint::AtTimestamp(ms) => format!("AT_TIMESTAMP {ms}"),
        Checkpoint::TrimHorizon => "TRIM_HORIZON".to_owned(),
        Checkpoint::Latest => "LATEST".to_owned(),
        Checkpoint::At(position) => format!("{}/{}", position.sequence, position.sub),
        Checkpoint::ShardEnd => "SHARD_END".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lease::WorkerId;

    #[test]
    fn the_state_tells_who_reads_a_shard_and_what_it_waits_for() {
        let row = |shard: &str, owner: Option<&str>, checkpoint, parents: &[&str]| LeaseRow {
            shard: ShardId::new(shard),
            owner: owner.map(WorkerId::new),
            counter: 1,
            checkpoint,
            parents: parents.iter().map(|parent| ShardId::new(parent)).collect(),
            hash_range: None,
        };
        let beat = |heartbeat| WorkerRow {
            id: WorkerId::new("w"),
            process: 1,
            heartbeat,
            leaving: false,
            bell: 0,
        };
        let horizon = Checkpoint::TrimHorizon;
        let rows = [
            row("a", None, Checkpoint::ShardEnd, &[]),
            row("b", Some("w"), horizon.clone(), &["a"]),
            row("c", None, horizon.clone(), &["b"]),
            row("d", None, horizon.clone(), &["gone"]),
            row("e", Some("dead"), horizon, &[]),
        ];
        let states = |after| {
            let state = |row| state(row, &rows, &[beat(1)], &[beat(after)]);
            rows.iter().map(state).collect::<Vec<_>>()
        };
        assert_eq!(
            states(2),
            ["ended", "held", "waiting", "orphaned", "silent"]
        );
        assert_eq!(states(1)[1], "silent", "the heartbeat did not move");
    }
}
