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
