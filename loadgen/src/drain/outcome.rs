//! What a drain cost: arithmetic, verdict, report.

use std::{path::Path, time::Duration};

use anyhow::Context;
use serde::Serialize;

use super::{Course, Sink};
use crate::{ledger::Tally, report::Environment};

/// A drain that took at most so many times what its reads have to take is bound by their pace, not by anybody's CPU.
const PACED: f64 = 1.3;

/// What was measured in one round, as it was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub swipes: u64,
    pub swipe_records: u64,
    pub retrieval: &'static str,
    /// The daemon's CPU time, and the loop's, in seconds.
    pub cpu: f64,
    pub bare_cpu: f64,
    /// From the backlog to the last decision, and to the loop's last write.
    pub took: Duration,
    pub bare_took: Duration,
    /// What reading has to take at the service's pace.
    pub paced: Duration,
    pub written: Written,
    pub bare_written: Written,
    pub tally: Tally,
    pub replay: Option<Replay>,
    pub notes: Vec<String>,
}

impl Measured {
    /// The least of what rounds of one course cost each side: whatever else a machine does can only add to CPU time. A
    /// round that was not right is none to forget: its tally stands for all.
    fn best(rounds: Vec<Self>) -> Self {
        let least = |one: Self, other: Self| {
            let (bare_cpu, bare_took, bare_written) = if other.bare_cpu < one.bare_cpu {
                (other.bare_cpu, other.bare_took, other.bare_written)
            } else {
                (one.bare_cpu, one.bare_took, one.bare_written)
            };
            let tally = if one.tally.is_clean() {
                other.tally.clone()
            } else {
                one.tally.clone()
            };
            let repeats = one.tally.duplicates.max(other.tally.duplicates);
            let own = if other.cpu < one.cpu { other } else { one };
            Self {
                bare_cpu,
                bare_took,
                bare_written,
                tally: Tally {
                    duplicates: repeats,
                    ..tally
                },
                ..own
            }
        };
        rounds.into_iter().reduce(least).unwrap_or_default()
    }
}

/// What one round cost, in seconds of CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Round {
    pub cpu_seconds: f64,
    pub bare_cpu_seconds: f64,
}

/// What somebody wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Records of the stream, or items of the table.
    pub entries: u64,
    /// Payloads and partition keys, of a stream.
    pub bytes: u64,
}

/// The daemon's look-ups in the decision table, which it makes until nothing can be there from before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Replay {
    /// Decisions until it made no more of them.
    pub swipes: u64,
    /// CPU time of a swipe afterwards, in microseconds; none when it never stopped.
    pub cpu_us_per_swipe_after: Option<f64>,
}

/// One drain.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Row {
    pub shards: u32,
    pub aggregate: usize,
    pub sink: Sink,
    pub retrieval: &'static str,
    pub swipes: u64,
    pub cpu_us_per_swipe: f64,
    pub bare_cpu_us_per_swipe: f64,
    pub ratio: f64,
    pub swipes_per_core_second: f64,
    pub swipes_per_second: f64,
    pub bare_swipes_per_second: f64,
    pub cpu_seconds: f64,
    pub bare_cpu_seconds: f64,
    pub seconds: f64,
    pub bare_seconds: f64,
    /// What reading takes at least at the pace the service allows.
    pub paced_seconds: f64,
    /// The rate is that of the reads: nobody was short of CPU.
    pub paced: bool,
    pub swipe_records: u64,
    pub written: Written,
    pub bare_written: Written,
    pub decided: u64,
    pub lost: u64,
    pub wrong: u64,
    pub contradictory: u64,
    pub unexpected: u64,
    pub duplicates: u64,
    /// Every round; the figures are of the cheapest of each side.
    pub rounds: Vec<Round>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    pub notes: Vec<String>,
    pub problems: Vec<String>,
}

impl Row {
    pub(super) fn of(course: Course, rounds: Vec<Measured>) -> Self {
        let costs = rounds.iter().map(|round| Round {
            cpu_seconds: round.cpu,
            bare_cpu_seconds: round.bare_cpu,
        });
        let costs = costs.collect();
        let measured = Measured::best(rounds);
        let swipes = measured.swipes as f64;
        let per_swipe = |seconds: f64| seconds * 1e6 / swipes;
        let rate = |took: Duration| quotient(swipes, took.as_secs_f64());
        let (paced, took) = (measured.paced.as_secs_f64(), measured.took.as_secs_f64());
        let tally = measured.tally;
        Self {
            shards: course.shards,
            aggregate: course.aggregate,
            sink: course.sink,
            retrieval: measured.retrieval,
            swipes: measured.swipes,
            cpu_us_per_swipe: per_swipe(measured.cpu),
            bare_cpu_us_per_swipe: per_swipe(measured.bare_cpu),
            ratio: quotient(measured.cpu, measured.bare_cpu),
            swipes_per_core_second: quotient(swipes, measured.cpu),
            swipes_per_second: rate(measured.took),
            bare_swipes_per_second: rate(measured.bare_took),
            cpu_seconds: measured.cpu,
            bare_cpu_seconds: measured.bare_cpu,
            seconds: took,
            bare_seconds: measured.bare_took.as_secs_f64(),
            paced_seconds: paced,
            paced: paced > 0.0 && took <= paced * PACED,
            swipe_records: measured.swipe_records,
            written: measured.written,
            bare_written: measured.bare_written,
            decided: tally.decided,
            lost: tally.lost,
            wrong: tally.wrong,
            contradictory: tally.contradictory,
            unexpected: tally.unexpected,
            duplicates: tally.duplicates,
            rounds: costs,
            replay: measured.replay,
            notes: measured.notes,
            problems: tally.problems,
        }
    }

    fn is_right(&self) -> bool {
        self.lost + self.wrong + self.contradictory + self.unexpected == 0
    }
}

/// 0 where nothing was divided by.
pub(super) fn quotient(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// What the daemon must keep to, as far as somebody said so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Objectives {
    pub max_ratio: Option<f64>,
    pub min_per_core: Option<f64>,
}

impl Objectives {
    fn are_met(&self, row: &Row) -> bool {
        self.max_ratio.is_none_or(|most| row.ratio <= most)
            && self
                .min_per_core
                .is_none_or(|least| row.swipes_per_core_second >= least)
    }
}

/// All of it. What was asked for stands at the top as well as in the first row.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Report {
    pub v: u32,
    pub verdict: &'static str,
    pub exit_code: u8,
    pub swipes: u64,
    pub cpu_us_per_swipe: f64,
    pub bare_cpu_us_per_swipe: f64,
    pub ratio: f64,
    pub swipes_per_core_second: f64,
    pub swipes_per_second: f64,
    pub rows: Vec<Row>,
    pub environment: Environment,
}

impl Report {
    pub(super) fn of(rows: Vec<Row>, objectives: Objectives, cards: usize, seed: u64) -> Self {
        let asked = rows.first().cloned().unwrap_or_default();
        let (exit_code, verdict) = if !rows.iter().all(Row::is_right) {
            (2, "verification failed")
        } else if !objectives.are_met(&asked) {
            (1, "objective missed")
        } else {
            (0, "every swipe decided and right")
        };
        Self {
            v: 1,
            verdict,
            exit_code,
            swipes: asked.swipes,
            cpu_us_per_swipe: asked.cpu_us_per_swipe,
            bare_cpu_us_per_swipe: asked.bare_cpu_us_per_swipe,
            ratio: asked.ratio,
            swipes_per_core_second: asked.swipes_per_core_second,
            swipes_per_second: asked.swipes_per_second,
            rows,
            environment: Environment {
                seed,
                cards,
                ..Environment::here()
            },
        }
    }

    /// Writes it to a file as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COURSE: Course = Course {
        shards: 8,
        aggregate: 1,
        sink: Sink::Stream,
    };

    fn measured() -> Measured {
        Measured {
            swipes: 1_000_000,
            cpu: 2.5,
            bare_cpu: 2.0,
            took: Duration::from_secs(4),
            bare_took: Duration::from_secs(3),
            paced: Duration::from_secs(2),
            ..Measured::default()
        }
    }

    #[test]
    fn cpu_time_is_shared_out_to_swipes_and_turned_round() {
        let row = Row::of(COURSE, vec![measured()]);
        for (found, expected) in [
            (row.cpu_us_per_swipe, 2.5),
            (row.bare_cpu_us_per_swipe, 2.0),
            (row.ratio, 1.25),
            (row.swipes_per_core_second, 400_000.0),
            (row.swipes_per_second, 250_000.0),
        ] {
            assert!(
                (found - expected).abs() < expected * 1e-9,
                "{found} for {expected}"
            );
        }
        assert!(!row.paced);
    }

    #[test]
    fn of_several_rounds_the_cheapest_of_each_side_counts_and_no_fault_is_forgotten() {
        let round = |cpu, bare_cpu, lost| {
            let mut round = Measured {
                cpu,
                bare_cpu,
                ..measured()
            };
            round.tally.lost = lost;
            round
        };
        let rounds = vec![round(3.0, 2.0, 0), round(2.5, 2.4, 1), round(2.8, 2.1, 0)];
        let row = Row::of(COURSE, rounds);
        assert_eq!((row.cpu_seconds, row.bare_cpu_seconds), (2.5, 2.0));
        assert_eq!((row.lost, row.rounds.len()), (1, 3));
    }

    #[test]
    fn a_drain_as_long_as_its_reads_says_that_it_was_paced() {
        let row = Row::of(
            COURSE,
            vec![Measured {
                paced: Duration::from_millis(3900),
                ..measured()
            }],
        );
        assert!(row.paced);
        let report = Report::of(vec![row], Objectives::default(), 1, 1);
        assert!(report.text().contains("3.9 s at least, 4.0 s taken"));
    }

    #[track_caller]
    fn check(spoil: impl FnOnce(&mut Measured), objectives: Objectives, code: u8) {
        let mut measured = measured();
        spoil(&mut measured);
        let report = Report::of(vec![Row::of(COURSE, vec![measured])], objectives, 1, 1);
        assert_eq!(report.exit_code, code, "{}", report.verdict);
        assert!(report.text().contains(report.verdict));
    }

    #[test]
    fn the_exit_code_names_the_gravest_finding() {
        let ratio = |most| Objectives {
            max_ratio: Some(most),
            ..Objectives::default()
        };
        let per_core = |least| Objectives {
            min_per_core: Some(least),
            ..Objectives::default()
        };
        check(|_| {}, Objectives::default(), 0);
        check(|_| {}, ratio(1.25), 0);
        check(|_| {}, ratio(1.24), 1);
        check(|_| {}, per_core(400_000.0), 0);
        check(|_| {}, per_core(400_001.0), 1);
        check(|measured| measured.tally.lost = 1, ratio(1.24), 2);
        check(
            |measured| measured.tally.wrong = 1,
            Objectives::default(),
            2,
        );
        check(
            |measured| measured.tally.unexpected = 1,
            Objectives::default(),
            2,
        );
        check(
            |measured| measured.tally.duplicates = 1,
            Objectives::default(),
            0,
        );
    }

    #[test]
    fn the_report_has_the_fields_of_the_contract() {
        let rows = vec![Row::of(COURSE, vec![measured()])];
        let report = Report::of(rows, Objectives::default(), 1, 1);
        let json = serde_json::to_value(report).expect("serialises");
        assert!(json["swipes"].is_u64() && json["exit_code"].is_u64());
        for field in [
            "cpu_us_per_swipe",
            "bare_cpu_us_per_swipe",
            "ratio",
            "swipes_per_core_second",
            "swipes_per_second",
        ] {
            assert!(json[field].is_f64(), "{field}");
            assert_eq!(json[field], json["rows"][0][field], "{field}");
        }
    }

    #[test]
    fn look_ups_of_the_replay_window_are_said() {
        let row = Row::of(
            COURSE,
            vec![Measured {
                replay: Some(Replay {
                    swipes: 160_000,
                    cpu_us_per_swipe_after: Some(3.0),
                }),
                ..measured()
            }],
        );
        let text = Report::of(vec![row], Objectives::default(), 1, 1).text();
        assert!(text.contains("first 160000 swipes"), "{text}");
        assert!(text.contains("3.000 us a swipe, 1.50 times"), "{text}");
    }
}
