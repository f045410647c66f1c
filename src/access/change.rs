//! What the access table speaks of: the entity that a key names, and what its item says of it once it is read
//! (`access::read`). Ids are still text here.

use jiff::{civil::Date, tz::TimeZone};

use super::schedule::Schedule;
use crate::model::{
    card::{CardStatus, Exemptions, HolderStatus, Validity},
    door::{AccessPoint, Area, Device},
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
    /// `ForgivenAt`, Unix epoch seconds; 0 when absent.
    pub forgiven_s: u32,
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
    /// The effect of that word in the access table, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
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
