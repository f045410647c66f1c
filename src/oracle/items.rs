//! What the items of the access table say, read a second time: from the contract's table of items and from nothing else.
//!
//! Every question reads its item again, attribute by attribute; nothing is kept. An attribute of a wrong kind, an unknown
//! word of a closed set, a number out of range or a required attribute that is missing makes the item malformed, and a
//! malformed item is an absent one.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::model::item::{Item, Value};

/// The table: `PK` and `SK` to the attributes.
pub type Table = BTreeMap<(String, String), Item>;

/// The item is malformed.
pub struct Malformed;

type Read<T> = Result<T, Malformed>;

fn text<'t>(item: &'t Item, name: &str) -> Read<Option<&'t str>> {
    match item.get(name) {
        None => Ok(None),
        Some(Value::Text(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(Malformed),
    }
}

fn word<'t>(item: &'t Item, name: &str, words: &[&str]) -> Read<Option<&'t str>> {
    match text(item, name)? {
        Some(word) if !words.contains(&word) => Err(Malformed),
        word => Ok(word),
    }
}

/// A whole number of at least `low`.
fn whole(item: &Item, name: &str, low: i64) -> Read<Option<i64>> {
    match item.get(name) {
        None => Ok(None),
        Some(Value::Number(digits)) => match digits.parse() {
            Ok(number) if number >= low => Ok(Some(number)),
            _ => Err(Malformed),
        },
        Some(_) => Err(Malformed),
    }
}

fn flag(item: &Item, name: &str) -> Read<bool> {
    match item.get(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Malformed),
    }
}

fn list<'t>(item: &'t Item, name: &str) -> Read<Option<&'t [Value]>> {
    match item.get(name) {
        None => Ok(None),
        Some(Value::List(entries)) => Ok(Some(entries)),
        Some(_) => Err(Malformed),
    }
}

fn names<'t>(item: &'t Item, name: &str) -> Read<Option<Vec<&'t str>>> {
    let Some(entries) = list(item, name)? else {
        return Ok(None);
    };
    let names = entries.iter().map(|entry| match entry {
        Value::Text(text) if !text.is_empty() => Ok(text.as_str()),
        _ => Err(Malformed),
    });
    names.collect::<Read<_>>().map(Some)
}

fn maps<'t>(item: &'t Item, name: &str) -> Read<Vec<&'t Item>> {
    let entries = list(item, name)?.unwrap_or_default().iter();
    entries
        .map(|entry| match entry {
            Value::Map(map) => Ok(map),
            _ => Err(Malformed),
        })
        .collect()
}

/// From when until when, epoch seconds, the end exclusive; a missing side is open.
#[derive(Clone, Copy)]
pub struct Validity {
    pub from_s: Option<i64>,
    pub to_s: Option<i64>,
}

impl Validity {
    fn read(item: &Item) -> Read<Self> {
        Ok(Self {
            from_s: whole(item, "ValidFrom", i64::MIN)?,
            to_s: whole(item, "ValidTo", i64::MIN)?,
        })
    }

    pub fn before(self, at_ms: i64) -> bool {
        self.from_s.is_some_and(|from_s| at_ms < from_s * 1000)
    }

    pub fn over(self, at_ms: i64) -> bool {
        self.to_s.is_some_and(|to_s| at_ms >= to_s * 1000)
    }
}

/// `CARD#<card_id>` / `CARD#STATUS`
pub struct Card<'t> {
    pub status: &'t str,
    pub available: bool,
    pub holder: &'t str,
    pub valid: Validity,
    pub profiles: Vec<(&'t str, Validity)>,
    pub exemptions: &'t [String],
    pub authority: i64,
    pub forgiven_s: i64,
}

const CARD_STATUS: [&str; 10] = [
    "issued",
    "suspended",
    "lost",
    "stolen",
    "damaged",
    "destroyed",
    "revoked",
    "expired",
    "inactive",
    "unissued",
];

impl<'t> Card<'t> {
    fn read(item: &'t Item) -> Read<Self> {
        let mut profiles = Vec::new();
        for link in list(item, "AccessProfiles")?.unwrap_or_default() {
            profiles.push(match link {
                Value::Text(id) if !id.is_empty() => (id.as_str(), Validity::read(&Item::new())?),
                Value::Map(link) => (text(link, "Id")?.ok_or(Malformed)?, Validity::read(link)?),
                _ => return Err(Malformed),
            });
        }
        Ok(Self {
            status: word(item, "CardStatus", &CARD_STATUS)?.ok_or(Malformed)?,
            available: flag(item, "IsAvailableForIssue")?,
            holder: word(item, "HolderStatus", &["onboarding", "active", "inactive"])?
                .unwrap_or("inactive"),
            valid: Validity::read(item)?,
            profiles,
            exemptions: match item.get("Exemptions") {
                None => &[],
                Some(Value::TextSet(words)) => words,
                Some(_) => return Err(Malformed),
            },
            authority: whole(item, "ThreatAuthority", 0)?.unwrap_or(0),
            forgiven_s: whole(item, "ForgivenAt", 0)?.unwrap_or(0),
        })
    }

    pub fn is_exempt(&self, from: &str) -> bool {
        self.exemptions.iter().any(|word| word == from)
    }
}

/// `AP#<id>` / `CONFIG`
pub struct Door<'t> {
    pub id: &'t str,
    pub site: Option<&'t str>,
    pub from: Option<&'t str>,
    pub to: Option<&'t str>,
    pub direction: &'t str,
    pub posture: &'t str,
    pub egress: &'t str,
    pub degraded: &'t str,
    pub threat: i64,
}

impl<'t> Door<'t> {
    fn read(id: &'t str, item: &'t Item) -> Read<Self> {
        Ok(Self {
            id,
            site: text(item, "SiteId")?,
            from: text(item, "AreaFrom")?,
            to: text(item, "AreaTo")?,
            direction: word(item, "Direction", &["in", "out"])?.ok_or(Malformed)?,
            posture: word(
                item,
                "Posture",
                &["secure", "unlocked", "lockdown", "disabled"],
            )?
            .unwrap_or("secure"),
            egress: word(item, "Egress", &["always_allow", "checked"])?.unwrap_or("checked"),
            degraded: word(item, "Degraded", &["deny", "last_known"])?.unwrap_or("deny"),
            threat: whole(item, "ThreatLevel", 0)?.unwrap_or(0),
        })
    }
}

/// `AREA#<id>` / `CONFIG`
pub struct Area<'t> {
    pub parent: Option<&'t str>,
    pub group: Option<&'t str>,
    pub mode: &'t str,
    pub timeout_min: i64,
    pub upper: i64,
}

impl<'t> Area<'t> {
    fn read(item: &'t Item) -> Read<Self> {
        text(item, "SiteId")?;
        Ok(Self {
            parent: text(item, "Parent")?,
            group: text(item, "AreaGroup")?,
            mode: word(item, "PassbackMode", &["off", "soft", "hard"])?.unwrap_or("off"),
            timeout_min: whole(item, "PassbackTimeoutMin", 0)?.unwrap_or(0),
            upper: whole(item, "OccupancyUpper", 0)?.unwrap_or(0),
        })
    }
}

/// `SITE#<id>` / `CONFIG`
pub struct Site<'t> {
    pub zone: TimeZone,
    pub calendars: Vec<&'t str>,
    pub lockdown: bool,
}

impl<'t> Site<'t> {
    fn read(item: &'t Item) -> Read<Self> {
        let zone = text(item, "TimeZone")?.ok_or(Malformed)?;
        Ok(Self {
            zone: TimeZone::get(zone).map_err(|_| Malformed)?,
            calendars: names(item, "HolidayCalendars")?.unwrap_or_default(),
            lockdown: flag(item, "Lockdown")?,
        })
    }
}

/// A line of `PROFILE#<id>` / `CONFIG`
pub struct Policy<'t> {
    pub doors: Option<Vec<&'t str>>,
    pub area: Option<&'t str>,
    pub schedule: Option<&'t str>,
    pub denies: bool,
}

fn policies(item: &Item) -> Read<Vec<Policy<'_>>> {
    let mut policies = Vec::new();
    for line in maps(item, "Policies")? {
        let policy = Policy {
            doors: names(line, "AccessPoints")?,
            area: text(line, "AreaId")?,
            schedule: text(line, "ScheduleId")?,
            denies: word(line, "Effect", &["allow", "deny"])? == Some("deny"),
        };
        if policy.doors.is_some() == policy.area.is_some() {
            return Err(Malformed);
        }
        policies.push(policy);
    }
    Ok(policies)
}

/// A window of a schedule: the days it starts on (Monday is 1), and minutes of the day.
pub struct Window {
    pub days: Vec<i64>,
    pub from: i64,
    pub until: i64,
}

fn windows(item: &Item, any_day: bool) -> Read<Vec<Window>> {
    let mut windows = Vec::new();
    for window in maps(item, "Windows")? {
        let days = match list(window, "Days")? {
            None if any_day => (1..=7).collect(),
            None => return Err(Malformed),
            Some(days) => {
                let day = |day: &Value| match day {
                    Value::Number(digits) => digits.parse().map_err(|_| Malformed),
                    _ => Err(Malformed),
                };
                days.iter().map(day).collect::<Read<Vec<i64>>>()?
            }
        };
        let window = Window {
            days,
            from: minute(text(window, "From")?.ok_or(Malformed)?)?,
            until: minute(text(window, "Until")?.ok_or(Malformed)?)?,
        };
        if window.from == 1440 || window.days.iter().any(|day| !(1..=7).contains(day)) {
            return Err(Malformed);
        }
        windows.push(window);
    }
    Ok(windows)
}

/// The minute of the day of `HH:MM`, up to `24:00`.
fn minute(text: &str) -> Read<i64> {
    let (hour, minute) = text.split_once(':').ok_or(Malformed)?;
    let two_digits = |part: &str| match part.as_bytes() {
        [ten @ b'0'..=b'9', one @ b'0'..=b'9'] => {
            Ok(i64::from(ten - b'0') * 10 + i64::from(one - b'0'))
        }
        _ => Err(Malformed),
    };
    match (two_digits(hour)?, two_digits(minute)?) {
        (24, 0) => Ok(1440),
        (hour @ 0..=23, minute @ 0..=59) => Ok(hour * 60 + minute),
        _ => Err(Malformed),
    }
}

/// `SCHED#<id>` / `CONFIG`
pub struct Schedule {
    pub windows: Vec<Window>,
    pub special: Vec<(String, Vec<Window>)>,
}

fn schedule(item: &Item) -> Read<Schedule> {
    let mut special = Vec::new();
    for day in maps(item, "SpecialDays")? {
        let calendar = text(day, "CalendarId")?.ok_or(Malformed)?;
        special.push((calendar.to_owned(), windows(day, true)?));
    }
    Ok(Schedule {
        windows: windows(item, false)?,
        special,
    })
}

/// `DEV#<device_id>` / `CONFIG`
pub struct Device<'t> {
    pub active: bool,
    pub doors: Vec<&'t str>,
}

impl<'t> Device<'t> {
    fn read(item: &'t Item) -> Read<Self> {
        Ok(Self {
            active: word(item, "Status", &["active", "disabled"])? == Some("active"),
            doors: names(item, "AccessPoints")?.unwrap_or_default(),
        })
    }
}

/// The item of that kind and id when it is there and well formed.
fn well_formed<'t, T>(
    table: &'t Table,
    (kind, id, sk): (&str, &str, &str),
    read: impl FnOnce(&'t str, &'t Item) -> Read<T>,
) -> Option<T> {
    let ((pk, _), item) = table.get_key_value(&(format!("{kind}#{id}"), sk.to_owned()))?;
    whole(item, "Version", 0).ok()?;
    let (_, id) = pk.split_once('#')?;
    read(id, item).ok()
}

pub fn card<'t>(table: &'t Table, id: &str) -> Option<Card<'t>> {
    well_formed(table, ("CARD", id, "CARD#STATUS"), |_, item| {
        Card::read(item)
    })
}

pub fn door<'t>(table: &'t Table, id: &str) -> Option<Door<'t>> {
    well_formed(table, ("AP", id, "CONFIG"), Door::read)
}

pub fn area<'t>(table: &'t Table, id: &str) -> Option<Area<'t>> {
    well_formed(table, ("AREA", id, "CONFIG"), |_, item| Area::read(item))
}

pub fn site<'t>(table: &'t Table, id: &str) -> Option<Site<'t>> {
    well_formed(table, ("SITE", id, "CONFIG"), |_, item| Site::read(item))
}

pub fn profile<'t>(table: &'t Table, id: &str) -> Option<Vec<Policy<'t>>> {
    well_formed(table, ("PROFILE", id, "CONFIG"), |_, item| policies(item))
}

pub fn schedule_of(table: &Table, id: &str) -> Option<Schedule> {
    well_formed(table, ("SCHED", id, "CONFIG"), |_, item| schedule(item))
}

/// Whether a well-formed day `date` (`YYYY-MM-DD`) is in the calendar, and whether it comes every year.
pub fn calendar_day(table: &Table, calendar: &str, date: &str) -> Option<bool> {
    let sk = format!("DAY#{date}");
    well_formed(table, ("CAL", calendar, &sk), |_, item| {
        flag(item, "Recurring")
    })
}

/// The spelled dates that a calendar has items of.
pub fn calendar_dates<'t>(table: &'t Table, calendar: &str) -> impl Iterator<Item = &'t str> {
    let pk = format!("CAL#{calendar}");
    table
        .keys()
        .filter(move |(key, _)| *key == pk)
        .filter_map(|(_, sk)| sk.strip_prefix("DAY#"))
}

pub fn device<'t>(table: &'t Table, id: &str) -> Option<Device<'t>> {
    well_formed(table, ("DEV", id, "CONFIG"), |_, item| Device::read(item))
}
