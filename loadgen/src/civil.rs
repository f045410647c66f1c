//! Just enough calendar arithmetic to lay schedules around an instant: no time zone database is asked, so that
//! the expected answers do not come from the code that the daemon uses.

/// Minutes of a day.
pub const DAY_MINUTES: i64 = 1440;

/// Days since 1970-01-01 of an instant (Unix epoch ms), in a zone that is `offset_minutes` ahead of UTC.
pub fn day_of(epoch_ms: i64, offset_minutes: i64) -> i64 {
    (epoch_ms / 60_000 + offset_minutes).div_euclid(DAY_MINUTES)
}

/// Minute of the day, 0–1439, in the same terms.
pub fn minute_of(epoch_ms: i64, offset_minutes: i64) -> i64 {
    (epoch_ms / 60_000 + offset_minutes).rem_euclid(DAY_MINUTES)
}

/// Year, month and day of a day number (Hinnant's `civil_from_days`).
pub fn date(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * month_index + 2) / 5 + 1)
}

/// `YYYY-MM-DD` of a day number.
pub fn iso_date(day: i64) -> String {
    let (year, month, day) = date(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `HH:MM` of a minute of any day.
pub fn clock(minute: i64) -> String {
    let minute = minute.rem_euclid(DAY_MINUTES);
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_numbers_turn_into_dates_across_leap_years_and_before_the_epoch() {
        for (day, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (20_512, "2026-02-28"),
            (20_513, "2026-03-01"),
            (21_243, "2028-02-29"),
        ] {
            assert_eq!(iso_date(day), text);
        }
    }

    #[test]
    fn a_zone_moves_the_day_and_the_minute_together() {
        let late = 1_772_438_321_123; // 2026-03-02T07:58:41Z
        assert_eq!((day_of(late, 0), minute_of(late, 0)), (20_514, 7 * 60 + 58));
        assert_eq!(
            (day_of(late, -480), minute_of(late, -480)),
            (20_513, 23 * 60 + 58)
        );
        assert_eq!(clock(minute_of(late, -480)), "23:58");
        assert_eq!(clock(-60), "23:00");
    }
}
