//! What fleets go through: one function a kind of course, whose dice say the rest.

use std::time::Duration;

use fastrand::Rng;

use crate::sim::{
    faults::Rates,
    fleet::{Act, Course},
};

/// A quiet fleet of two on three shards.
pub fn quiet(dice: &mut Rng) -> Course {
    Course {
        shards: dice.u32(2..=4),
        swipes: dice.u32(100..200),
        made_within: 15_000,
        sent_again: 0,
        card_changes: 0,
        clocks_differ: false,
        shard_sync: Duration::from_secs(30),
        checkpoint: Duration::from_secs(2),
        acts: vec![(0, Act::Start(0)), (300, Act::Start(1))],
        quiet_at: 16_000,
        end_at: 30_000,
        lie: None,
        fan_out: None,
    }
}

/// Cards change, clocks differ, producers repeat themselves.
pub fn busy(dice: &mut Rng) -> Course {
    Course {
        sent_again: 60,
        card_changes: 40,
        clocks_differ: true,
        shard_sync: Duration::from_secs(4),
        end_at: 38_000,
        ..quiet(dice)
    }
}

pub fn smoke(dice: &mut Rng) -> Course {
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

pub fn rolling_deploy(dice: &mut Rng) -> Course {
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

/// Nothing fails, and a third worker comes.
pub fn joining(dice: &mut Rng) -> Course {
    let mut course = quiet(dice);
    course.shards = dice.u32(3..=12);
    course.acts.push((JOINED_AT, Act::Start(2)));
    course
}

/// When the third worker comes.
pub const JOINED_AT: u64 = 6_000;

/// Several leave at once, perhaps all; somebody comes a little later.
fn leaving_together(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    course
        .acts
        .extend([(500, Act::Start(2)), (700, Act::Start(3))]);
    let at = dice.u64(4_000..8_000);
    for worker in 0..dice.u32(2..=4) {
        course
            .acts
            .push((at + dice.u64(0..300), Act::Drain(worker)));
    }
    course
        .acts
        .push((at + dice.u64(1_000..5_000), Act::Start(4)));
    course
}

/// Of four workers one is left.
fn one_survivor(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    course.shards = dice.u32(4..=8);
    course
        .acts
        .extend([(500, Act::Start(2)), (700, Act::Start(3))]);
    let (at, survivor) = (dice.u64(4_000..10_000), dice.u32(0..4));
    for worker in (0..4).filter(|worker| *worker != survivor) {
        course
            .acts
            .push((at + dice.u64(0..1_500), Act::Crash(worker)));
    }
    course
}

/// SIGSTOP for half a minute, then SIGCONT, while the cards change.
fn stopped_for_half_a_minute(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    let at = dice.u64(3_000..8_000);
    course
        .acts
        .push((at, Act::Pause(dice.u32(0..2), 30_000 + dice.u64(0..500))));
    Course {
        made_within: 40_000,
        card_changes: 80,
        quiet_at: 42_000,
        end_at: 60_000,
        ..course
    }
}

/// The whole stream is split or merged, and again before the lease table was read; a worker dies meanwhile.
fn scaling(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    let mut at = dice.u64(3_000..9_000);
    let crash = dice.u64(0..1_500);
    course.acts.push((at + crash, Act::Crash(dice.u32(0..2))));
    for _ in 0..dice.u32(1..=4) {
        course.acts.push((at, Act::Scale(dice.bool())));
        at += dice.u64(30..700);
    }
    if dice.bool() {
        course.acts.push((at + dice.u64(0..3_000), Act::Start(2)));
    }
    course
}

/// An application of KCL read the stream, perhaps through a reshard, and stopped; one of its workers may live a while
/// longer.
fn from_kcl(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    let begins = 3_000;
    course.acts = vec![
        (1_500, Act::Scale(dice.bool())),
        (begins, Act::KclRows),
        (begins + dice.u64(0..2_000), Act::Start(0)),
        (begins + dice.u64(0..2_000), Act::Start(1)),
    ];
    for renewal in 1..dice.u64(1..4) {
        course
            .acts
            .push((begins + renewal * 3_300, Act::KclRenews(dice.u32(0..2))));
    }
    course.end_at = 60_000;
    course
}

/// What is read of the tables is often old when it arrives: reads are answered after writes that were sent later.
fn stale_reads(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    course.acts.push((
        0,
        Act::Weather(Rates {
            late: dice.u32(200..600),
            ..Rates::default()
        }),
    ));
    course.acts.push((dice.u64(2_000..9_000), Act::Start(2)));
    course
        .acts
        .push((dice.u64(5_000..12_000), Act::Drain(dice.u32(0..2))));
    course
        .acts
        .push((dice.u64(3_000..12_000), Act::Split(dice.usize(0..8))));
    course
}

/// All of it.
fn anything(dice: &mut Rng) -> Course {
    let mut course = busy(dice);
    course.acts.push((0, Act::Weather(Rates::WEATHER)));
    let mut next = 2;
    for _ in 0..dice.u32(1..6) {
        let (at, worker) = (dice.u64(1_000..15_000), dice.u32(0..next));
        let act = match dice.u32(0..8) {
            0 => Act::Crash(worker),
            1 => Act::Drain(worker),
            2 => Act::Pause(worker, dice.u64(200..6_000)),
            3 => Act::CutOff(worker, dice.u64(200..6_000)),
            4 => Act::Split(dice.usize(0..8)),
            5 => Act::Merge(dice.usize(0..8)),
            6 => Act::Scale(dice.bool()),
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
const COURSES: [Kind; 19] = [
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
    ("joining", joining),
    ("leaving together", leaving_together),
    ("one survivor", one_survivor),
    ("stopped for half a minute", stopped_for_half_a_minute),
    ("scaling", scaling),
    ("from kcl", from_kcl),
    ("stale reads", stale_reads),
    ("anything", anything),
    ("anything again", anything),
];

/// Room for four idle shards, so that the others have to wait.
pub const READ_BUDGET: u32 = 4 * (64 << 10);

/// The course of `seed`.
pub fn course(seed: u64) -> (&'static str, Course) {
    let seed_of = usize::try_from(seed).expect("64 bits");
    let (name, of) = COURSES[seed_of % COURSES.len()];
    let mut course = of(&mut Rng::with_seed(seed));
    // Every kind of course is read both ways.
    course.fan_out = (seed_of / COURSES.len() % 3 == 1).then_some(READ_BUDGET);
    (name, course)
}
