//! What a run looks like while it goes on: answers into the ledger, latencies into the histogram, a line a second.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context;
use aws_sdk_kinesis::types::Record;
use hdrhistogram::Histogram;
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    gaps::Gaps,
    ledger::Ledger,
    observer,
    pace::Pace,
    producer::{self, Counters, lock},
    progress::Progress,
    report::Percentiles,
};

/// After the last expected answer: how long repeats and contradictions are still looked for.
const LINGER: Duration = Duration::from_millis(700);

/// What readers share.
pub struct Watch {
    /// What was asked and answered.
    pub ledger: Arc<Mutex<Ledger>>,
    latency_us: Mutex<Histogram<u64>>,
    gaps: Mutex<Gaps>,
    /// Records of the streams of answers that are none.
    pub unreadable: AtomicU64,
    pace: Pace,
    /// When the schedule starts.
    pub start: Instant,
}

impl Watch {
    /// A watch over the run of that pace which starts then.
    pub fn new(pace: Pace, start: Instant, base_seq: u64) -> Self {
        Self {
            ledger: Arc::new(Mutex::new(Ledger::new(base_seq, pace.total()))),
            latency_us: Mutex::new(producer::slip_histogram()),
            gaps: Mutex::default(),
            unreadable: AtomicU64::new(0),
            pace,
            start,
        }
    }

    /// Length of the run in seconds.
    pub fn seconds(&self) -> f64 {
        self.pace.seconds()
    }

    /// From the intended instants of swipes to their first decisions being read.
    pub fn latency(&self) -> Percentiles {
        Percentiles::of_us(
            &self
                .latency_us
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// The stretches without a decision so far.
    pub fn gaps(&self) -> Gaps {
        lock(&self.gaps).clone()
    }

    /// Takes a page of decisions.
    pub fn decisions(&self, records: &[Record], at: Instant) {
        if records.is_empty() {
            return;
        }
        let (seen, unreadable) = observer::decisions(records);
        self.unreadable.fetch_add(unreadable, Relaxed);
        let elapsed = at.saturating_duration_since(self.start);
        let elapsed_s = elapsed.as_secs_f64();
        let mut latency_us = self
            .latency_us
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut gaps = lock(&self.gaps);
        let mut ledger = lock(&self.ledger);
        for seen in seen {
            // A repeat is no answer to a swipe that waits.
            let Some(k) = ledger.decided(seen) else {
                continue;
            };
            latency_us.saturating_record(((elapsed_s - self.pace.at_s(k)) * 1e6).max(0.0) as u64);
            if let Some(shard) = seen.shard {
                gaps.decided(shard, elapsed);
            }
        }
    }

    /// Takes a page of rejects.
    pub fn rejects(&self, records: &[Record]) {
        let (seen, unreadable) = observer::rejects(records);
        self.unreadable.fetch_add(unreadable, Relaxed);
        let mut ledger = lock(&self.ledger);
        for (place, error) in seen {
            ledger.rejected(place, &error);
        }
    }

    /// Shows progress until everything is sent and answered, or until the wait for answers is over.
    ///
    /// # Errors
    /// When the producer failed.
    pub async fn follow(
        &self,
        mut producing: JoinHandle<anyhow::Result<producer::Sent>>,
        drain: Duration,
        counters: &Counters,
    ) -> anyhow::Result<producer::Sent> {
        let mut progress = Progress::default();
        let mut before = (0, 0, Instant::now());
        let sent = loop {
            tokio::select! {
                sent = &mut producing => break sent.context("the producer panicked")??,
                () = tokio::time::sleep(Duration::from_secs(1)) => self.show(&mut progress, &mut before, counters),
            }
        };
        let until = Instant::now() + drain;
        while lock(&self.ledger).open() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if before.2.elapsed() >= Duration::from_secs(1) {
                self.show(&mut progress, &mut before, counters);
            }
        }
        tokio::time::sleep(LINGER).await;
        self.show(&mut progress, &mut before, counters);
        progress.end();
        Ok(sent)
    }

    fn show(&self, progress: &mut Progress, before: &mut (u64, u64, Instant), counters: &Counters) {
        let (stored, now) = (counters.stored.load(Relaxed), Instant::now());
        let (tally, open) = {
            let ledger = lock(&self.ledger);
            (ledger.tally().clone(), ledger.open())
        };
        let latency = self.latency();
        let step = now.duration_since(before.2).as_secs_f64().max(1e-3);
        progress.show(&format!(
            "{:>5.1} s  sent {:>6.0}/s  decided {:>6.0}/s  p50 {:>5.0} ms  p99 {:>5.0} ms  open {open}  wrong {}",
            now.saturating_duration_since(self.start).as_secs_f64(),
            stored.saturating_sub(before.0) as f64 / step,
            tally.decided.saturating_sub(before.1) as f64 / step,
            latency.p50,
            latency.p99,
            tally.wrong + tally.contradictory + tally.unexpected,
        ));
        *before = (stored, tally.decided, now);
    }
}
