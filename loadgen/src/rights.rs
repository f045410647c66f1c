//! Access profiles, schedules and calendars, laid around the instant of seeding so that each is plainly open or
//! plainly closed for hours on either side of it, in every zone, with or without daylight saving.

use crate::{
    civil,
    item::{Item, Value},
    places::{self, CLOSURES, DOORS, Door, FEASTS, SITES, Site},
};

/// How long after seeding the windows still mean what they were made for: they hold for 5 hours, daylight
/// saving takes one, and one is left over.
pub const GOOD_FOR_MS: i64 = 3 * 3_600_000;

/// A year that has every date, for days that recur.
const LEAP_YEAR: i64 = 2020;

/// What a profile gives, in the words of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The site's ordinary doors, always.
    Staff,
    /// The same, by a schedule that is open now.
    Hours,
    /// The same, by a schedule that is closed now.
    Night,
    /// The same, by a schedule that special days close.
    Workdays,
    /// The same, by a schedule that only special days open.
    Feastdays,
    /// The laboratory, by its area.
    Lab,
    /// The ordinary doors and the vault, less the vault.
    Barred,
    /// The ordinary doors and the one that is locked down.
    Responder,
}

impl Profile {
    const ALL: [Self; 8] = [
        Self::Staff,
        Self::Hours,
        Self::Night,
        Self::Workdays,
        Self::Feastdays,
        Self::Lab,
        Self::Barred,
        Self::Responder,
    ];

    /// The profile's id at a site.
    pub fn id(self, site: &str) -> String {
        let name = match self {
            Self::Staff => "staff",
            Self::Hours => "hours",
            Self::Night => "night",
            Self::Workdays => "workdays",
            Self::Feastdays => "feastdays",
            Self::Lab => "lab",
            Self::Barred => "barred",
            Self::Responder => "responder",
        };
        format!("{name}-{site}")
    }

    fn schedule(self, site: &str) -> Option<String> {
        matches!(
            self,
            Self::Hours | Self::Night | Self::Workdays | Self::Feastdays
        )
        .then(|| self.id(site))
    }
}

/// Every item of profiles, schedules and calendars, for a world seeded at that instant.
pub fn items(seeded_at_ms: i64) -> Vec<Item> {
    let mut items = calendar_items(seeded_at_ms);
    for site in &SITES {
        items.extend(Profile::ALL.map(|profile| profile_item(profile, site.name)));
        items.extend(schedule_items(site, seeded_at_ms));
    }
    items
}

fn profile_item(profile: Profile, site: &str) -> Item {
    let ordinary = (0..DOORS).flat_map(|n| [Door::Entrance(n), Door::Exit(n)]);
    let points = |doors: Vec<Door>| {
        Value::texts(
            doors
                .into_iter()
                .map(|door| places::access_point(site, door)),
        )
    };
    let mut allow = match profile {
        Profile::Lab => vec![("AreaId", format!("{site}-lab").into())],
        Profile::Barred => vec![(
            "AccessPoints",
            points(ordinary.chain([Door::Vault]).collect()),
        )],
        Profile::Responder => vec![(
            "AccessPoints",
            points(ordinary.chain([Door::Locked]).collect()),
        )],
        _ => vec![("AccessPoints", points(ordinary.collect()))],
    };
    if let Some(schedule) = profile.schedule(site) {
        allow.push(("ScheduleId", schedule.into()));
    }
    let mut policies = vec![Value::M(allow)];
    if profile == Profile::Barred {
        let deny = vec![
            ("AccessPoints", points(vec![Door::Vault])),
            ("Effect", "deny".into()),
        ];
        policies.push(Value::M(deny));
    }
    Item::config(
        format!("PROFILE#{}", profile.id(site)),
        vec![("Policies", Value::L(policies))],
    )
}

fn schedule_items(site: &Site, seeded_at_ms: i64) -> Vec<Item> {
    let now = civil::minute_of(seeded_at_ms, site.offset_minutes);
    let open = || daily(now - 300, now + 300);
    let closed = || daily(now + 360, now + 960);
    let all_day = || {
        Value::M(vec![
            ("Days", every_day()),
            ("From", "00:00".into()),
            ("Until", "24:00".into()),
        ])
    };
    let special = |calendar: &str, windows: Vec<Value>| {
        Value::M(vec![
            ("CalendarId", calendar.into()),
            ("Windows", Value::L(windows)),
        ])
    };
    let item = |profile: Profile, windows: Vec<Value>, special_days: Vec<Value>| {
        let mut fields = vec![("Windows", Value::L(windows))];
        if !special_days.is_empty() {
            fields.push(("SpecialDays", Value::L(special_days)));
        }
        Item::config(format!("SCHED#{}", profile.id(site.name)), fields)
    };
    vec![
        item(Profile::Hours, vec![closed(), open()], vec![]),
        item(Profile::Night, vec![closed()], vec![]),
        item(
            Profile::Workdays,
            vec![all_day()],
            vec![special(CLOSURES, vec![])],
        ),
        item(
            Profile::Feastdays,
            vec![closed()],
            vec![special(FEASTS, vec![all_day()])],
        ),
    ]
}

/// A window on every day; it crosses midnight when the second minute is the earlier one on the clock.
fn daily(from: i64, until: i64) -> Value {
    Value::M(vec![
        ("Days", every_day()),
        ("From", civil::clock(from).into()),
        ("Until", civil::clock(until).into()),
    ])
}

fn every_day() -> Value {
    Value::L((1..=7).map(Value::N).collect())
}

/// Both calendars hold today and the two days on either side: wherever the zone, the local date is one of them,
/// and so is the date on which a window across midnight began.
fn calendar_items(seeded_at_ms: i64) -> Vec<Item> {
    let today = civil::day_of(seeded_at_ms, 0);
    (today - 2..=today + 2)
        .flat_map(|day| {
            let (_, month, day_of_month) = civil::date(day);
            [
                (CLOSURES, civil::iso_date(day), false),
                (
                    FEASTS,
                    format!("{LEAP_YEAR:04}-{month:02}-{day_of_month:02}"),
                    true,
                ),
            ]
        })
        .map(|(calendar, date, recurring)| Item {
            pk: format!("CAL#{calendar}"),
            sk: format!("DAY#{date}"),
            fields: vec![("Recurring", Value::Bool(recurring))],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a daily window covers a minute of the day, by counting minutes.
    fn covers(window: &Value, minute: i64) -> bool {
        let Value::M(fields) = window else {
            panic!("a window is a map")
        };
        let at = |name: &str| {
            let text = fields
                .iter()
                .find(|(field, _)| *field == name)
                .map(|(_, value)| value);
            let Some(Value::S(text)) = text else {
                panic!("{name} is text")
            };
            let (hours, minutes) = text.split_once(':').expect("HH:MM");
            hours.parse::<i64>().expect("hours") * 60 + minutes.parse::<i64>().expect("minutes")
        };
        let (from, until) = (at("From"), at("Until"));
        let length = if until > from {
            until - from
        } else {
            until + 1440 - from
        };
        (0..length).any(|step| (from + step) % 1440 == minute.rem_euclid(1440))
    }

    #[test]
    fn open_windows_are_open_and_closed_ones_closed_for_hours_whatever_the_time_of_day() {
        for minute in (0..1440).step_by(7) {
            for shift in [0, 60, 120, 240] {
                // up to three hours after seeding, with or without summer time
                assert!(
                    covers(&daily(minute - 300, minute + 300), minute + shift),
                    "{minute}+{shift}"
                );
                assert!(
                    !covers(&daily(minute + 360, minute + 960), minute + shift),
                    "{minute}+{shift}"
                );
            }
        }
    }

    #[test]
    fn calendars_hold_the_local_date_of_every_zone() {
        for seeded in [1_772_438_321_123, 1_772_323_199_999, 1_767_225_600_000] {
            let items = calendar_items(seeded);
            for site in &SITES {
                let local = civil::iso_date(civil::day_of(
                    seeded + GOOD_FOR_MS,
                    site.offset_minutes + 60,
                ));
                assert!(
                    items.iter().any(|item| item.sk == format!("DAY#{local}")),
                    "{local}"
                );
                assert!(
                    items
                        .iter()
                        .any(|item| item.sk == format!("DAY#2020{}", &local[4..])),
                    "{local}"
                );
            }
        }
    }
}
