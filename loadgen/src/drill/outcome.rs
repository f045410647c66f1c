//! What a scene showed, its verdict, and the table of all.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Context;
use serde::Serialize;

use super::{scene::Scene, script::Course, strain::Strain};
use crate::{ledger::Tally, report::TableCheck, run::Ran};

/// A scene that was played.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scene: String,
    /// Workers at its start.
    pub workers: u32,
    /// Shards that had a decision.
    pub shards: usize,
    /// Swipes sent.
    pub sent: u64,
    /// Swipes without a decision, on the stream or in the table.
    pub lost: u64,
    /// Decisions that are not the expected one, or of no swipe that was sent.
    pub wrong: u64,
    /// Decisions that differ from the first one to the same swipe.
    pub contradictory: u64,
    /// Decisions beyond the first one to the same swipe. None was sent twice.
    pub repeats: u64,
    /// Records that the generator sent again since a request had failed; these may have two decisions.
    pub records_resent: u64,
    /// Longest time between two decisions of a shard before the event, in milliseconds.
    pub base_gap_ms: u64,
    /// The same from the event on.
    pub longest_idle_ms: u64,
    /// The same for each shard by its number.
    pub idle_ms_by_shard: BTreeMap<u32, u64>,
    /// What the longest idle time must not exceed, in milliseconds.
    pub bound_ms: Option<u64>,
    /// 99th percentile of the generator's own lateness, in milliseconds: a part of every gap.
    pub slip_p99_ms: f64,
    /// How the worker lived through a fault of the service's, in scenes that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strain: Option<Strain>,
    /// Promises that were not kept.
    pub missed: Vec<String>,
    /// Whatever else was seen.
    pub notes: Vec<String>,
    /// Some of what was lost, wrong or contradictory, in words.
    pub problems: Vec<String>,
}

impl Outcome {
    /// What was seen in a scene, not yet judged.
    pub fn of(scene: Scene, workers: u32, ran: &Ran, table: &TableCheck, course: Course) -> Self {
        let (report, gaps) = (&ran.report, &ran.gaps);
        let base = gaps.longest_within(course.quiet_from, course.event_at);
        let each = gaps.longest_of_each(course.event_at);
        Self {
            scene: scene.to_string(),
            workers,
            shards: gaps.shards(),
            sent: report.swipes_sent,
            lost: report.lost.max(table.lost),
            wrong: report.wrong + report.unexpected + table.wrong,
            contradictory: report.contradictory + table.contradictory,
            repeats: report.duplicates,
            records_resent: report.records_resent,
            base_gap_ms: base.map_or(0, |gap| ms(gap.length())),
            longest_idle_ms: each.values().max().map_or(0, |gap| ms(*gap)),
            idle_ms_by_shard: each
                .into_iter()
                .map(|(shard, gap)| (shard, ms(gap)))
                .collect(),
            bound_ms: scene.idle_bound().map(ms),
            slip_p99_ms: report.schedule_slip_ms.p99,
            strain: course.strain,
            missed: course.missed,
            notes: course.notes,
            problems: report.problems.clone(),
        }
    }

    /// Adds what became of swipes that came beside the traffic.
    pub fn add(&mut self, tally: Tally) {
        self.sent += tally.sent;
        self.lost += tally.lost;
        self.wrong += tally.wrong + tally.unexpected;
        self.contradictory += tally.contradictory;
        self.repeats += tally.duplicates;
        self.problems.extend(tally.problems);
    }

    /// Judges a scene.
    pub fn judge(&mut self, scene: Scene) {
        if self.sent == 0 {
            self.missed.push("nothing was sent".to_owned());
        }
        if self.repeats > 0 && !scene.may_repeat() {
            self.missed.push(format!("{} decided twice", self.repeats));
        }
        let late = |bound: &u64| self.longest_idle_ms > *bound;
        if self.bound_ms.as_ref().is_some_and(late) {
            let over = self.idle_ms_by_shard.values();
            let over = over.filter(|idle| Some(**idle) > self.bound_ms).count();
            self.missed.push(format!("{over} shards idle too long"));
        }
    }

    /// 2 when a decision was lost, wrong or contradictory, 1 when a promise was not kept, else 0.
    pub fn exit_code(&self) -> u8 {
        if self.lost + self.wrong + self.contradictory > 0 {
            2
        } else {
            u8::from(!self.missed.is_empty())
        }
    }

    pub(super) fn verdict(&self) -> String {
        if self.exit_code() == 0 {
            return format!("ok  {}", self.notes.join(", "));
        }
        let words: Vec<&str> = self
            .missed
            .iter()
            .chain(&self.problems)
            .chain(&self.notes)
            .map(String::as_str)
            .collect();
        format!("FAILED  {}", words.join(", "))
    }
}

/// Writes all of it for programs.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json(outcomes: &[Outcome], path: &Path) -> anyhow::Result<()> {
    let scenes: Vec<serde_json::Value> = outcomes
        .iter()
        .map(|outcome| {
            let mut scene = serde_json::to_value(outcome)?;
            scene["ok"] = (outcome.exit_code() == 0).into();
            Ok(scene)
        })
        .collect::<serde_json::Result<_>>()?;
    let code = outcomes.iter().map(Outcome::exit_code).max().unwrap_or(0);
    let report = serde_json::json!({ "v": 1, "exit_code": code, "scenes": scenes });
    std::fs::write(path, format!("{report:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scene: Scene, bend: impl FnOnce(&mut Outcome), expected: u8) {
        let mut outcome = Outcome {
            sent: 1000,
            longest_idle_ms: 900,
            idle_ms_by_shard: BTreeMap::from([(0, 300), (1, 900)]),
            bound_ms: scene.idle_bound().map(ms),
            ..Outcome::default()
        };
        bend(&mut outcome);
        outcome.judge(scene);
        assert_eq!(outcome.exit_code(), expected, "{outcome:?}");
        let word = if expected == 0 { "  ok" } else { "  FAILED" };
        assert!(super::super::tables::text(&[outcome]).contains(word));
    }

    #[test]
    fn a_scene_is_fine_only_when_nothing_is_lost_or_wrong_and_every_bound_holds() {
        check(Scene::Term, |_| {}, 0);
        check(Scene::Term, |outcome| outcome.longest_idle_ms = 1000, 0);
        check(Scene::Term, |outcome| outcome.longest_idle_ms = 1001, 1);
        check(Scene::Kill, |outcome| outcome.longest_idle_ms = 1001, 0);
        check(Scene::Kill, |outcome| outcome.longest_idle_ms = 5001, 1);
        check(
            Scene::Replace,
            |outcome| outcome.longest_idle_ms = 60_000,
            0,
        );
        check(Scene::Term, |outcome| outcome.sent = 0, 1);
        check(
            Scene::Join,
            |outcome| outcome.missed.push("never balanced".to_owned()),
            1,
        );
        check(Scene::Kill, |outcome| outcome.lost = 1, 2);
        check(Scene::Kill, |outcome| outcome.wrong = 1, 2);
        check(Scene::Kill, |outcome| outcome.contradictory = 1, 2);
    }

    #[test]
    fn a_swipe_may_be_decided_twice_only_where_a_worker_died_or_was_paused() {
        for scene in Scene::ALL {
            let may = matches!(scene, Scene::Kill | Scene::Pause);
            check(scene, |outcome| outcome.repeats = 1, u8::from(!may));
        }
    }

    #[test]
    fn the_table_counts_the_shards_that_were_idle_too_long() {
        let mut outcome = Outcome {
            sent: 1,
            longest_idle_ms: 1500,
            idle_ms_by_shard: BTreeMap::from([(0, 1200), (1, 900), (2, 1500)]),
            bound_ms: Some(1000),
            ..Outcome::default()
        };
        outcome.judge(Scene::Deploy);
        assert_eq!(outcome.missed, ["2 shards idle too long"]);
    }
}
