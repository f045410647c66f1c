//! The rules a second time: a slow and plain model, written from the contract's text by somebody who had not read the
//! daemon's, and generated worlds in which both answer.
//!
//! `items` reads the access table, `clock` the schedules, `rules` and `places` are the rules, `world` draws tables and
//! histories from a number, `history` plays them by the rules, `daemon` by its own code, and `reduce` makes a difference as small as it gets. What must hold: every
//! answer, reason, rule and flag is the same; and an error that is planted in any one rule is found.
//!
//! `SWIPED_SWIPES` is how many swipes are played (in release a million are a matter of a minute), `SWIPED_SEED` the first world.

mod clock;
pub mod daemon;
pub mod history;
mod items;
mod places;
mod planted;
mod reduce;
pub mod rules;
mod schedules;
pub mod world;

use std::collections::BTreeMap;

use crate::model::decision::Reason;
use daemon::play_daemon;
use history::{Oracle, SOUND, difference};
use reduce::reduced;
use world::{World, draw};

/// Swipes of a plain run.
const SWIPES: usize = 30_000;

/// Worlds that are looked at to make a difference small.
const REDUCE_TRIES: usize = 20_000;

/// Different worlds that are told at once.
const DIFFERENCES_MAX: usize = 3;

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
    let first = from_environment("SWIPED_SEED", 0) as u64;
    let (mut seen, mut different) = (0, Vec::new());
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in first.. {
        let world = draw(seed);
        let oracle = SOUND.play(&world);
        if difference(&play_daemon(&world), &oracle).is_some() {
            different.push(format!("after {seen} swipes: {}", told(&SOUND, seed)));
        }
        for answer in &oracle {
            for word in answer.flags.iter().chain([&answer.reason]) {
                *words.entry(word).or_default() += 1;
            }
        }
        seen += world.steps.len();
        if seen >= swipes || different.len() == DIFFERENCES_MAX {
            break;
        }
    }
    assert!(different.is_empty(), "\n{}", different.join("\n\n"));
    let vocabulary = Reason::ALL.map(Reason::as_str);
    for word in vocabulary.into_iter().chain(["soft_apb"]) {
        let spoken = words.get(word).copied().unwrap_or(0);
        let enough = seen / 2_000;
        assert!(
            spoken >= enough,
            "{word} is spoken {spoken} times in {seen} swipes"
        );
    }
}
