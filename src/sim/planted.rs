//! Bugs that are planted, to see that the checker says so. What it can not see, it does not check.

use std::time::Duration;

use fastrand::Rng;

use crate::sim::{
    courses::{self, busy, joining, rolling_deploy},
    fleet::{Act, Course},
    run_seed, search,
    world::Lie,
};

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

/// Runs `of` with and without `lie`: the checker has to say `what` about it within a few seeds, and nothing without it.
#[track_caller]
fn caught(lie: Lie, what: &str, of: impl Fn(&mut Rng) -> Course) {
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
        broken += usize::from(problems.iter().any(|problem| problem.contains(what)));
    }
    assert!(broken >= 2, "{lie:?} was caught in {broken} of 8 seeds");
}

#[test]
fn a_fence_that_never_closes_is_caught() {
    caught(Lie::FenceNeverCloses, "invariant 3:", |dice| {
        let mut course = busy(dice);
        let at = dice.u64(4_000..6_000);
        course.acts.push((at, Act::CutOff(dice.u32(0..2), 6_000)));
        course
    });
}

#[test]
fn a_checkpoint_before_the_write_is_caught() {
    caught(Lie::WritesConfirmedEarly, "invariant 1:", busy);
}

#[test]
fn a_child_that_starts_early_is_caught() {
    caught(Lie::NoParents, "invariant 4:", |dice| {
        orphaned_parents(dice, Act::Split)
    });
}

#[test]
fn a_forgotten_second_parent_is_caught() {
    caught(Lie::OneParent, "invariant 4:", |dice| {
        orphaned_parents(dice, Act::Merge)
    });
}

#[test]
fn taking_from_the_slow_as_from_the_dead_is_caught() {
    caught(Lie::OldHeartbeats, "invariant 3:", busy);
}

#[test]
fn trusting_the_wall_clock_is_caught() {
    caught(Lie::WallClock, "invariant 3:", busy);
}

#[test]
fn a_hand_over_that_leaves_an_old_checkpoint_is_caught() {
    caught(Lie::GivenBehind, "and nothing failed", rolling_deploy);
    caught(Lie::GivenBehind, "and nothing failed", joining);
}

#[test]
fn a_cache_that_believes_what_it_hears_last_is_caught() {
    caught(Lie::LastHeardCounts, "invariant 5:", busy);
}

#[test]
fn a_second_write_of_a_lease_beside_the_first_is_caught() {
    caught(Lie::WritesTwice, "invariant 6:", busy);
}

/// The course of `seed`, with a bug.
fn planted(seed: u64) -> (&'static str, Course) {
    let (name, course) = courses::course(seed);
    let lie = Some(Lie::GivenBehind);
    (name, Course { lie, ..course })
}

#[test]
fn the_line_of_a_failing_seed_repeats_it() {
    let failures = search(planted, 40);
    let failure = failures.first().expect("a seed that fails");
    let line = failure.to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    let seed = line
        .strip_prefix("SWIPED_SEED=")
        .and_then(|line| line.split_once(' '))
        .and_then(|(seed, _)| seed.parse().ok())
        .expect("a number");
    let (name, course) = planted(seed);
    let (_, problems) = run_seed(&course, seed);
    assert_eq!((name, problems), (failure.name, failure.problems.clone()));
    assert!(
        line.contains(name) && line.contains(&failure.problems[0]),
        "{line}"
    );
}
