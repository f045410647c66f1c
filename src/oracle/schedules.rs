//! Schedules over ten years in seven zones: every minute around each change of the clock, and nights around holidays, as the
//! daemon answers and as the minute-by-minute model does.

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    access::{
        cache::{AccessCache, View},
        fixtures::{item, list, map, put, s, window, yes},
    },
    model::{item::Item, item::Value, swipe::Swipe},
    pipeline::decide::{Policy, decide},
};

use super::{
    clock::{self, Diary},
    items::{self, Table},
};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The site, its zone, how often its clock changes from 2020 to 2029, and by how many minutes at least.
const ZONES: [(&str, &str, usize, i64); 7] = [
    ("berlin", "Europe/Berlin", 20, 60),
    ("york", "America/New_York", 20, 60),
    ("howe", "Australia/Lord_Howe", 20, 30),
    ("santiago", "America/Santiago", 20, 60),
    ("casablanca", "Africa/Casablanca", 12, 60),
    ("kolkata", "Asia/Kolkata", 0, 0),
    ("troll", "Antarctica/Troll", 20, 120),
];

const FIRST_MS: i64 = 1_577_836_800_000; // 2020-01-01T00:00Z
const LAST_MS: i64 = 1_893_456_000_000; // 2030-01-01T00:00Z

/// Days on which the site is special: every year, in leap years, and on days when some clock changes.
const DAYS: [(&str, bool); 10] = [
    ("2019-12-25", true),
    ("2024-01-01", true),
    ("2020-02-29", true),
    ("2026-03-28", false),
    ("2026-03-29", false),
    ("2026-10-04", false),
    ("2027-04-04", false),
    ("2025-10-26", false),
    ("2028-03-12", false),
    ("2026-12-31", false),
];

fn special(calendar: &str, windows: Value) -> Value {
    map([("CalendarId", s(calendar)), ("Windows", windows)])
}

/// Schedules by id: their windows, and what holds on special days.
fn schedules() -> Vec<Item> {
    let week = [1, 2, 3, 4, 5, 6, 7];
    let closed = || list([]);
    let rows = [
        ("night", list([window(week, "22:00", "06:00")]), None),
        ("gap", list([window(week, "02:00", "03:00")]), None),
        (
            "half",
            list([
                window(week, "01:30", "02:30"),
                window([7], "23:45", "00:15"),
            ]),
            None,
        ),
        ("sunday", list([window([7], "00:00", "24:00")]), None),
        ("round", list([window([7], "02:30", "02:30")]), None),
        (
            "guarded",
            list([window(week, "20:00", "02:30")]),
            Some(closed()),
        ),
        (
            "short",
            list([window(week, "00:00", "00:00")]),
            Some(list([window(week, "23:00", "01:00")])),
        ),
        (
            "late",
            list([window([1, 2, 3, 4, 5], "08:00", "17:00")]),
            Some(list([window(week, "18:30", "02:00")])),
        ),
    ];
    rows.map(|(id, windows, holiday)| {
        let special_days = holiday.map_or(list([]), |holiday| list([special("h", holiday)]));
        let fields = [("Windows", windows), ("SpecialDays", special_days)];
        item(&format!("SCHED#{id}"), "CONFIG", fields)
    })
    .into()
}

fn ids() -> Vec<String> {
    let id = |item: &Item| Some(item["PK"].as_text()?.split_once('#')?.1.to_owned());
    schedules().iter().filter_map(id).collect()
}

/// A door for each zone, a card for each schedule.
fn estate() -> Vec<Item> {
    let mut items = schedules();
    let doors: Vec<_> = ZONES.iter().map(|(site, ..)| s(site)).collect();
    for (site, zone, ..) in ZONES {
        items.push(item(
            &format!("SITE#{site}"),
            "CONFIG",
            [("TimeZone", s(zone)), ("HolidayCalendars", list([s("h")]))],
        ));
        items.push(item(
            &format!("AP#{site}"),
            "CONFIG",
            [("Direction", s("in")), ("SiteId", s(site))],
        ));
    }
    for id in ids() {
        let policy = map([
            ("AccessPoints", Value::List(doors.clone())),
            ("ScheduleId", s(&id)),
        ]);
        items.push(item(
            &format!("PROFILE#{id}"),
            "CONFIG",
            [("Policies", list([policy]))],
        ));
        items.push(item(
            &format!("CARD#{id}"),
            "CARD#STATUS",
            [
                ("CardStatus", s("issued")),
                ("HolderStatus", s("active")),
                ("AccessProfiles", list([s(&id)])),
            ],
        ));
    }
    for (day, recurring) in DAYS {
        let key = ("CAL#h".to_owned(), format!("DAY#{day}"));
        let fields = if recurring {
            vec![("Recurring", yes())]
        } else {
            Vec::new()
        };
        let mut day = item(&key.0, &key.1, []);
        day.extend(
            fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        items.push(day);
    }
    items
}

/// The daemon's answer beside the model's, at one door.
struct Both<'t> {
    view: View,
    table: &'t Table,
    site: &'static str,
    says: items::Site<'t>,
    diary: Diary,
    ids: Vec<String>,
    /// How often each schedule was open, and how often not.
    seen: Vec<[usize; 2]>,
}

impl<'t> Both<'t> {
    fn at(view: View, table: &'t Table, site: &'static str) -> Self {
        let ids = ids();
        Self {
            view,
            table,
            site,
            says: items::site(table, site).expect("a site of the estate"),
            diary: Diary::default(),
            seen: vec![[0; 2]; ids.len()],
            ids,
        }
    }

    fn check(&mut self, at_ms: i64) {
        for (id, seen) in self.ids.iter().zip(&mut self.seen) {
            let swipe = Swipe {
                device_id: "v".into(),
                device_seq: 1,
                access_point: self.site.into(),
                card_id: id.into(),
                swiped_at_ms: at_ms,
                direction: None,
                offline: false,
                trace_id: None,
            };
            let ruling = decide(&swipe, &self.view, &Policy::default(), at_ms);
            let reason = ruling.verdict.reason.as_str();
            let open = clock::is_open(self.table, &self.says, id, at_ms, &mut self.diary);
            let expected = match open {
                Some(true) => "Granted",
                _ => "NotPermittedAtThisTime",
            };
            seen[usize::from(reason == "Granted")] += 1;
            assert_eq!(reason, expected, "{id} in {} at {at_ms}", self.site);
        }
    }
}

fn offset_s(zone: &TimeZone, at_ms: i64) -> i64 {
    let instant = Timestamp::from_millisecond(at_ms).expect("a year of four digits");
    i64::from(zone.to_offset(instant).seconds())
}

/// The hours in which the clock changes: found by looking at every hour.
fn changes(zone: &TimeZone) -> Vec<i64> {
    let hours = (FIRST_MS..LAST_MS).step_by(HOUR_MS as usize);
    hours
        .filter(|at_ms| offset_s(zone, *at_ms) != offset_s(zone, at_ms + HOUR_MS))
        .collect()
}

/// Asks `each` about every zone, with the estate in both forms.
fn in_every_zone(mut each: impl FnMut(&mut Both<'_>, &TimeZone, usize, i64)) {
    let items = estate();
    let cache = AccessCache::new();
    cache.apply(&items.iter().cloned().map(put).collect::<Vec<_>>());
    cache.mark_fresh(LAST_MS + DAY_MS);
    let text = |item: &Item, name: &str| item[name].as_text().expect("a key").to_owned();
    let table: Table = items
        .into_iter()
        .map(|item| ((text(&item, "PK"), text(&item, "SK")), item))
        .collect();
    let mut seen = vec![[0; 2]; ids().len()];
    for (site, zone, times, minutes) in ZONES {
        let mut both = Both::at(cache.view(), &table, site);
        let zone = TimeZone::get(zone).expect("a zone of the list");
        each(&mut both, &zone, times, minutes);
        for (all, here) in seen.iter_mut().zip(&both.seen) {
            *all = [all[0] + here[0], all[1] + here[1]];
        }
    }
    println!("closed and open: {seen:?}");
    assert!(seen.iter().flatten().all(|times| *times > 0), "{seen:?}");
}

#[test]
fn every_minute_around_each_change_of_the_clock_for_ten_years() {
    in_every_zone(|both, zone, times, minutes| {
        let changes = changes(zone);
        assert!(
            changes.len() >= times,
            "{}: {} changes",
            both.site,
            changes.len()
        );
        for change_ms in changes {
            let step_s = offset_s(zone, change_ms) - offset_s(zone, change_ms + HOUR_MS);
            assert!(step_s.abs() >= minutes * 60, "{}: {step_s} s", both.site);
            // The change is at the end of the hour, or half-way: three hours on both sides of all of it.
            for minute in -180..=240 {
                both.check(change_ms + minute * MINUTE_MS);
            }
        }
    });
}

#[test]
fn nights_into_through_and_out_of_holidays_for_ten_years() {
    in_every_zone(|both, zone, _, _| {
        for day in FIRST_MS / DAY_MS..LAST_MS / DAY_MS {
            let date = clock::spelled(day);
            let special = |(listed, recurring): &(&str, bool)| {
                *listed == date || *recurring && listed[4..] == date[4..]
            };
            if !DAYS.iter().any(special) {
                continue;
            }
            let midnight_ms = day * DAY_MS - offset_s(zone, day * DAY_MS) * 1000;
            // From the noon before to the noon after; every edge of a window is a multiple of fifteen minutes.
            for quarter in -48..=144 {
                let edge_ms = midnight_ms + quarter * 15 * MINUTE_MS;
                both.check(edge_ms);
                both.check(edge_ms - 1);
            }
        }
    });
}

#[test]
fn days_are_counted_as_the_calendar_counts_them() {
    for (day, date) in [
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (11_016, "2000-02-29"),
        (18_321, "2020-02-29"),
        (20_515, "2026-03-03"),
    ] {
        assert_eq!(clock::spelled(day), date);
    }
    assert_eq!(clock::wall_clock(-1, &TimeZone::UTC), Some((-1, 1439)));
}
