//! The report for people: plain text, aligned.

use std::fmt::Write as _;

use super::{
    Sink,
    outcome::{Report, Row, quotient},
};

impl Report {
    /// For people: a line a drain, what has to be known of it, the verdict.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{:>6} {:>9} {:>6} {:>9} {:>10} {:>10} {:>6} {:>12} {:>10} {:>10} {:>5} {:>7}\n",
            "shards",
            "records",
            "sink",
            "swipes",
            "CPU us",
            "bare us",
            "ratio",
            "per core s",
            "swipes/s",
            "bare/s",
            "lost",
            "repeats"
        );
        // Writing to a String cannot fail.
        for row in &self.rows {
            let records = match row.aggregate {
                1 => "plain".to_owned(),
                size => format!("{size} each"),
            };
            _ = writeln!(
                text,
                "{:>6} {records:>9} {:>6} {:>9} {:>10.3} {:>10.3} {:>6.2} {:>12.0} {:>10.0} {:>10.0} {:>5} {:>7}",
                row.shards,
                row.sink.as_str(),
                row.swipes,
                row.cpu_us_per_swipe,
                row.bare_cpu_us_per_swipe,
                row.ratio,
                row.swipes_per_core_second,
                row.swipes_per_second,
                row.bare_swipes_per_second,
                row.lost,
                row.duplicates
            );
            for line in row.remarks() {
                _ = writeln!(text, "       {line}");
            }
        }
        _ = writeln!(
            text,
            "CPU us: user and system time of the daemon's process a swipe; bare us: of the SDK loop's; the least of {} rounds each",
            self.rows.first().map_or(0, |row| row.rounds.len())
        );
        if !self.environment.optimised {
            text.push_str("this is a development build: the figures mean nothing\n");
        }
        _ = writeln!(text, "{}", self.verdict);
        text
    }
}

impl Row {
    fn remarks(&self) -> Vec<String> {
        let mut lines = self.notes.clone();
        if self.paced {
            lines.push(format!(
                "swipes/s is the pace of the reads (five a second and shard): {:.1} s at least, {:.1} s taken",
                self.paced_seconds, self.seconds
            ));
        }
        if let Some(replay) = &self.replay {
            let after = replay.cpu_us_per_swipe_after.map_or_else(
                || "it never stopped".to_owned(),
                |after| {
                    let ratio = quotient(after, self.bare_cpu_us_per_swipe);
                    format!("afterwards {after:.3} us a swipe, {ratio:.2} times the bare loop")
                },
            );
            lines.push(format!(
                "the first {} swipes were looked up in the decision table before they were decided (replay window); {after}",
                replay.swipes
            ));
        }
        if self.sink == Sink::Stream && self.written.entries > 0 {
            lines.push(format!(
                "written: {} records of {} bytes; bare: {} of {}",
                self.written.entries,
                self.written.bytes / self.written.entries,
                self.bare_written.entries,
                self.bare_written.bytes / self.bare_written.entries.max(1)
            ));
        }
        lines.extend(self.problems.iter().cloned());
        lines
    }
}
