//! The yardstick: the same page as one would write it first, with care but without measuring. serde_json into an owned
//! struct, a `DashMap` of cards by their `String` id, the same checks as a list of `if`s, serde_json to a `Vec<u8>` a
//! decision. Standard hashers throughout. Its decisions are the same bytes as `swiped`'s, which is asserted before measuring.

use std::collections::{HashMap, HashSet};

use dashmap::DashMap;
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use swiped::model::{
    card::{CardStatus, HolderStatus},
    decision::{Outcome, Reason},
    position::Record,
    swipe::{Direction, is_id},
};

use crate::estate::{self, Door, PROFILES, SCHEDULES, ZONES, of_site};

/// What a device sends.
#[derive(Deserialize)]
struct Swipe {
    v: u32,
    device_id: String,
    device_seq: u64,
    access_point: String,
    card_id: String,
    swiped_at_ms: i64,
    direction: Option<Way>,
    #[serde(default)]
    offline: bool,
    trace_id: Option<String>,
}

#[derive(Clone, Copy, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Way {
    In,
    Out,
}

/// What it is answered.
#[derive(Serialize)]
struct Decision<'a> {
    v: u32,
    decision_id: &'a str,
    decision: &'static str,
    reason: &'static str,
    rule: u8,
    device_id: &'a str,
    device_seq: u64,
    access_point: &'a str,
    card_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<Way>,
    swiped_at_ms: i64,
    decided_at_ms: i64,
    actuate: bool,
    flags: Vec<&'static str>,
    source: Source<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Source<'a> {
    shard: &'a str,
    sequence: &'a str,
    sub: u64,
}

struct Card {
    status: CardStatus,
    holder: HolderStatus,
    valid_to_s: Option<i64>,
    profiles: Vec<String>,
}

struct Point {
    site: String,
    direction: Way,
    always_out: bool,
}

struct Policy {
    points: HashSet<String>,
    schedule: Option<String>,
}

struct Window {
    days: u8,
    from_s: i32,
    until_s: i32,
}

/// The answer that a swipe got: why, and what would have denied it.
#[derive(Clone, Copy)]
struct Answer {
    reason: Reason,
    would_deny: Option<Reason>,
    decided_at_ms: i64,
}

/// Answers kept for repeats: as many as `swiped` keeps.
const RECENT_MAX: usize = 32_768;

/// Everything that is known, and the answers given lately.
pub struct Plain {
    cards: DashMap<String, Card>,
    points: HashMap<String, Point>,
    devices: HashMap<String, HashSet<String>>,
    profiles: HashMap<String, Vec<Policy>>,
    schedules: HashMap<String, Window>,
    sites: HashMap<String, TimeZone>,
    recent: HashMap<String, Answer>,
    recent_before: HashMap<String, Answer>,
}

impl Plain {
    /// The same estate.
    pub fn new(doors: &[Door]) -> Self {
        let cards = DashMap::new();
        for number in 0..estate::CARDS {
            let estate::Card {
                id,
                status,
                holder,
                valid_to_s,
                profiles,
            } = estate::card(number);
            cards.insert(
                id,
                Card {
                    status,
                    holder,
                    valid_to_s,
                    profiles,
                },
            );
        }
        let mut profiles = HashMap::new();
        for site in 0..ZONES.len() {
            for (profile, schedule) in PROFILES {
                let points = of_site(doors, site).map(|door| door.id.clone()).collect();
                let policy = Policy {
                    points,
                    schedule: schedule.map(str::to_owned),
                };
                profiles.insert(format!("{profile}-{site}"), vec![policy]);
            }
        }
        let mut devices: HashMap<String, HashSet<String>> = HashMap::new();
        for door in doors {
            devices
                .entry(door.device.clone())
                .or_default()
                .insert(door.id.clone());
        }
        let window = |days, from, until| Window {
            days,
            from_s: i32::from(from) * 3600,
            until_s: i32::from(until) * 3600,
        };
        Self {
            cards,
            points: doors.iter().map(point).collect(),
            devices,
            profiles,
            schedules: SCHEDULES
                .map(|(id, days, from, until)| {
                    (id.to_owned(), window((1 << days) - 1, from, until))
                })
                .into(),
            sites: ZONES
                .iter()
                .enumerate()
                .map(|(site, zone)| (site.to_string(), TimeZone::get(zone).expect("a zone")))
                .collect(),
            recent: HashMap::new(),
            recent_before: HashMap::new(),
        }
    }

    /// Answers a page: the partition key and the event of every swipe, in order.
    pub fn page(&mut self, records: &[Record], shard: &str, now_ms: i64) -> Vec<(String, Vec<u8>)> {
        let mut events = Vec::with_capacity(records.len());
        for record in records {
            let swipe: Swipe = serde_json::from_slice(&record.data).expect("a swipe");
            assert!(swipe.valid(), "a swipe of the contract");
            let decision_id = format!("{}#{}", swipe.device_id, swipe.device_seq);
            let known = self
                .recent
                .get(&decision_id)
                .or_else(|| self.recent_before.get(&decision_id))
                .copied();
            let answer = match known {
                Some(answer) => answer,
                None => {
                    let answer = self.answer(&swipe, now_ms);
                    self.remember(decision_id.clone(), answer);
                    answer
                }
            };
            let late = now_ms - swipe.swiped_at_ms > 2_000;
            let decision = Decision {
                v: 1,
                decision_id: &decision_id,
                decision: answer.reason.outcome().as_str(),
                reason: answer.reason.as_str(),
                rule: answer.reason.rule(),
                device_id: &swipe.device_id,
                device_seq: swipe.device_seq,
                access_point: &swipe.access_point,
                card_id: &swipe.card_id,
                direction: swipe.direction.or(self
                    .points
                    .get(&swipe.access_point)
                    .map(|point| point.direction)),
                swiped_at_ms: swipe.swiped_at_ms,
                decided_at_ms: answer.decided_at_ms,
                actuate: known.is_none() && !late,
                flags: answer.would_deny.map(Reason::as_str).into_iter().collect(),
                source: Source {
                    shard,
                    sequence: record.sequence.as_str(),
                    sub: 0,
                },
                trace_id: swipe.trace_id.as_deref(),
            };
            let event = serde_json::to_vec(&decision).expect("JSON");
            events.push((swipe.device_id, event));
        }
        events
    }

    fn remember(&mut self, decision_id: String, answer: Answer) {
        if self.recent.len() >= RECENT_MAX {
            std::mem::swap(&mut self.recent, &mut self.recent_before);
            self.recent.clear();
        }
        self.recent.insert(decision_id, answer);
    }

    fn answer(&self, swipe: &Swipe, now_ms: i64) -> Answer {
        let always_out = self
            .points
            .get(&swipe.access_point)
            .is_some_and(|point| point.always_out);
        let reason = self.check(swipe, now_ms);
        let settled_before_the_door = matches!(
            reason,
            Reason::UntrustedDevice
                | Reason::FutureSwipe
                | Reason::StaleSwipe
                | Reason::AccessPointUnknown
        );
        let egress = always_out && !settled_before_the_door;
        Answer {
            reason: if egress {
                Reason::GrantedEgress
            } else {
                reason
            },
            would_deny: (egress && reason.outcome() == Outcome::Deny).then_some(reason),
            decided_at_ms: now_ms,
        }
    }

    fn check(&self, swipe: &Swipe, now_ms: i64) -> Reason {
        if self
            .devices
            .get(&swipe.device_id)
            .is_some_and(|points| !points.contains(&swipe.access_point))
        {
            return Reason::UntrustedDevice;
        }
        let age_ms = now_ms - swipe.swiped_at_ms;
        if age_ms < -30_000 {
            return Reason::FutureSwipe;
        }
        if age_ms > 86_400_000 && !swipe.offline {
            return Reason::StaleSwipe;
        }
        let Some(point) = self.points.get(&swipe.access_point) else {
            return Reason::AccessPointUnknown;
        };
        if swipe.direction.is_some_and(|said| said != point.direction) {
            return Reason::AccessPointUnknown;
        }
        let Some(card) = self.cards.get(&swipe.card_id) else {
            return Reason::CredentialNotFound;
        };
        match card.status {
            CardStatus::Stolen => return Reason::CredentialStolen,
            CardStatus::Lost => return Reason::CredentialLost,
            CardStatus::Destroyed => return Reason::CredentialDestroyed,
            CardStatus::Damaged => return Reason::CredentialDamaged,
            CardStatus::Unissued => return Reason::CredentialUnassigned,
            CardStatus::Revoked => return Reason::CredentialRevoked,
            CardStatus::Suspended => return Reason::CredentialSuspended,
            CardStatus::Inactive => return Reason::CredentialInactivity,
            CardStatus::Issued | CardStatus::Expired => {}
        }
        if card.holder != HolderStatus::Active {
            return Reason::HolderInactive;
        }
        if card.status == CardStatus::Expired
            || card
                .valid_to_s
                .is_some_and(|end| swipe.swiped_at_ms >= end * 1000)
        {
            return Reason::CredentialExpired;
        }
        self.rights(&card, point, swipe)
    }

    fn rights(&self, card: &Card, point: &Point, swipe: &Swipe) -> Reason {
        let mut reason = Reason::Unauthorized;
        for policy in card
            .profiles
            .iter()
            .filter_map(|id| self.profiles.get(id))
            .flatten()
        {
            if policy.points.contains(&swipe.access_point) {
                match &policy.schedule {
                    Some(schedule) if !self.is_open(schedule, &point.site, swipe.swiped_at_ms) => {
                        reason = Reason::NotPermittedAtThisTime;
                    }
                    _ => return Reason::Granted,
                }
            }
        }
        reason
    }

    fn is_open(&self, schedule: &str, site: &str, at_ms: i64) -> bool {
        let (Some(window), Some(zone), Ok(at)) = (
            self.schedules.get(schedule),
            self.sites.get(site),
            Timestamp::from_millisecond(at_ms),
        ) else {
            return false;
        };
        let local = zone.to_datetime(at);
        let second = i32::from(local.hour()) * 3600
            + i32::from(local.minute()) * 60
            + i32::from(local.second());
        let on = |day: i8| window.days & (1 << day) != 0;
        let today = local.weekday().to_monday_zero_offset();
        if window.until_s > window.from_s {
            on(today) && (window.from_s..window.until_s).contains(&second)
        } else {
            (on(today) && second >= window.from_s)
                || (on((today + 6) % 7) && second < window.until_s)
        }
    }
}

impl Swipe {
    fn valid(&self) -> bool {
        let trace = self.trace_id.as_ref();
        self.v == 1
            && [&self.device_id, &self.access_point, &self.card_id]
                .into_iter()
                .all(|id| is_id(id.as_bytes()))
            && (0..=9_999_999_999_999).contains(&self.swiped_at_ms)
            && trace.is_none_or(|trace_id| trace_id.len() <= 128)
    }
}

fn point(door: &Door) -> (String, Point) {
    let direction = match door.direction {
        Direction::In => Way::In,
        Direction::Out => Way::Out,
    };
    (
        door.id.clone(),
        Point {
            site: door.site.to_string(),
            direction,
            always_out: door.always_out,
        },
    )
}
