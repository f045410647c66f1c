//! Who may do what: a row each.

use std::time::Duration;

use super::*;

const NOW: i64 = 1_000_000;
const NO: Insist = Insist {
    force: false,
    skip_records: false,
};
const FORCE: Insist = Insist {
    force: true,
    skip_records: false,
};
const SKIP: Insist = Insist {
    force: false,
    skip_records: true,
};
const ALIVE: Option<Life> = Some(Life::Alive(Duration::from_millis(400)));
const STILL: Option<Life> = Some(Life::Still(Duration::from_secs(2)));
const DEAD: Option<Life> = Some(Life::Dead(Duration::from_secs(3)));

fn number(digits: u64) -> SequenceNumber {
    SequenceNumber::parse(&digits.to_string()).expect("digits")
}

fn at(sequence: u64, sub: u64) -> Checkpoint {
    let sequence = number(sequence);
    Checkpoint::At(Position { sequence, sub })
}

fn row(owner: Option<&str>, checkpoint: Checkpoint) -> LeaseRow {
    LeaseRow {
        shard: ShardId::new("s"),
        owner: owner.map(WorkerId::new),
        counter: 7,
        checkpoint,
        parents: Vec::new(),
        hash_range: None,
    }
}

#[test]
fn a_release_takes_the_owner_away_and_nothing_else() {
    let held = row(Some("w"), at(5, 1));
    let expected = LeaseWrite {
        shard: ShardId::new("s"),
        owner_was: Some(WorkerId::new("w")),
        counter_was: 7,
        owner: None,
        checkpoint_was: at(5, 1),
        checkpoint: None,
        children: Vec::new(),
    };
    assert_eq!(release(&held, DEAD, NO), Ok(Some(expected)));
}

#[test]
fn a_lease_is_released_when_its_owner_is_dead_or_somebody_insists() {
    let refused = || Err(Refusal::Released(WorkerId::new("w")));
    for (life, insist, expected) in [
        (ALIVE, NO, refused()),
        (STILL, NO, refused()),
        (None, NO, refused()),
        (DEAD, NO, Ok(true)),
        (ALIVE, FORCE, Ok(true)),
        (ALIVE, SKIP, refused()),
    ] {
        let released = release(&row(Some("w"), at(5, 0)), life, insist);
        let released = released.map(|write| write.is_some());
        assert_eq!(released, expected, "{life:?} {insist:?}");
    }
}

#[test]
fn what_nobody_reads_needs_no_release() {
    assert_eq!(release(&row(None, at(5, 0)), None, NO), Ok(None));
    let ended = row(Some("w"), Checkpoint::ShardEnd);
    assert_eq!(release(&ended, ALIVE, NO), Ok(None));
}

/// Moves the checkpoint of a lease that nobody has.
#[track_caller]
fn check(
    from: Checkpoint,
    to: Checkpoint,
    begins: Begins,
    insist: Insist,
    expected: Result<bool, Refusal>,
) {
    let wanted = Wanted {
        to: to.clone(),
        begins,
        now_ms: NOW,
    };
    let moved = rewind(&row(None, from.clone()), None, &[], &wanted, insist);
    if let Ok(Some(write)) = &moved {
        assert_eq!(
            (&write.checkpoint, write.counter_was),
            (&Some(to.clone()), 7)
        );
    }
    let moved = moved.map(|write| write.is_some());
    assert_eq!(moved, expected, "{from:?} to {to:?}");
}

#[test]
fn a_checkpoint_moves_back_and_moves_forward_only_when_records_may_be_skipped() {
    use Checkpoint::{AtTimestamp, Latest, ShardEnd, TrimHorizon};
    let with = |sequence| Begins::With(number(sequence));
    for (from, to, begins, skipped) in [
        (at(5, 0), TrimHorizon, with(1), false),
        (AtTimestamp(9), TrimHorizon, with(1), false),
        (Latest, TrimHorizon, Begins::AtTip, false),
        (ShardEnd, TrimHorizon, with(1), false),
        (at(5, 3), at(4, 0), with(4), false),
        (at(5, 3), at(5, 2), with(5), false),
        (at(5, 3), at(5, 4), with(5), true),
        (at(5, 3), at(6, 0), with(6), true),
        (at(9, 0), at(10, 0), with(10), true),
        (ShardEnd, at(6, 0), with(6), false),
        (Latest, at(6, 0), with(6), false),
        (TrimHorizon, at(6, 0), with(6), true),
        (AtTimestamp(9), at(6, 0), with(6), true),
        (at(5, 0), AtTimestamp(9), with(3), false),
        (at(5, 0), AtTimestamp(9), with(5), false),
        (at(5, 0), AtTimestamp(9), with(6), true),
        (at(5, 0), AtTimestamp(NOW), Begins::AtTip, true),
        (AtTimestamp(9), AtTimestamp(8), with(1), false),
        (AtTimestamp(9), AtTimestamp(10), with(1), true),
        (TrimHorizon, AtTimestamp(9), with(1), true),
        (ShardEnd, AtTimestamp(NOW), Begins::AtTip, false),
    ] {
        let expected = if skipped {
            Err(Refusal::Skips)
        } else {
            Ok(true)
        };
        check(from.clone(), to.clone(), begins.clone(), NO, expected);
        check(from, to, begins, SKIP, Ok(true));
    }
}

#[test]
fn force_skips_no_records() {
    let begins = Begins::With(number(6));
    check(at(5, 0), at(6, 0), begins, FORCE, Err(Refusal::Skips));
}

#[test]
fn a_checkpoint_that_is_there_already_is_not_written() {
    check(at(5, 0), at(5, 0), Begins::With(number(5)), NO, Ok(false));
    let horizon = Checkpoint::TrimHorizon;
    check(horizon.clone(), horizon, Begins::AtTip, NO, Ok(false));
}

#[test]
fn a_place_that_the_stream_does_not_have_is_refused_whoever_insists() {
    let both = Insist {
        force: true,
        skip_records: true,
    };
    let no_record = |first: Option<u64>| Refusal::NoRecord {
        asked: Box::new(number(4)),
        first: first.map(|first| Box::new(number(first))),
    };
    for (to, begins, why) in [
        (at(4, 0), Begins::With(number(5)), no_record(Some(5))),
        (at(4, 0), Begins::AtTip, no_record(None)),
        (
            at(4, 0),
            Begins::Nowhere("no".to_owned()),
            Refusal::Unreadable("no".to_owned()),
        ),
        (
            Checkpoint::TrimHorizon,
            Begins::Nowhere("gone".to_owned()),
            Refusal::Unreadable("gone".to_owned()),
        ),
        (
            Checkpoint::AtTimestamp(NOW + 1),
            Begins::AtTip,
            Refusal::Future,
        ),
    ] {
        check(at(9, 0), to, begins, both, Err(why));
    }
}

#[test]
fn the_checkpoint_of_a_living_owner_is_never_touched() {
    let wanted = Wanted {
        to: Checkpoint::TrimHorizon,
        begins: Begins::AtTip,
        now_ms: NOW,
    };
    for (life, may) in [(ALIVE, false), (STILL, false), (None, false), (DEAD, true)] {
        let insist = Insist {
            force: true,
            skip_records: true,
        };
        let moved = rewind(&row(Some("w"), at(5, 0)), life, &[], &wanted, insist);
        match moved {
            Ok(Some(write)) if may => assert_eq!(
                (write.owner_was, write.owner),
                (Some(WorkerId::new("w")), None)
            ),
            other => assert_eq!(other, Err(Refusal::Held(WorkerId::new("w"))), "{life:?}"),
        }
    }
}

#[test]
fn a_shard_that_ended_goes_back_before_its_children_began_or_with_them() {
    let child = |name: &str, owner: Option<&str>, checkpoint, parent: &str| LeaseRow {
        shard: ShardId::new(name),
        parents: vec![ShardId::new(parent)],
        ..row(owner, checkpoint)
    };
    let horizon = Checkpoint::TrimHorizon;
    let rows = [
        row(None, Checkpoint::ShardEnd),
        child("a", None, horizon.clone(), "s"),
        child("b", Some("w"), horizon.clone(), "s"),
        child("c", None, at(1, 0), "s"),
        child("d", None, Checkpoint::ShardEnd, "s"),
        child("e", Some("w"), at(1, 0), "another"),
    ];
    let of = |rewound: &[&str], to: &Checkpoint| {
        let rewound = rewound.iter().map(|name| ShardId::new(name)).collect();
        let begun = begun(&rows, &rewound, to).remove(&ShardId::new("s"));
        let begun = begun.unwrap_or_default().into_iter();
        begun.map(|child| child.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of(&["s"], &horizon), ["b", "c", "d"]);
    assert_eq!(of(&["s", "b", "d"], &horizon), ["c"]);
    let instant = Checkpoint::AtTimestamp(5);
    assert_eq!(of(&["s", "b", "c", "d"], &instant), ["b", "c", "d"]);

    let wanted = Wanted {
        to: horizon,
        begins: Begins::With(number(1)),
        now_ms: NOW,
    };
    let begun = [ShardId::new("c")];
    let moved = |begun: &[ShardId], insist| {
        rewind(&rows[0], None, begun, &wanted, insist).map(|write| write.is_some())
    };
    let refused = Refusal::ChildrenBegun(begun.to_vec());
    assert_eq!(moved(&begun, NO), Err(refused.clone()));
    assert_eq!(moved(&begun, SKIP), Err(refused));
    assert_eq!(moved(&begun, FORCE), Ok(true));
    assert_eq!(moved(&[], NO), Ok(true));
}

#[test]
fn an_ended_shard_needs_no_dead_owner_because_nobody_reads_it() {
    let ended = row(Some("kcl"), Checkpoint::ShardEnd);
    assert_eq!(held(&ended, ALIVE), None);
    let open = row(Some("w"), at(5, 0));
    assert_eq!(held(&open, ALIVE), Some(Refusal::Held(WorkerId::new("w"))));
    assert_eq!(held(&open, DEAD), None);
}
