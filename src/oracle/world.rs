//! Worlds to judge in: the items of an access table, and a history of swipes at its doors.
//!
//! Drawn from a seed, so that a number names a world. Most of it is in order, or no swipe would come past the first rules;
//! every kind of thing that can be wrong is, somewhere. Times stand on the edges of what the rules compare: to the
//! millisecond, around changes of the clock, around holidays.

use crate::model::item::{Item, Value};

use super::{
    clock,
    rules::{Limits, Swipe},
};

/// A table and what happens at its doors.
#[derive(Clone)]
pub struct World {
    pub limits: Limits,
    pub items: Vec<Item>,
    pub steps: Vec<Step>,
}

/// One swipe, and what is learnt just before it.
#[derive(Clone)]
pub struct Step {
    pub now_ms: i64,
    /// Everything that happened up to here is known.
    pub fresh_ms: Option<i64>,
    /// Another consumer takes the shard over, and knows only what is stored.
    pub take_over: bool,
    /// A new image of an item.
    pub change: Option<Item>,
    pub swipe: Swipe,
}

const CARDS: [&str; 4] = ["c0", "c1", "c2", "c3"];
const DOORS: [&str; 7] = ["d0", "d1", "d2", "d3", "d4", "d5", "d6"];
const AREAS: [&str; 4] = ["a0", "a1", "a2", "a3"];
const SITES: [&str; 2] = ["s0", "s1"];
const PROFILES: [&str; 4] = ["p0", "p1", "p2", "p3"];
const SCHEDULES: [&str; 4] = ["t0", "t1", "t2", "t3"];
const CALENDARS: [&str; 2] = ["h0", "h1"];

/// With half-hour changes, southern, with changes around Ramadan, with none.
const ZONES: [&str; 7] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "UTC",
];

/// Minutes of the day: those around changes of the clock and around midnight, and ordinary ones.
const TIMES: [&str; 10] = [
    "00:00", "01:30", "02:00", "02:30", "03:00", "06:00", "12:00", "18:00", "22:00", "23:59",
];

/// Epoch seconds near which something happens to the clock of a zone, or to the calendar.
const MOMENTS: [(i64, &str); 8] = [
    (1_774_746_000, "Europe/Berlin"), // 2026-03-29T01:00Z loses an hour
    (1_793_512_800, "America/New_York"), // 2026-11-01T06:00Z repeats one
    (1_791_041_400, "Australia/Lord_Howe"), // 2026-10-03T15:30Z loses half an hour
    (1_775_314_800, "Australia/Lord_Howe"), // 2026-04-04T15:00Z repeats half an hour
    (1_771_120_800, "Africa/Casablanca"), // 2026-02-15T02:00Z repeats an hour
    (1_709_164_800, "UTC"),           // 2024-02-29T00:00Z, a day of leap years
    (1_798_761_600, "Europe/Berlin"), // 2027-01-01T00:00Z
    (1_782_864_000, "Asia/Kolkata"),  // 2026-07-01T00:00Z, nothing
];

/// The source of all that is drawn.
pub struct Dice(pub fastrand::Rng);

impl Dice {
    pub fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end)
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    fn text(&mut self, of: &[&str]) -> Value {
        Value::Text((*self.pick(of)).to_owned())
    }

    /// One of these, but now and then an id that no item has.
    fn named(&mut self, of: &[&str], unknown: &str) -> Value {
        if self.one_in(30) {
            Value::Text(unknown.to_owned())
        } else {
            self.text(of)
        }
    }

    fn number(&mut self, of: &[i64]) -> Value {
        Value::Number(self.pick(of).to_string())
    }
}

/// An item that is being written.
struct Draft(Item);

impl Draft {
    fn keyed(pk: String, sk: &str) -> Self {
        let mut item = Item::new();
        item.insert("PK".to_owned(), Value::Text(pk));
        item.insert("SK".to_owned(), Value::Text(sk.to_owned()));
        Self(item)
    }

    fn map() -> Self {
        Self(Item::new())
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    fn maybe(self, there: bool, name: &str, value: Value) -> Self {
        if there { self.with(name, value) } else { self }
    }
}

fn some<'t>(dice: &mut Dice, of: &[&'t str], one_in: usize) -> Vec<&'t str> {
    of.iter().filter(|_| dice.one_in(one_in)).copied().collect()
}

fn texts(of: &[&str]) -> Value {
    Value::List(
        of.iter()
            .map(|text| Value::Text((*text).to_owned()))
            .collect(),
    )
}

/// A second at or near `base_s`.
fn near(dice: &mut Dice, base_s: i64) -> Value {
    dice.number(&[
        base_s - 86_400,
        base_s - 60,
        base_s,
        base_s,
        base_s + 1,
        base_s + 600,
        base_s + 600,
        base_s + 86_400,
        0,
    ])
}

fn card(dice: &mut Dice, id: &str, base_s: i64) -> Item {
    let status = if dice.one_in(4) {
        dice.text(&[
            "suspended",
            "lost",
            "stolen",
            "damaged",
            "destroyed",
            "revoked",
            "expired",
            "inactive",
            "unissued",
        ])
    } else {
        Value::Text("issued".to_owned())
    };
    let links = (0..=dice.below(3)).map(|_| link(dice, base_s)).collect();
    let mut exempt = some(dice, &["passback", "occupancy", "lockdown"], 5);
    exempt.extend(dice.one_in(9).then_some("escort"));
    let exempt: Vec<_> = exempt.into_iter().map(str::to_owned).collect();
    Draft::keyed(format!("CARD#{id}"), "CARD#STATUS")
        .with("CardStatus", status)
        .maybe(
            dice.one_in(12),
            "IsAvailableForIssue",
            Value::Bool(dice.one_in(2)),
        )
        .maybe(!dice.one_in(30), "HolderStatus", {
            if dice.one_in(15) {
                dice.text(&["onboarding", "inactive"])
            } else {
                Value::Text("active".to_owned())
            }
        })
        .maybe(dice.one_in(7), "ValidFrom", near(dice, base_s))
        .maybe(dice.one_in(7), "ValidTo", near(dice, base_s))
        .maybe(!dice.one_in(20), "AccessProfiles", Value::List(links))
        .maybe(!exempt.is_empty(), "Exemptions", Value::TextSet(exempt))
        .maybe(
            dice.one_in(2),
            "ThreatAuthority",
            dice.number(&[0, 1, 39, 40, 100]),
        )
        .maybe(dice.one_in(4), "ForgivenAt", near(dice, base_s))
        .0
}

fn link(dice: &mut Dice, base_s: i64) -> Value {
    let profile = dice.named(&PROFILES, "p9");
    if dice.one_in(4) {
        let link = Draft::map()
            .with("Id", profile)
            .maybe(dice.one_in(2), "ValidFrom", near(dice, base_s))
            .maybe(dice.one_in(2), "ValidTo", near(dice, base_s));
        Value::Map(link.0)
    } else {
        profile
    }
}

/// Doors come in pairs, in and out, but for the last, which leads anywhere.
fn door(dice: &mut Dice, index: usize, pair: &mut (Option<Value>, Option<Value>)) -> Item {
    let leads_in = index.is_multiple_of(2);
    if leads_in {
        *pair = (
            dice.one_in(2).then(|| dice.text(&AREAS)),
            (!dice.one_in(12)).then(|| dice.text(&AREAS)),
        );
    }
    let (from, to) = if leads_in {
        pair.clone()
    } else {
        (pair.1.clone(), pair.0.clone())
    };
    let direction = if leads_in { "in" } else { "out" };
    let posture = if dice.one_in(6) {
        dice.text(&["unlocked", "lockdown", "disabled"])
    } else {
        Value::Text("secure".to_owned())
    };
    let mut draft = Draft::keyed(format!("AP#{}", DOORS[index]), "CONFIG")
        .with("Direction", Value::Text(direction.to_owned()))
        .maybe(!dice.one_in(15), "SiteId", dice.named(&SITES, "s9"))
        .maybe(dice.one_in(2), "Posture", posture)
        .maybe(
            dice.one_in(2),
            "Egress",
            dice.text(&["always_allow", "checked"]),
        )
        .maybe(
            dice.one_in(2),
            "Degraded",
            dice.text(&["deny", "last_known"]),
        )
        .maybe(dice.one_in(6), "ThreatLevel", dice.number(&[0, 1, 40, 41]));
    if let Some(from) = from {
        draft = draft.with("AreaFrom", from);
    }
    if let Some(to) = to {
        draft = draft.with("AreaTo", to);
    }
    draft.0
}

/// An area's parent is one before it: `strange` worlds have circles.
fn area(dice: &mut Dice, index: usize, strange: bool) -> Item {
    let before = if strange { &AREAS } else { &AREAS[..index] };
    let nested = !before.is_empty() && dice.one_in(2);
    let mut draft = Draft::keyed(format!("AREA#{}", AREAS[index]), "CONFIG")
        .maybe(dice.one_in(2), "AreaGroup", dice.text(&["g0", "g0", "g1"]))
        .maybe(
            !dice.one_in(4),
            "PassbackMode",
            dice.text(&["off", "soft", "soft", "hard", "hard", "hard"]),
        )
        .maybe(
            dice.one_in(2),
            "PassbackTimeoutMin",
            dice.number(&[0, 1, 5, 60]),
        )
        .maybe(
            dice.one_in(3),
            "OccupancyUpper",
            dice.number(&[0, 1, 1, 2, 3]),
        );
    if nested {
        draft = draft.with("Parent", dice.text(before));
    }
    draft.0
}

fn site(dice: &mut Dice, id: &str, zone: &str) -> Item {
    let calendars = some(dice, &CALENDARS, 2);
    Draft::keyed(format!("SITE#{id}"), "CONFIG")
        .with("TimeZone", {
            if dice.one_in(2) {
                dice.text(&ZONES)
            } else {
                Value::Text(zone.to_owned())
            }
        })
        .maybe(!calendars.is_empty(), "HolidayCalendars", texts(&calendars))
        .maybe(dice.one_in(8), "Lockdown", Value::Bool(!dice.one_in(4)))
        .0
}

fn profile(dice: &mut Dice, id: &str) -> Item {
    let policies = (0..dice.below(4)).map(|_| {
        let draft = if dice.one_in(3) {
            Draft::map().with("AreaId", dice.text(&AREAS))
        } else {
            let doors = some(dice, &DOORS, 2);
            Draft::map().with("AccessPoints", texts(&doors))
        };
        let schedule = dice.named(&SCHEDULES, "t9");
        let effect = if dice.one_in(6) { "deny" } else { "allow" };
        let draft = draft.maybe(dice.one_in(3), "ScheduleId", schedule).maybe(
            effect == "deny" || dice.one_in(3),
            "Effect",
            Value::Text(effect.to_owned()),
        );
        Value::Map(draft.0)
    });
    let mut policies: Vec<_> = policies.collect();
    if !dice.one_in(4) {
        let all = Draft::map().with("AccessPoints", texts(&DOORS));
        policies.push(Value::Map(
            all.maybe(dice.one_in(2), "ScheduleId", dice.text(&SCHEDULES))
                .0,
        ));
    }
    Draft::keyed(format!("PROFILE#{id}"), "CONFIG")
        .maybe(!dice.one_in(20), "Policies", Value::List(policies))
        .0
}

fn windows(dice: &mut Dice, days_may_be_left_out: bool) -> Value {
    let windows = (0..dice.below(4)).map(|_| {
        let days: Vec<_> = (1..=7)
            .filter(|_| !dice.one_in(4))
            .map(|day: i64| Value::Number(day.to_string()))
            .collect();
        let until = if dice.one_in(6) {
            "24:00"
        } else {
            dice.pick(&TIMES)
        };
        let draft = Draft::map()
            .maybe(
                !(days_may_be_left_out && dice.one_in(2)),
                "Days",
                Value::List(days),
            )
            .with("From", dice.text(&TIMES))
            .with("Until", Value::Text(until.to_owned()));
        Value::Map(draft.0)
    });
    Value::List(windows.collect())
}

fn schedule(dice: &mut Dice, id: &str) -> Item {
    let special = (0..dice.below(3)).map(|_| {
        let draft = Draft::map()
            .with("CalendarId", dice.text(&CALENDARS))
            .maybe(!dice.one_in(3), "Windows", windows(dice, true));
        Value::Map(draft.0)
    });
    let special = Value::List(special.collect());
    Draft::keyed(format!("SCHED#{id}"), "CONFIG")
        .maybe(!dice.one_in(20), "Windows", windows(dice, false))
        .maybe(dice.one_in(2), "SpecialDays", special)
        .0
}

fn calendar_day(dice: &mut Dice, id: &str, base_s: i64) -> Item {
    let day = clock::spelled(base_s.div_euclid(86_400) + *dice.pick(&[-1, 0, 0, 1]));
    let recurring = dice.one_in(2);
    let date = if recurring && !day.ends_with("02-29") {
        format!("{}{}", dice.pick(&["2019", "2024", "2026"]), &day[4..])
    } else {
        day
    };
    Draft::keyed(format!("CAL#{id}"), &format!("DAY#{date}"))
        .maybe(recurring, "Recurring", Value::Bool(true))
        .0
}

fn device(dice: &mut Dice, id: &str, sound: bool) -> Item {
    let doors = if sound {
        DOORS.to_vec()
    } else {
        some(dice, &DOORS, 2)
    };
    Draft::keyed(format!("DEV#{id}"), "CONFIG")
        .maybe(sound || !dice.one_in(8), "Status", {
            let disabled = !sound && dice.one_in(3);
            Value::Text(if disabled { "disabled" } else { "active" }.to_owned())
        })
        .maybe(sound || !dice.one_in(8), "AccessPoints", texts(&doors))
        .0
}

/// Makes one thing in the item wrong, or another.
fn spoil(dice: &mut Dice, item: &mut Item) {
    let names: Vec<_> = item
        .keys()
        .filter(|name| !["PK", "SK", "Version"].contains(&name.as_str()))
        .cloned()
        .collect();
    let Some(name) = (!names.is_empty()).then(|| dice.pick(&names).clone()) else {
        return;
    };
    if dice.one_in(6) {
        item.remove(&name);
    } else if let Some(value) = item.get_mut(&name) {
        spoil_value(dice, value);
    }
}

fn spoil_value(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::List(entries) if !entries.is_empty() && !dice.one_in(4) => {
            let index = dice.below(entries.len());
            spoil_value(dice, &mut entries[index]);
        }
        Value::Map(map) if !dice.one_in(4) => spoil(dice, map),
        _ => {
            let wrong = [
                Value::Null,
                Value::Other,
                Value::Text(String::new()),
                Value::Text("nonsense".to_owned()),
                Value::Text("24:00".to_owned()),
                Value::Number("1.5".to_owned()),
                Value::Number("-1".to_owned()),
                Value::Number("8".to_owned()),
                Value::Bool(true),
                Value::List(Vec::new()),
                Value::TextSet(vec!["lockdown".to_owned()]),
                Value::Map(Item::new()),
            ];
            *value = dice.pick(&wrong).clone();
        }
    }
}

fn items(dice: &mut Dice, base_s: i64, zone: &str) -> Vec<Item> {
    let strange = dice.one_in(20);
    let mut items: Vec<Item> = CARDS.iter().map(|id| card(dice, id, base_s)).collect();
    let mut pair = (None, None);
    items.extend((0..DOORS.len()).map(|index| door(dice, index, &mut pair)));
    items.extend((0..AREAS.len()).map(|index| area(dice, index, strange)));
    items.extend(SITES.map(|id| site(dice, id, zone)));
    items.extend(PROFILES.map(|id| profile(dice, id)));
    items.extend(SCHEDULES.map(|id| schedule(dice, id)));
    for id in CALENDARS {
        items.extend((0..dice.below(3)).map(|_| calendar_day(dice, id, base_s)));
    }
    items.extend(["v0", "v1", "v2"].map(|id| device(dice, id, id == "v0")));
    // Two days of one calendar may be the same: the later one is the item.
    let mut kept: Vec<Item> = Vec::new();
    for mut item in items {
        if dice.one_in(40) {
            continue;
        }
        if dice.one_in(2) {
            item.insert("Version".to_owned(), Value::Number("5".to_owned()));
        }
        if dice.one_in(25) {
            spoil(dice, &mut item);
        }
        kept.retain(|other| (&other["PK"], &other["SK"]) != (&item["PK"], &item["SK"]));
        kept.push(item);
    }
    dice.0.shuffle(&mut kept);
    kept
}

/// A later image of some item; of no area, since who is in it is counted by what it was; older than what is known, now and then.
fn change(dice: &mut Dice, items: &[Item], base_s: i64, zone: &str) -> Item {
    let index = dice.below(4);
    let mut item = match dice.below(5) {
        3 => {
            let mut pair = (Some(dice.text(&AREAS)), Some(dice.text(&AREAS)));
            door(dice, 2 * index, &mut pair)
        }
        0 | 1 => card(dice, CARDS[index], base_s),
        2 => site(dice, SITES[index % 2], zone),
        _ => profile(dice, PROFILES[index]),
    };
    let was = items.iter().find(|was| was["PK"] == item["PK"]);
    if was.is_some_and(|was| was.contains_key("Version")) {
        item.insert("Version".to_owned(), dice.number(&[4, 5, 6, 7]));
    }
    if dice.one_in(10) {
        spoil(dice, &mut item);
    }
    item
}

/// An instant of the last hour at which a card or a window begins or ends; or one millisecond before.
fn aimed(dice: &mut Dice, now_ms: i64, base_s: i64) -> Option<i64> {
    let edge_ms = match dice.below(11) {
        0 | 1 => now_ms - now_ms.rem_euclid(1_800_000),
        2 => now_ms - now_ms.rem_euclid(60_000),
        3 | 4 => (base_s + *dice.pick(&[-60, 0, 0, 1, 600])) * 1000,
        _ => return None,
    };
    let at_ms = edge_ms - *dice.pick(&[0, 0, 1]);
    (0..3_600_000).contains(&(now_ms - at_ms)).then_some(at_ms)
}

fn swipe(
    dice: &mut Dice,
    seq: u64,
    now_ms: i64,
    base_s: i64,
    limits: &Limits,
    before: &[Step],
) -> Swipe {
    let last = before.last().map(|step| &step.swipe);
    if dice.one_in(14) && !before.is_empty() {
        let mut again = dice.pick(before).swipe.clone();
        if dice.one_in(3) {
            again.card = (*dice.pick(&CARDS)).to_owned();
        }
        return again;
    }
    let device = match dice.below(30) {
        0 => "v1",
        1 => "v2",
        2..=12 => "v9",
        _ => "v0",
    };
    let age_ms = if dice.one_in(6) {
        let edges = [
            limits.age_ms,
            limits.age_ms + 1,
            -limits.skew_ms,
            -limits.skew_ms - 1,
            limits.actuate_ms,
            limits.actuate_ms + 1,
            60_000,
            300_000,
            3_600_000,
        ];
        *dice.pick(&edges)
    } else {
        dice.below(1500) as i64
    };
    let at_ms = aimed(dice, now_ms, base_s).unwrap_or(now_ms - age_ms);
    let card = match last {
        Some(last) if dice.one_in(2) => last.card.clone(),
        _ if dice.one_in(30) => "c9".to_owned(),
        _ => (*dice.pick(&CARDS)).to_owned(),
    };
    let door = if dice.one_in(30) {
        "d9"
    } else {
        dice.pick(&DOORS)
    };
    Swipe {
        device: device.to_owned(),
        seq,
        door: door.to_owned(),
        card,
        at_ms,
        direction: dice.one_in(10).then(|| *dice.pick(&["in", "out"])),
        offline: dice.one_in(12),
    }
}

/// Most steps of a history: a later swipe has met most that an area and a card can be.
const STEPS_MAX: usize = 40;

/// The world of that number.
pub fn draw(seed: u64) -> World {
    let dice = &mut Dice(fastrand::Rng::with_seed(seed));
    let (moment_s, zone) = *dice.pick(&MOMENTS);
    let base_s = moment_s + *dice.pick(&[-7200, -3600, -1800, 0, 3600, 36_000]);
    let limits = Limits {
        staleness_ms: 60_000,
        skew_ms: 30_000,
        age_ms: *dice.pick(&[86_400_000, 86_400_000, 3_600_000]),
        actuate_ms: 2_000,
        known_devices: dice.one_in(8),
    };
    let items = items(dice, base_s, zone);
    let mut now_ms = base_s * 1000 - 600_000;
    let mut steps: Vec<Step> = Vec::new();
    let loaded = !dice.one_in(30);
    let mut fresh_ms = now_ms;
    for seq in 0..(1 + dice.below(STEPS_MAX)) as u64 {
        now_ms += *dice.pick(&[
            0, 0, 0, 1, 300, 700, 1_000, 20_000, 60_000, 60_000, 300_000, 600_000, 3_600_000,
        ]);
        if !dice.one_in(12) {
            fresh_ms = now_ms;
        } else if dice.one_in(2) {
            fresh_ms = now_ms - *dice.pick(&[60_000, 60_001, 120_000]);
        }
        let change = dice.one_in(15).then(|| change(dice, &items, base_s, zone));
        let swipe = swipe(dice, seq, now_ms, base_s, &limits, &steps);
        steps.push(Step {
            now_ms,
            fresh_ms: loaded.then_some(fresh_ms),
            take_over: dice.one_in(15),
            change,
            swipe,
        });
    }
    World {
        limits,
        items,
        steps,
    }
}
