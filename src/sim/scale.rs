//! The largest fleet that is promised: 10 000 shards, 200 workers, one of them lost; and what its leases cost in writes.
//!
//! Most shards are idle, as in a stream made for a peak; a few are busy and are read all the time. Failover, margin and the time
//! between checkpoints are the daemon's defaults, because the figures depend on them. Writes are counted as the tables
//! apply them: of a lease's row, and of the workers' heartbeats, of which every lease bears an equal part.
//!
//! A plain run takes a tenth of that fleet, with as many leases a worker; `SWIPED_FLEET=full cargo test --release -p swiped
//! --lib sim::scale -- --nocapture` takes all of it.

use std::{collections::BTreeMap, env, time::Duration};

use fastrand::Rng;

use crate::{
    model::{lease::WorkerId, position::ShardId},
    sim::{
        courses,
        fleet::{self, Act, Course, Step, payload},
        invariants,
        log::{Event, Fate, Log, Ms},
        world::HASH_KEYS,
    },
};

/// A fleet, and when what happens to it.
struct Size {
    shards: u32,
    workers: u32,
    busy: u32,
}

/// The promised size.
const FULL: Size = Size {
    shards: 10_000,
    workers: 200,
    busy: 100,
};

/// As many leases a worker, with fewer workers.
const SMALL: Size = Size {
    shards: 1_000,
    workers: 20,
    busy: 10,
};

/// The stretch in which writes are counted: everything has settled before it, and nothing happens in it.
const STEADY: (Ms, Ms) = (8_000, 28_000);

/// When a worker is lost.
const LOST_AT: Ms = 29_300;

const END: Ms = 40_000;

/// Lost workers' shards are read again after this at most.
const COVERED: Ms = 6_000;

/// Writes to both lease tables for a busy lease, in a day, at most.
const WRITES_A_DAY: u64 = 20_000;

fn course(size: &Size) -> Course {
    let starts = (0..size.workers).map(|worker| (0, Act::Start(worker)));
    let mut acts = vec![(0, Act::OwnRows(size.workers)), (0, Act::IdlePace(20_000))];
    acts.extend(starts);
    acts.push((LOST_AT, Act::Crash(size.workers / 2)));
    Course {
        shards: size.shards,
        checkpoint: Duration::from_secs(5),
        acts,
        quiet_at: END,
        end_at: END,
        ..courses::quiet(&mut Rng::with_seed(0))
    }
}

/// What `course` says, and a swipe a second for every busy shard.
fn steps(size: &Size, course: &Course, dice: &mut Rng) -> Vec<(Ms, Step)> {
    let acts = course.acts.iter().map(|(at, act)| (*at, Step::Act(*act)));
    let mut steps: Vec<(Ms, Step)> = acts.collect();
    let (width, apart) = (HASH_KEYS / size.shards, size.shards / size.busy);
    let mut seq = 0;
    for second in 0..END / 1_000 - 3 {
        for busy in 0..size.busy {
            let at = second * 1_000 + dice.u64(1..1_000);
            seq += 1;
            let (data, id) = payload(0, seq, at, dice);
            // One more than the shards that are a multiple of the workers, or one worker would have all of them.
            let shard = busy * apart + busy % apart;
            steps.push((at, Step::Append(shard * width, data, vec![id])));
        }
    }
    steps.sort_by_key(|(at, _)| *at);
    steps
}

/// Writes to the tables in the steady stretch.
#[derive(Debug, Default)]
struct Writes {
    heartbeats: u64,
    leases: BTreeMap<ShardId, u64>,
}

fn writes(log: &Log) -> Writes {
    let mut writes = Writes::default();
    let steady = |at: &Ms| (STEADY.0..STEADY.1).contains(at);
    for (_, _, event) in log.entries().filter(|(_, at, _)| steady(at)) {
        match event {
            Event::Heartbeat { .. } => writes.heartbeats += 1,
            Event::RowWritten { shard, .. } => {
                *writes.leases.entry(shard.clone()).or_default() += 1;
            }
            _ => {}
        }
    }
    writes
}

/// Shards on which a record was ever put.
fn busy(log: &Log) -> Vec<ShardId> {
    let mut busy: Vec<ShardId> = log
        .entries()
        .filter_map(|(_, _, event)| match event {
            Event::Appended { shard, .. } => Some(shard.clone()),
            _ => None,
        })
        .collect();
    busy.sort();
    busy.dedup();
    busy
}

/// What became of the leases of the worker that was lost.
#[derive(Debug)]
struct Recovery {
    /// The leases that it had.
    had: usize,
    /// Until the last of them was read again.
    covered: Option<Ms>,
    /// Leases that changed hands, its own included.
    moved: usize,
}

fn recovery(log: &Log) -> Recovery {
    let mut owners: BTreeMap<&ShardId, &WorkerId> = BTreeMap::new();
    let mut lost: Option<(&WorkerId, Ms)> = None;
    let mut waiting: BTreeMap<&ShardId, Option<Ms>> = BTreeMap::new();
    let mut moved = 0;
    for (_, at, event) in log.entries() {
        match event {
            Event::Fleet {
                worker,
                what: Fate::Crashed,
            } => {
                lost = Some((worker, at));
                let had = owners.iter().filter(|(_, owner)| **owner == worker);
                waiting = had.map(|(shard, _)| (*shard, None)).collect();
            }
            Event::RowWritten {
                shard,
                owner: Some(owner),
                ..
            } => {
                let before = owners.insert(shard, owner);
                moved += usize::from(lost.is_some() && before != Some(owner));
            }
            Event::Read { shard, worker, .. } => {
                if let Some((lost, since)) = lost.filter(|(lost, _)| *lost != worker)
                    && owners.get(shard).is_some_and(|owner| *owner != lost)
                    && let Some(read) = waiting.get_mut(shard)
                {
                    read.get_or_insert(at - since);
                }
            }
            _ => {}
        }
    }
    let covered: Option<Vec<Ms>> = waiting.values().copied().collect();
    Recovery {
        had: waiting.len(),
        covered: covered.and_then(|covered| covered.into_iter().max()),
        moved,
    }
}

#[test]
fn the_largest_fleet_covers_a_lost_worker_in_time_and_writes_little() {
    let full = env::var("SWIPED_FLEET").is_ok_and(|size| size == "full");
    let size = if full { FULL } else { SMALL };
    let (course, mut dice) = (course(&size), Rng::with_seed(1));
    let steps = steps(&size, &course, &mut dice);
    let log = fleet::play(&course, 1, dice, steps);
    assert_eq!(invariants::check(&log), [""; 0]);

    let recovery = recovery(&log);
    println!(
        "{} shards, {} workers: {recovery:?}",
        size.shards, size.workers
    );
    let share = usize::try_from(size.shards / size.workers).expect("few");
    assert_eq!(recovery.had, share);
    assert_eq!(recovery.moved, share, "no lease of the living moves");
    let in_time = |covered| (1..=COVERED).contains(&covered);
    assert!(recovery.covered.is_some_and(in_time), "{recovery:?}");

    let (writes, busy) = (writes(&log), busy(&log));
    assert_eq!(busy.len(), usize::try_from(size.busy).expect("few"));
    let a_day = |count: u64| count * 86_400_000 / (STEADY.1 - STEADY.0);
    let most = busy
        .iter()
        .map(|shard| writes.leases.get(shard).copied().unwrap_or_default());
    let most = most.max().unwrap_or_default();
    let heartbeats = a_day(writes.heartbeats) / u64::from(size.shards);
    println!(
        "writes a day: {} of its row for the busiest lease, and {heartbeats} heartbeats for a lease's part of its worker",
        a_day(most)
    );
    assert!(most > 0 && a_day(most) + heartbeats <= WRITES_A_DAY);
    let idle: Vec<_> = writes
        .leases
        .keys()
        .filter(|shard| busy.binary_search(shard).is_err())
        .collect();
    assert!(
        idle.is_empty(),
        "rows of idle leases were written: {idle:?}"
    );
}
