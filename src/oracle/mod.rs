//! The rules a second time: a slow and plain model, written from the contract's text by somebody who had not read the
//! daemon's, and generated worlds in which both answer.
//!
//! `items` reads the access table, `clock` the schedules, `rules` and `places` are the rules, `world` draws tables and
//! histories from a number, `history` plays them by the rules, `daemon` by its own code, and `reduce` makes a difference as small as it gets. What must hold: every
//! answer, reason, rule and flag is the same; and an error that is planted in any one rule is found.
//!
//! `SWIPED_SWIPES` is how many swipes are played (in release, a million take minutes at most), `SWIPED_SEED` the first world.

mod clock;
mod daemon;
mod history;
mod items;
mod places;
mod planted;
mod reduce;
mod rules;
mod schedules;
mod world;

use std::collections::BTreeMap;

use daemon::play_daemon;
use history::{Oracle, SOUND, difference};
use reduce::reduced;
use world::{World, draw};

/// Swipes of a plain run.
const SWIPES: usize = 30_000;

/// Worlds that are looked at to make a difference small.
const REDUCE_TRIES: usize = 20_000;

fn from_environment(name: &str, otherwise: usize) -> usize {
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| {
        let number = text.replace('_', "").parse();
        number.unwrap_or_else(|_| panic!("{name} is {text}, no number"))
    })
}

/// The smallest world of `seed` in which the two differ, as text.
fn told(oracle: &Oracle<'_>, seed: u64) -> String {
    let differ = |world: &World| difference(&play_daemon(world), &oracle.play(world));
    let world = reduced(&draw(seed), REDUCE_TRIES, |world| differ(world).is_some());
    let Some(found) = differ(&world) else {
        return format!("world {seed} differs no more");
    };
    format!(
        "world {seed}\n{world}swipe {}:\ndaemon {:?}\noracle {:?}",
        found.step, found.daemon, found.oracle
    )
}

#[test]
fn the_daemon_and_the_oracle_agree_on_every_swipe() {
    let swipes = from_environment("SWIPED_SWIPES", SWIPES);
    let mut seed = from_environment("SWIPED_SEED", 0) as u64;
    let mut seen = 0;
    let mut failed = 0;
    let mut reasons = BTreeMap::new();
    while seen < swipes {
        let world = draw(seed);
        let oracle = SOUND.play(&world);
        if difference(&play_daemon(&world), &oracle).is_some() {
            eprintln!("after {seen} swipes: {}", told(&SOUND, seed));
            failed += 1;
            if failed > 8 {
                panic!()
            }
        }
        for answer in &oracle {
            *reasons.entry(answer.reason).or_insert(0) += 1;
            for flag in &answer.flags {
                *reasons.entry(flag).or_insert(0) += 1;
            }
        }
        seen += world.steps.len();
        seed += 1;
    }
    eprintln!("{reasons:?}");
}
