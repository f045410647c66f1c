//! What an item of the access table says: its key names an entity, its attributes describe it.
//!
//! Strict where a guess could open a door: a missing required attribute, a wrong kind, an unknown word of a closed
//! set or a number that is none makes the item malformed, with the attribute named. Attributes that no rule reads
//! are not looked at, so that other writers may keep theirs in the same item.
//!
//! What is not said: a missing `HolderStatus` is not active, a device's `Status`
//! disabled, `Posture` secure, `Egress` checked, `Degraded` deny,
//! `Effect` allow, `AccessPoints` of a device none, numbers 0, flags false.

use jiff::{civil::Date, tz::TimeZone};

use super::{
    fields::{self, ItemError},
    schedule::{self, Days, Schedule, Window},
};
use crate::model::{
    card::{CardStatus, Exemptions, HolderStatus, Validity},
    door::{AccessPoint, Area, Degraded, Device, Egress, PassbackMode, Posture},
    item::{Item, Value},
    swipe::{Direction, is_id},
};

/// What the key of an item names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity<'a> {
    /// `CARD#<id>` / `CARD#STATUS`
    Card(&'a str),
    /// `AP#<id>` / `CONFIG`
    AccessPoint(&'a str),
    /// `AREA#<id>` / `CONFIG`
    Area(&'a str),
    /// `SITE#<id>` / `CONFIG`
    Site(&'a str),
    /// `PROFILE#<id>` / `CONFIG`
    Profile(&'a str),
    /// `SCHED#<id>` / `CONFIG`
    Schedule(&'a str),
    /// `CAL#<id>` / `DAY#<YYYY-MM-DD>`: the calendar, and the date as text.
    CalendarDay(&'a str, &'a str),
    /// `DEV#<id>` / `CONFIG`
    Device(&'a str),
}

/// The entity that a key names; nothing for every item that is not ours to read (events, presence, people, ...).
pub fn entity_of<'a>(pk: &'a str, sk: &'a str) -> Option<Entity<'a>> {
    let (kind, id) = pk.split_once('#')?;
    match (kind, sk) {
        ("CARD", "CARD#STATUS") => Some(Entity::Card(id)),
        ("CAL", _) => sk
            .strip_prefix("DAY#")
            .map(|date| Entity::CalendarDay(id, date)),
        (_, "CONFIG") => match kind {
            "AP" => Some(Entity::AccessPoint(id)),
            "AREA" => Some(Entity::Area(id)),
            "SITE" => Some(Entity::Site(id)),
            "PROFILE" => Some(Entity::Profile(id)),
            "SCHED" => Some(Entity::Schedule(id)),
            "DEV" => Some(Entity::Device(id)),
            _ => None,
        },
        _ => None,
    }
}

/// A card as its item says; the cache turns the links into a shared list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardItem {
    /// Its status, with `IsAvailableForIssue` taken in.
    pub status: CardStatus,
    /// Its holder's.
    pub holder: HolderStatus,
    /// `Exemptions`
    pub exemptions: Exemptions,
    /// `ThreatAuthority`
    pub threat_authority: u8,
    /// `ValidFrom` to `ValidTo`
    pub valid: Validity,
    /// `AccessProfiles`: the profile's id, and when the link is valid.
    pub profiles: Vec<(Box<str>, Validity)>,
}

/// A site: what its doors have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its local time.
    pub zone: TimeZone,
    /// The calendars it observes.
    pub calendars: Box<[Box<str>]>,
    /// Whether it is locked down.
    pub lockdown: bool,
}

/// What a policy speaks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cover {
    /// These access points.
    AccessPoints(Box<[Box<str>]>),
    /// The access points that lead to this area.
    Area(Box<str>),
}

/// Whether a policy allows or denies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// Lets in while its schedule is open.
    #[default]
    Allow,
    /// Keeps out while its schedule is open.
    Deny,
}

impl Effect {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "allow" => Some(Self::Allow),
            "deny" => Some(Self::Deny),
            _ => None,
        }
    }
}

/// One line of an access profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyItem {
    /// Where.
    pub cover: Cover,
    /// When; without one, always.
    pub schedule: Option<Box<str>>,
    /// What.
    pub effect: Effect,
}

/// What an item says, apart from cards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleItem {
    /// An access point.
    AccessPoint(AccessPoint),
    /// An area.
    Area(Area),
    /// A site.
    Site(Site),
    /// An access profile, by its policies.
    Profile(Box<[PolicyItem]>),
    /// A schedule; calendars by their ids.
    Schedule(Schedule<Box<str>>),
    /// A day of a calendar, and whether it comes every year.
    CalendarDay(Date, bool),
    /// A device.
    Device(Device),
}

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
        site: fields::id(item, "SiteId")?,
        group: fields::id(item, "AreaGroup")?,
        passback: fields::word(item, "PassbackMode", PassbackMode::parse)?.unwrap_or_default(),
        passback_timeout_min: fields::integer(item, "PassbackTimeoutMin")?.unwrap_or(0),
        occupancy_upper: fields::integer(item, "OccupancyUpper")?.unwrap_or(0),
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
