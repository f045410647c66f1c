//! Everything but cards, ready to be asked: access points, areas, sites, profiles, schedules, calendars, devices.
//!
//! A few thousand entities, so a change rebuilds the whole book aside and swaps it in; a published book never
//! changes, and readers need no lock. Ids become numbers when the book is written, so that a question compares
//! integers: strings are hashed for the device and the access point of a swipe only.
//!
//! An id that is mentioned but has no item is a number without an entity: such a profile is ignored, such a
//! schedule is never open for what allows and always in force for what denies, and the same holds where the
//! access point's site is not known, since its local time is not.

mod areas;

use std::{cell::OnceCell, collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use jiff::tz::TimeZone;

pub use areas::{AreaRules, Passage};

use super::{
    change::{Effect, Entity, RuleItem},
    profiles::{ProfileLink, Profiles},
    schedule::{Calendar, LocalTime, Schedule},
    write,
};
use crate::model::{
    door::{Degraded, Egress, Posture},
    swipe::Direction,
};

/// The number of an access point, known or only mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointId(pub(super) u32);

/// An access point as the rules read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its number.
    pub id: PointId,
    /// Which way it lets people pass.
    pub direction: Direction,
    /// How it stands.
    pub posture: Posture,
    /// What it asks of those who leave.
    pub egress: Egress,
    /// What it does without fresh data.
    pub degraded: Degraded,
    /// The authority a card needs here; 0 asks for none.
    pub threat_level: u8,
    /// Whether its site is locked down.
    pub site_lockdown: bool,
    /// Whether it leads from or to an area of which it is remembered who is inside.
    pub remembers: bool,
    /// The number of the area that it leads from.
    pub area_from: Option<u32>,
    /// The number of the area that it leads to.
    pub area_to: Option<u32>,
    pub(super) site: Option<u32>,
}

#[derive(Debug)]
pub(super) struct DeviceRules {
    pub(super) active: bool,
    /// Sorted.
    pub(super) points: Box<[PointId]>,
}

#[derive(Debug)]
pub(super) struct SiteRules {
    pub(super) zone: TimeZone,
    pub(super) calendars: Box<[u32]>,
}

#[derive(Debug)]
pub(super) enum Covered {
    /// Sorted.
    Points(Box<[PointId]>),
    AreaTo(u32),
}

#[derive(Debug)]
pub(super) struct Policy {
    pub(super) covered: Covered,
    pub(super) schedule: Option<u32>,
    pub(super) effect: Effect,
}

impl Policy {
    fn covers(&self, point: &Point) -> bool {
        match &self.covered {
            Covered::Points(points) => points.binary_search(&point.id).is_ok(),
            Covered::AreaTo(area) => point.area_to == Some(*area),
        }
    }
}

/// What is known of a device and the access point it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceTrust {
    /// There is no item of that device.
    Unknown,
    /// The device is active and lists the access point.
    Trusted,
    /// It is disabled, or does not list the access point.
    Untrusted,
}

/// What the profiles of a card say about an access point at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// A policy denies it.
    Denied,
    /// No policy allows it, at any time.
    NotCovered,
    /// A policy allows it, but none at this instant.
    Closed,
    /// A policy allows it now.
    Open,
}

/// Tells a rulebook from every other one that was ever written, however alike they are.
#[derive(Clone, Debug, Default)]
pub struct Edition(Arc<()>);

impl PartialEq for Edition {
    fn eq(&self, other: &Self) -> bool {
        // Whoever compares holds it, so its place is not given to another.
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Edition {}

/// The rules of the whole estate at one moment. The default is empty: it knows no door.
#[derive(Debug, Default)]
pub struct Rulebook {
    pub(super) edition: Edition,
    pub(super) point_ids: HashMap<Box<str>, PointId, RandomState>,
    pub(super) points: Vec<Option<Point>>,
    pub(super) devices: HashMap<Box<str>, DeviceRules, RandomState>,
    /// By the numbers of the card map's [`Profiles`].
    pub(super) profiles: Vec<Option<Box<[Policy]>>>,
    pub(super) sites: Vec<Option<SiteRules>>,
    pub(super) schedules: Vec<Option<Schedule<u32>>>,
    pub(super) calendars: Vec<Calendar>,
    pub(super) area_ids: HashMap<Box<str>, u32, RandomState>,
    pub(super) areas: Vec<Option<AreaRules>>,
}

impl Rulebook {
    /// The book of these items. `profiles` gives the numbers that cards use, too.
    pub fn write<'a>(
        items: impl Iterator<Item = (Entity<'a>, &'a RuleItem)>,
        profiles: &Profiles,
    ) -> Self {
        write::rulebook(items, profiles)
    }

    /// Which rulebook this is.
    pub fn edition(&self) -> &Edition {
        &self.edition
    }

    /// The number of an access point that an item describes or mentions.
    pub fn point_id(&self, access_point: &str) -> Option<PointId> {
        self.point_ids.get(access_point).copied()
    }

    /// The access point of that number, when it has an item.
    pub fn point(&self, id: PointId) -> Option<&Point> {
        self.points.get(id.0 as usize)?.as_ref()
    }

    /// The area of that id, when it is remembered who is inside.
    pub fn area(&self, id: &str) -> Option<&AreaRules> {
        self.area_of(self.area_ids.get(id).copied())
    }

    /// Every area of which that is remembered.
    pub fn areas(&self) -> impl Iterator<Item = &AreaRules> {
        self.areas.iter().flatten()
    }

    /// The areas by their numbers; nothing where it is not remembered who is inside.
    pub fn numbered_areas(&self) -> &[Option<AreaRules>] {
        &self.areas
    }

    /// The areas that the access point leads from and to, as far as it is remembered who is inside.
    pub fn passage(&self, point: &Point) -> Passage<'_, AreaRules> {
        Passage {
            from: self.area_of(point.area_from),
            to: self.area_of(point.area_to),
        }
    }

    fn area_of(&self, number: Option<u32>) -> Option<&AreaRules> {
        self.areas.get(number? as usize)?.as_ref()
    }

    /// Whether the device may report the access point.
    pub fn trust(&self, device: &str, point: Option<PointId>) -> DeviceTrust {
        let Some(device) = self.devices.get(device) else {
            return DeviceTrust::Unknown;
        };
        let listed = point.is_some_and(|point| device.points.binary_search(&point).is_ok());
        if device.active && listed {
            DeviceTrust::Trusted
        } else {
            DeviceTrust::Untrusted
        }
    }

    /// What the profiles `links` say about `point` at `at_ms` (Unix epoch milliseconds). The site's local time is
    /// worked out only when a policy with a schedule covers the point.
    pub fn rights(&self, links: &[ProfileLink], point: &Point, at_ms: i64) -> Rights {
        let local = OnceCell::new();
        let mut rights = Rights::NotCovered;
        for link in links.iter().filter(|link| link.valid.covers(at_ms)) {
            for policy in self
                .policies(link.profile)
                .iter()
                .filter(|policy| policy.covers(point))
            {
                match policy.effect {
                    Effect::Deny if self.is_open(policy, point, at_ms, &local).unwrap_or(true) => {
                        return Rights::Denied;
                    }
                    Effect::Deny => {}
                    Effect::Allow if rights == Rights::Open => {}
                    Effect::Allow
                        if self.is_open(policy, point, at_ms, &local).unwrap_or(false) =>
                    {
                        rights = Rights::Open
                    }
                    Effect::Allow => rights = Rights::Closed,
                }
            }
        }
        rights
    }

    fn policies(&self, profile: u32) -> &[Policy] {
        self.profiles
            .get(profile as usize)
            .and_then(Option::as_deref)
            .unwrap_or_default()
    }

    /// Whether the policy's schedule is open; nothing when that cannot be known.
    fn is_open(
        &self,
        policy: &Policy,
        point: &Point,
        at_ms: i64,
        local: &OnceCell<Option<LocalTime>>,
    ) -> Option<bool> {
        let Some(schedule) = policy.schedule else {
            return Some(true);
        };
        let schedule = self.schedules.get(schedule as usize)?.as_ref()?;
        let site = self.sites.get(point.site? as usize)?.as_ref()?;
        let local = local
            .get_or_init(|| LocalTime::at(at_ms, &site.zone))
            .as_ref()?;
        Some(schedule.is_open(local, |calendar, date| {
            site.calendars.contains(calendar)
                && self
                    .calendars
                    .get(*calendar as usize)
                    .is_some_and(|calendar| calendar.lists(date))
        }))
    }
}
