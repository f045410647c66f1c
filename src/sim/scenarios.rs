//! What fleets go through, and what must hold then.

use std::{fmt::Write, time::Duration};

use fastrand::Rng;

use crate::sim::{
    Failure,
    faults::Rates,
    fleet::{Act, Course},
    hunt, idle, run_seed,
    world::Lie,
};

/// A quiet fleet of two on three shards.
fn quiet(dice: &mut Rng) -> Course {
    Course {
        shards: dice.u32(2..=4),
        swipes: dice.u32(100..200),
        made_within: 15_000,
        sent_again: 0,
        card_changes: 0,
        clocks_differ: false,
        shard_sync: Duration::from_secs(30),
        acts: vec![(0, Act::Start(0)), (300, Act::Start(1))],
        quiet_at: 16_000,
        end_at: 30_000,
        lie: None,
    }
}

/// Cards change, clocks differ, producers repeat themselves.
fn busy(dice: &mut Rng) -> Course {
    Course {
        sent_again: 60,
        card_changes: 40,
        clocks_differ: true,
        shard_sync: Duration::from_secs(4),
        end_at: 38_000,
        ..quiet(dice)
    }
}

fn smoke(dice: &mut Rng) -> Course {
    Course {
        card_changes: 10,
        ..quiet(dice)
    }
}

fn crash(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    let at = dice.u64(2_000..14_000);
    course.acts.push((at, Act::Crash(dice.u32(0..2))));
    course.acts.push((at + dice.u64(0..4_000), Act::Start(2)));
    course
}

fn rolling_deploy(dice: &mut Rng) -> Course {
    let mut course = quiet(dice);
    course.card_changes = 20;
    for old in 0..2 {
        let at = 4_000 + u64::from(old) * 5_000 + dice.u64(0..1_000);
        course.acts.push((at, Act::Start(old + 2)));
        course
            .acts
            .push((at + dice.u64(1_500..2_500), Act::Drain(old)));
    }
    course
}

fn resharding(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    for _ in 0..dice.u32(1..4) {
        let (at, nth) = (dice.u64(1_000..13_000), dice.usize(0..8));
        let act = if dice.bool() {
            Act::Split(nth)
        } else {
            Act::Merge(nth)
        };
        course.acts.push((at, act));
    }
    course
        .acts
        .push((dice.u64(2_000..14_000), Act::Crash(dice.u32(0..2))));
    course
}

/// Records are forgotten soon after they are read, and a worker dies.
fn trimming(dice: &mut Rng) -> Course {
    let mut course = resharding(dice);
    let kept = dice.u64(8_000..11_000);
    course
        .acts
        .extend((4..18).map(|second| (second * 1_000, Act::Trim(kept))));
    course
}

fn storm(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    let rates = Rates {
        throttled: dice.u32(100..600),
        partial: dice.u32(100..500),
        ..Rates::default()
    };
    let at = dice.u64(1_000..6_000);
    course.acts.push((at, Act::Weather(rates)));
    course
        .acts
        .push((at + dice.u64(2_000..9_000), Act::Weather(Rates::default())));
    course
}

fn lost_replies(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    let rates = Rates {
        reply_lost: dice.u32(50..250),
        request_lost: dice.u32(0..100),
        late: dice.u32(0..150),
        ..Rates::default()
    };
    course.acts.push((0, Act::Weather(rates)));
    course
}

fn partial_failures(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    let rates = Rates {
        partial: dice.u32(100..600),
        ..Rates::default()
    };
    course.acts.push((0, Act::Weather(rates)));
    course
        .acts
        .push((dice.u64(2_000..14_000), Act::Crash(dice.u32(0..2))));
    course
}

fn stand_still(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    for worker in 0..2 {
        let (at, ms) = (dice.u64(2_000..9_000), dice.u64(500..7_000));
        let act = if dice.bool() {
            Act::Pause(worker, ms)
        } else {
            Act::CutOff(worker, ms)
        };
        course.acts.push((at, act));
    }
    course
}

/// Workers lose the lease tables for about as long as the fence lasts, while their writes are slow and cards change.
fn flapping(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    course.card_changes = 150;
    course.acts.push((
        0,
        Act::Weather(Rates {
            late: 200,
            ..Rates::default()
        }),
    ));
    for worker in 0..2 {
        let mut at = dice.u64(2_000..4_000);
        while at < 14_000 {
            course
                .acts
                .push((at, Act::CutOff(worker, dice.u64(1_200..3_600))));
            at += dice.u64(3_000..6_000);
        }
    }
    course
}

/// All of it.
fn anything(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    course.acts.push((0, Act::Weather(Rates::WEATHER)));
    let mut next = 2;
    for _ in 0..dice.u32(1..6) {
        let (at, worker) = (dice.u64(1_000..15_000), dice.u32(0..next));
        let act = match dice.u32(0..7) {
            0 => Act::Crash(worker),
            1 => Act::Drain(worker),
            2 => Act::Pause(worker, dice.u64(200..6_000)),
            3 => Act::CutOff(worker, dice.u64(200..6_000)),
            4 => Act::Split(dice.usize(0..8)),
            5 => Act::Merge(dice.usize(0..8)),
            _ => Act::Weather(Rates {
                throttled: 300,
                ..Rates::WEATHER
            }),
        };
        course.acts.push((at, act));
        if matches!(act, Act::Crash(_) | Act::Drain(_)) {
            course
                .acts
                .push((at + dice.u64(0..5_000), Act::Start(next)));
            next += 1;
        }
    }
    course
}

/// A kind of course: its name, and how its dice fall.
type Kind = (&'static str, fn(&mut Rng) -> Course);

/// Every kind of course, by the seed's remainder.
const COURSES: [Kind; 11] = [
    ("flapping", flapping),
    ("smoke", smoke),
    ("crash", crash),
    ("rolling deploy", rolling_deploy),
    ("resharding", resharding),
    ("trimming", trimming),
    ("storm", storm),
    ("lost replies", lost_replies),
    ("partial failures", partial_failures),
    ("stand still", stand_still),
    ("anything", anything),
];

/// The course of `seed`.
fn course(seed: u64) -> (&'static str, Course) {
    let (name, of) = COURSES[usize::try_from(seed).expect("64 bits") % COURSES.len()];
    (name, of(&mut Rng::with_seed(seed)))
}

fn told(failures: &[Failure]) -> String {
    let mut text = String::new();
    for failure in failures.iter().take(5) {
        let _always_fits = writeln!(text, "{failure}");
    }
    text
}

#[test]
fn every_invariant_holds_whatever_happens_to_the_fleet() {
    let failures = hunt(course);
    assert!(
        failures.is_empty(),
        "{} seeds failed:\n{}",
        failures.len(),
        told(&failures)
    );
}

/// No shard stands still for longer than `most` in any of these courses, and nothing else is wrong.
#[track_caller]
fn never_idle_for_longer(most: Duration, of: impl Fn(&mut Rng) -> Course) {
    for seed in 0..25 {
        let course = of(&mut Rng::with_seed(seed));
        let (log, problems) = run_seed(&course, seed);
        assert_eq!(problems, [""; 0], "seed {seed}");
        let (idle, shard) = idle::longest(&log, course.end_at);
        let most = u64::try_from(most.as_millis()).expect("seconds");
        assert!(
            idle <= most,
            "{shard:?} was idle for {idle} ms in seed {seed}"
        );
    }
}

#[test]
fn the_shards_of_a_worker_that_crashed_are_read_again_within_four_seconds() {
    never_idle_for_longer(Duration::from_secs(4), |dice| {
        let mut course = quiet(dice);
        let at = dice.u64(3_000..10_000);
        course.acts.push((at, Act::Crash(dice.u32(0..2))));
        course
    });
}

#[test]
fn a_rolling_deploy_leaves_no_shard_idle() {
    never_idle_for_longer(Duration::from_millis(700), rolling_deploy);
}

#[test]
fn one_seed_gives_one_history() {
    for seed in [3, 8, 9] {
        let (_, course) = course(seed);
        let (one, other) = (run_seed(&course, seed).0, run_seed(&course, seed).0);
        let (one, other) = (one.to_string(), other.to_string());
        let differ = one
            .lines()
            .zip(other.lines())
            .find(|(one, other)| one != other);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!(one, other, "seed {seed}");
    }
}

/// A worker that reads a shard is gone, then the shard is split or merged: its children wait for a parent that nobody
/// reads for seconds.
fn orphaned_parents(dice: &mut Rng, act: fn(usize) -> Act) -> Course {
    let mut course = busy(dice);
    course.shard_sync = Duration::from_secs(1);
    let at = dice.u64(4_000..8_000);
    course.acts.push((at, Act::Crash(dice.u32(0..2))));
    for nth in 0..2 {
        course.acts.push((at + 100, act(nth)));
    }
    course
}

/// Runs `of` with and without `lie`: the checker has to say that `invariant` is broken with it within a few seeds, and
/// nothing without it.
#[track_caller]
fn caught(lie: Lie, invariant: &str, of: impl Fn(&mut Rng) -> Course) {
    let mut broken = 0;
    for seed in 0..8 {
        let honest = of(&mut Rng::with_seed(seed));
        assert_eq!(
            run_seed(&honest, seed).1,
            [""; 0],
            "nothing is planted in seed {seed}"
        );
        let planted = Course {
            lie: Some(lie),
            ..honest
        };
        let problems = run_seed(&planted, seed).1;
        let said = format!("invariant {invariant}:");
        broken += usize::from(problems.iter().any(|problem| problem.contains(&said)));
    }
    assert!(broken >= 2, "{lie:?} was caught in {broken} of 8 seeds");
}

#[test]
fn a_fence_that_never_closes_is_caught() {
    caught(Lie::FenceNeverCloses, "3", |dice| {
        let mut course = busy(dice);
        let at = dice.u64(4_000..6_000);
        course.acts.push((at, Act::CutOff(dice.u32(0..2), 6_000)));
        course
    });
}

#[test]
fn a_checkpoint_before_the_write_is_caught() {
    caught(Lie::WritesConfirmedEarly, "1", busy);
}

#[test]
fn a_child_that_starts_early_is_caught() {
    caught(Lie::NoParents, "4", |dice| {
        orphaned_parents(dice, Act::Split)
    });
}

#[test]
fn a_forgotten_second_parent_is_caught() {
    caught(Lie::OneParent, "4", |dice| {
        orphaned_parents(dice, Act::Merge)
    });
}

#[test]
fn taking_from_the_slow_as_from_the_dead_is_caught() {
    caught(Lie::OldHeartbeats, "3", busy);
}
