//! Whole fleets on virtual time: the real lease coordinator and the real shard consumers over simulated ports.
//!
//! Real: `lease` and `pipeline` in full, the access cache, tokio's scheduler on a paused clock. Simulated: the swipe
//! stream with its shards, the decision stream and table, the lease and workers tables, the network between, and
//! producers. Not here: the SDK, the feed of the access table, the shell.
//!
//! `fleet` plays a course, `faults` spoils calls, `world` is the services, `line` the ports; everything that happens is
//! appended to `log`, and `invariants` judges that log alone. One seed gives one history.
//!
//! `SWIPED_SEEDS=10000 cargo test --lib sim` runs more seeds; `SWIPED_SEED=7 cargo test --lib sim` runs one and prints
//! its log.

use std::{env, fmt, thread};

mod balance;
mod courses;
mod faults;
mod fleet;
mod idle;
mod invariants;
mod line;
mod log;
mod planted;
mod scale;
mod scenarios;
mod subscriptions;
mod world;

use fleet::Course;
use log::Log;

/// Seeds that `cargo test` runs.
const SEEDS: u64 = 323;

/// Threads that share the seeds.
const THREADS: u64 = 2;

/// A seed that showed something wrong.
#[derive(Debug)]
struct Failure {
    seed: u64,
    name: &'static str,
    problems: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, name) = (self.seed, self.name);
        write!(
            f,
            "SWIPED_SEED={seed} cargo test -p swiped --lib sim::scenarios::every # {name}: {}",
            self.problems.first().map_or("", String::as_str)
        )?;
        match self.problems.len() {
            0 | 1 => Ok(()),
            more => write!(f, " (and {} more)", more - 1),
        }
    }
}

/// Runs one course with one seed: what happened, and what was wrong.
fn run_seed(course: &Course, seed: u64) -> (Log, Vec<String>) {
    let log = fleet::run(course, seed);
    let problems = invariants::check(&log);
    (log, problems)
}

/// Runs as many seeds as the environment says and returns those that failed, lowest first.
fn hunt(course: fn(u64) -> (&'static str, Course)) -> Vec<Failure> {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>());
    if let Some(seed) = number("SWIPED_SEED") {
        let seed = seed.expect("SWIPED_SEED is a number");
        let (name, course) = course(seed);
        let (log, problems) = run_seed(&course, seed);
        println!("{name}: {course:#?}\n{log}");
        for problem in &problems {
            println!("{problem}");
        }
        let failed = !problems.is_empty();
        return Vec::from_iter(failed.then_some(Failure {
            seed,
            name,
            problems,
        }));
    }
    let seeds =
        number("SWIPED_SEEDS").map_or(SEEDS, |seeds| seeds.expect("SWIPED_SEEDS is a number"));
    search(course, seeds)
}

/// Runs so many seeds and returns those that failed, lowest first.
fn search(course: fn(u64) -> (&'static str, Course), seeds: u64) -> Vec<Failure> {
    let hunter = |offset: u64| {
        let mut failures = Vec::new();
        for seed in (offset..seeds).step_by(usize::try_from(THREADS).expect("few")) {
            let (name, course) = course(seed);
            let (_, problems) = run_seed(&course, seed);
            if !problems.is_empty() {
                failures.push(Failure {
                    seed,
                    name,
                    problems,
                });
            }
        }
        failures
    };
    let mut failures: Vec<Failure> = thread::scope(|scope| {
        let hunters: Vec<_> = (0..THREADS)
            .map(|offset| scope.spawn(move || hunter(offset)))
            .collect();
        hunters
            .into_iter()
            .flat_map(|hunter| hunter.join().expect("a hunter"))
            .collect()
    });
    failures.sort_by_key(|failure| failure.seed);
    failures
}
