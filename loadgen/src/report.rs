//! What a run was like: numbers for programs, and the verdict.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    answer::{REJECT_ERRORS, Reason},
    ledger::Tally,
};

/// Highest 99th percentile of schedule slip at which the latencies still mean something, in ms.
pub const SLIP_P99_MS: f64 = 100.0;

/// The 99th percentile that must not be reached when nobody says otherwise, in ms.
pub const SLO_P99_MS: f64 = 1000.0;

/// Least share of the asked rate that must have been sent.
pub const RATE_SHARE: f64 = 0.98;

/// Percentiles of a time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Percentiles {
    /// Of a histogram of microseconds.
    pub fn of_us(histogram: &Histogram<u64>) -> Self {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

/// Of sorted milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct RevocationLag {
    /// Changes from a grant to a denial, or from one denial to another, that swipes showed.
    pub seen: usize,
    pub p50: i64,
    pub p99: i64,
    pub max: i64,
}

impl RevocationLag {
    /// Of lags in rising order.
    pub fn of(sorted: &[i64]) -> Self {
        let at = |share: f64| {
            sorted
                .get(((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1))
                .copied()
                .unwrap_or(0)
        };
        Self {
            seen: sorted.len(),
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// Where and with what a run was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Environment {
    pub version: &'static str,
    pub cpus: usize,
    pub os: &'static str,
    pub optimised: bool,
    pub seed: u64,
    pub cards: usize,
    pub seconds: f64,
    pub rate: String,
    pub packing: String,
}

impl Environment {
    /// This build on this machine; what the run sets is left to it.
    pub fn here() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            os: std::env::consts::OS,
            optimised: !cfg!(debug_assertions),
            ..Self::default()
        }
    }
}

/// One worker of a demo.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Worker {
    pub name: String,
    /// `exit 0`, or how else it ended.
    pub ended: String,
    pub ended_well: bool,
    pub cpu_seconds: f64,
    pub rss_first_mib: f64,
    pub rss_last_mib: f64,
}

/// What the decision table says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct TableCheck {
    pub decisions: u64,
    pub lost: u64,
    pub wrong: u64,
    /// Decisions that differ from the first one on the stream.
    pub contradictory: u64,
}

/// The report of a run. `swipes_sent` = `decisions_seen` + `rejects` + `lost` when nothing is wrong.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Report {
    pub v: u32,
    pub verdict: &'static str,
    pub exit_code: u8,
    pub swipes_sent: u64,
    pub decisions_seen: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub contradictory: u64,
    pub wrong: u64,
    pub unexpected: u64,
    pub rejects: u64,
    pub rate_requested: f64,
    pub rate_achieved: f64,
    pub latency_ms: Percentiles,
    pub schedule_slip_ms: Percentiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo_p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added_latency_ms: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decide_latency_ms: Option<Percentiles>,
    pub revocation_lag_ms: RevocationLag,
    pub by_reason: BTreeMap<&'static str, u64>,
    pub rejects_by_error: BTreeMap<&'static str, u64>,
    pub repeats_sent: u64,
    pub records_resent: u64,
    pub send_failures: u64,
    pub interrupted: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<Worker>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<TableCheck>,
    pub environment: Environment,
    pub problems: Vec<String>,
}

impl Report {
    /// Writes it to a file as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes over what the ledger found.
    pub fn set_tally(&mut self, tally: Tally) {
        self.swipes_sent = tally.sent;
        self.decisions_seen = tally.decided;
        self.lost = tally.lost;
        self.duplicates = tally.duplicates;
        self.contradictory = tally.contradictory;
        self.wrong = tally.wrong;
        self.unexpected = tally.unexpected;
        self.rejects = tally.rejects;
        let reasons = Reason::ALL.iter().zip(tally.by_reason);
        self.by_reason = reasons
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.as_str(), count))
            .collect();
        let errors = REJECT_ERRORS.into_iter().zip(tally.by_error);
        self.rejects_by_error = errors.filter(|(_, count)| *count > 0).collect();
        self.problems = tally.problems;
    }

    /// Judges: wrong answers outweigh a generator that could not keep up, and that outweighs a missed objective,
    /// since the latencies of a late generator mean nothing.
    pub fn judge(&mut self) {
        (self.exit_code, self.verdict) = if !self.is_right() {
            (2, "verification failed")
        } else if self.is_generator_limited() {
            (3, "the generator could not keep its schedule")
        } else if self
            .slo_p99_ms
            .is_some_and(|limit| self.latency_ms.p99 >= limit)
        {
            (1, "latency objective missed")
        } else {
            (0, "every swipe decided once and right")
        };
    }

    fn is_right(&self) -> bool {
        let table = self
            .table
            .as_ref()
            .map_or(0, |table| table.lost + table.wrong + table.contradictory);
        let workers = self.workers.iter().all(|worker| worker.ended_well);
        self.lost + self.wrong + self.contradictory + self.unexpected + table == 0 && workers
    }

    fn is_generator_limited(&self) -> bool {
        let slow = self.rate_achieved < self.rate_requested * RATE_SHARE && !self.interrupted;
        slow || self.schedule_slip_ms.p99 > SLIP_P99_MS || self.send_failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            swipes_sent: 100,
            decisions_seen: 100,
            rate_requested: 50.0,
            rate_achieved: 49.9,
            slo_p99_ms: Some(1000.0),
            latency_ms: Percentiles {
                p99: 200.0,
                ..Percentiles::default()
            },
            ..Report::default()
        }
    }

    #[track_caller]
    fn check(spoil: impl FnOnce(&mut Report), code: u8) {
        let mut report = good();
        spoil(&mut report);
        report.judge();
        assert_eq!(report.exit_code, code, "{}", report.verdict);
    }

    #[test]
    fn the_exit_code_names_the_gravest_finding() {
        check(|_| {}, 0);
        check(|report| report.duplicates = 7, 0);
        check(|report| report.latency_ms.p99 = 1000.0, 1);
        check(
            |report| (report.latency_ms.p99, report.slo_p99_ms) = (1000.0, None),
            0,
        );
        check(|report| report.lost = 1, 2);
        check(|report| report.wrong = 1, 2);
        check(|report| report.contradictory = 1, 2);
        check(|report| report.unexpected = 1, 2);
        check(
            |report| {
                report.table = Some(TableCheck {
                    lost: 1,
                    ..TableCheck::default()
                })
            },
            2,
        );
        check(|report| report.workers.push(Worker::default()), 2);
        check(|report| report.rate_achieved = 48.9, 3);
        check(|report| report.schedule_slip_ms.p99 = 101.0, 3);
        check(
            |report| (report.rate_achieved, report.latency_ms.p99) = (1.0, 5000.0),
            3,
        );
        check(|report| (report.rate_achieved, report.lost) = (1.0, 1), 2);
        check(
            |report| (report.rate_achieved, report.interrupted) = (1.0, true),
            0,
        );
    }

    #[test]
    fn the_report_has_the_fields_of_the_contract() {
        let json = serde_json::to_value(good()).expect("serialises");
        for field in [
            "swipes_sent",
            "decisions_seen",
            "lost",
            "duplicates",
            "wrong",
            "rejects",
            "contradictory",
        ] {
            assert!(json[field].is_u64(), "{field}");
        }
        for field in ["rate_requested", "rate_achieved"] {
            assert!(json[field].is_f64(), "{field}");
        }
        for field in ["p50", "p90", "p99", "p999", "max"] {
            assert!(json["latency_ms"][field].is_f64(), "{field}");
        }
        assert!(json["by_reason"].is_object() && json["rejects_by_error"].is_object());
        assert!(json["environment"]["cpus"].is_u64() && json["revocation_lag_ms"]["p99"].is_i64());
    }

    #[test]
    fn percentiles_of_lags_are_lags_that_were_seen() {
        let lags: Vec<i64> = (1..=100).collect();
        assert_eq!(
            RevocationLag::of(&lags),
            RevocationLag {
                seen: 100,
                p50: 50,
                p99: 99,
                max: 100
            }
        );
        assert_eq!(RevocationLag::of(&[]), RevocationLag::default());
    }
}
