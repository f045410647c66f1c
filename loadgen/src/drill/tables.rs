//! The tables of scenes for people: plain text, aligned.

use std::fmt::Write;

use super::outcome::Outcome;

/// The tables of scenes, as text: what happens to workers, and what happens to the service.
pub fn text(outcomes: &[Outcome]) -> String {
    let (strained, others): (Vec<&Outcome>, Vec<&Outcome>) = outcomes
        .iter()
        .partition(|outcome| outcome.strain.is_some());
    let mut text = String::new();
    if !others.is_empty() {
        text.push_str(&idle_table(&others));
    }
    if !strained.is_empty() {
        text.push_str(&strain_table(&strained));
    }
    text
}

fn strain_table(outcomes: &[&Outcome]) -> String {
    let mut text = format!(
        "{:<9} {:>6} {:>7} {:>4} {:>5} {:>13} {:>7} {:>7} {:>11} {:>9} {:>10} {:>9} {:>9} {:>11} {:>9} {:>15}\n",
        "scene",
        "shards",
        "sent",
        "lost",
        "wrong",
        "contradictory",
        "repeats",
        "fault s",
        "most behind",
        "caught up",
        "before MiB",
        "peak MiB",
        "bound MiB",
        "read ahead",
        "in flight",
        "longest idle ms"
    );
    for outcome in outcomes {
        let Some(strain) = &outcome.strain else {
            continue;
        };
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let caught_up = strain.recovered_ms.map_or_else(
            || "never".to_owned(),
            |took| format!("{:.1} s", took as f64 / 1e3),
        );
        let bound = strain.growth_bound.map_or_else(
            || "none".to_owned(),
            |growth| format!("{:.0}", mib(strain.resident_before + growth)),
        );
        // Writing to a String cannot fail.
        _ = writeln!(
            text,
            "{:<9} {:>6} {:>7} {:>4} {:>5} {:>13} {:>7} {:>7.1} {:>11} {caught_up:>9} {:>10.0} {:>9.0} {bound:>9} {:>11.1} {:>9.1} {:>15}  {}",
            outcome.scene,
            outcome.shards,
            outcome.sent,
            outcome.lost,
            outcome.wrong,
            outcome.contradictory,
            outcome.repeats,
            strain.fault_ms as f64 / 1e3,
            strain.behind_most,
            mib(strain.resident_before),
            mib(strain.resident_peak),
            mib(strain.read_ahead_most),
            mib(strain.in_flight_most),
            outcome.longest_idle_ms,
            outcome.verdict()
        );
    }
    text
}

fn idle_table(outcomes: &[&Outcome]) -> String {
    let mut text = format!(
        "{:<8} {:>7} {:>6} {:>7} {:>5} {:>5} {:>13} {:>7} {:>11} {:>15} {:>8}\n",
        "scene",
        "workers",
        "shards",
        "sent",
        "lost",
        "wrong",
        "contradictory",
        "repeats",
        "base gap ms",
        "longest idle ms",
        "bound ms"
    );
    for outcome in outcomes {
        let bound = outcome
            .bound_ms
            .map_or_else(|| "none".to_owned(), |bound| bound.to_string());
        // Writing to a String cannot fail.
        _ = writeln!(
            text,
            "{:<8} {:>7} {:>6} {:>7} {:>5} {:>5} {:>13} {:>7} {:>11} {:>15} {bound:>8}  {}",
            outcome.scene,
            outcome.workers,
            outcome.shards,
            outcome.sent,
            outcome.lost,
            outcome.wrong,
            outcome.contradictory,
            outcome.repeats,
            outcome.base_gap_ms,
            outcome.longest_idle_ms,
            outcome.verdict()
        );
    }
    text
}
