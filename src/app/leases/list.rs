//! `swiped leases list`: one row a shard.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use serde_json::{Value, json};

use super::{
    application::{Application, Until, owners, patiently},
    print::{columns, heartbeat, out, spell, tell, time},
    probe,
};
use crate::{
    lease::{sync, watch::Life},
    model::{
        lease::{LeaseRow, WorkerId},
        position::{Checkpoint, ShardId, ShardInfo},
    },
    ports::{Fault, SwipeStream},
};

/// Prints the leases, as a table or as JSON.
///
/// # Errors
/// The lease tables cannot be read.
pub async fn list(application: &Application, json: bool, behind: bool) -> anyhow::Result<ExitCode> {
    let owners = owners(&application.rows().await?);
    let watched = application.watch(&owners, Until::Shown).await?;
    let rows = application.rows().await?;
    let shards = match patiently(|| application.stream.shards()).await {
        Ok(shards) => shards,
        Err(fault) => {
            eprintln!("swiped: shards without a lease are not shown: {fault}");
            Vec::new()
        }
    };
    let behind = if behind {
        probe::behind(&application.stream, &rows).await
    } else {
        BTreeMap::new()
    };
    for (shard, why) in &behind {
        if let Err(fault) = why {
            eprintln!("swiped: how far {shard} is behind is not known: {fault}");
        }
    }
    let listed = listed(&rows, &shards, |owner| watched.life(owner), &behind);
    out(&if json {
        let rows: Vec<Value> = listed.iter().map(Listed::json).collect();
        serde_json::to_string_pretty(&rows)? + "\n"
    } else {
        table(&listed)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What is printed of one shard.
#[derive(Debug)]
struct Listed {
    shard: ShardId,
    owner: Option<String>,
    life: Option<Life>,
    state: &'static str,
    behind: Option<Result<i64, Fault>>,
    checkpoint: Option<Checkpoint>,
    parents: Vec<ShardId>,
}

fn listed(
    rows: &[LeaseRow],
    shards: &[ShardInfo],
    life_of: impl Fn(Option<&WorkerId>) -> Option<Life>,
    behind: &BTreeMap<ShardId, Result<i64, Fault>>,
) -> Vec<Listed> {
    let missing = sync::missing(shards, rows.iter(), &Checkpoint::TrimHorizon);
    let open = rows.iter().chain(&missing);
    let open: BTreeSet<&ShardId> = open
        .filter(|row| row.checkpoint != Checkpoint::ShardEnd)
        .map(|row| &row.shard)
        .collect();
    let of_row = |row: &LeaseRow| {
        let life = life_of(row.owner.as_ref());
        Listed {
            shard: row.shard.clone(),
            owner: row.owner.as_ref().map(ToString::to_string),
            life,
            state: state(row, &open, life),
            behind: behind.get(&row.shard).cloned(),
            checkpoint: Some(row.checkpoint.clone()),
            parents: row.parents.clone(),
        }
    };
    let mut listed: Vec<Listed> = rows.iter().map(of_row).collect();
    listed.extend(missing.iter().map(|row| Listed {
        shard: row.shard.clone(),
        owner: None,
        life: None,
        state: "missing",
        behind: None,
        checkpoint: None,
        parents: row.parents.clone(),
    }));
    listed.sort_by(|one, other| one.shard.cmp(&other.shard));
    listed
}

/// Where a lease stands; `open` are the shards that did not end.
fn state(row: &LeaseRow, open: &BTreeSet<&ShardId>, life: Option<Life>) -> &'static str {
    match (&row.owner, life) {
        _ if row.checkpoint == Checkpoint::ShardEnd => "ended",
        _ if row.parents.iter().any(|parent| open.contains(parent)) => "waiting",
        (None, _) => "orphaned",
        (Some(_), Some(Life::Alive(_))) => "held",
        (Some(_), _) => "silent",
    }
}

impl Listed {
    fn json(&self) -> Value {
        let (alive, age) = match self.life {
            Some(Life::Alive(age)) => (true, Some(age)),
            Some(Life::Still(age) | Life::Dead(age)) => (false, Some(age)),
            None => (false, None),
        };
        let parents: Vec<_> = self.parents.iter().map(ShardId::as_str).collect();
        let mut row = json!({
            "shard": self.shard.as_str(),
            "owner": self.owner,
            "alive": alive,
            "heartbeat_age_ms": age.map(|age| age.as_millis()),
            "state": self.state,
            "behind_ms": self.behind.as_ref().and_then(|behind| behind.as_ref().ok()),
            "checkpoint": self.checkpoint.as_ref().map(spell),
            "parents": parents,
        });
        if let Some(Err(fault)) = &self.behind {
            row["behind_error"] = json!(fault.to_string());
        }
        row
    }

    fn cells(&self) -> [String; 7] {
        let parents: Vec<_> = self.parents.iter().map(ShardId::as_str).collect();
        let or_none = |text: String| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text
            }
        };
        [
            self.shard.to_string(),
            self.owner.clone().unwrap_or_else(|| "-".to_owned()),
            heartbeat(self.life),
            self.state.to_owned(),
            match &self.behind {
                None => "-".to_owned(),
                Some(Ok(ms)) => time(*ms),
                Some(Err(_)) => "?".to_owned(),
            },
            or_none(parents.join(",")),
            self.checkpoint
                .as_ref()
                .map_or_else(|| "-".to_owned(), tell),
        ]
    }
}

fn table(listed: &[Listed]) -> String {
    let header = [
        "SHARD",
        "OWNER",
        "HEARTBEAT",
        "STATE",
        "BEHIND",
        "PARENTS",
        "CHECKPOINT",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(listed.iter().map(Listed::cells));
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ports::FaultKind;

    const ALIVE: Option<Life> = Some(Life::Alive(Duration::from_millis(400)));
    const DEAD: Option<Life> = Some(Life::Dead(Duration::from_secs(3)));

    fn row(shard: &str, owner: Option<&str>, checkpoint: Checkpoint, parents: &[&str]) -> LeaseRow {
        LeaseRow {
            shard: ShardId::new(shard),
            owner: owner.map(WorkerId::new),
            counter: 1,
            checkpoint,
            parents: parents.iter().map(|parent| ShardId::new(parent)).collect(),
            hash_range: None,
        }
    }

    #[test]
    fn the_state_tells_who_reads_a_shard_and_what_it_waits_for() {
        let open = ["b", "c", "d", "e"].map(ShardId::new);
        let open = open.iter().collect();
        let horizon = Checkpoint::TrimHorizon;
        for (row, life, expected) in [
            (row("a", None, Checkpoint::ShardEnd, &[]), None, "ended"),
            (row("b", Some("w"), horizon.clone(), &["a"]), ALIVE, "held"),
            (row("b", Some("w"), horizon.clone(), &["a"]), DEAD, "silent"),
            (row("b", Some("w"), horizon.clone(), &["a"]), None, "silent"),
            (row("c", None, horizon.clone(), &["b"]), None, "waiting"),
            (
                row("c", Some("w"), horizon.clone(), &["b"]),
                ALIVE,
                "waiting",
            ),
            (row("d", None, horizon, &["gone"]), None, "orphaned"),
        ] {
            assert_eq!(state(&row, &open, life), expected, "{row:?} {life:?}");
        }
    }

    #[test]
    fn a_shard_that_has_no_row_but_should_is_shown_as_missing() {
        let shard = |id: &str, parents: &[&str]| ShardInfo {
            id: ShardId::new(id),
            parents: parents.iter().map(|parent| ShardId::new(parent)).collect(),
            hash_range: Default::default(),
        };
        // The row of `a` was removed after it ended: its child has one.
        let shards = [shard("a", &[]), shard("b", &["a"]), shard("c", &["a"])];
        let begun = Checkpoint::AtTimestamp(5);
        let rows = [row("b", None, begun, &["a"])];
        let listed = listed(&rows, &shards, |_| None, &BTreeMap::new());
        let told: Vec<_> = listed
            .iter()
            .map(|row| (row.shard.as_str(), row.state))
            .collect();
        assert_eq!(told, [("b", "orphaned"), ("c", "missing")]);
        assert_eq!(listed[1].cells()[6], "-");
        assert_eq!(listed[1].json()["checkpoint"], Value::Null);

        // A child that was never read waits for its parent, whose row was lost.
        let rows = [row("b", None, Checkpoint::TrimHorizon, &["a"])];
        let listed = super::listed(&rows, &shards[..2], |_| None, &BTreeMap::new());
        let told: Vec<_> = listed
            .iter()
            .map(|row| (row.shard.as_str(), row.state))
            .collect();
        assert_eq!(told, [("a", "missing"), ("b", "waiting")]);
    }

    fn shown(behind: Option<Result<i64, Fault>>) -> Listed {
        Listed {
            shard: ShardId::new("s"),
            owner: Some("w".to_owned()),
            life: ALIVE,
            state: "held",
            behind,
            checkpoint: Some(Checkpoint::TrimHorizon),
            parents: vec![ShardId::new("p"), ShardId::new("q")],
        }
    }

    #[test]
    fn a_row_is_told_to_people_and_to_programs() {
        let listed = shown(Some(Ok(61_000)));
        let told = ["s", "w", "<0.5s", "held", "1m01s", "p,q", "TRIM_HORIZON"];
        assert_eq!(listed.cells(), told);
        assert_eq!(
            listed.json(),
            json!({ "shard": "s", "owner": "w", "alive": true, "heartbeat_age_ms": 400, "state": "held", "behind_ms": 61_000,
                    "checkpoint": "TRIM_HORIZON", "parents": ["p", "q"] })
        );
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        assert_eq!(shown(None).cells()[4], "-");
        let fault = Fault {
            kind: FaultKind::Trimmed,
            operation: "GetShardIterator",
            message: "too old".to_owned(),
        };
        let listed = shown(Some(Err(fault)));
        assert_eq!(listed.cells()[4], "?");
        let json = listed.json();
        assert_eq!(json["behind_ms"], Value::Null);
        assert_eq!(
            json["behind_error"],
            "GetShardIterator failed (trimmed): too old"
        );
    }
}
