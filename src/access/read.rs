//! Reading the items of the access table.
//!
//! Strict where a guess could open a door: a missing required attribute, a wrong kind, an unknown word of a closed
//! set or a number that is none makes the item malformed, with the attribute named. Attributes that no rule reads
//! are not looked at, so that other writers may keep theirs in the same item.
//!
//! What is not said: a missing `HolderStatus` is not active, a device's `Status` disabled, its `AccessPoints` none,
//! `Posture` secure, `Egress` checked, `Degraded` deny, `Effect` allow, numbers 0, flags false.
//! What must be said: `CardStatus`, an access point's `Direction`, a site's `TimeZone`.

use jiff::civil::Date;

use super::{
    change::{CardItem, Cover, Effect, Entity, PolicyItem, RuleItem, Site},
    fields::{self, ItemError},
    schedule::{self, Days, Schedule, Window},
};
use crate::model::{
    card::{CardStatus, Exemptions, HolderStatus, Validity},
    door::{AccessPoint, Area, Degraded, Device, Egress, PassbackMode, Posture},
    item::{Item, Value},
    swipe::{Direction, is_id},
};

/// `Version`, when the item has one.
pub fn version(item: &Item) -> Result<Option<u64>, ItemError> {
    fields::integer(item, "Version")
}

/// Reads the item of card `id`.
pub fn card(id: &str, item: &Item) -> Result<CardItem, ItemError> {
    key_is_id(id)?;
    let status = fields::required_word(item, "CardStatus", CardStatus::parse)?;
    let in_the_pool = fields::flag(item, "IsAvailableForIssue")?;
    Ok(CardItem {
        status: if in_the_pool {
            status.available_for_issue()
        } else {
            status
        },
        holder: fields::word(item, "HolderStatus", HolderStatus::parse)?
            .unwrap_or(HolderStatus::Inactive),
        exemptions: exemptions(item)?,
        threat_authority: fields::integer(item, "ThreatAuthority")?.unwrap_or(0),
        forgiven_s: fields::integer(item, "ForgivenAt")?.unwrap_or(0),
        valid: validity(item)?,
        profiles: profile_links(item)?,
    })
}

/// Reads the item of anything but a card.
pub fn rule(entity: Entity<'_>, item: &Item) -> Result<RuleItem, ItemError> {
    Ok(match entity {
        Entity::Card(_) => return Err(ItemError::new("PK", "is the key of a card")),
        Entity::AccessPoint(id) => key_is_id(id)
            .and_then(|()| access_point(item))
            .map(RuleItem::AccessPoint)?,
        Entity::Area(_) => RuleItem::Area(area(item)?),
        Entity::Site(_) => RuleItem::Site(site(item)?),
        Entity::Profile(_) => RuleItem::Profile(fields::maps(item, "Policies", policy)?),
        Entity::Schedule(_) => RuleItem::Schedule(schedule(item)?),
        Entity::CalendarDay(_, date) => {
            RuleItem::CalendarDay(calendar_date(date)?, fields::flag(item, "Recurring")?)
        }
        Entity::Device(id) => key_is_id(id)
            .and_then(|()| device(item))
            .map(RuleItem::Device)?,
    })
}

/// No swipe can name a card, access point or device outside the alphabet of ids: such a key is a mistake.
fn key_is_id(id: &str) -> Result<(), ItemError> {
    if is_id(id.as_bytes()) {
        Ok(())
    } else {
        Err(ItemError::new(
            "PK",
            "is not an id of 1-64 of A-Za-z0-9._:-",
        ))
    }
}

fn exemptions(item: &Item) -> Result<Exemptions, ItemError> {
    match item.get("Exemptions") {
        None => Ok(Exemptions::default()),
        Some(Value::TextSet(words)) => Ok(words.iter().fold(Exemptions::default(), |set, word| {
            set.with(Exemptions::of_word(word))
        })),
        Some(_) => Err(ItemError::new("Exemptions", "is not a string set")),
    }
}

fn validity(item: &Item) -> Result<Validity, ItemError> {
    Ok(Validity::new(
        fields::integer(item, "ValidFrom")?,
        fields::integer(item, "ValidTo")?,
    ))
}

fn profile_links(item: &Item) -> Result<Vec<(Box<str>, Validity)>, ItemError> {
    const NAME: &str = "AccessProfiles";
    let entries = fields::list(item, NAME)?
        .unwrap_or_default()
        .iter()
        .enumerate();
    let each = entries.map(|(index, entry)| match entry {
        Value::Text(id) if !id.is_empty() => Ok((Box::from(id.as_str()), Validity::ALWAYS)),
        Value::Map(link) => fields::required_text(link, "Id")
            .and_then(|id| Ok((Box::from(id), validity(link)?)))
            .map_err(|error| error.within(NAME, index)),
        _ => Err(ItemError::new(
            NAME,
            "has an entry that is neither an id nor a map",
        )),
    });
    each.collect()
}

fn access_point(item: &Item) -> Result<AccessPoint, ItemError> {
    Ok(AccessPoint {
        site: fields::id(item, "SiteId")?,
        area_from: fields::id(item, "AreaFrom")?,
        area_to: fields::id(item, "AreaTo")?,
        direction: fields::required_word(item, "Direction", Direction::parse)?,
        posture: fields::word(item, "Posture", Posture::parse)?.unwrap_or_default(),
        egress: fields::word(item, "Egress", Egress::parse)?.unwrap_or_default(),
        degraded: fields::word(item, "Degraded", Degraded::parse)?.unwrap_or_default(),
        threat_level: fields::integer(item, "ThreatLevel")?.unwrap_or(0),
    })
}

fn area(item: &Item) -> Result<Area, ItemError> {
    Ok(Area {
        parent: fields::id(item, "Parent")?,
        site: fields::id(item, "SiteId")?,
        group: fields::id(item, "AreaGroup")?,
        passback: fields::word(item, "PassbackMode", PassbackMode::parse)?.unwrap_or_default(),
        passback_timeout_min: fields::integer(item, "PassbackTimeoutMin")?.unwrap_or(0),
        occupancy_upper: fields::integer(item, "OccupancyUpper")?.unwrap_or(0),
        muster: fields::flag(item, "Muster")?,
    })
}

fn site(item: &Item) -> Result<Site, ItemError> {
    let zone = fields::required_text(item, "TimeZone")?;
    Ok(Site {
        zone: schedule::zone(zone)
            .ok_or_else(|| ItemError::new("TimeZone", "is not an IANA time zone"))?,
        calendars: fields::ids(item, "HolidayCalendars")?.unwrap_or_default(),
        lockdown: fields::flag(item, "Lockdown")?,
    })
}

/// Malformed would count as absent, and an absent device is believed unless devices must be known: so a device
/// that does not say that it is active is not.
fn device(item: &Item) -> Result<Device, ItemError> {
    let active = |word: &str| match word {
        "active" => Some(true),
        "disabled" => Some(false),
        _ => None,
    };
    Ok(Device {
        active: fields::word(item, "Status", active)?.unwrap_or(false),
        access_points: fields::ids(item, "AccessPoints")?.unwrap_or_default(),
    })
}

fn policy(item: &Item) -> Result<PolicyItem, ItemError> {
    let cover = match (
        fields::ids(item, "AccessPoints")?,
        fields::id(item, "AreaId")?,
    ) {
        (Some(points), None) => Cover::AccessPoints(points),
        (None, Some(area)) => Cover::Area(area),
        (None, None) => {
            return Err(ItemError::new(
                "AccessPoints",
                "and AreaId are both missing",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(ItemError::new("AccessPoints", "and AreaId are both there"));
        }
    };
    Ok(PolicyItem {
        cover,
        schedule: fields::id(item, "ScheduleId")?,
        effect: fields::word(item, "Effect", Effect::parse)?.unwrap_or_default(),
    })
}

fn schedule(item: &Item) -> Result<Schedule<Box<str>>, ItemError> {
    let special = |day: &Item| {
        let calendar = Box::from(fields::required_text(day, "CalendarId")?);
        Ok((
            calendar,
            fields::maps(day, "Windows", |window| {
                self::window(window, Some(Days::ALL))
            })?,
        ))
    };
    Ok(Schedule {
        windows: fields::maps(item, "Windows", |window| self::window(window, None))?,
        special_days: fields::maps(item, "SpecialDays", special)?,
    })
}

/// A window; `days` stands in where `Days` may be left out.
fn window(item: &Item, days: Option<Days>) -> Result<Window, ItemError> {
    let minute = |name: &str| {
        schedule::parse_minute(fields::required_text(item, name)?)
            .ok_or_else(|| ItemError::new(name, "is not a time of day HH:MM"))
    };
    let from_min = minute("From")?;
    if from_min == 24 * 60 {
        return Err(ItemError::new("From", "is 24:00, which only Until may be"));
    }
    Ok(Window {
        days: weekdays(item, days)?,
        from_min,
        until_min: minute("Until")?,
    })
}

fn weekdays(item: &Item, absent: Option<Days>) -> Result<Days, ItemError> {
    let Some(entries) = fields::list(item, "Days")? else {
        return absent.ok_or_else(|| ItemError::new("Days", "is missing"));
    };
    let mut days = Days(0);
    for entry in entries {
        match entry.as_integer::<u8>() {
            Some(day @ 1..=7) => days.0 |= 1 << (day - 1),
            _ => {
                return Err(ItemError::new(
                    "Days",
                    "has an entry that is not a number from 1 (Monday) to 7",
                ));
            }
        }
    }
    Ok(days)
}

/// A date spelled `YYYY-MM-DD`, and in no other way.
fn calendar_date(text: &str) -> Result<Date, ItemError> {
    let date = text
        .parse::<Date>()
        .ok()
        .filter(|date| text.len() == 10 && date.to_string() == text);
    date.ok_or_else(|| ItemError::new("SK", "is not DAY# and a date YYYY-MM-DD"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{
        change::entity_of,
        fixtures::{attributes, list, map, n, s, window, yes},
    };

    /// Reads the item of this key, of whatever kind.
    fn read(pk: &str, sk: &str, item: &Item) -> Result<(), ItemError> {
        match entity_of(pk, sk).expect("a key of ours") {
            Entity::Card(id) => card(id, item).map(drop),
            entity => rule(entity, item).map(drop),
        }
    }

    #[test]
    fn a_key_names_an_entity_or_is_not_ours() {
        let rows = [
            ("CARD#1", "CARD#STATUS", Some(Entity::Card("1"))),
            ("CARD#a#b", "CARD#STATUS", Some(Entity::Card("a#b"))),
            ("AP#d", "CONFIG", Some(Entity::AccessPoint("d"))),
            ("AREA#a", "CONFIG", Some(Entity::Area("a"))),
            ("SITE#s", "CONFIG", Some(Entity::Site("s"))),
            ("PROFILE#p", "CONFIG", Some(Entity::Profile("p"))),
            ("SCHED#s", "CONFIG", Some(Entity::Schedule("s"))),
            (
                "CAL#c",
                "DAY#2026-12-25",
                Some(Entity::CalendarDay("c", "2026-12-25")),
            ),
            ("DEV#d", "CONFIG", Some(Entity::Device("d"))),
            ("CARD#1", "CARD#EVENT#SCAN#1772438321123#gate#1", None),
            ("CARD#1", "CONFIG", None),
            ("CARD#1", "PRESENCE#hq", None),
            ("CAL#c", "CONFIG", None),
            ("AP#d", "STATUS", None),
            ("EMP#1", "PERSON#PERSONAL_DATA", None),
            ("EMP#1", "CONFIG", None),
            ("card#1", "CARD#STATUS", None),
            ("CARD", "CARD#STATUS", None),
            ("", "", None),
        ];
        for (pk, sk, entity) in rows {
            assert_eq!(entity_of(pk, sk), entity, "{pk} / {sk}");
        }
    }

    #[test]
    fn a_card_says_what_it_says_and_the_rest_is_the_safe_reading() {
        let bare = card("7", &attributes([("CardStatus", s("issued"))])).expect("well formed");
        let expected = CardItem {
            status: CardStatus::Issued,
            holder: HolderStatus::Inactive,
            exemptions: Exemptions::default(),
            threat_authority: 0,
            forgiven_s: 0,
            valid: Validity::ALWAYS,
            profiles: Vec::new(),
        };
        assert_eq!(bare, expected);
        let words = ["passback", "lockdown", "escort"].map(str::to_owned).into();
        let link = map([
            ("Id", s("night")),
            ("ValidFrom", n(5)),
            ("ValidTo", n(6)),
            ("Note", Value::Null),
        ]);
        let full = attributes([
            ("CardStatus", s("suspended")),
            ("CardIssuedTo", Value::Null),
            ("HolderStatus", s("active")),
            ("ValidFrom", n(1)),
            ("ValidTo", n(2)),
            ("AccessProfiles", list([s("staff"), link])),
            ("Exemptions", Value::TextSet(words)),
            ("ThreatAuthority", n(40)),
            ("ForgivenAt", n(1_772_438_321)),
        ]);
        let expected = CardItem {
            status: CardStatus::Suspended,
            holder: HolderStatus::Active,
            exemptions: Exemptions::LOCKDOWN.with(Exemptions::PASSBACK),
            threat_authority: 40,
            forgiven_s: 1_772_438_321,
            valid: Validity::new(Some(1), Some(2)),
            profiles: vec![
                ("staff".into(), Validity::ALWAYS),
                ("night".into(), Validity::new(Some(5), Some(6))),
            ],
        };
        assert_eq!(card("7", &full), Ok(expected));
    }

    #[test]
    fn what_must_be_said_is_missed_by_name() {
        let nothing = Item::new();
        let rows = [
            ("CARD#7", "CARD#STATUS", Some("CardStatus is missing")),
            ("AP#d", "CONFIG", Some("Direction is missing")),
            ("SITE#s", "CONFIG", Some("TimeZone is missing")),
            ("AREA#a", "CONFIG", None),
            ("PROFILE#p", "CONFIG", None),
            ("SCHED#s", "CONFIG", None),
            ("CAL#c", "DAY#2024-02-29", None),
            ("DEV#d", "CONFIG", None),
            (
                "CARD#",
                "CARD#STATUS",
                Some("PK is not an id of 1-64 of A-Za-z0-9._:-"),
            ),
            (
                "AP#a b",
                "CONFIG",
                Some("PK is not an id of 1-64 of A-Za-z0-9._:-"),
            ),
            (
                "CAL#c",
                "DAY#2026-02-29",
                Some("SK is not DAY# and a date YYYY-MM-DD"),
            ),
            (
                "CAL#c",
                "DAY#2026-2-9",
                Some("SK is not DAY# and a date YYYY-MM-DD"),
            ),
            (
                "CAL#c",
                "DAY#20260209",
                Some("SK is not DAY# and a date YYYY-MM-DD"),
            ),
            (
                "CAL#c",
                "DAY#2026-02-09T00:00",
                Some("SK is not DAY# and a date YYYY-MM-DD"),
            ),
        ];
        for (pk, sk, why) in rows {
            let error = read(pk, sk, &nothing).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), why, "{pk} / {sk}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let number = |text: &str| Value::Number(text.to_owned());
        let policies = |policy: Value| ("Policies", list([map([("AreaId", s("a"))]), policy]));
        let windows = |window: Value| ("Windows", list([window]));
        let special = |day: Value| ("SpecialDays", list([day]));
        let rows = [
            (
                "CARD#7",
                ("CardStatus", s("Issued")),
                "CardStatus is not a known word",
            ),
            ("CARD#7", ("CardStatus", s("")), "CardStatus is empty"),
            (
                "CARD#7",
                ("CardStatus", Value::Null),
                "CardStatus is not a string",
            ),
            (
                "CARD#7",
                ("HolderStatus", yes()),
                "HolderStatus is not a string",
            ),
            (
                "CARD#7",
                ("IsAvailableForIssue", s("false")),
                "IsAvailableForIssue is not a boolean",
            ),
            (
                "CARD#7",
                ("ValidTo", s("1772438321")),
                "ValidTo is not a number",
            ),
            (
                "CARD#7",
                ("ValidTo", number("1772438321.5")),
                "ValidTo is not a whole number in range",
            ),
            (
                "CARD#7",
                ("ValidFrom", number("99999999999999999999")),
                "ValidFrom is not a whole number in range",
            ),
            (
                "CARD#7",
                ("ThreatAuthority", n(-1)),
                "ThreatAuthority is not a whole number in range",
            ),
            (
                "CARD#7",
                ("Exemptions", list([s("lockdown")])),
                "Exemptions is not a string set",
            ),
            (
                "CARD#7",
                ("AccessProfiles", s("staff")),
                "AccessProfiles is not a list",
            ),
            (
                "CARD#7",
                ("AccessProfiles", list([s("a"), n(1)])),
                "AccessProfiles has an entry that is neither an id nor a map",
            ),
            (
                "CARD#7",
                ("AccessProfiles", list([s("a"), map([])])),
                "AccessProfiles[1].Id is missing",
            ),
            (
                "CARD#7",
                (
                    "AccessProfiles",
                    list([map([("Id", s("a")), ("ValidTo", s("x"))])]),
                ),
                "AccessProfiles[0].ValidTo is not a number",
            ),
            (
                "AP#d",
                ("Direction", s("both")),
                "Direction is not a known word",
            ),
            (
                "AP#d",
                ("Posture", s("open")),
                "Posture is not a known word",
            ),
            ("AP#d", ("Egress", s("free")), "Egress is not a known word"),
            (
                "AP#d",
                ("Degraded", s("grant")),
                "Degraded is not a known word",
            ),
            ("AP#d", ("SiteId", n(1)), "SiteId is not a string"),
            (
                "AREA#a",
                ("PassbackMode", s("medium")),
                "PassbackMode is not a known word",
            ),
            (
                "AREA#a",
                ("OccupancyUpper", n(-1)),
                "OccupancyUpper is not a whole number in range",
            ),
            (
                "SITE#s",
                ("TimeZone", s("Europe/Atlantis")),
                "TimeZone is not an IANA time zone",
            ),
            (
                "SITE#s",
                ("HolidayCalendars", list([n(1)])),
                "HolidayCalendars has an entry that is not a string, or empty",
            ),
            ("SITE#s", ("Lockdown", n(1)), "Lockdown is not a boolean"),
            ("PROFILE#p", ("Policies", map([])), "Policies is not a list"),
            (
                "PROFILE#p",
                policies(s("a")),
                "Policies has an entry that is not a map",
            ),
            (
                "PROFILE#p",
                policies(map([])),
                "Policies[1].AccessPoints and AreaId are both missing",
            ),
            (
                "PROFILE#p",
                policies(map([("AreaId", s("a")), ("AccessPoints", list([]))])),
                "Policies[1].AccessPoints and AreaId are both there",
            ),
            (
                "PROFILE#p",
                policies(map([("AreaId", s("a")), ("Effect", s("permit"))])),
                "Policies[1].Effect is not a known word",
            ),
            (
                "SCHED#s",
                windows(map([("From", s("08:00")), ("Until", s("09:00"))])),
                "Windows[0].Days is missing",
            ),
            (
                "SCHED#s",
                windows(window([0], "08:00", "09:00")),
                "Windows[0].Days has an entry that is not a number from 1 (Monday) to 7",
            ),
            (
                "SCHED#s",
                windows(window([8], "08:00", "09:00")),
                "Windows[0].Days has an entry that is not a number from 1 (Monday) to 7",
            ),
            (
                "SCHED#s",
                windows(window([1], "8:00", "09:00")),
                "Windows[0].From is not a time of day HH:MM",
            ),
            (
                "SCHED#s",
                windows(window([1], "24:00", "09:00")),
                "Windows[0].From is 24:00, which only Until may be",
            ),
            (
                "SCHED#s",
                windows(window([1], "08:00", "24:01")),
                "Windows[0].Until is not a time of day HH:MM",
            ),
            (
                "SCHED#s",
                special(map([])),
                "SpecialDays[0].CalendarId is missing",
            ),
            (
                "SCHED#s",
                special(map([("CalendarId", s("c")), windows(map([]))])),
                "SpecialDays[0].Windows[0].From is missing",
            ),
            (
                "CAL#c",
                ("Recurring", s("yes")),
                "Recurring is not a boolean",
            ),
            (
                "DEV#d",
                ("Status", s("broken")),
                "Status is not a known word",
            ),
            (
                "DEV#d",
                ("AccessPoints", Value::TextSet(vec!["d".to_owned()])),
                "AccessPoints is not a list",
            ),
        ];
        let sound = [
            ("CardStatus", s("issued")),
            ("Direction", s("in")),
            ("TimeZone", s("UTC")),
        ];
        for (pk, (name, value), why) in rows {
            let sk = match pk {
                "CARD#7" => "CARD#STATUS",
                "CAL#c" => "DAY#2026-01-01",
                _ => "CONFIG",
            };
            let mut item = attributes(sound.clone());
            assert_eq!(read(pk, sk, &item), Ok(()), "{pk} is sound without {name}");
            item.insert(name.to_owned(), value);
            assert_eq!(
                read(pk, sk, &item).map_err(|error| error.to_string()),
                Err(why.to_owned())
            );
        }
    }

    #[test]
    fn special_windows_start_on_any_day_unless_they_say_which() {
        let times = [("From", s("08:00")), ("Until", s("09:00"))];
        let day = map([
            ("CalendarId", s("c")),
            ("Windows", list([map(times), window([2], "10:00", "02:00")])),
        ]);
        let read = schedule(&attributes([("SpecialDays", list([day]))])).expect("well formed");
        let window = |days, from_min, until_min| Window {
            days,
            from_min,
            until_min,
        };
        let windows = [window(Days::ALL, 480, 540), window(Days(0b10), 600, 120)];
        assert_eq!(*read.special_days, [(Box::from("c"), Box::from(windows))]);
        assert!(read.windows.is_empty());
    }
}
