//! Writing a rulebook from items: ids get their numbers in the order they are met, whether an item describes
//! them or only mentions them.

mod areas;

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use jiff::civil::Date;

use super::{
    change::{Cover, Entity, PolicyItem, RuleItem, Site},
    profiles::Profiles,
    rulebook::{Covered, DeviceRules, Point, PointId, Policy, Rulebook, SiteRules},
    schedule::{Calendar, Schedule},
};
use crate::model::door::{AccessPoint, Area};

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

    fn finish(mut self) -> Rulebook {
        self.book.areas = areas::rules(&self.areas_said, &self.areas.0);
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
