//! What must hold, whatever fleets go through.

use std::{fmt::Write, time::Duration};

use fastrand::Rng;

use crate::sim::{
    Failure, balance,
    courses::{JOINED_AT, READ_BUDGET, course, joining, quiet, rolling_deploy, smoke},
    fleet::{Act, Course},
    hunt, idle, invariants, run_seed,
};

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

/// Up to a poll (400 ms) since the last page, up to a heartbeat (1 s) until somebody saw the last one, the failover time
/// (3 s), up to a close look (200 ms), and the calls.
const AFTER_A_CRASH: Duration = Duration::from_millis(4_700);

#[test]
fn the_shards_of_a_worker_that_crashed_are_read_again_within_five_seconds() {
    never_idle_for_longer(AFTER_A_CRASH, |dice| {
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

/// A shard whose subscription is younger than five seconds is polled by whoever gets it.
#[test]
fn a_rolling_deploy_leaves_no_shard_idle_by_fan_out() {
    never_idle_for_longer(Duration::from_secs(1), |dice| Course {
        fan_out: Some(READ_BUDGET),
        ..rolling_deploy(dice)
    });
}

#[test]
fn one_seed_gives_one_history() {
    // The last two are read by fan-out.
    for seed in [3, 8, 9, 26, 36] {
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

/// Nothing is wrong in any of these courses, in which nothing fails; so every record was decided once.
#[track_caller]
fn once(of: impl Fn(&mut Rng) -> Course) {
    for seed in 0..25 {
        let course = of(&mut Rng::with_seed(seed));
        let (log, problems) = run_seed(&course, seed);
        assert_eq!(problems, [""; 0], "seed {seed}");
        assert!(
            !invariants::disturbed(&log),
            "something failed in seed {seed}"
        );
    }
}

#[test]
fn without_a_failure_every_record_is_decided_once() {
    once(smoke);
}

#[test]
fn by_fan_out_every_record_is_decided_once_however_little_room_there_is() {
    // One byte: each page has to give its room back before the next one, of any shard, can be waited for.
    for room in [1, READ_BUDGET] {
        once(|dice| Course {
            fan_out: Some(room),
            shards: 2,
            end_at: 60_000,
            ..smoke(dice)
        });
    }
}

#[test]
fn in_a_rolling_deploy_every_record_is_decided_once() {
    once(rolling_deploy);
}

#[test]
fn a_third_worker_gets_its_share_within_five_seconds_and_no_record_is_decided_twice() {
    once(joining);
    for seed in 0..25 {
        let course = joining(&mut Rng::with_seed(seed));
        let (log, _) = run_seed(&course, seed);
        let balanced = balance::reached(&log);
        let took = balanced.map(|at| at.saturating_sub(JOINED_AT));
        assert!(
            took.is_some_and(|took| (1..=5_000).contains(&took)),
            "balanced after {took:?} ms in seed {seed}"
        );
    }
}
