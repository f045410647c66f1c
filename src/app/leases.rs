//! `swiped leases`: what an operator sees of the lease table, and may do to it by hand.
//!
//! What may be done is decided in [`crate::lease::amend`], who lives in [`crate::lease::watch`]; here the tables are read and
//! written, the stream is asked, and all is printed. Everything asked for goes to standard output, what is wrong to
//! standard error.

mod application;
mod list;
mod print;
mod probe;
mod release;
mod rewind;

use std::{process::ExitCode, str::FromStr};

use crate::{
    config::Config,
    model::{
        lease::{LeaseRow, WorkerId},
        position::{Checkpoint, Position, SequenceNumber, ShardId},
    },
};

use application::Application;
pub(super) use application::patiently;
pub use print::spell;
pub(super) use print::{columns, out};

/// What an operator asks for.
#[derive(Clone, Debug)]
pub enum Order {
    /// One row a shard.
    List {
        /// One JSON document instead of a table.
        json: bool,
        /// Whether to ask the stream how far each shard is behind.
        behind: bool,
    },
    /// Take the owners of these leases away.
    Release {
        /// Which.
        chosen: Chosen,
        /// Even when the owner lives.
        force: bool,
    },
    /// Move the checkpoints of these leases.
    Rewind {
        /// Which.
        chosen: Chosen,
        /// Where to.
        to: Place,
        /// Even before children that were read.
        force: bool,
        /// Even past records that nobody decided.
        skip_records: bool,
        /// Say what would be done, and do nothing.
        dry_run: bool,
    },
}

/// Which leases are meant.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// Those of these shards.
    Shards(Vec<String>),
    /// All.
    All,
    /// Those that this worker owns.
    Owner(String),
}

impl Chosen {
    /// The shards that are meant, by name; a shard that has no row is meant nevertheless.
    fn shards(&self, rows: &[LeaseRow]) -> Vec<ShardId> {
        let of = |rows: &mut dyn Iterator<Item = &LeaseRow>| {
            rows.map(|row| row.shard.clone()).collect::<Vec<_>>()
        };
        let mut shards = match self {
            Self::Shards(names) => names.iter().map(|name| ShardId::new(name)).collect(),
            Self::All => of(&mut rows.iter()),
            Self::Owner(name) => {
                let owner = Some(WorkerId::new(name));
                of(&mut rows.iter().filter(|row| row.owner == owner))
            }
        };
        // By name parents come first, as the service numbers its shards.
        shards.sort();
        shards.dedup();
        shards
    }
}

/// Where a checkpoint is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing is done.
    TrimHorizon,
    /// Nothing is done, and what was published until now is passed over.
    Latest,
    /// Nothing is done, and what was published before is passed over; Unix epoch milliseconds.
    At(i64),
    /// Everything up to and including this user record is done.
    After(Position),
}

impl Place {
    fn checkpoint(&self, now_ms: i64) -> Checkpoint {
        match self {
            Self::TrimHorizon => Checkpoint::TrimHorizon,
            Self::Latest => Checkpoint::AtTimestamp(now_ms),
            Self::At(ms) => Checkpoint::AtTimestamp(*ms),
            Self::After(position) => Checkpoint::At(position.clone()),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "trim_horizon" | "TRIM_HORIZON" => return Ok(Self::TrimHorizon),
            "latest" | "LATEST" => return Ok(Self::Latest),
            _ => {}
        }
        let (sequence, sub) = text.split_once('/').unwrap_or((text, "0"));
        if let Some((sequence, sub)) = SequenceNumber::parse(sequence).zip(sub.parse().ok()) {
            return Ok(Self::After(Position { sequence, sub }));
        }
        let instant = text.parse::<jiff::Timestamp>();
        instant.map(|at| Self::At(at.as_millisecond())).map_err(|_| {
            "expected trim_horizon, latest, an RFC 3339 instant such as 2026-03-01T06:00:00Z, or a SEQUENCE[/SUB] as `swiped leases list` \
             prints it"
                .to_owned()
        })
    }
}

/// Does it. Exit code 0: done; 1: some of it was refused or failed, and said why.
///
/// # Errors
/// The lease tables cannot be read.
pub fn leases(config: &Config, order: &Order) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let application = Application::open(config).await?;
        match order {
            Order::List { json, behind } => list::list(&application, *json, *behind).await,
            Order::Release { chosen, force } => {
                release::release(&application, chosen, *force).await
            }
            Order::Rewind {
                chosen,
                to,
                force,
                skip_records,
                dry_run,
            } => {
                let insist = crate::lease::amend::Insist {
                    force: *force,
                    skip_records: *skip_records,
                };
                rewind::rewind(&application, chosen, to, insist, *dry_run).await
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_said_as_the_configuration_and_the_list_say_it() {
        let after = |digits, sub| {
            let sequence = SequenceNumber::parse(digits).expect("digits");
            Ok(Place::After(Position { sequence, sub }))
        };
        for (text, expected) in [
            ("trim_horizon", Ok(Place::TrimHorizon)),
            ("LATEST", Ok(Place::Latest)),
            ("1970-01-01T00:00:01.5Z", Ok(Place::At(1500))),
            ("4968", after("4968", 0)),
            ("4968/3", after("4968", 3)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in ["", "/", "4968/", "4968/x", "yesterday", "SHARD_END", "-5"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn leases_are_chosen_by_shard_by_owner_or_all_and_parents_come_first() {
        let row = |shard: &str, owner: Option<&str>| LeaseRow {
            shard: ShardId::new(shard),
            owner: owner.map(WorkerId::new),
            counter: 0,
            checkpoint: Checkpoint::TrimHorizon,
            parents: Vec::new(),
            hash_range: None,
        };
        let rows = [row("b", Some("w")), row("a", None), row("c", Some("w"))];
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        for (chosen, expected) in [
            (Chosen::All, &["a", "b", "c"][..]),
            (Chosen::Owner("w".to_owned()), &["b", "c"]),
            (Chosen::Owner("other".to_owned()), &[]),
            (Chosen::Shards(names(&["x", "b", "b"])), &["b", "x"]),
        ] {
            let shards = chosen.shards(&rows);
            let shards: Vec<_> = shards.iter().map(ShardId::as_str).collect();
            assert_eq!(shards, expected, "{chosen:?}");
        }
    }
}
