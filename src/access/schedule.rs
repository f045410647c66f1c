//! When a schedule is open: windows by the day of the week, and special days that replace a day's windows.
//!
//! An instant is turned into the site's local time once, and that time is compared with the windows. Every instant
//! has exactly one local time, so both daylight-saving changes need no case of their own: a skipped hour never
//! comes, and a repeated hour is inside a window both times.
//!
//! A window that crosses midnight belongs to the day it started. The hours after midnight are therefore judged by
//! the windows of the day before, special or not: the evening before a holiday runs into it, and a closed holiday
//! has no night shift that ends the day after.
//!
//! Never reads a clock; never allocates when asked.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// The zone of that IANA name, from the database that is compiled in.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// An instant as a site's wall clock shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    date: Date,
    /// The day before, whose windows may reach past midnight; none before the first day of the calendar.
    yesterday: Option<Date>,
    /// Seconds since the local midnight by the wall clock, below 86 400.
    second: u32,
}

impl LocalTime {
    /// The wall clock of `zone` at `at_ms` (Unix epoch milliseconds); nothing outside the years ±9999.
    pub fn at(at_ms: i64, zone: &TimeZone) -> Option<Self> {
        let local = zone.to_datetime(Timestamp::from_millisecond(at_ms).ok()?);
        let second = i32::from(local.hour()) * 3600
            + i32::from(local.minute()) * 60
            + i32::from(local.second());
        let date = local.date();
        Some(Self {
            date,
            yesterday: date.yesterday().ok(),
            second: second.unsigned_abs(),
        })
    }
}

/// Days of the week as bits, Monday the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(pub u8);

impl Days {
    /// Monday to Sunday.
    pub const ALL: Self = Self(0b111_1111);

    fn has(self, date: Date) -> bool {
        let monday_is_0 = date.weekday().to_monday_zero_offset();
        self.0 & (1 << monday_is_0) != 0
    }
}

/// A stretch of a day, in minutes since midnight: `from` included, `until` not. `until <= from` runs into the
/// next day, so a window from a time until the same time is twenty-four hours long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The days it starts on.
    pub days: Days,
    /// 0 to 1439.
    pub from_min: u16,
    /// 0 to 1440.
    pub until_min: u16,
}

impl Window {
    fn crosses_midnight(self) -> bool {
        self.until_min <= self.from_min
    }

    /// Open at `second` of the day it starts on.
    fn open_on_its_day(self, second: u32) -> bool {
        second >= u32::from(self.from_min) * 60
            && (self.crosses_midnight() || second < u32::from(self.until_min) * 60)
    }

    /// Still open at `second` of the day after.
    fn open_on_the_next_day(self, second: u32) -> bool {
        self.crosses_midnight() && second < u32::from(self.until_min) * 60
    }
}

/// The time of day of `HH:MM`, in minutes; `24:00` is 1440.
pub fn parse_minute(text: &str) -> Option<u16> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let [h1, h2, b':', m1, m2] = *text.as_bytes() else {
        return None;
    };
    let (hour, minute) = (digit(h1)? * 10 + digit(h2)?, digit(m1)? * 10 + digit(m2)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= 24 * 60).then_some(total)
}

/// Windows, and the windows that replace them on the days of a calendar. `C` names a calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule<C> {
    /// For every day that is not special.
    pub windows: Box<[Window]>,
    /// For the days a calendar lists, where the site observes that calendar. Without windows the day is closed.
    pub special_days: Box<[(C, Box<[Window]>)]>,
}

impl<C> Schedule<C> {
    /// Whether a window is open. `observed` says whether the site observes a calendar and that lists the date.
    pub fn is_open(&self, local: &LocalTime, observed: impl Fn(&C, Date) -> bool) -> bool {
        self.any_on(local.date, &observed, |window| {
            window.open_on_its_day(local.second)
        }) || local.yesterday.is_some_and(|yesterday| {
            self.any_on(yesterday, &observed, |window| {
                window.open_on_the_next_day(local.second)
            })
        })
    }

    /// Whether `test` holds for any window that starts on `date`. Several special days on one date add up.
    fn any_on(
        &self,
        date: Date,
        observed: impl Fn(&C, Date) -> bool,
        test: impl Fn(Window) -> bool,
    ) -> bool {
        let starts = |windows: &[Window]| {
            windows
                .iter()
                .any(|&window| window.days.has(date) && test(window))
        };
        let mut special = false;
        for (calendar, windows) in &self.special_days {
            if observed(calendar, date) {
                special = true;
                if starts(windows) {
                    return true;
                }
            }
        }
        !special && starts(&self.windows)
    }
}

/// The days of one calendar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Sorted.
    once: Vec<Date>,
    /// Month and day, sorted. The 29th of February comes in leap years only: no other day stands in for it.
    every_year: Vec<(i8, i8)>,
}

impl Calendar {
    /// The calendar of these days; `true` marks a day that comes every year.
    pub fn new(days: impl IntoIterator<Item = (Date, bool)>) -> Self {
        let mut calendar = Self::default();
        for (date, recurring) in days {
            if recurring {
                calendar.every_year.push((date.month(), date.day()));
            } else {
                calendar.once.push(date);
            }
        }
        calendar.once.sort_unstable();
        calendar.every_year.sort_unstable();
        calendar
    }

    /// Whether it lists `date`.
    pub fn lists(&self, date: Date) -> bool {
        self.every_year
            .binary_search(&(date.month(), date.day()))
            .is_ok()
            || self.once.binary_search(&date).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The instant that this clock shows, in the zone's first pass where the hour is repeated.
    fn instant(zone_name: &str, text: &str) -> i64 {
        let local: jiff::civil::DateTime = text.parse().expect("a civil time");
        let zone = zone(zone_name).expect("a zone");
        zone.to_ambiguous_timestamp(local)
            .earlier()
            .expect("in range")
            .as_millisecond()
    }

    fn minute(text: &str) -> u16 {
        parse_minute(text).expect("a time of day")
    }

    fn window(days: &[u8], from: &str, until: &str) -> Window {
        let days = Days(days.iter().fold(0, |bits, day| bits | 1 << (day - 1)));
        Window {
            days,
            from_min: minute(from),
            until_min: minute(until),
        }
    }

    fn plain(windows: &[Window]) -> Schedule<Calendar> {
        Schedule {
            windows: windows.into(),
            special_days: Box::default(),
        }
    }

    /// The dates of a calendar, and whether each comes every year.
    type Dates<'a> = &'a [(&'a str, bool)];

    /// Dates, and the windows that replace theirs.
    type SpecialDay<'a> = (Dates<'a>, &'a [Window]);

    /// Wall-clock times, and whether it is open then.
    type Rows<'a> = &'a [(&'a str, bool)];

    /// A schedule with these special days; a site that observes every calendar it is given.
    fn special(windows: &[Window], days: &[SpecialDay<'_>]) -> Schedule<Calendar> {
        let calendar = |dates: Dates<'_>| {
            Calendar::new(
                dates
                    .iter()
                    .map(|(date, every_year)| (date.parse().expect("a date"), *every_year)),
            )
        };
        let special_days = days
            .iter()
            .map(|(dates, windows)| (calendar(dates), Box::from(*windows)))
            .collect();
        Schedule {
            windows: windows.into(),
            special_days,
        }
    }

    #[track_caller]
    fn check(schedule: &Schedule<Calendar>, zone_name: &str, at_ms: i64, open: bool) {
        let local = LocalTime::at(at_ms, &zone(zone_name).expect("a zone")).expect("in range");
        let is_open = schedule.is_open(&local, |calendar, date| calendar.lists(date));
        assert_eq!(is_open, open, "{zone_name} {local:?}");
    }

    #[track_caller]
    fn table(schedule: &Schedule<Calendar>, zone_name: &str, rows: Rows<'_>) {
        for (text, open) in rows {
            check(schedule, zone_name, instant(zone_name, text), *open);
        }
    }

    const EVERY_DAY: &[u8] = &[1, 2, 3, 4, 5, 6, 7];
    const AMSTERDAM: &str = "Europe/Amsterdam";
    const NEW_YORK: &str = "America/New_York";

    #[test]
    fn a_time_of_day_is_two_digits_colon_two_digits_up_to_24_00() {
        for (text, expected) in [
            ("00:00", Some(0)),
            ("09:05", Some(545)),
            ("23:59", Some(1439)),
            ("24:00", Some(1440)),
        ] {
            assert_eq!(parse_minute(text), expected, "{text}");
        }
        for text in [
            "", "9:05", "09:5", "09:60", "24:01", "25:00", "0905", "09:05:00", "+9:05", "09-05",
            "０9:05",
        ] {
            assert_eq!(parse_minute(text), None, "{text}");
        }
    }

    #[test]
    fn a_window_is_open_from_its_first_second_to_before_its_last_on_its_days() {
        let office = plain(&[window(&[1, 2, 3, 4, 5], "08:00", "18:30")]);
        // 6 March 2026 is a Friday.
        let rows = [
            ("2026-03-06T07:59:59.999", false),
            ("2026-03-06T08:00:00", true),
            ("2026-03-06T18:29:59.999", true),
            ("2026-03-06T18:30:00", false),
            ("2026-03-07T12:00:00", false),
            ("2026-03-08T12:00:00", false),
            ("2026-03-09T12:00:00", true),
        ];
        for zone in [
            AMSTERDAM,
            NEW_YORK,
            "Asia/Kolkata",
            "Pacific/Chatham",
            "UTC",
        ] {
            table(&office, zone, &rows);
        }
    }

    #[test]
    fn one_instant_is_open_in_one_zone_and_closed_in_another() {
        let office = plain(&[window(EVERY_DAY, "08:00", "18:00")]);
        let at_ms = instant("UTC", "2026-03-02T07:30:00");
        for (zone, open) in [
            ("UTC", false),
            (AMSTERDAM, true),
            (NEW_YORK, false),
            ("Asia/Tokyo", true),
        ] {
            check(&office, zone, at_ms, open);
        }
        // Sunday evening in New York is Monday morning in Tokyo.
        let mondays = plain(&[window(&[1], "00:00", "24:00")]);
        let at_ms = instant(NEW_YORK, "2026-03-01T20:00:00");
        check(&mondays, NEW_YORK, at_ms, false);
        check(&mondays, "Asia/Tokyo", at_ms, true);
    }

    #[test]
    fn a_window_across_midnight_belongs_to_the_day_it_started() {
        let friday_night = plain(&[window(&[5], "22:00", "06:00")]);
        let rows = [
            ("2026-03-06T05:59:59", false),
            ("2026-03-06T21:59:59", false),
            ("2026-03-06T22:00:00", true),
            ("2026-03-06T23:59:59", true),
            ("2026-03-07T00:00:00", true),
            ("2026-03-07T05:59:59", true),
            ("2026-03-07T06:00:00", false),
            ("2026-03-07T22:00:00", false),
        ];
        table(&friday_night, AMSTERDAM, &rows);
        let sunday_night = plain(&[window(&[7], "22:00", "06:00")]);
        table(
            &sunday_night,
            AMSTERDAM,
            &[
                ("2026-03-09T03:00:00", true),
                ("2026-03-08T03:00:00", false),
            ],
        );
    }

    #[test]
    fn the_ends_of_the_day_are_exact() {
        let rows: [(&str, &str, Rows<'_>); 4] = [
            // The whole day, said in two ways.
            (
                "00:00",
                "24:00",
                &[
                    ("2026-03-06T00:00:00", true),
                    ("2026-03-06T23:59:59.999", true),
                    ("2026-03-07T00:00:00", false),
                    ("2026-03-05T23:59:59", false),
                ],
            ),
            (
                "00:00",
                "00:00",
                &[
                    ("2026-03-06T00:00:00", true),
                    ("2026-03-06T23:59:59.999", true),
                    ("2026-03-07T00:00:00", false),
                    ("2026-03-05T23:59:59", false),
                ],
            ),
            // Until midnight, said in two ways.
            (
                "20:00",
                "24:00",
                &[
                    ("2026-03-06T19:59:59", false),
                    ("2026-03-06T23:59:59", true),
                    ("2026-03-07T00:00:00", false),
                ],
            ),
            // From a time until the same time: twenty-four hours.
            (
                "09:00",
                "09:00",
                &[
                    ("2026-03-06T08:59:59", false),
                    ("2026-03-06T09:00:00", true),
                    ("2026-03-07T08:59:59", true),
                    ("2026-03-07T09:00:00", false),
                ],
            ),
        ];
        for (from, until, expected) in rows {
            table(&plain(&[window(&[5], from, until)]), AMSTERDAM, expected);
        }
    }

    #[test]
    fn an_hour_that_is_skipped_never_comes_and_what_surrounds_it_is_unmoved() {
        // 02:00 becomes 03:00: on 29 March 2026 in Amsterdam, on 8 March in New York.
        for (zone, day) in [(AMSTERDAM, "2026-03-29"), (NEW_YORK, "2026-03-08")] {
            let early = plain(&[window(&[7], "01:00", "02:30")]);
            let late = plain(&[window(&[7], "02:30", "04:00")]);
            let before_ms = instant(zone, &format!("{day}T01:59:59"));
            check(&early, zone, before_ms, true);
            check(&late, zone, before_ms, false);
            // One second later the clock shows 03:00:00.
            check(&early, zone, before_ms + 1000, false);
            check(&late, zone, before_ms + 1000, true);
            // A window inside the skipped hour is never open that day.
            let skipped = plain(&[window(&[7], "02:00", "03:00")]);
            for minutes in -120..240 {
                check(&skipped, zone, before_ms + 1000 + minutes * 60_000, false);
            }
        }
    }

    #[test]
    fn an_hour_that_is_repeated_is_inside_a_window_both_times() {
        // 03:00 becomes 02:00 on 25 October 2026 in Amsterdam; 02:00 becomes 01:00 on 1 November in New York.
        for (zone, day, repeated) in [
            (AMSTERDAM, "2026-10-25", "02"),
            (NEW_YORK, "2026-11-01", "01"),
        ] {
            let next = format!("0{}", repeated.parse::<u8>().expect("an hour") + 1);
            let hour = plain(&[window(
                &[7],
                &format!("{repeated}:00"),
                &format!("{next}:00"),
            )]);
            let first_ms = instant(zone, &format!("{day}T{repeated}:00:00"));
            check(&hour, zone, first_ms - 1, false);
            check(&hour, zone, first_ms, true);
            check(&hour, zone, first_ms + 2 * 3_600_000 - 1, true);
            check(&hour, zone, first_ms + 2 * 3_600_000, false);
            // Half of it: closed, open, closed, open.
            let half = plain(&[window(
                &[7],
                &format!("{repeated}:30"),
                &format!("{next}:00"),
            )]);
            for (quarter, open) in [
                (0, false),
                (1, false),
                (2, true),
                (3, true),
                (4, false),
                (5, false),
                (6, true),
                (7, true),
                (8, false),
            ] {
                check(&half, zone, first_ms + quarter * 900_000, open);
            }
        }
    }

    #[test]
    fn a_night_window_runs_through_both_changes_of_the_clock() {
        let night = plain(&[window(&[6], "22:00", "06:00")]);
        for (evening, hours) in [
            ("2026-03-28T22:00:00", 7),
            ("2026-10-24T22:00:00", 9),
            ("2026-06-06T22:00:00", 8),
        ] {
            let start_ms = instant(AMSTERDAM, evening);
            check(&night, AMSTERDAM, start_ms - 1, false);
            check(&night, AMSTERDAM, start_ms, true);
            check(&night, AMSTERDAM, start_ms + hours * 3_600_000 - 1, true);
            check(&night, AMSTERDAM, start_ms + hours * 3_600_000, false);
        }
    }

    #[test]
    fn a_special_day_replaces_the_windows_of_its_day_alone() {
        // King's Day, Monday 27 April 2026.
        let kings_day = special(
            &[window(&[1, 2, 3, 4, 5], "08:00", "18:00")],
            &[(
                &[("2026-04-27", false)],
                &[window(EVERY_DAY, "10:00", "12:00")],
            )],
        );
        let rows = [
            ("2026-04-24T09:00:00", true),
            ("2026-04-27T09:00:00", false),
            ("2026-04-27T10:00:00", true),
            ("2026-04-27T12:00:00", false),
            ("2026-04-28T09:00:00", true),
            ("2027-04-27T09:00:00", true),
        ];
        table(&kings_day, AMSTERDAM, &rows);
    }

    #[test]
    fn several_special_days_on_one_date_add_up_and_none_at_all_is_closed() {
        let day: Dates<'_> = &[("2026-04-27", false)];
        let always = [window(EVERY_DAY, "00:00", "24:00")];
        let (morning, evening) = (
            [window(EVERY_DAY, "08:00", "09:00")],
            [window(EVERY_DAY, "20:00", "21:00")],
        );
        let rows: [(&[SpecialDay<'_>], [bool; 3]); 4] = [
            (&[(day, &morning), (day, &evening)], [true, false, true]),
            (&[(day, &[]), (day, &evening)], [false, false, true]),
            (&[(day, &[])], [false, false, false]),
            (&[(&[("2026-04-28", false)], &[])], [true, true, true]),
        ];
        for (days, open) in rows {
            let schedule = special(&always, days);
            for (time, open) in ["08:30", "12:00", "20:30"].into_iter().zip(open) {
                table(
                    &schedule,
                    AMSTERDAM,
                    &[(&format!("2026-04-27T{time}:00"), open)],
                );
            }
        }
    }

    #[test]
    fn a_calendar_that_the_site_does_not_observe_changes_nothing() {
        let schedule = special(
            &[window(EVERY_DAY, "00:00", "24:00")],
            &[(&[("2026-04-27", false)], &[])],
        );
        let at_ms = instant(AMSTERDAM, "2026-04-27T12:00:00");
        let local = LocalTime::at(at_ms, &zone(AMSTERDAM).expect("a zone")).expect("in range");
        assert!(schedule.is_open(&local, |_, _| false));
        assert!(!schedule.is_open(&local, |calendar, date| calendar.lists(date)));
    }

    #[test]
    fn a_night_before_a_holiday_runs_into_it_and_a_closed_holiday_has_no_night() {
        let night = [window(EVERY_DAY, "22:00", "06:00")];
        let closed = special(&night, &[(&[("2026-04-27", false)], &[])]);
        let rows = [
            ("2026-04-26T23:00:00", true),
            ("2026-04-27T05:59:59", true),
            ("2026-04-27T06:00:00", false),
            ("2026-04-27T23:00:00", false),
            ("2026-04-28T05:00:00", false),
            ("2026-04-28T22:00:00", true),
            ("2026-04-29T05:00:00", true),
        ];
        table(&closed, AMSTERDAM, &rows);
        // A holiday's own night runs into the ordinary day after it.
        let late = special(
            &[],
            &[(
                &[("2026-04-27", false)],
                &[window(EVERY_DAY, "23:00", "02:00")],
            )],
        );
        let rows = [
            ("2026-04-27T01:00:00", false),
            ("2026-04-27T23:30:00", true),
            ("2026-04-28T01:59:59", true),
            ("2026-04-28T02:00:00", false),
            ("2026-04-28T23:30:00", false),
        ];
        table(&late, AMSTERDAM, &rows);
    }

    #[test]
    fn days_inside_special_windows_narrow_them() {
        // Every 27 April: 2026 is a Monday, 2027 a Tuesday.
        let schedule = special(
            &[],
            &[(&[("2020-04-27", true)], &[window(&[1], "10:00", "12:00")])],
        );
        table(
            &schedule,
            AMSTERDAM,
            &[
                ("2026-04-27T11:00:00", true),
                ("2027-04-27T11:00:00", false),
            ],
        );
    }

    #[test]
    fn a_recurring_day_comes_every_year_and_the_29th_of_february_in_leap_years_only() {
        let always = [window(EVERY_DAY, "00:00", "24:00")];
        let schedule = special(
            &always,
            &[(
                &[
                    ("2024-12-25", true),
                    ("2024-02-29", true),
                    ("2026-05-14", false),
                ],
                &[],
            )],
        );
        let rows = [
            ("2026-12-25T12:00:00", false),
            ("2023-12-25T12:00:00", false),
            ("2026-05-14T12:00:00", false),
            ("2027-05-14T12:00:00", true),
            ("2024-02-29T12:00:00", false),
            ("2028-02-29T12:00:00", false),
            ("2026-02-28T12:00:00", true),
            ("2026-03-01T12:00:00", true),
            ("2028-02-28T12:00:00", true),
            ("2028-03-01T12:00:00", true),
        ];
        table(&schedule, AMSTERDAM, &rows);
    }

    #[test]
    fn the_special_day_is_the_local_date() {
        let schedule = special(
            &[window(EVERY_DAY, "00:00", "24:00")],
            &[(&[("2026-12-25", false)], &[])],
        );
        let at_ms = instant("UTC", "2026-12-25T02:00:00");
        check(&schedule, AMSTERDAM, at_ms, false);
        check(&schedule, NEW_YORK, at_ms, true);
        let at_ms = instant("UTC", "2026-12-26T02:00:00");
        check(&schedule, AMSTERDAM, at_ms, true);
        check(&schedule, NEW_YORK, at_ms, false);
    }

    #[test]
    fn an_instant_outside_the_calendar_has_no_local_time() {
        let utc = zone("UTC").expect("a zone");
        assert_eq!(LocalTime::at(i64::MAX, &utc), None);
        assert_eq!(LocalTime::at(i64::MIN, &utc), None);
        assert!(zone("Mars/Olympus").is_none());
        assert!(zone("").is_none());
    }
}
