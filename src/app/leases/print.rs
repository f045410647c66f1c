//! How leases are put into words: checkpoints, ages, times behind, aligned columns.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::Duration,
};

use crate::{lease::watch::Life, model::position::Checkpoint};

/// A checkpoint as the lease table spells it, the place in an aggregate behind a slash.
pub fn spell(checkpoint: &Checkpoint) -> String {
    match checkpoint {
        Checkpoint::AtTimestamp(ms) => format!("AT_TIMESTAMP {ms}"),
        Checkpoint::TrimHorizon => "TRIM_HORIZON".to_owned(),
        Checkpoint::Latest => "LATEST".to_owned(),
        Checkpoint::At(position) => format!("{}/{}", position.sequence, position.sub),
        Checkpoint::ShardEnd => "SHARD_END".to_owned(),
    }
}

/// A checkpoint for people: an instant as one.
pub fn tell(checkpoint: &Checkpoint) -> String {
    let instant = match checkpoint {
        Checkpoint::AtTimestamp(ms) => jiff::Timestamp::from_millisecond(*ms).ok(),
        _ => None,
    };
    instant.map_or_else(|| spell(checkpoint), |at| format!("AT_TIMESTAMP {at}"))
}

/// How old the last heartbeat is: at most (`<0.6s`) when it moves, at least (`≥3.0s`) when it stands.
pub fn heartbeat(life: Option<Life>) -> String {
    let tenths = |time: Duration| time.as_millis() / 100;
    match life {
        None => "-".to_owned(),
        Some(Life::Alive(age)) => {
            let tenths = tenths(age) + 1;
            format!("<{}.{}s", tenths / 10, tenths % 10)
        }
        Some(Life::Still(age) | Life::Dead(age)) => {
            let tenths = tenths(age);
            format!("≥{}.{}s", tenths / 10, tenths % 10)
        }
    }
}

/// A time, in the two largest units that matter.
pub fn time(ms: i64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..60 => format!("{seconds}.{}s", ms % 1000 / 100),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// Columns side by side, each as wide as its widest cell.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String cannot fail.
            _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Puts it out. Nobody need read it to the end: `swiped leases list | head` is no error.
pub fn out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_that_moves_has_a_greatest_age_and_one_that_stands_a_least() {
        let ms = Duration::from_millis;
        assert_eq!(heartbeat(Some(Life::Alive(ms(540)))), "<0.6s");
        assert_eq!(heartbeat(Some(Life::Alive(ms(600)))), "<0.7s");
        assert_eq!(heartbeat(Some(Life::Still(ms(1990)))), "≥1.9s");
        assert_eq!(heartbeat(Some(Life::Dead(ms(3000)))), "≥3.0s");
        assert_eq!(heartbeat(None), "-");
    }

    #[test]
    fn times_are_told_in_two_units() {
        for (ms, expected) in [
            (0, "0.0s"),
            (1_250, "1.2s"),
            (59_999, "59.9s"),
            (60_000, "1m00s"),
            (3_599_999, "59m59s"),
            (3_600_000, "1h00m"),
            (90_000_000, "1d01h"),
        ] {
            assert_eq!(time(ms), expected);
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let cells = |cells: [&str; 3]| cells.map(str::to_owned);
        let text = columns(&[cells(["A", "B", "C"]), cells(["≥3.0s", "x", ""])]);
        assert_eq!(text, "A      B  C\n≥3.0s  x\n");
    }

    #[test]
    fn an_instant_is_told_as_one_and_spelled_as_a_number() {
        let instant = Checkpoint::AtTimestamp(1500);
        assert_eq!(tell(&instant), "AT_TIMESTAMP 1970-01-01T00:00:01.5Z");
        assert_eq!(spell(&instant), "AT_TIMESTAMP 1500");
    }
}
