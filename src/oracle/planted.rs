//! Errors planted in the oracle, one at a time: each must be found within a plain run, or the worlds do not reach that
//! corner and an error of the daemon would pass there, too.

use super::{
    SWIPES,
    history::{After, Oracle, SOUND, difference},
    items,
    places::{self, CONTRACT, Known, Reading},
    rules::{self, Answer, Case, Limits, Rule, Says},
    world::{World, draw},
};
use Says::{Deny, Grant, Nothing};

enum Plant {
    /// The rule is left out.
    Without,
    /// The rule is asked after the next one.
    Late,
    /// Another rule stands in its place.
    Instead(Rule),
    /// Something else is known after an answer.
    After(After),
    Again(fn(&Answer) -> Answer),
    DecidedAgain,
    Limits(fn(&mut Limits)),
}

use Plant::{After as Moves, Again, DecidedAgain, Instead, Late, Limits as Set, Without};

/// The sound rule, unless `wrong` says something of its own.
fn or(wrong: Option<Says>, case: &Case<'_>, rule: Rule) -> Says {
    wrong.unwrap_or_else(|| rule(case))
}

fn reading(change: fn(&mut Reading)) -> Reading {
    let mut reading = CONTRACT;
    change(&mut reading);
    reading
}

/// The moves of the sound oracle, but only when `counts`.
fn after_if(case: &Case<'_>, answer: &Answer, counts: bool) -> Known {
    if counts {
        places::after(case, answer)
    } else {
        case.known.clone()
    }
}

/// The number of the rule, what is wrong, and how.
const PLANTED: &[(u8, &str, Plant)] = &[
    (2, "is not asked", Without),
    (2, "is asked after the time", Late),
    (
        2,
        "a disabled device is believed",
        Instead(|case| {
            let device = items::device(case.table, &case.swipe.device);
            let lists =
                device.is_some_and(|device| device.doors.contains(&case.swipe.door.as_str()));
            or(lists.then_some(Nothing), case, rules::device)
        }),
    ),
    (
        2,
        "a device need not list the door",
        Instead(|case| {
            let device = items::device(case.table, &case.swipe.device);
            or(
                device.map(|device| {
                    if device.active {
                        Nothing
                    } else {
                        Deny("UntrustedDevice")
                    }
                }),
                case,
                rules::device,
            )
        }),
    ),
    (
        2,
        "every device must be known",
        Set(|limits| limits.known_devices = true),
    ),
    (4, "is not asked", Without),
    (
        4,
        "exactly the skew is too far ahead",
        Set(|limits| limits.skew_ms -= 1),
    ),
    (
        4,
        "one more than the skew is not",
        Set(|limits| limits.skew_ms += 1),
    ),
    (
        4,
        "exactly the age is too old",
        Set(|limits| limits.age_ms -= 1),
    ),
    (
        4,
        "one more than the age is not",
        Set(|limits| limits.age_ms += 1),
    ),
    (
        4,
        "an offline swipe is too old",
        Instead(|case| {
            let old = case.swipe.at_ms < case.now_ms - case.limits.age_ms;
            or(
                old.then_some(Deny("StaleSwipe")),
                case,
                rules::time_of_swipe,
            )
        }),
    ),
    (
        4,
        "an offline swipe may be ahead",
        Instead(|case| {
            or(
                case.swipe.offline.then_some(Nothing),
                case,
                rules::time_of_swipe,
            )
        }),
    ),
    (
        5,
        "the direction is not compared",
        Instead(|case| {
            or(
                case.door.as_ref().map(|_| Nothing),
                case,
                rules::access_point,
            )
        }),
    ),
    (6, "is not asked", Without),
    (6, "is asked after the posture", Late),
    (
        6,
        "ways in are open, too",
        Instead(|case| {
            let open = case.door().egress == "always_allow";
            or(open.then_some(Grant("GrantedEgress")), case, rules::egress)
        }),
    ),
    (7, "is not asked", Without),
    (7, "is asked after the staleness", Late),
    (
        7,
        "the site's lockdown does not count",
        Instead(|case| {
            let secure = case.door().posture == "secure";
            or(secure.then_some(Nothing), case, rules::posture)
        }),
    ),
    (
        7,
        "nobody is exempt from lockdown",
        Instead(|case| {
            let locked = case.door().posture == "lockdown";
            or(locked.then_some(Deny("Lockdown")), case, rules::posture)
        }),
    ),
    (
        7,
        "unlocked doors stay open in a lockdown",
        Instead(|case| {
            let open = case.door().posture == "unlocked";
            or(
                open.then_some(Grant("GrantedDoorUnlocked")),
                case,
                rules::posture,
            )
        }),
    ),
    (8, "is not asked", Without),
    (
        8,
        "exactly the limit is stale",
        Set(|limits| limits.staleness_ms -= 1),
    ),
    (
        8,
        "one more than the limit is not",
        Set(|limits| limits.staleness_ms += 1),
    ),
    (8, "every door goes on", Instead(|_| Nothing)),
    (
        8,
        "no door goes on",
        Instead(|case| {
            if case.is_stale() {
                Deny("AuthorizationUnavailable")
            } else {
                Nothing
            }
        }),
    ),
    (
        8,
        "what is granted by old data is not marked",
        Instead(|case| {
            or(
                (case.is_stale() && case.door().degraded == "last_known")
                    .then_some(Grant("Granted")),
                case,
                rules::staleness,
            )
        }),
    ),
    (
        10,
        "an unknown card is unassigned",
        Instead(|case| {
            or(
                case.card.is_none().then_some(Deny("CredentialUnassigned")),
                case,
                rules::card_known,
            )
        }),
    ),
    (12, "is not asked", Without),
    (12, "is asked after the pool", Late),
    (
        12,
        "lost is stolen",
        Instead(|case| {
            or(
                (case.card().status == "lost").then_some(Deny("CredentialStolen")),
                case,
                rules::card_gone,
            )
        }),
    ),
    (13, "is not asked", Without),
    (13, "is asked after the holder", Late),
    (
        13,
        "available for issue does not count",
        Instead(|case| {
            or(
                (case.card().available && case.card().status == "issued").then_some(Nothing),
                case,
                rules::card_status,
            )
        }),
    ),
    (
        13,
        "revoked comes before available",
        Instead(|case| {
            or(
                (case.card().status == "revoked").then_some(Deny("CredentialRevoked")),
                case,
                rules::card_status,
            )
        }),
    ),
    (14, "is not asked", Without),
    (14, "is asked after the validity", Late),
    (
        14,
        "onboarding is active",
        Instead(|case| {
            or(
                (case.card().holder == "onboarding").then_some(Nothing),
                case,
                rules::holder,
            )
        }),
    ),
    (15, "is not asked", Without),
    (15, "is asked after the rights", Late),
    (
        15,
        "the last second's end is inside",
        Instead(|case| {
            let last = case
                .card()
                .valid
                .to_s
                .is_some_and(|to_s| case.swipe.at_ms == to_s * 1000);
            or(
                (last && case.card().status != "expired").then_some(Nothing),
                case,
                rules::validity,
            )
        }),
    ),
    (
        15,
        "the first instant is outside",
        Instead(|case| {
            let first = case
                .card()
                .valid
                .from_s
                .is_some_and(|from_s| case.swipe.at_ms == from_s * 1000);
            or(
                first.then_some(Deny("CredentialNotActive")),
                case,
                rules::validity,
            )
        }),
    ),
    (
        15,
        "the end is asked first",
        Instead(|case| {
            let over = case.card().valid.over(case.swipe.at_ms) || case.card().status == "expired";
            or(
                over.then_some(Deny("CredentialExpired")),
                case,
                rules::validity,
            )
        }),
    ),
    (
        15,
        "the status does not count",
        Instead(|case| {
            let valid = &case.card().valid;
            let inside = !valid.before(case.swipe.at_ms) && !valid.over(case.swipe.at_ms);
            or(inside.then_some(Nothing), case, rules::validity)
        }),
    ),
    (17, "is not asked", Without),
    (17, "is asked after the schedule", Late),
    (
        17,
        "a denial counts at any time",
        Instead(|case| rules::rights_by(case, |_, _| None)),
    ),
    (
        17,
        "a denial of unknown time does not count",
        Instead(|case| rules::rights_by(case, |case, id| rules::opens(case, id).or(Some(false)))),
    ),
    (18, "is not asked", Without),
    (18, "is asked after the threat", Late),
    (
        18,
        "closes a minute late",
        Instead(|case| {
            rules::schedule_by(case, |case, id| {
                let before = rules::opens_at(case, id, case.swipe.at_ms - 60_000)?;
                Some(before || rules::opens(case, id)?)
            })
        }),
    ),
    (
        18,
        "opens a minute late",
        Instead(|case| {
            rules::schedule_by(case, |case, id| {
                let before = rules::opens_at(case, id, case.swipe.at_ms - 60_000)?;
                Some(before && rules::opens(case, id)?)
            })
        }),
    ),
    (
        18,
        "an unknown schedule is open",
        Instead(|case| rules::schedule_by(case, |case, id| rules::opens(case, id).or(Some(true)))),
    ),
    (
        18,
        "an hour is lost",
        Instead(|case| {
            rules::schedule_by(case, |case, id| {
                rules::opens_at(case, id, case.swipe.at_ms - 3_600_000)
            })
        }),
    ),
    (19, "is not asked", Without),
    (19, "is asked after the passback", Late),
    (
        19,
        "the same authority is too little",
        Instead(|case| {
            let level = case.door().threat;
            or(
                (level > 0 && case.card().authority == level).then_some(Deny("ThreatLevel")),
                case,
                rules::threat,
            )
        }),
    ),
    (21, "is not asked", Without),
    (21, "is asked after the occupancy", Late),
    (
        21,
        "soft denies",
        Instead(|case| match places::passback(case) {
            Says::Flag(_) => Deny("AntiPassbackViolation"),
            says => says,
        }),
    ),
    (
        21,
        "hard flags",
        Instead(|case| match places::passback(case) {
            Deny(_) => Says::Flag("soft_apb"),
            says => says,
        }),
    ),
    (
        21,
        "nothing times out",
        Instead(|case| places::passback_by(case, reading(|it| it.timeouts = false))),
    ),
    (
        21,
        "nothing is forgiven",
        Instead(|case| places::passback_by(case, reading(|it| it.forgiveness = false))),
    ),
    (
        21,
        "a late swipe is judged by later ones",
        Instead(|case| places::passback_by(case, reading(|it| it.late = false))),
    ),
    (
        21,
        "coming out is a second entry",
        Instead(|case| places::passback_by(case, reading(|it| it.coming_out = false))),
    ),
    (
        21,
        "inner areas are elsewhere",
        Instead(|case| places::passback_by(case, reading(|it| it.nested = false))),
    ),
    (
        21,
        "where it comes from is not asked",
        Instead(|case| places::passback_by(case, reading(|it| it.asks_from = false))),
    ),
    (
        21,
        "where it goes is not asked",
        Instead(|case| places::passback_by(case, reading(|it| it.asks_to = false))),
    ),
    (
        21,
        "nobody is exempt",
        Instead(|case| places::passback_by(case, reading(|it| it.exemptions = false))),
    ),
    (
        21,
        "a denial moves the card",
        Moves(|case, answer| {
            places::after(
                case,
                &Answer {
                    decision: "grant",
                    ..answer.clone()
                },
            )
        }),
    ),
    (
        21,
        "a way out moves nobody",
        Moves(|case, answer| after_if(case, answer, answer.reason != "GrantedEgress")),
    ),
    (
        21,
        "an unlocked door moves nobody",
        Moves(|case, answer| after_if(case, answer, answer.reason != "GrantedDoorUnlocked")),
    ),
    (
        21,
        "a flagged swipe moves nobody",
        Moves(|case, answer| after_if(case, answer, !answer.flags.contains(&"soft_apb"))),
    ),
    (
        21,
        "a late swipe moves the card back",
        Moves(|case, answer| {
            let mut known = places::after(case, answer);
            if let (Some(door), Some(_), "grant") = (&case.door, &case.card, answer.decision) {
                for (group, place) in places::moves(case.table, door) {
                    known.insert((case.swipe.card.clone(), group), (place, case.swipe.at_ms));
                }
            }
            known
        }),
    ),
    (
        21,
        "nothing is ever left",
        Moves(|case, answer| {
            let mut known = places::after(case, answer);
            for (key, (place, _)) in &mut known {
                if place.is_none() {
                    *place = case.known.get(key).and_then(|(place, _)| place.clone());
                }
            }
            known
        }),
    ),
    (24, "is not asked", Without),
    (
        24,
        "one too many is let in",
        Instead(|case| places::occupancy_by(case, CONTRACT, 1)),
    ),
    (
        24,
        "nobody is exempt",
        Instead(|case| places::occupancy_by(case, reading(|it| it.exemptions = false), 0)),
    ),
    (
        24,
        "inner areas do not count",
        Instead(|case| places::occupancy_by(case, reading(|it| it.nested = false), 0)),
    ),
    (
        24,
        "coming out fills the area",
        Instead(|case| places::occupancy_by(case, reading(|it| it.coming_out = false), 0)),
    ),
    (29, "is not asked", Without),
    (29, "old data is not marked", Instead(|_| Grant("Granted"))),
    (1, "a repeat is acted on", Again(|first| first.clone())),
    (1, "a repeat is decided again", DecidedAgain),
    (
        1,
        "exactly in time is late",
        Set(|limits| limits.actuate_ms -= 1),
    ),
    (
        1,
        "one late is in time",
        Set(|limits| limits.actuate_ms += 1),
    ),
];

fn planted(rule: u8, plant: &Plant, wrong: &mut Vec<(u8, Rule)>) {
    let place = wrong.iter().position(|(number, _)| *number == rule);
    match (plant, place) {
        (Without, Some(place)) => {
            wrong.remove(place);
        }
        (Late, Some(place)) => wrong.swap(place, place + 1),
        (Instead(other), Some(place)) => wrong[place].1 = *other,
        _ => {}
    }
}

/// After how many swipes the error is found, if it is.
fn found_after(rule: u8, plant: &Plant, worlds: &[(World, Vec<Answer>)]) -> Option<usize> {
    let mut wrong = rules::RULES.to_vec();
    planted(rule, plant, &mut wrong);
    let ruled = Oracle {
        rules: &wrong,
        ..SOUND
    };
    let oracle = match plant {
        Moves(after) => Oracle {
            after: *after,
            ..ruled
        },
        Again(again) => Oracle {
            again: *again,
            ..ruled
        },
        DecidedAgain => Oracle {
            first_stands: false,
            ..ruled
        },
        Set(limits) => Oracle {
            limits: *limits,
            ..ruled
        },
        Without | Late | Instead(_) => ruled,
    };
    let mut seen = 0;
    for (world, sound) in worlds {
        if let Some(found) = difference(sound, &oracle.play(world)) {
            return Some(seen + found.step + 1);
        }
        seen += world.steps.len();
    }
    None
}

#[test]
fn an_error_in_any_one_rule_is_found_within_a_plain_run() {
    let (mut worlds, mut swipes) = (Vec::new(), 0);
    for seed in 0.. {
        let world = draw(seed);
        let sound = SOUND.play(&world);
        swipes += world.steps.len();
        worlds.push((world, sound));
        if swipes >= SWIPES {
            break;
        }
    }
    let mut missed = Vec::new();
    for (rule, what, plant) in PLANTED {
        match found_after(*rule, plant, &worlds) {
            Some(after) => println!("rule {rule:2}: {what}: found after {after} swipes"),
            None => missed.push(format!("rule {rule}: {what}")),
        }
    }
    assert!(
        missed.is_empty(),
        "not found in {swipes} swipes: {missed:#?}"
    );
    let unplanted: Vec<_> = rules::RULES
        .iter()
        .filter(|(rule, _)| !PLANTED.iter().any(|(planted, _, _)| planted == rule))
        .map(|(rule, _)| rule)
        .collect();
    assert!(unplanted.is_empty(), "no error is planted in {unplanted:?}");
}
