//! How a daemon caught up: what was seen, the verdict, the report.

use serde::Serialize;

use super::Seen;
use crate::{
    drain::{DrainArgs, outcome::quotient},
    fleet::memory::{Page, growth_bound},
    ledger::Tally,
    pace::{Pace, Rate},
    report::{self, Environment},
    run::Ran,
};

/// How the daemon caught up.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Report {
    pub v: u32,
    pub verdict: &'static str,
    pub exit_code: u8,
    pub shards: u32,
    pub aggregate: usize,
    pub retrieval: &'static str,
    /// Swipes of the backlog, and new ones.
    pub backlog: u64,
    pub live: u64,
    pub live_rate: f64,
    pub deadline_seconds: u64,
    /// From the backlog to being caught up; nothing when it never was.
    pub caught_up_seconds: Option<f64>,
    /// Swipes a second meanwhile.
    pub swipes_per_second: f64,
    /// CPU time of the daemon meanwhile.
    pub cpu_seconds: f64,
    pub cpu_us_per_swipe: f64,
    pub resident_before_bytes: u64,
    pub resident_peak_bytes: u64,
    /// By how much memory may grow.
    pub growth_bound_bytes: u64,
    pub in_flight_most_bytes: u64,
    pub read_ahead_most_bytes: u64,
    pub behind_most: u64,
    /// At the end of the traffic.
    pub behind_at_end: u64,
    pub live_latency_ms: report::Percentiles,
    pub lost: u64,
    pub wrong: u64,
    pub contradictory: u64,
    pub unexpected: u64,
    pub duplicates: u64,
    /// Leases that were fenced: the machine stood still for seconds, and their pages were decided twice.
    pub leases_fenced: u64,
    pub problems: Vec<String>,
    pub environment: Environment,
}

/// What the daemon reads at once; who subscribes may poll for a while.
fn page(args: &DrainArgs) -> Page {
    match args.aggregate {
        None => Page::PLAIN,
        Some(_) => Page::AGGREGATES,
    }
}

impl Report {
    pub(super) fn of(args: &DrainArgs, rate: Rate, ran: &Ran, tally: &Tally, seen: Seen) -> Self {
        let live = &ran.report;
        let seconds = seen.caught_up.map(|took| took.as_secs_f64());
        let pace = Pace::new(rate, seconds.unwrap_or(1.0).max(1e-3));
        // What there was to do until then.
        let swipes = (args.swipes + pace.total()) as f64;
        let mut report = Self {
            v: 1,
            verdict: "",
            exit_code: 0,
            shards: args.shards,
            aggregate: args.course().aggregate,
            retrieval: args.retrieval.as_str(),
            backlog: args.swipes,
            live: live.swipes_sent,
            live_rate: live.rate_requested,
            deadline_seconds: args.deadline,
            caught_up_seconds: seconds,
            swipes_per_second: quotient(swipes, seconds.unwrap_or(0.0)),
            cpu_seconds: seen.cpu_seconds,
            cpu_us_per_swipe: seen.cpu_seconds * 1e6 / swipes,
            resident_before_bytes: seen.resident_before,
            resident_peak_bytes: seen.resident_peak,
            growth_bound_bytes: growth_bound(args.shards, page(args)),
            in_flight_most_bytes: seen.in_flight_most,
            read_ahead_most_bytes: seen.read_ahead_most,
            behind_most: seen.behind_most,
            behind_at_end: seen.behind_at_end,
            live_latency_ms: live.latency_ms,
            lost: tally.lost + live.lost,
            wrong: tally.wrong + live.wrong,
            contradictory: tally.contradictory + live.contradictory,
            unexpected: tally.unexpected + live.unexpected,
            duplicates: tally.duplicates + live.duplicates,
            leases_fenced: seen.fenced,
            problems: [&tally.problems[..], &live.problems].concat(),
            environment: Environment {
                seed: args.seed,
                cards: args.cards,
                ..Environment::here()
            },
        };
        (report.exit_code, report.verdict) = report.judged();
        report
    }

    fn judged(&self) -> (u8, &'static str) {
        let in_time = |seconds: f64| seconds <= self.deadline_seconds as f64;
        if self.lost + self.wrong + self.contradictory + self.unexpected > 0 {
            (2, "verification failed")
        } else if !self.caught_up_seconds.is_some_and(in_time) {
            (1, "not caught up in time")
        } else if self.resident_peak_bytes > self.most_resident_bytes() {
            (1, "took too much memory")
        } else {
            (0, "caught up; every swipe decided and right")
        }
    }

    fn most_resident_bytes(&self) -> u64 {
        self.resident_before_bytes + self.growth_bound_bytes
    }

    /// For people.
    pub fn text(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let caught_up = self.caught_up_seconds.map_or_else(
            || "never".to_owned(),
            |seconds| format!("after {seconds:.1} s"),
        );
        let mut text = format!(
            "backlog    {} swipes on {} shards, {}; {} new ones meanwhile, {:.0} a second\n\
             caught up  {caught_up} (deadline {} s), {:.0} swipes/s; CPU of the daemon {:.1} s, {:.3} us a swipe\n\
             memory     {:.0} MiB before, {:.0} MiB at its peak (bound {:.0} MiB); {:.1} MiB read ahead, {:.1} MiB of requests under way at most\n\
             behind     {} swipes at most, {} at the end\n\
             lost {}, wrong {}, contradictory {}, unexpected {}, repeats {}; leases fenced {}\n",
            self.backlog,
            self.shards,
            self.retrieval,
            self.live,
            self.live_rate,
            self.deadline_seconds,
            self.swipes_per_second,
            self.cpu_seconds,
            self.cpu_us_per_swipe,
            mib(self.resident_before_bytes),
            mib(self.resident_peak_bytes),
            mib(self.most_resident_bytes()),
            mib(self.read_ahead_most_bytes),
            mib(self.in_flight_most_bytes),
            self.behind_most,
            self.behind_at_end,
            self.lost,
            self.wrong,
            self.contradictory,
            self.unexpected,
            self.duplicates,
            self.leases_fenced,
        );
        for problem in &self.problems {
            text.push_str(problem);
            text.push('\n');
        }
        text.push_str(self.verdict);
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bend: impl FnOnce(&mut Report), code: u8) {
        let mut report = Report {
            deadline_seconds: 300,
            caught_up_seconds: Some(299.0),
            resident_before_bytes: 30 << 20,
            resident_peak_bytes: 130 << 20,
            growth_bound_bytes: 100 << 20,
            ..Report::default()
        };
        bend(&mut report);
        (report.exit_code, report.verdict) = report.judged();
        assert_eq!(report.exit_code, code, "{}", report.verdict);
        assert!(report.text().ends_with(&format!("{}\n", report.verdict)));
    }

    #[test]
    fn whoever_is_late_or_holds_too_much_misses_and_what_is_lost_is_graver() {
        check(|_| {}, 0);
        check(|report| report.caught_up_seconds = Some(300.1), 1);
        check(|report| report.caught_up_seconds = None, 1);
        check(|report| report.resident_peak_bytes += 1, 1);
        check(|report| report.duplicates = 5, 0);
        check(
            |report| (report.lost, report.caught_up_seconds) = (1, None),
            2,
        );
        check(|report| report.wrong = 1, 2);
        check(|report| report.contradictory = 1, 2);
        check(|report| report.unexpected = 1, 2);
    }
}
