//! Writing a rulebook from items: ids get their numbers in the order they are met, whether an item describes
//! them or only mentions them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;
use jiff::civil::Date;

use super::{
    change::{Cover, Entity, PolicyItem, RuleItem, Site},
    profiles::Profiles,
    rulebook::{AreaRules, Covered, DeviceRules, Point, PointId, Policy, Rulebook, SiteRules},
    schedule::{Calendar, Schedule},
};
use crate::model::door::{AccessPoint, Area, PassbackMode};

/// The book of these items.
pub(super) fn rulebook<'a>(
    items: impl Iterator<Item = (Entity<'a>, &'a RuleItem)>,
    profiles: &Profiles,
) -> Rulebook {
    let mut writer = Writer::default();
    for (entity, item) in items {
        writer.add(entity, item, profiles);
    }
    writer.finish()
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

/// A book being written.
#[derive(Debug, Default)]
struct Writer {
    book: Rulebook,
    areas: Ids,
    sites: Ids,
    schedules: Ids,
    calendars: Ids,
    locked_sites: Vec<u32>,
    calendar_days: Vec<(u32, Date, bool)>,
    areas_said: Vec<Option<(Arc<str>, Area)>>,
}

impl Writer {
    fn add(&mut self, entity: Entity<'_>, item: &RuleItem, profiles: &Profiles) {
        match (entity, item) {
            (Entity::AccessPoint(id), RuleItem::AccessPoint(item)) => self.access_point(id, item),
            (Entity::Area(id), RuleItem::Area(item)) => {
                let number = self.areas.number(id);
                place(&mut self.areas_said, number, (Arc::from(id), item.clone()));
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
            remembers: false,
            area_from: item
                .area_from
                .as_deref()
                .map(|area| self.areas.number(area)),
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

    /// The areas of which it is remembered who is inside: all of a group in which one has anti-passback, a limit, or a list.
    fn areas(&self) -> Vec<Option<AreaRules>> {
        let asks = |item: &Area| {
            item.passback != PassbackMode::Off || item.occupancy_upper > 0 || item.muster
        };
        let group = |id: &Arc<str>, item: &Area| {
            let group = item.group.as_deref();
            group.map_or_else(|| Arc::clone(id), Arc::from)
        };
        let known = self.areas_said.iter().flatten();
        let kept: HashSet<Arc<str>> = known
            .filter(|(_, item)| asks(item))
            .map(|(id, item)| group(id, item))
            .collect();
        let number = |id: &str| self.areas.0.get(id).copied();
        let said = |id: &str| self.areas_said.get(number(id)? as usize)?.as_ref();
        let rules = |(id, item): &(Arc<str>, Area)| {
            let mut within = vec![Arc::clone(id)];
            // A chain of parents that bites its own tail ends there.
            let mut parent = item.parent.as_deref();
            while let Some((id, item)) = parent.and_then(said)
                && !within.contains(id)
            {
                within.push(Arc::clone(id));
                parent = item.parent.as_deref();
            }
            AreaRules {
                id: Arc::clone(id),
                group: group(id, item),
                within: within.into(),
                passback: item.passback,
                passback_timeout_ms: i64::from(item.passback_timeout_min) * 60_000,
                occupancy_upper: item.occupancy_upper,
            }
        };
        let said = self.areas_said.iter();
        let keeps = |area: &AreaRules| kept.contains(&area.group);
        said.map(|said| said.as_ref().map(rules).filter(keeps))
            .collect()
    }

    fn finish(mut self) -> Rulebook {
        self.book.areas = self.areas();
        for point in self.book.points.iter_mut().flatten() {
            point.site_lockdown = point
                .site
                .is_some_and(|site| self.locked_sites.contains(&site));
            let has_item = |area: u32| matches!(self.book.areas.get(area as usize), Some(Some(_)));
            point.remembers = [point.area_from, point.area_to]
                .into_iter()
                .flatten()
                .any(has_item);
        }
        let mut days: Vec<Vec<(Date, bool)>> = vec![Vec::new(); self.calendars.0.len()];
        for (calendar, date, recurring) in self.calendar_days {
            if let Some(days) = days.get_mut(calendar as usize) {
                days.push((date, recurring));
            }
        }
        self.book.calendars = days.into_iter().map(Calendar::new).collect();
        self.book.area_ids = self.areas.0;
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
