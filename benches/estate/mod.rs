//! The estate that `page` is measured on: a million cards, eight sites in eight time zones, 400 access points; and one page
//! of ten thousand swipes of cards picked evenly from all of them, so that the table of cards does not fit the caches.
//!
//! Everything is made from plain specs ([`Card`], [`Door`], [`PROFILES`]), from which the access items of `swiped` and the maps
//! of the plain loop are both built: neither is derived from the other.

#![allow(dead_code, reason = "not every bench uses all of it")]

use std::ops::Range;

use swiped::{
    access::cache::{AccessCache, Snapshot},
    model::{
        card::{CardStatus, HolderStatus},
        item::{Change, Item, Value},
        position::{Payload, Payloads, Record, SequenceNumber},
        swipe::Direction,
    },
};

/// Monday 2 March 2026, 08:58:41 in Amsterdam: office hours at every site.
pub const NOW_MS: i64 = 1_772_438_321_123;

/// Swipes of the page: as many as one GetRecords returns.
pub const SWIPES: usize = 10_000;

/// Cards of the estate.
pub const CARDS: u64 = 1_000_000;

/// The sites' time zones.
pub const ZONES: [&str; 8] = [
    "Europe/Amsterdam",
    "Europe/Berlin",
    "Europe/Lisbon",
    "Europe/London",
    "Europe/Madrid",
    "Europe/Paris",
    "Europe/Rome",
    "Europe/Warsaw",
];

/// Doors of a site; each has an access point in and one out.
const DOORS: u64 = 25;

/// The kinds of profile that every site has, and the schedule they open its doors by.
pub const PROFILES: [(&str, Option<&str>); 3] = [
    ("staff", None),
    ("day", Some("office")),
    ("night", Some("night")),
];

/// The schedules: name, days from Monday, first hour, hour it ends.
pub const SCHEDULES: [(&str, u8, u8, u8); 2] = [("office", 5, 6, 20), ("night", 7, 22, 5)];

/// One way through a door, and the device that reports it.
pub struct Door {
    pub site: usize,
    pub id: String,
    pub device: String,
    pub direction: Direction,
    /// Whether everybody gets out.
    pub always_out: bool,
}

/// Every access point.
pub fn doors() -> Vec<Door> {
    let ways = [Direction::In, Direction::Out];
    let doors = (0..ZONES.len()).flat_map(|site| (0..DOORS).map(move |door| (site, door)));
    doors
        .flat_map(|(site, door)| {
            ways.map(|direction| Door {
                site,
                id: format!("site{site}-lobby-{}-{door}", direction.as_str()),
                device: format!("gate-site{site}-{door}"),
                direction,
                always_out: direction == Direction::Out && door % 5 == 0,
            })
        })
        .collect()
}

/// What is known of one card.
pub struct Card {
    pub id: String,
    pub status: CardStatus,
    pub holder: HolderStatus,
    pub valid_to_s: Option<i64>,
    pub profiles: Vec<String>,
}

/// The site where the holder of a card works.
fn home(number: u64) -> usize {
    (number % ZONES.len() as u64) as usize
}

fn card_id(number: u64) -> String {
    format!("1000{number:08}")
}

/// Card `number` of all: 72 in a hundred open their site at any time, 20 by a schedule that is open, 3 by one that is
/// closed, and 5 open nothing for what they are.
pub fn card(number: u64) -> Card {
    let mut dice = fastrand::Rng::with_seed(number);
    let kind = dice.u64(..100);
    let (status, holder, valid_to_s) = match kind {
        95 | 96 => (CardStatus::Revoked, HolderStatus::Inactive, None),
        97 => (CardStatus::Lost, HolderStatus::Active, None),
        98 => (CardStatus::Issued, HolderStatus::Inactive, None),
        99 => (
            CardStatus::Issued,
            HolderStatus::Active,
            Some(NOW_MS / 1000 - 86_400),
        ),
        _ => {
            let ends = dice
                .bool()
                .then(|| NOW_MS / 1000 + 86_400 * dice.i64(1..1000));
            (CardStatus::Issued, HolderStatus::Active, ends)
        }
    };
    let rights = PROFILES[match kind {
        72..92 => 1,
        92..95 => 2,
        _ => 0,
    }];
    let mut profiles = vec![format!("{}-{}", rights.0, home(number))];
    profiles.extend((0..dice.u8(..3)).map(|_| format!("project-{}", dice.u8(..40))));
    Card {
        id: card_id(number),
        status,
        holder,
        valid_to_s,
        profiles,
    }
}

/// The same cards and doors as items of the access table, taken in as a scan would.
pub fn cache(doors: &[Door]) -> AccessCache {
    let snapshot = Snapshot::new();
    assert!(snapshot.scanned(&rules(doors)).malformed.is_empty());
    for number in 0..CARDS {
        assert_eq!(snapshot.scanned(&[card_item(&card(number))]).put, 1);
    }
    let cache = AccessCache::new();
    cache.replace(snapshot);
    cache.mark_fresh(NOW_MS);
    cache
}

pub fn card_item(card: &Card) -> Item {
    let status = match card.status {
        CardStatus::Revoked => "revoked",
        CardStatus::Lost => "lost",
        _ => "issued",
    };
    let holder = if card.holder == HolderStatus::Active {
        "active"
    } else {
        "inactive"
    };
    let mut item = item(
        &format!("CARD#{}", card.id),
        "CARD#STATUS",
        [
            ("CardStatus", text(status)),
            ("HolderStatus", text(holder)),
            ("AccessProfiles", texts(&card.profiles)),
        ],
    );
    item.extend(
        card.valid_to_s
            .map(|end| ("ValidTo".to_owned(), Value::Number(end.to_string()))),
    );
    item
}

fn rules(doors: &[Door]) -> Vec<Item> {
    let mut items = Vec::new();
    for (site, zone) in ZONES.iter().enumerate() {
        items.push(item(
            &format!("SITE#{site}"),
            "CONFIG",
            [("TimeZone", text(zone))],
        ));
        let points: Vec<String> = of_site(doors, site).map(|door| door.id.clone()).collect();
        for (profile, schedule) in PROFILES {
            let mut policy = map([("AccessPoints", texts(&points))]);
            policy.extend(schedule.map(|id| ("ScheduleId".to_owned(), text(id))));
            let policies = Value::List(vec![Value::Map(policy)]);
            items.push(item(
                &format!("PROFILE#{profile}-{site}"),
                "CONFIG",
                [("Policies", policies)],
            ));
        }
    }
    for (id, days, from, until) in SCHEDULES {
        let days = (1..=days)
            .map(|day| Value::Number(day.to_string()))
            .collect();
        let window = map([
            ("Days", Value::List(days)),
            ("From", text(&format!("{from:02}:00"))),
            ("Until", text(&format!("{until:02}:00"))),
        ]);
        let windows = Value::List(vec![Value::Map(window)]);
        items.push(item(
            &format!("SCHED#{id}"),
            "CONFIG",
            [("Windows", windows)],
        ));
    }
    for door in doors {
        let egress = if door.always_out {
            "always_allow"
        } else {
            "checked"
        };
        items.push(item(
            &format!("AP#{}", door.id),
            "CONFIG",
            [
                ("SiteId", text(&door.site.to_string())),
                ("Direction", text(door.direction.as_str())),
                ("Egress", text(egress)),
            ],
        ));
        let listed: Vec<String> = doors
            .iter()
            .filter(|other| other.device == door.device)
            .map(|other| other.id.clone())
            .collect();
        let fields = [("Status", text("active")), ("AccessPoints", texts(&listed))];
        items.push(item(&format!("DEV#{}", door.device), "CONFIG", fields));
    }
    items
}

/// From now on it is remembered who is inside: each site is an area with soft anti-passback and a limit.
pub fn remember(cache: &AccessCache, doors: &[Door]) {
    let mut items = Vec::new();
    for site in 0..ZONES.len() {
        let fields = [
            ("PassbackMode", text("soft")),
            ("OccupancyUpper", Value::Number("4000000000".to_owned())),
        ];
        items.push(item(&format!("AREA#site{site}"), "CONFIG", fields));
    }
    for mut door in rules(doors) {
        let site = match (door.get("SiteId"), door.get("Direction")) {
            (Some(Value::Text(site)), Some(_)) => format!("site{site}"),
            _ => continue,
        };
        let goes_in = door.get("Direction") == Some(&text("in"));
        let side = if goes_in { "AreaTo" } else { "AreaFrom" };
        door.insert(side.to_owned(), text(&site));
        items.push(door);
    }
    let changes: Vec<Change> = items.into_iter().map(put).collect();
    assert!(cache.apply(&changes).malformed.is_empty());
}

fn put(item: Item) -> Change {
    let key = |name: &str| match item.get(name) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    };
    Change {
        key: (key("PK"), key("SK")),
        image: Some(item),
        sequence: "1".to_owned(),
        created_at_ms: NOW_MS,
    }
}

/// The access points of one site.
pub fn of_site(doors: &[Door], site: usize) -> impl Iterator<Item = &Door> {
    doors.iter().filter(move |door| door.site == site)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn texts(texts: &[String]) -> Value {
    Value::List(texts.iter().map(|each| text(each)).collect())
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Item {
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn item<const N: usize>(pk: &str, sk: &str, fields: [(&str, Value); N]) -> Item {
    let mut item = map(fields);
    item.extend(map([("PK", text(pk)), ("SK", text(sk))]));
    item
}

/// The page: ten thousand plain records.
pub struct Page {
    pub records: Vec<Record>,
    /// What the records are parts of.
    bytes: Vec<u8>,
    /// Where each record begins and ends in them, where the digits of its `device_seq` begin, and the number that these spell
    /// before the first round.
    places: Vec<(Range<usize>, usize, u64)>,
    round: u64,
}

/// Digits of every `device_seq`, so that a page can be renumbered.
const SEQ_DIGITS: usize = 15;

impl Page {
    /// One page. Of a hundred swipes 5 are at a site that is not the card's, 3 of cards that do not exist, and 1 comes a second
    /// time, as from a producer that lost a reply.
    pub fn new(doors: &[Door]) -> Self {
        let mut dice = fastrand::Rng::with_seed(1);
        let mut page = Self {
            records: Vec::with_capacity(SWIPES),
            bytes: Vec::new(),
            places: Vec::with_capacity(SWIPES),
            round: 0,
        };
        for index in 0..SWIPES as u64 {
            let sequence = format!(
                "4968042755084540579407631365840947725935349{:013}",
                3_000_000 + index * 17
            );
            let sequence = SequenceNumber::parse(&sequence).expect("digits");
            let (data, (at, seq)) = match dice.u8(..100) {
                0 if index > 100 => {
                    let again = page.records.len() - dice.usize(1..100);
                    let (place, at, seq) = page.places[again].clone();
                    let at = at - place.start;
                    (page.bytes[place].to_vec(), (at, seq))
                }
                kind => swipe(doors, kind, index, &mut dice),
            };
            let start = page.bytes.len();
            page.bytes.extend_from_slice(&data);
            let place = start..page.bytes.len();
            page.places.push((place, start + at, seq));
            let data = Payload::from(data);
            page.records.push(Record { sequence, data });
        }
        page.share();
        page
    }

    /// Has the records be parts of one buffer, as they are when they were read from a stream.
    fn share(&mut self) {
        let mut payloads = Payloads::with_capacity(self.bytes.len());
        for (record, (place, ..)) in self.records.iter_mut().zip(&self.places) {
            let pushed = payloads.push(|bytes| {
                bytes.extend_from_slice(&self.bytes[place.clone()]);
                Ok::<_, ()>(())
            });
            record.data = pushed.ok().flatten().expect("a part of the page");
        }
        payloads.close();
    }

    /// Gives every swipe a number that no earlier round had, so that the same page can come again without being
    /// a repeat of itself.
    pub fn renumber(&mut self) {
        self.round += 1;
        let offset = self.round * SWIPES as u64;
        for (_, at, seq) in &self.places {
            let mut rest = seq + offset;
            for digit in self.bytes[*at..*at + SEQ_DIGITS].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        self.share();
    }
}

fn swipe(
    doors: &[Door],
    kind: u8,
    index: u64,
    dice: &mut fastrand::Rng,
) -> (Vec<u8>, (usize, u64)) {
    let number = dice.u64(..CARDS);
    let site = if (1..6).contains(&kind) {
        (home(number) + 1) % ZONES.len()
    } else {
        home(number)
    };
    let card = if (6..9).contains(&kind) {
        card_id(CARDS + number)
    } else {
        card_id(number)
    };
    let at_site: Vec<&Door> = of_site(doors, site).collect();
    let door = at_site[dice.usize(..at_site.len())];
    let seq = 100_000_000_000_000 + index;
    let head = format!(
        "{{\"v\":1,\"device_id\":\"{}\",\"device_seq\":",
        door.device
    );
    let text = format!(
        "{head}{seq:0SEQ_DIGITS$},\"access_point\":\"{}\",\"card_id\":\"{card}\",\"swiped_at_ms\":{},\"direction\":\"{}\",\
         \"trace_id\":\"1-69a55031-{:024x}\"}}",
        door.id,
        NOW_MS - dice.i64(0..2_200),
        door.direction.as_str(),
        dice.u128(..1 << 96),
    );
    (text.into_bytes(), (head.len(), seq))
}
