//! Everything but cards, ready to be asked: access points, areas, sites, profiles, schedules, calendars, devices.
//!
//! A few thousand entities, so a change rebuilds the whole book aside and swaps it in; a published book never
//! changes, and readers need no lock. Ids become numbers when the book is written, so that a question compares
//! integers: strings are hashed for the device and the access point of a swipe only.
//!
//! An id that is mentioned but has no item is a number without an entity: such a profile is ignored, such a
//! schedule is never open for what allows and always in force for what denies, and the same holds where the
//! access point's site is not known, since its local time is not.

use std::{cell::OnceCell, collections::HashMap};

use foldhash::fast::RandomState;
use jiff::{civil::Date, tz::TimeZone};

use super::{
    change::{Cover, Effect, Entity, PolicyItem, RuleItem, Site},
    profiles::{ProfileLink, Profiles},
    schedule::{Calendar, LocalTime, Schedule},
};
use crate::model::{
    door::{AccessPoint, Area, Degraded, Egress, Posture},
    swipe::Direction,
};

/// The number of an access point, known or only mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointId(u32);

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
    area_to: Option<u32>,
    site: Option<u32>,
}

#[derive(Debug)]
struct DeviceRules {
    active: bool,
    /// Sorted.
    points: Box<[PointId]>,
}

#[derive(Debug)]
struct SiteRules {
    zone: TimeZone,
    calendars: Box<[u32]>,
}

#[derive(Debug)]
enum Covered {
    /// Sorted.
    Points(Box<[PointId]>),
    AreaTo(u32),
}

#[derive(Debug)]
struct Policy {
    covered: Covered,
    schedule: Option<u32>,
    effect: Effect,
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

/// The rules of the whole estate at one moment. The default is empty: it knows no door.
#[derive(Debug, Default)]
pub struct Rulebook {
    point_ids: HashMap<Box<str>, PointId, RandomState>,
    points: Vec<Option<Point>>,
    devices: HashMap<Box<str>, DeviceRules, RandomState>,
    /// By the numbers of the card map's [`Profiles`].
    profiles: Vec<Option<Box<[Policy]>>>,
    sites: Vec<Option<SiteRules>>,
    schedules: Vec<Option<Schedule<u32>>>,
    calendars: Vec<Calendar>,
    areas: HashMap<Box<str>, Area, RandomState>,
}

impl Rulebook {
    /// The book of these items. `profiles` gives the numbers that cards use, too.
    pub fn write<'a>(
        items: impl Iterator<Item = (Entity<'a>, &'a RuleItem)>,
        profiles: &Profiles,
    ) -> Self {
        let mut writer = Writer::default();
        for (entity, item) in items {
            writer.add(entity, item, profiles);
        }
        writer.finish()
    }

    /// The number of an access point that an item describes or mentions.
    pub fn point_id(&self, access_point: &str) -> Option<PointId> {
        self.point_ids.get(access_point).copied()
    }

    /// The access point of that number, when it has an item.
    pub fn point(&self, id: PointId) -> Option<&Point> {
        self.points.get(id.0 as usize)?.as_ref()
    }

    /// The area of that id.
    pub fn area(&self, id: &str) -> Option<&Area> {
        self.areas.get(id)
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

/// Numbers for the ids of one kind.
#[derive(Debug, Default)]
struct Ids(HashMap<Box<str>, u32, RandomState>);

impl Ids {
    fn number(&mut self, id: &str) -> u32 {
        if let Some(&known) = self.0.get(id) {
            return known;
        }
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(Box::from(id), number);
        number
    }
}

/// A book being written. Ids get their numbers in the order they are met.
#[derive(Debug, Default)]
struct Writer {
    book: Rulebook,
    areas: Ids,
    sites: Ids,
    schedules: Ids,
    calendars: Ids,
    locked_sites: Vec<u32>,
    calendar_days: Vec<(u32, Date, bool)>,
}

impl Writer {
    fn add(&mut self, entity: Entity<'_>, item: &RuleItem, profiles: &Profiles) {
        match (entity, item) {
            (Entity::AccessPoint(id), RuleItem::AccessPoint(item)) => self.access_point(id, item),
            (Entity::Area(id), RuleItem::Area(item)) => {
                drop(self.book.areas.insert(Box::from(id), item.clone()))
            }
            (Entity::Site(id), RuleItem::Site(item)) => self.site(id, item),
            (Entity::Profile(id), RuleItem::Profile(policies)) => {
                let policies = policies.iter().map(|policy| self.policy(policy)).collect();
                place(&mut self.book.profiles, profiles.number(id), policies);
            }
            (Entity::Schedule(id), RuleItem::Schedule(item)) => self.schedule(id, item),
            (Entity::CalendarDay(id, _), RuleItem::CalendarDay(date, recurring)) => {
                let calendar = self.calendars.number(id);
                self.calendar_days.push((calendar, *date, *recurring));
            }
            (Entity::Device(id), RuleItem::Device(item)) => {
                let rules = DeviceRules {
                    active: item.active,
                    points: self.point_ids(&item.access_points),
                };
                self.book.devices.insert(Box::from(id), rules);
            }
            // The reader of items pairs every key with its own kind of item.
            _ => {}
        }
    }

    fn access_point(&mut self, id: &str, item: &AccessPoint) {
        let id = self.point_id(id);
        let point = Point {
            id,
            direction: item.direction,
            posture: item.posture,
            egress: item.egress,
            degraded: item.degraded,
            threat_level: item.threat_level,
            site_lockdown: false,
            area_to: item.area_to.as_deref().map(|area| self.areas.number(area)),
            site: item.site.as_deref().map(|site| self.sites.number(site)),
        };
        place(&mut self.book.points, id.0, point);
    }

    fn site(&mut self, id: &str, item: &Site) {
        let number = self.sites.number(id);
        let calendars = item
            .calendars
            .iter()
            .map(|calendar| self.calendars.number(calendar))
            .collect();
        place(
            &mut self.book.sites,
            number,
            SiteRules {
                zone: item.zone.clone(),
                calendars,
            },
        );
        if item.lockdown {
            self.locked_sites.push(number);
        }
    }

    fn policy(&mut self, item: &PolicyItem) -> Policy {
        let covered = match &item.cover {
            Cover::AccessPoints(ids) => Covered::Points(self.point_ids(ids)),
            Cover::Area(area) => Covered::AreaTo(self.areas.number(area)),
        };
        let schedule = item
            .schedule
            .as_deref()
            .map(|schedule| self.schedules.number(schedule));
        Policy {
            covered,
            schedule,
            effect: item.effect,
        }
    }

    fn schedule(&mut self, id: &str, item: &Schedule<Box<str>>) {
        let number = self.schedules.number(id);
        let special = item.special_days.iter();
        let special_days = special
            .map(|(calendar, windows)| (self.calendars.number(calendar), windows.clone()))
            .collect();
        place(
            &mut self.book.schedules,
            number,
            Schedule {
                windows: item.windows.clone(),
                special_days,
            },
        );
    }

    fn point_ids(&mut self, ids: &[Box<str>]) -> Box<[PointId]> {
        let mut points: Vec<PointId> = ids.iter().map(|id| self.point_id(id)).collect();
        points.sort_unstable();
        points.dedup();
        points.into()
    }

    fn point_id(&mut self, id: &str) -> PointId {
        if let Some(&known) = self.book.point_ids.get(id) {
            return known;
        }
        let number = PointId(u32::try_from(self.book.point_ids.len()).unwrap_or(u32::MAX));
        self.book.point_ids.insert(Box::from(id), number);
        number
    }

    fn finish(mut self) -> Rulebook {
        for point in self.book.points.iter_mut().flatten() {
            point.site_lockdown = point
                .site
                .is_some_and(|site| self.locked_sites.contains(&site));
        }
        let mut days: Vec<Vec<(Date, bool)>> = vec![Vec::new(); self.calendars.0.len()];
        for (calendar, date, recurring) in self.calendar_days {
            if let Some(days) = days.get_mut(calendar as usize) {
                days.push((date, recurring));
            }
        }
        self.book.calendars = days.into_iter().map(Calendar::new).collect();
        self.book
    }
}

/// Puts `entity` at its number.
fn place<T>(entities: &mut Vec<Option<T>>, number: u32, entity: T) {
    let index = number as usize;
    if entities.len() <= index {
        entities.resize_with(index + 1, || None);
    }
    entities[index] = Some(entity);
}
