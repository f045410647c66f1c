//! What a run leaves behind for `loadgen verify`: a few numbers, from which its swipes are derived again.

use std::{collections::HashSet, path::Path};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    answer::REJECT_ERRORS,
    churn::{Change, Timetable},
    ledger::{Ledger, Place},
    pace::{Pace, Rate},
    population::Population,
    run::Ran,
    traffic::Traffic,
};

/// What is kept of a run, for `verify`.
#[derive(Debug, Deserialize, Serialize)]
pub struct RunRecord {
    v: u32,
    cards: usize,
    seed: u64,
    seeded_at_ms: i64,
    start_ms: i64,
    base_seq: u64,
    rate: Rate,
    seconds: f64,
    /// Swipes that were planned but not sent, as ranges (first, count).
    unsent: Vec<(u64, u64)>,
    /// What churn cards became.
    pub changes: Vec<Change>,
    /// Where bad records were stored, with the error that each must be rejected with.
    pub bad_records: Vec<(Place, String)>,
}

impl RunRecord {
    /// The record of a run.
    pub fn of(ran: &Ran, rate: Rate) -> Self {
        let world = ran.traffic.population;
        let mut unsent: Vec<(u64, u64)> = Vec::new();
        for k in ran.ledger.unsent() {
            match unsent.last_mut() {
                Some((first, count)) if *first + *count == k => *count += 1,
                _ => unsent.push((k, 1)),
            }
        }
        Self {
            v: 1,
            cards: world.cards,
            seed: world.seed,
            seeded_at_ms: world.seeded_at_ms,
            start_ms: ran.traffic.start_ms,
            base_seq: ran.traffic.base_seq,
            rate,
            seconds: ran.pace.seconds(),
            unsent,
            changes: ran.changes.clone(),
            bad_records: ran
                .ledger
                .bad_records()
                .map(|(place, error)| (place.clone(), error.to_owned()))
                .collect(),
        }
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec(self)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads it from a file.
    ///
    /// # Errors
    /// When the file cannot be read or is no such record.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let record: Self = serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is no record of a run; `loadgen run --ledger FILE` writes one",
                path.display()
            )
        })?;
        ensure!(
            record.v == 1,
            "{} is of version {}, this build knows 1",
            path.display(),
            record.v
        );
        Ok(record)
    }

    /// What was sent, as if it had just been sent.
    pub fn ledger(&self) -> Ledger {
        let population = Population {
            cards: self.cards,
            seed: self.seed,
            seeded_at_ms: self.seeded_at_ms,
        };
        let timetable = Timetable::new((self.seconds * 1e3) as i64);
        let traffic = Traffic {
            population,
            timetable,
            start_ms: self.start_ms,
            base_seq: self.base_seq,
        };
        let unsent: HashSet<u64> = self
            .unsent
            .iter()
            .flat_map(|(first, count)| *first..first + count)
            .collect();
        let mut ledger = planned(&traffic, &Pace::new(self.rate, self.seconds), &unsent);
        for (place, error) in &self.bad_records {
            if let Some(error) = REJECT_ERRORS.iter().find(|known| *known == error) {
                ledger.bad_record_at(place.clone(), error);
            }
        }
        ledger
    }
}

/// A ledger of planned swipes, as if they had just been sent.
pub fn planned(traffic: &Traffic, pace: &Pace, unsent: &HashSet<u64>) -> Ledger {
    let mut ledger = Ledger::new(traffic.base_seq, pace.total());
    for k in (0..pace.total()).filter(|k| !unsent.contains(k)) {
        let planned = traffic.swipe(k, pace.at_ms(k));
        ledger.sent(k, planned.expect, planned.fingerprint);
    }
    ledger
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_run_reads_back_and_plans_the_same_swipes() {
        let record = RunRecord {
            v: 1,
            cards: 500,
            seed: 3,
            seeded_at_ms: 1_772_438_000_000,
            start_ms: 1_772_438_321_123,
            base_seq: 77,
            rate: "100:300".parse().expect("a rate"),
            seconds: 2.0,
            unsent: vec![(5, 2), (390, 10)],
            changes: vec![],
            bad_records: vec![(("s".to_owned(), "9".to_owned(), 1), "Oversize".to_owned())],
        };
        let text = serde_json::to_string(&record).expect("serialises");
        let again: RunRecord = serde_json::from_str(&text).expect("reads back");
        let ledger = again.ledger();
        assert_eq!(
            ledger.unsent().collect::<Vec<_>>(),
            [[5, 6].as_slice(), &(390..400).collect::<Vec<_>>()].concat()
        );
        assert_eq!(ledger.tally().sent, 388);
        assert_eq!(ledger.bad_records().count(), 1);
    }
}
