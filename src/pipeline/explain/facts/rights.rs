//! What rules 17 and 18 look at: profiles, policies, schedules.

use jiff::{Timestamp, civil::Date};

use super::Facts;
use crate::{
    access::{
        change::{CardItem, Cover, Effect, PolicyItem, RuleItem, Site},
        schedule::{Calendar, LocalTime, Schedule},
    },
    model::card::Validity,
};

impl Facts<'_> {
    /// The profiles of the card, each with its policies that cover the door.
    fn covering(&self, card: &CardItem) -> Vec<(String, Result<Vec<&PolicyItem>, String>)> {
        let to = self.of_point(|point| point.area_to.iter().map(|area| area.to_string()).collect());
        let covers = |policy: &&PolicyItem| match &policy.cover {
            Cover::AccessPoints(ids) => ids.iter().any(|id| **id == *self.question.door),
            Cover::Area(area) => to.first().is_some_and(|to| **to == **area),
        };
        let links = card
            .profiles
            .iter()
            .map(|(id, valid): &(Box<str>, Validity)| {
                let policies = match self.looked(&format!("PROFILE#{id}")) {
                    _ if !valid.covers(self.question.at_ms) => {
                        Err("is not valid for this card then".to_owned())
                    }
                    Ok(RuleItem::Profile(policies)) => Ok(policies.iter().filter(covers).collect()),
                    Ok(_) => Err(String::new()),
                    Err(why) => Err(why),
                };
                (id.to_string(), policies)
            });
        links.collect()
    }

    pub(super) fn rights(&self, card: &CardItem) -> Vec<String> {
        let mut told = Vec::new();
        for (profile, policies) in self.covering(card) {
            match policies {
                Err(why) => told.push(format!("profile {profile}: {why}")),
                Ok(policies) if policies.is_empty() => {
                    told.push(format!("profile {profile}: no policy covers the door"))
                }
                Ok(policies) => {
                    for policy in policies {
                        let effect = match policy.effect {
                            Effect::Allow => "allows",
                            Effect::Deny => "denies",
                        };
                        let when = policy.schedule.as_deref().unwrap_or("always");
                        told.push(format!(
                            "profile {profile}: {effect} the door, schedule {when}"
                        ));
                    }
                }
            }
        }
        if told.is_empty() {
            told.push("the card has no access profile".to_owned());
        }
        told
    }

    pub(super) fn schedules(&self, card: &CardItem) -> Vec<String> {
        let mut ids: Vec<&str> = Vec::new();
        for policies in self
            .covering(card)
            .into_iter()
            .filter_map(|(_, policies)| policies.ok())
        {
            ids.extend(
                policies
                    .iter()
                    .filter_map(|policy| policy.schedule.as_deref()),
            );
        }
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return vec!["no schedule limits what covers the door".to_owned()];
        }
        let site = self.of_point(|point| point.site.iter().map(|site| site.to_string()).collect());
        let site = site.first().map(|id| self.site(id));
        let Some(Ok(site)) = site else {
            return vec!["the door's site is not known, nor its time: what allows is closed, what denies is in force".to_owned()];
        };
        let local = Timestamp::from_millisecond(self.question.at_ms)
            .map(|at| at.to_zoned(site.zone.clone()));
        let local = local.map_or_else(
            |_| "?".to_owned(),
            |local| local.strftime("%A %Y-%m-%d %H:%M:%S %Z").to_string(),
        );
        let mut told = vec![format!("at the site it is {local}")];
        for id in ids {
            told.push(match self.looked(&format!("SCHED#{id}")) {
                Ok(RuleItem::Schedule(schedule)) => {
                    let open = self.is_open(schedule, site);
                    format!("schedule {id} is {}", if open { "open" } else { "closed" })
                }
                Ok(_) => String::new(),
                Err(why) => format!("{why}: what allows is closed, what denies is in force"),
            });
        }
        told
    }

    fn is_open(&self, schedule: &Schedule<Box<str>>, site: &Site) -> bool {
        #[expect(clippy::borrowed_box, reason = "the schedule names calendars so")]
        let observed = |calendar: &Box<str>, date: Date| {
            let prefix = format!("CAL#{calendar}/");
            let days = self
                .rules
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix));
            let days = days.filter_map(|(_, item)| match item {
                Ok(RuleItem::CalendarDay(date, recurring)) => Some((*date, *recurring)),
                _ => None,
            });
            site.calendars.contains(calendar) && Calendar::new(days).lists(date)
        };
        let local = LocalTime::at(self.question.at_ms, &site.zone);
        local.is_some_and(|local| schedule.is_open(&local, observed))
    }
}
