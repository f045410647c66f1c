//! The planned swipes: what is sent, and what must come back.
//!
//! Swipe `k` of a run is a pure function of the seed, `k` and its intended instant, so nothing is kept of it but
//! a few bytes in the ledger, and `verify` can derive it again in another process. The answer is known from the
//! kind of swipe: the kind picks the card, the door and the reader that make it so.

mod kind;

use std::fmt::Write;

use kind::Kind;

use crate::{
    answer::Expect,
    churn::Timetable,
    corrupt::{self, Fault},
    places::{self, Door, SITES},
    population::{Population, Role},
};

const HOUR_MS: i64 = 3_600_000;

/// Swipes that the producer sends twice, in ten thousand.
pub const REPEAT_SHARE: u32 = 50;

/// The swipe that is nearly 1 MiB, of runs that are long enough to have it.
pub const HUGE_SWIPE: u64 = 2_000;

/// One record, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What is sent.
    pub payload: Vec<u8>,
    /// The card: the partition key.
    pub card: String,
    /// What must come back.
    pub expect: Expect,
    /// What a decision must repeat of it, see [`fingerprint`].
    pub fingerprint: u32,
    /// The producer sends it a second time.
    pub repeat: bool,
    /// It must not be put into an aggregate.
    pub alone: bool,
}

/// The swipes of one run.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Whose cards.
    pub population: Population,
    /// When churn cards change.
    pub timetable: Timetable,
    /// Intended instant of a swipe whose offset is 0: Unix epoch ms.
    pub start_ms: i64,
    /// `device_seq` of swipe 0. Runs never overlap, see [`base_seq`].
    pub base_seq: u64,
}

/// The first `device_seq` of a run that starts then: a thousand numbers a millisecond, so that no later run
/// repeats one unless this one sends over a million swipes a second.
pub fn base_seq(start_ms: i64) -> u64 {
    start_ms.unsigned_abs() * 1000
}

/// What a decision must repeat of its swipe, in 32 bits (FNV-1a).
pub fn fingerprint(device_id: &str, access_point: &str, card_id: &str, swiped_at_ms: i64) -> u32 {
    let texts = [device_id, access_point, card_id].map(str::as_bytes);
    let bytes = texts
        .into_iter()
        .flat_map(|text| text.iter().chain(&[0]))
        .copied()
        .chain(swiped_at_ms.to_le_bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// The parts of a swipe before it is text.
struct Parts {
    device: String,
    point: String,
    card: String,
    swiped_at_ms: i64,
    direction: Option<&'static str>,
    offline: bool,
    expect: Expect,
}

impl Traffic {
    /// Swipe `k`, whose intended instant is `offset_ms` after the start.
    pub fn swipe(&self, k: u64, offset_ms: i64) -> Planned {
        let mut draw = fastrand::Rng::with_seed(mix(
            self.population.seed ^ mix(self.base_seq.wrapping_add(k))
        ));
        let kind = Kind::drawn(draw.u32(..10_000));
        let parts = self.parts(kind, offset_ms, &mut draw);
        let text = self.text(&parts, k, &mut draw);
        let repeat = draw.u32(..10_000) < REPEAT_SHARE && kind != Kind::Fault;
        let fingerprint = fingerprint(&parts.device, &parts.point, &parts.card, parts.swiped_at_ms);
        let fault = match kind {
            _ if k == HUGE_SWIPE => Some(Fault::Huge),
            Kind::Fault => Some(Fault::DRAWN[draw.usize(..Fault::DRAWN.len())]),
            _ => None,
        };
        let Some(fault) = fault else {
            let payload = text.into_bytes();
            return Planned {
                payload,
                card: parts.card,
                expect: parts.expect,
                fingerprint,
                repeat,
                alone: false,
            };
        };
        Planned {
            payload: corrupt::corrupt(&text, fault, &mut draw),
            card: parts.card,
            expect: Expect::Reject(fault.error()),
            fingerprint,
            repeat: false,
            alone: fault.travels_alone(),
        }
    }

    /// The swipe of a staff card at an ordinary door, which the kind then bends.
    fn parts(&self, kind: Kind, offset_ms: i64, draw: &mut fastrand::Rng) -> Parts {
        let world = &self.population;
        let role = match kind {
            Kind::Home(role, _) => role,
            Kind::Lab => Role::Lab,
            Kind::Exempt => Role::Responder,
            Kind::Vault => Role::Barred,
            Kind::FirstInstant | Kind::BeforeFirst | Kind::LastInstant | Kind::AfterLast => {
                Role::Edge
            }
            _ => Role::Staff,
        };
        let churn = (kind == Kind::Churn).then(|| self.timetable.card_at(offset_ms, draw));
        let card = churn.map_or_else(
            || world.card_of(role, draw),
            |number| world.churn_card(number),
        );
        let away = if kind == Kind::Foreign {
            draw.usize(1..SITES.len())
        } else {
            0
        };
        let site = SITES[(card.home + away) % SITES.len()].name;
        let door = kind.door(draw);
        let mut parts = Parts {
            device: places::device(site, door),
            point: places::access_point(site, door),
            card: card.id,
            swiped_at_ms: self.start_ms + offset_ms,
            direction: draw.bool().then_some(if matches!(door, Door::Exit(_)) {
                "out"
            } else {
                "in"
            }),
            offline: false,
            expect: churn.map_or_else(|| Expect::Decision(kind.reason()), Expect::Churn),
        };
        self.bend(kind, site, &mut parts, draw);
        parts
    }

    fn bend(&self, kind: Kind, site: &str, parts: &mut Parts, draw: &mut fastrand::Rng) {
        let (first_s, end_s) = self.population.edges_s();
        match kind {
            Kind::Offline => {
                parts.swiped_at_ms -= 25 * HOUR_MS + draw.i64(0..HOUR_MS);
                parts.offline = true;
            }
            Kind::UnlistedDevice => parts.device = format!("kiosk-{site}-{}", draw.u8(..)),
            Kind::DisabledDevice => parts.device = places::disabled_device(site),
            Kind::MovedDevice => parts.device = places::moved_device(site),
            Kind::Future => parts.swiped_at_ms += HOUR_MS / 6 + draw.i64(0..HOUR_MS),
            Kind::Stale => parts.swiped_at_ms -= 25 * HOUR_MS + draw.i64(0..72 * HOUR_MS),
            Kind::UnknownPoint => {
                parts.point = format!("{site}-door-{}-in", draw.u32(1000..9999));
                parts.device = format!("kiosk-{site}-{}", draw.u8(..));
            }
            Kind::WrongDirection => parts.direction = Some("out"),
            Kind::LockedSite => {
                parts.point = places::annex_entrance();
                parts.device = "kiosk-annex".to_owned();
            }
            Kind::UnknownCard => parts.card = self.population.unknown_card(draw),
            Kind::Egress | Kind::Open => match draw.u8(..4) {
                0 => parts.card = self.population.unknown_card(draw),
                1 => parts.card = self.population.card_of(Role::Stolen, draw).id,
                _ => {}
            },
            Kind::FirstInstant => parts.swiped_at_ms = first_s * 1000,
            Kind::BeforeFirst => parts.swiped_at_ms = first_s * 1000 - 1,
            Kind::LastInstant => parts.swiped_at_ms = end_s * 1000 - 1,
            Kind::AfterLast => parts.swiped_at_ms = end_s * 1000,
            _ => {}
        }
    }

    fn text(&self, parts: &Parts, k: u64, draw: &mut fastrand::Rng) -> String {
        let mut text = String::with_capacity(256);
        let seq = self.base_seq + k;
        let Parts {
            device,
            point,
            card,
            swiped_at_ms,
            ..
        } = parts;
        // Writing to a String cannot fail.
        _ = write!(
            text,
            r#"{{"v":1,"device_id":"{device}","device_seq":{seq},"access_point":"{point}","card_id":"{card}","swiped_at_ms":{swiped_at_ms}"#
        );
        if let Some(direction) = parts.direction {
            _ = write!(text, r#","direction":"{direction}""#);
        }
        if parts.offline {
            text.push_str(r#","offline":true"#);
        }
        if draw.u8(..4) == 0 {
            _ = write!(text, r#","trace_id":"1-{:08x}-{:016x}""#, k, draw.u64(..));
        }
        text.push('}');
        text
    }
}

/// SplitMix64's finaliser: neighbouring numbers become unrelated seeds.
pub fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        answer::{REJECT_ERRORS, Reason},
        population::CARDS_MIN,
    };
    use std::collections::HashMap;

    const START: i64 = 1_772_438_321_123;

    fn traffic(cards: usize) -> Traffic {
        Traffic {
            population: Population {
                cards,
                seed: 11,
                seeded_at_ms: START - 5000,
            },
            timetable: Timetable::new(20_000),
            start_ms: START,
            base_seq: base_seq(START),
        }
    }

    fn counts(cards: usize, swipes: u64) -> HashMap<Expect, u64> {
        let traffic = traffic(cards);
        let mut counts = HashMap::new();
        for k in 0..swipes {
            *counts
                .entry(traffic.swipe(k, (k / 5) as i64).expect)
                .or_default() += 1;
        }
        counts
    }

    #[test]
    fn every_reason_of_rules_2_to_18_and_29_and_every_reject_occurs_even_in_the_smallest_world() {
        let counts = counts(CARDS_MIN, 40_000);
        let left_out = [
            Reason::AuthorizationUnavailable,
            Reason::GrantedDegraded,
            Reason::ThreatLevel,
            Reason::AntiPassbackViolation,
            Reason::OccupancyLimit,
        ];
        for reason in Reason::ALL {
            let seen = counts.contains_key(&Expect::Decision(reason));
            assert_eq!(seen, !left_out.contains(&reason), "{reason:?}");
        }
        for error in REJECT_ERRORS {
            assert!(counts.contains_key(&Expect::Reject(error)), "{error}");
        }
    }

    #[test]
    fn most_swipes_are_granted() {
        let counts = counts(10_000, 20_000);
        let granted: u64 = counts
            .iter()
            .filter(|(expect, _)| matches!(expect, Expect::Decision(reason) if reason.decision() == "grant"))
            .map(|(_, count)| count)
            .sum();
        assert!((16_500..17_600).contains(&granted), "{granted}");
    }

    #[test]
    fn the_same_seed_gives_the_same_swipes_and_another_gives_others() {
        let (first, again) = (traffic(1000), traffic(1000));
        let mut other = traffic(1000);
        other.population.seed = 12;
        assert!((0..500).all(|k| first.swipe(k, 7) == again.swipe(k, 7)));
        assert!(
            (0..500)
                .filter(|&k| first.swipe(k, 7).payload == other.swipe(k, 7).payload)
                .count()
                < 5
        );
    }

    #[test]
    fn only_future_swipes_are_in_the_future_and_only_late_ones_over_a_day_old() {
        let traffic = traffic(1000);
        for k in 0..20_000 {
            let planned = traffic.swipe(k, 0);
            let Ok(json) = serde_json::from_slice::<serde_json::Value>(&planned.payload) else {
                continue;
            };
            let Some(at) = json["swiped_at_ms"].as_i64() else {
                continue;
            };
            let ago = START - at;
            assert!((-2 * HOUR_MS..100 * HOUR_MS).contains(&ago), "{ago} ms ago");
            if planned.expect == Expect::Decision(Reason::Granted) {
                assert!(
                    (0..=24 * HOUR_MS).contains(&ago) || json["offline"] == true,
                    "{ago} ms ago"
                );
            }
        }
    }

    #[test]
    fn a_swipe_is_the_json_of_the_contract_and_repeats_its_fingerprint() {
        let traffic = traffic(1000);
        for k in 0..2000 {
            let planned = traffic.swipe(k, k as i64);
            if matches!(planned.expect, Expect::Reject(_)) {
                continue;
            }
            let json: serde_json::Value = serde_json::from_slice(&planned.payload).expect("JSON");
            let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
            let at = json["swiped_at_ms"].as_i64().expect("a number");
            let print = fingerprint(
                &text("device_id"),
                &text("access_point"),
                &text("card_id"),
                at,
            );
            assert_eq!(print, planned.fingerprint);
            assert_eq!(json["device_seq"].as_u64(), Some(traffic.base_seq + k));
            assert_eq!(text("card_id"), planned.card);
        }
    }
}
