//! Schedules minute by minute: every minute that a day's windows hold is marked, and the minute that the site's wall
//! clock shows is looked up.
//!
//! The zone's offset is all that is taken from the time-zone library; dates are counted by hand. What must hold is the
//! contract's sentence: a window that crosses midnight belongs to the day it started, and special days replace a day's
//! windows.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};

use super::items::{self, Schedule, Site, Table, Window};

/// A local day, in days since 1970-01-01.
pub type Day = i64;

/// What a wall clock shows: the day, and the minute of the day.
pub fn wall_clock(at_ms: i64, zone: &TimeZone) -> Option<(Day, i64)> {
    let instant = Timestamp::from_millisecond(at_ms).ok()?;
    let offset_s = i64::from(zone.to_offset(instant).seconds());
    let local_s = at_ms.div_euclid(1000) + offset_s;
    Some((local_s.div_euclid(86_400), local_s.rem_euclid(86_400) / 60))
}

/// Year, month and day of the month, counted from 1970 on or back.
pub fn date(day: Day) -> (i64, i64, i64) {
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let (mut year, mut left) = (1970, day);
    while left < 0 {
        year -= 1;
        left += if leap(year) { 366 } else { 365 };
    }
    while left >= if leap(year) { 366 } else { 365 } {
        left -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

pub fn spelled(day: Day) -> String {
    let (year, month, day) = date(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Monday is 1. The first of January 1970 was a Thursday.
fn weekday(day: Day) -> i64 {
    (day + 3).rem_euclid(7) + 1
}

/// Whether the calendar lists the day: that date, or a recurring one of any year.
fn lists(table: &Table, calendar: &str, day: Day) -> bool {
    let today = spelled(day);
    items::calendar_dates(table, calendar).any(|date| {
        match items::calendar_day(table, calendar, date) {
            Some(true) => date[4..] == today[4..],
            Some(false) => date == today,
            None => false,
        }
    })
}

/// The windows that start on a day.
fn windows_of<'s>(
    table: &Table,
    site: &Site<'_>,
    schedule: &'s Schedule,
    day: Day,
) -> Vec<&'s Window> {
    let special: Vec<_> = schedule
        .special
        .iter()
        .filter(|(calendar, _)| site.calendars.contains(&calendar.as_str()))
        .filter(|(calendar, _)| lists(table, calendar, day))
        .collect();
    let all: Vec<&Window> = if special.is_empty() {
        schedule.windows.iter().collect()
    } else {
        special.iter().flat_map(|(_, windows)| windows).collect()
    };
    all.into_iter()
        .filter(|window| window.days.contains(&weekday(day)))
        .collect()
}

/// Every minute that the windows starting on `day` hold, counted from its midnight into the day after.
fn minutes(table: &Table, site: &Site<'_>, schedule: &Schedule, day: Day) -> Vec<bool> {
    let mut open = vec![false; 2 * 1440];
    for window in windows_of(table, site, schedule, day) {
        let end = if window.until <= window.from {
            window.until + 1440
        } else {
            window.until
        };
        for minute in window.from..end {
            open[minute as usize] = true;
        }
    }
    open
}

/// Opening times that were worked out already, for tests that ask about every minute of the same days of one site.
#[derive(Default)]
pub struct Diary(BTreeMap<(String, Day), Option<Vec<bool>>>);

/// Whether a schedule is open; nothing when it has no item. Asked are the windows that start today, and those that
/// started yesterday and are not over.
pub fn is_open(
    table: &Table,
    site: &Site<'_>,
    schedule: &str,
    at_ms: i64,
    diary: &mut Diary,
) -> Option<bool> {
    let (today, minute) = wall_clock(at_ms, &site.zone)?;
    let mut open = |day: Day, minute: i64| {
        let held = diary
            .0
            .entry((schedule.to_owned(), day))
            .or_insert_with(|| {
                let says = items::schedule_of(table, schedule)?;
                Some(minutes(table, site, &says, day))
            });
        held.as_ref().map(|held| held[minute as usize])
    };
    Some(open(today, minute)? || open(today - 1, minute + 1440)?)
}
