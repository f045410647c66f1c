//! What an operator may do to a lease by hand, what is refused, and why. Pure.
//!
//! A release lets a lease go, so that the plan gives it anew. A rewind moves its checkpoint. Both end in one conditional
//! write on the row as it was read, as every write of a worker does: of an operator and a worker that write at once,
//! one finds out.
//!
//! What holds: the checkpoint of a lease whose owner lives is never touched, and no record is skipped unless the
//! operator says so.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::watch::Life;
use crate::model::{
    lease::{LeaseRow, LeaseWrite, WorkerId},
    position::{Checkpoint, Position, SequenceNumber, ShardId},
};

/// Why a lease is left as it is.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// There is no row to write.
    #[error("the lease table has no such row")]
    NoRow,
    /// Its owner may be in the middle of a page.
    #[error("{0} lives, and may be in the middle of a page")]
    Released(WorkerId),
    /// Its owner goes on from where it is and would overwrite the checkpoint.
    #[error("{0} lives, and would go on from its own place")]
    Held(WorkerId),
    /// Records that nobody decided would be passed over.
    #[error("this skips records that nobody has decided")]
    Skips,
    /// What continues the shard was read, and a card's swipes there would come before older ones.
    #[error("it ended, and what continues it is being read: {}", names(.0))]
    ChildrenBegun(Vec<ShardId>),
    /// Nothing was published then.
    #[error("the instant is in the future")]
    Future,
    /// The stream cannot be read from there.
    #[error("the stream cannot be read from there: {0}")]
    Unreadable(String),
    /// Reading at this sequence number begins with another record.
    #[error("the shard has no record {asked} (any more): reading there begins {}", found(.first))]
    NoRecord {
        /// The sequence number that was asked for.
        asked: Box<SequenceNumber>,
        /// The record that comes instead.
        first: Option<Box<SequenceNumber>>,
    },
}

impl Refusal {
    /// What is at stake, and what to do instead.
    pub const fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoRow => Some(
                "`swiped leases list` shows the rows there are; the daemon makes those that are missing.",
            ),
            Self::Released(_) => Some(
                "With --force nothing is lost: the worker finds out at its next look at the lease table and drops the lease, and \
                 what it read since the checkpoint is decided again by whoever gets the lease next. With decisions.table the first \
                 answers stand; without it a second answer can differ. To move leases without repeats, stop their worker (SIGTERM).",
            ),
            Self::Held(_) => Some(
                "A worker that lives would write over the checkpoint. Stop every worker first (SIGTERM: leases go to living peers), \
                 rewind, and start them again. --force does not change this.",
            ),
            Self::Skips => Some(
                "Skipped records are never decided. --skip-records does it nevertheless. What cannot be compared, such as \
                 TRIM_HORIZON with a sequence number, counts as skipping.",
            ),
            Self::ChildrenBegun(_) => Some(
                "Older swipes would be decided after newer ones of the same cards. Rewind the children to trim_horizon together \
                 with their parents (--all), or say --force.",
            ),
            Self::Future | Self::Unreadable(_) | Self::NoRecord { .. } => None,
        }
    }
}

fn names(shards: &[ShardId]) -> String {
    let names: Vec<_> = shards.iter().map(ShardId::as_str).collect();
    names.join(", ")
}

fn found(first: &Option<Box<SequenceNumber>>) -> String {
    match first {
        Some(first) => format!("with {first}"),
        None => "with nothing".to_owned(),
    }
}

/// What an operator insists on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Insist {
    /// `--force`
    pub force: bool,
    /// `--skip-records`
    pub skip_records: bool,
}

/// The write that lets the lease of `row` go; nothing when nobody has it.
///
/// # Errors
/// Its owner lives, or cannot be called dead, and nobody insists.
pub fn release(
    row: &LeaseRow,
    life: Option<Life>,
    insist: Insist,
) -> Result<Option<LeaseWrite>, Refusal> {
    let Some(owner) = &row.owner else {
        return Ok(None);
    };
    if row.checkpoint == Checkpoint::ShardEnd {
        return Ok(None);
    }
    if !is_dead(life) && !insist.force {
        return Err(Refusal::Released(owner.clone()));
    }
    Ok(Some(write(row, None)))
}

/// Where reading would begin, as the stream itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begins {
    /// With this record.
    With(SequenceNumber),
    /// Nothing is there yet.
    AtTip,
    /// It cannot: the stream's reason.
    Nowhere(String),
}

/// A checkpoint that an operator wants, and what the stream says of it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The checkpoint.
    pub to: Checkpoint,
    /// Where reading begins then; for a sequence number, with that very record.
    pub begins: Begins,
    /// The operator's clock, Unix epoch milliseconds.
    pub now_ms: i64,
}

/// The write that moves the checkpoint of `row`; nothing when it is there already. `begun` is what [`begun`] says.
///
/// # Errors
/// Everything that would lose records, put them out of order, or be overwritten.
pub fn rewind(
    row: &LeaseRow,
    life: Option<Life>,
    begun: &[ShardId],
    wanted: &Wanted,
    insist: Insist,
) -> Result<Option<LeaseWrite>, Refusal> {
    if let Some(held) = held(row, life) {
        return Err(held);
    }
    if matches!(wanted.to, Checkpoint::AtTimestamp(ms) if ms > wanted.now_ms) {
        return Err(Refusal::Future);
    }
    if let Begins::Nowhere(why) = &wanted.begins {
        return Err(Refusal::Unreadable(why.clone()));
    }
    if let Checkpoint::At(position) = &wanted.to {
        check_record(position, &wanted.begins)?;
    }
    if wanted.to == row.checkpoint {
        return Ok(None);
    }
    if skips(&row.checkpoint, wanted) && !insist.skip_records {
        return Err(Refusal::Skips);
    }
    if row.checkpoint == Checkpoint::ShardEnd && !begun.is_empty() && !insist.force {
        return Err(Refusal::ChildrenBegun(begun.to_vec()));
    }
    Ok(Some(write(row, Some(wanted.to.clone()))))
}

/// Why no checkpoint of `row` can be moved, wherever to: its owner lives, or cannot be called dead.
pub fn held(row: &LeaseRow, life: Option<Life>) -> Option<Refusal> {
    let ended = row.checkpoint == Checkpoint::ShardEnd;
    let owner = row.owner.as_ref().filter(|_| !ended && !is_dead(life))?;
    Some(Refusal::Held(owner.clone()))
}

/// By shard, the children of it that were read from or may be at any moment, without those that are sent back to their first
/// record with it, as `rewound` to `to`.
pub fn begun(
    rows: &[LeaseRow],
    rewound: &BTreeSet<ShardId>,
    to: &Checkpoint,
) -> BTreeMap<ShardId, Vec<ShardId>> {
    let mut begun: BTreeMap<ShardId, Vec<ShardId>> = BTreeMap::new();
    for row in rows {
        let from_start = *to == Checkpoint::TrimHorizon && rewound.contains(&row.shard);
        let untouched = row.owner.is_none()
            && !matches!(row.checkpoint, Checkpoint::At(_) | Checkpoint::ShardEnd);
        for parent in row.parents.iter().filter(|_| !from_start && !untouched) {
            begun
                .entry(parent.clone())
                .or_default()
                .push(row.shard.clone());
        }
    }
    begun
}

fn is_dead(life: Option<Life>) -> bool {
    matches!(life, Some(Life::Dead(_)))
}

fn check_record(position: &Position, begins: &Begins) -> Result<(), Refusal> {
    let first = match begins {
        Begins::With(first) if *first == position.sequence => return Ok(()),
        Begins::With(first) => Some(Box::new(first.clone())),
        Begins::AtTip | Begins::Nowhere(_) => None,
    };
    Err(Refusal::NoRecord {
        asked: Box::new(position.sequence.clone()),
        first,
    })
}

/// Whether a record that `from` still reads is not read any more, as far as can be known; what cannot be compared counts.
fn skips(from: &Checkpoint, wanted: &Wanted) -> bool {
    match (from, &wanted.to) {
        // All was read; or nothing that is on the stream now would be.
        (Checkpoint::ShardEnd | Checkpoint::Latest, _) | (_, Checkpoint::TrimHorizon) => false,
        (Checkpoint::AtTimestamp(from), Checkpoint::AtTimestamp(to)) => to > from,
        (Checkpoint::At(from), Checkpoint::At(to)) => to > from,
        // Not by clocks: what the stream begins with then was done before, or is not.
        (Checkpoint::At(from), Checkpoint::AtTimestamp(_)) => {
            !matches!(&wanted.begins, Begins::With(first) if *first <= from.sequence)
        }
        _ => true,
    }
}

/// Nobody owns the lease afterwards: a worker that was only paused finds a row that is not its own any more.
fn write(row: &LeaseRow, checkpoint: Option<Checkpoint>) -> LeaseWrite {
    LeaseWrite {
        shard: row.shard.clone(),
        owner_was: row.owner.clone(),
        counter_was: row.counter,
        owner: None,
        checkpoint_was: row.checkpoint.clone(),
        checkpoint,
        children: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
