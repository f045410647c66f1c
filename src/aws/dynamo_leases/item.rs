//! A lease row as an item, both ways, and a conditional write as an update expression. No call is made here.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::model::{
    lease::{LeaseRow, LeaseWrite, WorkerId},
    position::{Checkpoint, Position, SequenceNumber, ShardId},
};

/// The attributes of an item by name.
pub type Item = HashMap<String, AttributeValue>;

/// The instant of an `AT_TIMESTAMP` checkpoint, Unix epoch milliseconds. KCL has its instant in the configuration; a row
/// needs its own, so that a restart or a reshard begins where the first start did.
const START_MS: &str = "swipedStartMs";

/// A string attribute.
pub fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(super) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(super) fn get_text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(super) fn get_number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// Whether an item of the lease table is a lease: KCL 3.5 keeps its leader, metrics and migration rows there too.
pub fn is_lease(item: &Item) -> bool {
    get_text(item, "entityType").is_none_or(|kind| kind == "LEASE")
}

/// The lease in an item; else why not, and what to do.
pub fn row(item: &Item) -> Result<LeaseRow, String> {
    let key = get_text(item, "leaseKey").ok_or("no leaseKey")?;
    if item.contains_key("streamName") {
        return Err(format!(
            "{key} is of an application that reads several streams, and this is one stream's; name another lease table"
        ));
    }
    let missing = |name: &str| format!("{key} has no valid {name}; repair or delete it");
    let checkpoint = checkpoint(item).ok_or_else(|| missing("checkpoint"))?;
    // During a hand-over of KCL's, leaseOwner is the next owner and checkpointOwner the one who still holds it.
    let owner = get_text(item, "checkpointOwner").or_else(|| get_text(item, "leaseOwner"));
    let parents = item
        .get("parentShardId")
        .and_then(|parents| parents.as_ss().ok());
    let range = get_text(item, "startingHashKey").zip(get_text(item, "endingHashKey"));
    Ok(LeaseRow {
        shard: ShardId::new(key),
        owner: owner.map(WorkerId::new),
        counter: get_number(item, "leaseCounter").ok_or_else(|| missing("leaseCounter"))?,
        checkpoint,
        parents: parents
            .into_iter()
            .flatten()
            .map(|parent| ShardId::new(parent))
            .collect(),
        hash_range: range.map(|(start, end)| (start.to_owned(), end.to_owned())),
    })
}

fn checkpoint(item: &Item) -> Option<Checkpoint> {
    match get_text(item, "checkpoint")? {
        "TRIM_HORIZON" => Some(Checkpoint::TrimHorizon),
        "LATEST" => Some(Checkpoint::Latest),
        "SHARD_END" => Some(Checkpoint::ShardEnd),
        // A row of KCL's does not say which instant; beginning with the oldest record loses nothing.
        "AT_TIMESTAMP" => Some(match get_number(item, START_MS) {
            Some(ms) => Checkpoint::AtTimestamp(i64::try_from(ms).ok()?),
            None => Checkpoint::TrimHorizon,
        }),
        digits => {
            let sequence = SequenceNumber::parse(digits)?;
            let sub = get_number(item, "checkpointSubSequenceNumber").unwrap_or(0);
            Some(Checkpoint::At(Position { sequence, sub }))
        }
    }
}

/// The `checkpoint` and `checkpointSubSequenceNumber` of a checkpoint.
fn spelled(checkpoint: &Checkpoint) -> (&str, u64) {
    match checkpoint {
        Checkpoint::AtTimestamp(_) => ("AT_TIMESTAMP", 0),
        Checkpoint::TrimHorizon => ("TRIM_HORIZON", 0),
        Checkpoint::Latest => ("LATEST", 0),
        Checkpoint::At(position) => (position.sequence.as_str(), position.sub),
        Checkpoint::ShardEnd => ("SHARD_END", 0),
    }
}

/// The item of a row that is made.
pub fn new(row: &LeaseRow) -> Item {
    let (checkpoint, sub) = spelled(&row.checkpoint);
    let mut item = Item::from([
        ("leaseKey".to_owned(), text(row.shard.as_str())),
        ("entityType".to_owned(), text("LEASE")),
        ("leaseCounter".to_owned(), number(row.counter)),
        ("checkpoint".to_owned(), text(checkpoint)),
        ("checkpointSubSequenceNumber".to_owned(), number(sub)),
        ("ownerSwitchesSinceCheckpoint".to_owned(), number(0)),
    ]);
    if let Checkpoint::AtTimestamp(ms) = row.checkpoint {
        item.insert(START_MS.to_owned(), AttributeValue::N(ms.to_string()));
    }
    if let Some((start, end)) = &row.hash_range {
        item.insert("startingHashKey".to_owned(), text(start));
        item.insert("endingHashKey".to_owned(), text(end));
    }
    if !row.parents.is_empty() {
        item.insert("parentShardId".to_owned(), names(&row.parents));
    }
    if let Some(owner) = &row.owner {
        item.insert("leaseOwner".to_owned(), text(owner.as_str()));
    }
    item
}

fn names<'a>(shards: impl IntoIterator<Item = &'a ShardId>) -> AttributeValue {
    AttributeValue::Ss(
        shards
            .into_iter()
            .map(|shard| shard.as_str().to_owned())
            .collect(),
    )
}

/// A conditional write, spelled for UpdateItem or a transaction.
#[derive(Debug, PartialEq)]
pub struct Change {
    /// The row's key.
    pub key: Item,
    /// What to set and remove.
    pub update: String,
    /// The row as it must be.
    pub condition: String,
    /// The values named in both.
    pub values: Item,
}

impl Change {
    /// Spells `write`.
    pub fn of(write: &LeaseWrite) -> Self {
        let mut set = vec!["leaseCounter = :next".to_owned()];
        let mut remove = vec!["checkpointOwner"];
        let mut values = Item::from([
            (":was".to_owned(), number(write.counter_was)),
            (":next".to_owned(), number(write.counter_was + 1)),
        ]);
        match &write.owner {
            Some(owner) => {
                set.push("leaseOwner = :owner".to_owned());
                values.insert(":owner".to_owned(), text(owner.as_str()));
            }
            None => remove.push("leaseOwner"),
        }
        let switched = u64::from(write.owner.is_some() && write.owner != write.owner_was);
        if let Some(checkpoint) = &write.checkpoint {
            let (at, sub) = spelled(checkpoint);
            set.push("checkpoint = :checkpoint, checkpointSubSequenceNumber = :sub".to_owned());
            set.push("ownerSwitchesSinceCheckpoint = :switches".to_owned());
            values.insert(":checkpoint".to_owned(), text(at));
            values.insert(":sub".to_owned(), number(sub));
            values.insert(":switches".to_owned(), number(switched));
            if let Checkpoint::AtTimestamp(ms) = checkpoint {
                set.push(format!("{START_MS} = :start"));
                values.insert(":start".to_owned(), AttributeValue::N(ms.to_string()));
            }
            remove.extend([
                "pendingCheckpoint",
                "pendingCheckpointSubSequenceNumber",
                "pendingCheckpointState",
            ]);
        }
        if !write.children.is_empty() {
            set.push("childShardIds = :children".to_owned());
            values.insert(":children".to_owned(), names(&write.children));
        }
        let mut update = format!("SET {} REMOVE {}", set.join(", "), remove.join(", "));
        if write.checkpoint.is_none() && switched > 0 {
            update.push_str(" ADD ownerSwitchesSinceCheckpoint :switches");
            values.insert(":switches".to_owned(), number(switched));
        }
        let owned = match &write.owner_was {
            Some(owner) => {
                values.insert(":held".to_owned(), text(owner.as_str()));
                "(leaseOwner = :held OR checkpointOwner = :held)"
            }
            None => "attribute_not_exists(leaseOwner)",
        };
        Self {
            key: Item::from([("leaseKey".to_owned(), text(write.shard.as_str()))]),
            update,
            condition: format!("leaseCounter = :was AND {owned}"),
            values,
        }
    }
}

#[cfg(test)]
mod kcl;

#[cfg(test)]
mod tests {
    use super::*;

    fn item(pairs: &[(&str, AttributeValue)]) -> Item {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }

    fn n(digits: &str) -> AttributeValue {
        AttributeValue::N(digits.to_owned())
    }

    const SEQUENCE: &str = "49680427550845405794076313658409477259353495647127863298";

    fn at(sub: u64) -> Checkpoint {
        let sequence = SequenceNumber::parse(SEQUENCE).expect("digits");
        Checkpoint::At(Position { sequence, sub })
    }

    #[test]
    fn rows_that_kcl_wrote_are_read() {
        let ended = item(&[
            ("leaseKey", text("shardId-000000000000")),
            ("leaseOwner", text("w1")),
            ("leaseCounter", n("22")),
            ("checkpoint", text("SHARD_END")),
            ("checkpointSubSequenceNumber", n("0")),
            ("ownerSwitchesSinceCheckpoint", n("1")),
            (
                "childShardIds",
                AttributeValue::Ss(vec!["shardId-000000000002".to_owned()]),
            ),
            ("throughputKBps", n("0.000082")),
        ]);
        let row_of = |item: &Item| row(item).expect("a lease");
        assert_eq!(row_of(&ended).checkpoint, Checkpoint::ShardEnd);
        let handing_over = item(&[
            ("leaseKey", text("shardId-000000000001")),
            ("leaseOwner", text("w2")),
            ("checkpointOwner", text("w1")),
            ("leaseCounter", n("5")),
            ("checkpoint", text(SEQUENCE)),
            ("checkpointSubSequenceNumber", n("3")),
            (
                "parentShardId",
                AttributeValue::Ss(vec!["shardId-000000000000".to_owned()]),
            ),
            ("entityType", text("LEASE")),
        ]);
        let row = row_of(&handing_over);
        assert_eq!(
            (row.owner, row.checkpoint),
            (Some(WorkerId::new("w1")), at(3))
        );
        assert_eq!(row.parents, [ShardId::new("shardId-000000000000")]);
        for kind in ["LEADER", "WORKER_METRIC_STATS", "TABLE_MIGRATION", "STREAM"] {
            assert!(!is_lease(&item(&[
                ("leaseKey", text("Leader")),
                ("entityType", text(kind))
            ])));
        }
    }

    #[test]
    fn a_row_that_makes_no_sense_is_an_error_that_names_it() {
        let broken = item(&[
            ("leaseKey", text("s")),
            ("checkpoint", text("soon")),
            ("leaseCounter", n("1")),
        ]);
        let why = "s has no valid checkpoint; repair or delete it";
        assert_eq!(row(&broken), Err(why.to_owned()));
    }

    #[test]
    fn a_row_that_was_made_reads_back() {
        for checkpoint in [Checkpoint::AtTimestamp(17), Checkpoint::TrimHorizon, at(2)] {
            let made = LeaseRow {
                shard: ShardId::new("s"),
                owner: None,
                counter: 0,
                checkpoint,
                parents: vec![ShardId::new("p")],
                hash_range: Some(("0".to_owned(), "9".to_owned())),
            };
            assert_eq!(row(&new(&made)), Ok(made));
        }
    }

    #[test]
    fn a_write_is_conditional_on_owner_and_counter_and_spells_what_changes() {
        let (a, b) = (Some(WorkerId::new("a")), Some(WorkerId::new("b")));
        let write = |owner_was: &Option<WorkerId>, owner: &Option<WorkerId>, checkpoint| {
            let write = LeaseWrite {
                shard: ShardId::new("s"),
                owner_was: owner_was.clone(),
                counter_was: 4,
                owner: owner.clone(),
                checkpoint_was: Checkpoint::TrimHorizon,
                checkpoint,
                children: Vec::new(),
            };
            Change::of(&write)
        };
        let take = write(&None, &a, None);
        assert_eq!(
            take.condition,
            "leaseCounter = :was AND attribute_not_exists(leaseOwner)"
        );
        assert_eq!(
            take.update,
            "SET leaseCounter = :next, leaseOwner = :owner REMOVE checkpointOwner \
             ADD ownerSwitchesSinceCheckpoint :switches"
        );
        assert_eq!(take.values[":next"], n("5"));
        let save = write(&a, &a, Some(at(2)));
        assert_eq!(save.values[":switches"], n("0"));
        assert_eq!(save.values[":sub"], n("2"));
        assert!(save.update.contains("pendingCheckpoint") && !save.update.contains("ADD"));
        let rewound = write(&a, &None, Some(Checkpoint::AtTimestamp(17)));
        assert!(rewound.update.contains("swipedStartMs = :start"));
        assert_eq!(rewound.values[":checkpoint"], text("AT_TIMESTAMP"));
        assert_eq!(rewound.values[":start"], n("17"));
        let give = write(&a, &b, Some(at(2)));
        assert_eq!(give.values[":switches"], n("1"));
        assert_eq!(
            give.condition,
            "leaseCounter = :was AND (leaseOwner = :held OR checkpointOwner = :held)"
        );
        let release = write(&a, &None, None);
        assert!(
            release
                .update
                .ends_with("REMOVE checkpointOwner, leaseOwner"),
            "{}",
            release.update
        );
    }
}
