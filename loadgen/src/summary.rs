//! The report for people: plain text, aligned, colour on a terminal only.

use std::{
    fmt::{self, Write},
    io::IsTerminal,
};

use crate::{
    answer::Reason,
    report::{Percentiles, Report},
};

/// How a word stands out.
#[derive(Clone, Copy)]
enum Ink {
    Good,
    Bad,
    Dim,
}

/// The report as text.
pub fn text(report: &Report) -> String {
    let mut page = Page {
        text: String::new(),
        colour: std::io::stdout().is_terminal(),
    };
    // Writing to a String cannot fail.
    _ = page.write(report);
    page.text
}

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn write(&mut self, report: &Report) -> fmt::Result {
        self.rates(report)?;
        self.latencies(report)?;
        self.answers(report)?;
        self.workers(report)?;
        self.verdict(report)
    }

    fn row(&mut self, name: &str, text: &str) -> fmt::Result {
        writeln!(self.text, "{name:<12}{text}")
    }

    fn ink(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Good => 32,
            Ink::Bad => 31,
            Ink::Dim => 2,
        };
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn rates(&mut self, report: &Report) -> fmt::Result {
        let environment = &report.environment;
        writeln!(self.text)?;
        self.row(
            "sent",
            &format!(
                "{} swipes in {} s, {} /s of {} /s asked",
                thousands(report.swipes_sent),
                environment.seconds,
                thousands(report.rate_achieved.round() as u64),
                thousands(report.rate_requested.round() as u64),
            ),
        )?;
        self.row(
            "decided",
            &format!(
                "{} decisions, {} rejects",
                thousands(report.decisions_seen),
                thousands(report.rejects)
            ),
        )?;
        let build = if environment.optimised {
            ""
        } else {
            ", a build without optimisation"
        };
        let line = format!(
            "{} cards, seed {}, {} CPUs{build}",
            thousands(environment.cards as u64),
            environment.seed,
            environment.cpus
        );
        let line = self.ink(Ink::Dim, &line);
        self.row("with", &line)
    }

    fn latencies(&mut self, report: &Report) -> fmt::Result {
        writeln!(self.text)?;
        let head = format!(
            "{:<12}{:>9}{:>9}{:>9}{:>9}{:>9}   ms",
            "", "p50", "p90", "p99", "p99.9", "max"
        );
        let head = self.ink(Ink::Dim, &head);
        writeln!(self.text, "{head}")?;
        self.percentiles(
            "end to end",
            &report.latency_ms,
            "intended send time to decision on the stream",
        )?;
        if let Some(added) = &report.added_latency_ms {
            self.percentiles(
                "the daemon",
                added,
                "page read to decisions stored, as the daemon measures it",
            )?;
        }
        if let Some(decided) = &report.decide_latency_ms {
            self.percentiles(
                "until sent",
                decided,
                "page read to its first write being sent, part of the daemon",
            )?;
        }
        self.percentiles(
            "slip",
            &report.schedule_slip_ms,
            "the generator's own lateness, part of end to end",
        )?;
        let lag = &report.revocation_lag_ms;
        if lag.seen > 0 {
            let note = self.ink(
                Ink::Dim,
                &format!(
                    "{} changed cards: table write to first new answer",
                    lag.seen
                ),
            );
            let line = format!(
                "{:<12}{:>9}{:>9}{:>9}{:>9}{:>9}   {note}",
                "revocation", lag.p50, "", lag.p99, "", lag.max
            );
            writeln!(self.text, "{line}")?;
        }
        Ok(())
    }

    fn percentiles(&mut self, name: &str, of: &Percentiles, note: &str) -> fmt::Result {
        let number = |ms: f64| {
            if ms < 9.95 {
                format!("{ms:.1}")
            } else {
                format!("{ms:.0}")
            }
        };
        let [p50, p90, p99, p999, max] = [of.p50, of.p90, of.p99, of.p999, of.max].map(number);
        let note = self.ink(Ink::Dim, note);
        writeln!(
            self.text,
            "{name:<12}{p50:>9}{p90:>9}{p99:>9}{p999:>9}{max:>9}   {note}"
        )
    }

    fn answers(&mut self, report: &Report) -> fmt::Result {
        writeln!(self.text)?;
        let head = format!(
            "{:<7}{:<26}{:>5}{:>12}{:>9}",
            "", "reason", "rule", "decisions", "share"
        );
        let head = self.ink(Ink::Dim, &head);
        writeln!(self.text, "{head}")?;
        for decision in ["grant", "deny"] {
            let mut rows: Vec<(Reason, u64)> = Reason::ALL
                .into_iter()
                .filter(|reason| reason.decision() == decision)
                .filter_map(|reason| Some((reason, *report.by_reason.get(reason.as_str())?)))
                .collect();
            rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            for (reason, count) in rows {
                let share = 100.0 * count as f64 / report.decisions_seen.max(1) as f64;
                writeln!(
                    self.text,
                    "{decision:<7}{:<26}{:>5}{:>12}{share:>8.2}%",
                    reason.as_str(),
                    reason.rule(),
                    thousands(count)
                )?;
            }
        }
        for (error, count) in &report.rejects_by_error {
            writeln!(
                self.text,
                "{:<7}{error:<26}{:>5}{:>12}",
                "reject",
                "",
                thousands(*count)
            )?;
        }
        Ok(())
    }

    fn workers(&mut self, report: &Report) -> fmt::Result {
        if report.workers.is_empty() {
            return Ok(());
        }
        writeln!(self.text)?;
        for worker in &report.workers {
            let line = format!(
                "CPU {:>6.2} s   memory {:>5.1} to {:.1} MiB   {}",
                worker.cpu_seconds, worker.rss_first_mib, worker.rss_last_mib, worker.ended
            );
            self.row(&worker.name, &line)?;
        }
        let cpu: f64 = report.workers.iter().map(|worker| worker.cpu_seconds).sum();
        let each = cpu * 1e6 / report.swipes_sent.max(1) as f64;
        self.row(
            "together",
            &format!("{each:.1} µs of CPU a swipe, start and stop included"),
        )
    }

    fn verdict(&mut self, report: &Report) -> fmt::Result {
        writeln!(self.text)?;
        let count = |name: &str, count: u64| format!("{name} {}", thousands(count));
        let line = [
            count("lost", report.lost),
            count("wrong", report.wrong),
            count("contradictory", report.contradictory),
            count("unexpected", report.unexpected),
        ];
        let again = format!(
            "duplicates {} ({} swipes were sent twice, {} records resent)",
            thousands(report.duplicates),
            thousands(report.repeats_sent),
            thousands(report.records_resent)
        );
        self.row("checked", &line.join(" · "))?;
        self.row("", &again)?;
        if let Some(table) = &report.table {
            let text = [
                count("decisions", table.decisions),
                count("lost", table.lost),
                count("wrong", table.wrong),
                count("contradictory", table.contradictory),
            ];
            self.row("in the table", &format!(" {}", text.join(" · ")))?;
        }
        if report.send_failures > 0 {
            self.row("not sent", &thousands(report.send_failures))?;
        }
        for problem in &report.problems {
            let problem = self.ink(Ink::Bad, problem);
            self.row("", &problem)?;
        }
        let (ink, word) = if report.exit_code == 0 {
            (Ink::Good, "PASS")
        } else {
            (Ink::Bad, "FAIL")
        };
        let word = self.ink(ink, word);
        let interrupted = if report.interrupted {
            " (interrupted)"
        } else {
            ""
        };
        writeln!(self.text, "\n{word}  {}{interrupted}", report.verdict)
    }
}

/// Digits in groups of three.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_in_threes() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1 000"),
            (1_234_567, "1 234 567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn the_summary_names_every_finding_and_the_verdict() {
        let mut report = Report {
            swipes_sent: 10,
            lost: 3,
            problems: vec!["lost: swipe 4 has no decision".to_owned()],
            ..Report::default()
        };
        report.by_reason.insert("Granted", 7);
        report.decisions_seen = 7;
        report.judge();
        let text = text(&report);
        for part in [
            "lost 3",
            "wrong 0",
            "contradictory 0",
            "Granted",
            "100.00%",
            "lost: swipe 4 has no decision",
            "FAIL  verification failed",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
