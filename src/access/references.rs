//! Which other items an item speaks of.

use super::{
    amend::kind::Kind,
    change::{CardItem, Cover, RuleItem},
};

/// An attribute that names an item: its path, and the kind and id of what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// For example `Policies[1].ScheduleId`.
    pub attribute: String,
    /// Of what kind.
    pub kind: Kind,
    /// By what id.
    pub id: Box<str>,
}

fn reference(attribute: impl Into<String>, kind: Kind, id: &str) -> Reference {
    Reference {
        attribute: attribute.into(),
        kind,
        id: Box::from(id),
    }
}

/// What a card speaks of.
pub fn of_card(card: &CardItem) -> Vec<Reference> {
    let profiles = card.profiles.iter();
    let named = profiles.map(|(id, _)| reference("AccessProfiles", Kind::Profiles, id));
    named.collect()
}

/// What any other item speaks of.
pub fn of_rule(item: &RuleItem) -> Vec<Reference> {
    let one = |attribute: &str, kind, id: &Option<Box<str>>| {
        id.as_deref().map(|id| reference(attribute, kind, id))
    };
    let many = |attribute: &str, kind, ids: &[Box<str>]| {
        let named = ids.iter().map(|id| reference(attribute, kind, id));
        named.collect::<Vec<_>>()
    };
    match item {
        RuleItem::AccessPoint(point) => [
            one("SiteId", Kind::Sites, &point.site),
            one("AreaFrom", Kind::Areas, &point.area_from),
            one("AreaTo", Kind::Areas, &point.area_to),
        ]
        .into_iter()
        .flatten()
        .collect(),
        RuleItem::Area(area) => [
            one("SiteId", Kind::Sites, &area.site),
            one("Parent", Kind::Areas, &area.parent),
        ]
        .into_iter()
        .flatten()
        .collect(),
        RuleItem::Site(site) => many("HolidayCalendars", Kind::Calendars, &site.calendars),
        RuleItem::Profile(policies) => {
            let mut named = Vec::new();
            for (index, policy) in policies.iter().enumerate() {
                let at = |name: &str| format!("Policies[{index}].{name}");
                match &policy.cover {
                    Cover::AccessPoints(ids) => {
                        named.extend(many(&at("AccessPoints"), Kind::Doors, ids))
                    }
                    Cover::Area(id) => named.push(reference(at("AreaId"), Kind::Areas, id)),
                }
                named.extend(one(&at("ScheduleId"), Kind::Schedules, &policy.schedule));
            }
            named
        }
        RuleItem::Schedule(schedule) => {
            let days = schedule.special_days.iter().enumerate();
            let named = days.map(|(index, (calendar, _))| {
                reference(
                    format!("SpecialDays[{index}].CalendarId"),
                    Kind::Calendars,
                    calendar,
                )
            });
            named.collect()
        }
        RuleItem::CalendarDay(..) => Vec::new(),
        RuleItem::Device(device) => many("AccessPoints", Kind::Doors, &device.access_points),
    }
}
