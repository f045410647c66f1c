//! What each of our writes leaves of a row of KCL's, and that KCL can read every row of ours.

use super::*;

const LATER: &str = "49680427550845405794076313658409477259353495647127863299";

/// What an UpdateItem of ours leaves: the part of the language that [`Change`] speaks.
fn written(item: &Item, write: &LeaseWrite) -> Item {
    let change = Change::of(write);
    let update = change.update.replace(['=', ','], " ");
    let (mut after, mut clause, mut target) = (item.clone(), "", "");
    for word in update.split_whitespace() {
        match (clause, word) {
            (_, "SET" | "REMOVE" | "ADD") => clause = word,
            ("REMOVE", name) => drop(after.remove(name)),
            ("SET", given) if given.starts_with(':') => {
                after.insert(target.to_owned(), change.values[given].clone());
            }
            ("ADD", given) if given.starts_with(':') => {
                let more = get_number(&change.values, given).expect("a number");
                let sum = get_number(&after, target).unwrap_or(0) + more;
                after.insert(target.to_owned(), number(sum));
            }
            (_, name) => target = name,
        }
    }
    after
}

/// What KCL's deserializer takes a lease from, and its rules; a breach is said.
fn what_kcl_misses(item: &Item) -> Option<String> {
    let text = |name| get_text(item, name);
    let is_set = |name: &str| {
        item.get(name)
            .is_none_or(|set| set.as_ss().is_ok_and(|set| !set.is_empty()))
    };
    let is_number = |name| get_number(item, name).is_some();
    let checkpoint = text("checkpoint").unwrap_or_default();
    let is_checkpoint = ["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "SHARD_END"]
        .contains(&checkpoint)
        || (!checkpoint.is_empty() && checkpoint.bytes().all(|byte| byte.is_ascii_digit()));
    let pending = ["pendingCheckpoint", "pendingCheckpointSubSequenceNumber"];
    let rules = [
        ("leaseKey", text("leaseKey").is_some()),
        (
            "leaseOwner",
            !item.contains_key("leaseOwner") || text("leaseOwner").is_some(),
        ),
        (
            "checkpointOwner",
            !item.contains_key("checkpointOwner") || text("leaseOwner").is_some(),
        ),
        ("leaseCounter", is_number("leaseCounter")),
        (
            "ownerSwitchesSinceCheckpoint",
            is_number("ownerSwitchesSinceCheckpoint"),
        ),
        ("checkpoint", is_checkpoint),
        (
            "checkpointSubSequenceNumber",
            is_number("checkpointSubSequenceNumber"),
        ),
        (
            "pendingCheckpoint",
            pending.iter().all(|name| item.contains_key(*name))
                || pending.iter().all(|name| !item.contains_key(*name)),
        ),
        ("parentShardId", is_set("parentShardId")),
        ("childShardIds", is_set("childShardIds")),
        (
            "startingHashKey",
            text("startingHashKey").is_some() == text("endingHashKey").is_some(),
        ),
        (
            "entityType",
            text("entityType").is_none_or(|kind| kind == "LEASE"),
        ),
    ];
    let broken = rules.into_iter().find(|(_, holds)| !holds);
    broken.map(|(name, _)| format!("{name}: {item:?}"))
}

/// Every write there is, to the row in `item`: take, checkpoint, give with and without a checkpoint, release, end, rewind.
fn writes(item: &Item) -> Vec<(&'static str, LeaseWrite)> {
    let row = row(item).expect("a lease");
    let write =
        |name, owner_was: Option<&str>, owner: Option<&str>, checkpoint, children: &[&str]| {
            let write = LeaseWrite {
                shard: row.shard.clone(),
                owner_was: owner_was.map(WorkerId::new),
                counter_was: row.counter,
                owner: owner.map(WorkerId::new),
                checkpoint_was: row.checkpoint.clone(),
                checkpoint,
                children: shards(children),
            };
            (name, write)
        };
    let holder = row.owner.as_ref().map(WorkerId::as_str);
    let (me, next) = (Some("me"), Some("next"));
    vec![
        write("take", holder, me, None, &[]),
        write("checkpoint", me, me, Some(at(LATER, 6)), &[]),
        write("give", me, next, Some(at(LATER, 0)), &[]),
        write("give as it is", me, next, None, &[]),
        write("release", me, None, Some(at(LATER, 1)), &[]),
        write(
            "end",
            me,
            None,
            Some(Checkpoint::ShardEnd),
            &["shardId-7", "shardId-8"],
        ),
        write(
            "rewind",
            holder,
            None,
            Some(Checkpoint::AtTimestamp(17)),
            &[],
        ),
    ]
}

/// The attributes that a write may change.
const OURS: [&str; 11] = [
    "leaseOwner",
    "checkpointOwner",
    "leaseCounter",
    "ownerSwitchesSinceCheckpoint",
    "checkpoint",
    "checkpointSubSequenceNumber",
    "pendingCheckpoint",
    "pendingCheckpointSubSequenceNumber",
    "pendingCheckpointState",
    "childShardIds",
    START_MS,
];

#[test]
fn no_write_to_a_row_of_kcl_takes_away_what_kcl_needs_or_what_is_not_ours() {
    for json in LEASES {
        let mut before = item(json);
        before.insert("whatKclMayBring".to_owned(), text("kept"));
        assert_eq!(what_kcl_misses(&before), None, "the fixture itself");
        for (name, write) in writes(&before) {
            let after = written(&before, &write);
            assert_eq!(what_kcl_misses(&after), None, "{name}");
            let counter = |item| get_number(item, "leaseCounter").expect("a counter");
            assert_eq!(counter(&after), counter(&before) + 1, "{name}");
            let kept = |item: &Item| {
                let mut kept = item.clone();
                kept.retain(|name, _| !OURS.contains(&name.as_str()));
                kept
            };
            assert_eq!(kept(&after), kept(&before), "{name} {json}");
            let row = row(&after).expect("a lease");
            assert_eq!(row.owner, write.owner, "{name} {json}");
            let expected = write.checkpoint.as_ref().unwrap_or(&write.checkpoint_was);
            assert_eq!(row.checkpoint, *expected, "{name} {json}");
            assert!(write.made(&row), "{name} {json}");
        }
    }
}

#[test]
fn a_checkpoint_settles_what_kcl_had_prepared_and_a_mere_change_of_owner_does_not() {
    let before = item(PREPARED);
    for (name, write) in writes(&before) {
        let after = written(&before, &write);
        assert_eq!(
            after.contains_key("pendingCheckpoint"),
            write.checkpoint.is_none(),
            "{name}"
        );
        assert_eq!(
            after.contains_key("pendingCheckpointState"),
            write.checkpoint.is_none(),
            "{name}"
        );
        // Zero with a checkpoint, one more for a change of owner; KCL has no name for an owner that is gone.
        let switched = u64::from(write.owner.is_some() && write.owner != write.owner_was);
        let started = if write.checkpoint.is_some() { 0 } else { 2 };
        let switches = get_number(&after, "ownerSwitchesSinceCheckpoint");
        assert_eq!(switches, Some(started + switched), "{name}");
    }
}

#[test]
fn a_take_ends_a_hand_over_that_kcl_had_begun() {
    let (_, take) = writes(&item(HANDING_OVER)).swap_remove(0);
    let change = Change::of(&take);
    assert_eq!(
        change.values[":held"],
        text("w1"),
        "the one who held it, not the one it was meant for"
    );
    let after = written(&item(HANDING_OVER), &take);
    assert_eq!(get_text(&after, "leaseOwner"), Some("me"));
    assert!(!after.contains_key("checkpointOwner"));
}

#[test]
fn every_row_of_ours_is_one_that_kcl_reads() {
    let made = |parents: &[&str], checkpoint| LeaseRow {
        shard: ShardId::new("shardId-000000000006"),
        owner: None,
        counter: 0,
        checkpoint,
        parents: shards(parents),
        hash_range: Some(("5".to_owned(), "9".to_owned())),
    };
    // But for its kind, which KCL writes since 3.5, a child of a merge is KCL's own row.
    let parents = ["shardId-000000000002", "shardId-000000000003"];
    let mut child = new(&made(&parents, Checkpoint::TrimHorizon));
    assert_eq!(child.remove("entityType"), Some(text("LEASE")));
    assert_eq!(child, item(CHILD_OF_MERGE));
    for checkpoint in [
        Checkpoint::TrimHorizon,
        Checkpoint::Latest,
        Checkpoint::AtTimestamp(7),
        at(SEQUENCE, 4),
    ] {
        let row = new(&made(&[], checkpoint));
        assert_eq!(what_kcl_misses(&row), None);
        assert!(!row.contains_key("parentShardId"), "absent, not empty");
        for (name, write) in writes(&row) {
            assert_eq!(what_kcl_misses(&written(&row, &write)), None, "{name}");
        }
    }
}
