//! One batch to one sink: admitted, sent, and what failed of it sent again, until all of it is stored.

use std::{future::Future, ops::Range, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Fenced, Writer,
    attempt::Attempt,
    flow::{Admitted, Gate},
};
use crate::{
    metrics::Stage,
    pipeline::pressure::units,
    ports::{DecisionTable, EventStream, Failed, Fault, FaultKind},
};

/// A shorter wait for the budget is none: the time that asking takes.
const WAIT_SHOWN: Duration = Duration::from_micros(100);

/// What is to be known of the entries of a batch, by their index.
pub(super) trait Batch: Sync {
    /// Bytes of an entry.
    fn size(&self, index: usize) -> usize;
    /// The lane that an entry takes.
    fn lane(&self, index: usize) -> usize;
}

impl<E: EventStream, T: DecisionTable> Writer<E, T> {
    /// Stores the entries of `range` by `send`, which gets indexes and gives them back with the reply.
    pub(super) async fn put_batch<F, R>(
        &self,
        gate: &Gate,
        batch: &impl Batch,
        range: Range<usize>,
        send: F,
    ) -> Result<(), Fenced>
    where
        F: Fn(Vec<usize>) -> R,
        R: Future<Output = (Vec<usize>, Result<Vec<Failed>, Fault>)>,
    {
        let mut attempt = Attempt::new();
        let mut pending: Vec<usize> = range.collect();
        while !pending.is_empty() {
            let go = self.admitted(gate, batch, &mut pending).await?;
            let bytes = go.iter().map(|index| batch.size(*index)).sum();
            let asked = Instant::now();
            let room = self.guarded(self.sinks.flow.room(bytes)).await?;
            let waited = asked.elapsed();
            if waited >= WAIT_SHOWN {
                self.stages.took(Stage::Budget, waited);
            }
            gate.metrics.write();
            let sent = gate.now();
            let (go, reply) = self.guarded(send(go)).await?;
            drop(room);
            learn(gate, batch, sent, &go, &reply);
            let wait = match reply {
                Ok(failed) if failed.is_empty() => continue,
                Ok(failed) => {
                    for entry in &failed {
                        gate.metrics.failed_entries(entry.kind, 1);
                    }
                    let wait = attempt.partly(failed.len() < go.len());
                    pending.extend(failed.iter().map(|entry| go[entry.index]));
                    wait
                }
                Err(fault) => {
                    pending.extend(go);
                    attempt.fault(&fault)
                }
            };
            // What was held back before comes before it again.
            pending.sort_unstable();
            self.pause(wait).await?;
        }
        Ok(())
    }

    /// Takes from `pending` what may be sent now, waiting while that is nothing.
    async fn admitted(
        &self,
        gate: &Gate,
        batch: &impl Batch,
        pending: &mut Vec<usize>,
    ) -> Result<Vec<usize>, Fenced> {
        let mut entries: Vec<(usize, u32)> = Vec::new();
        loop {
            let (known, indexes) = (&mut entries, &pending[..]);
            let admitted = gate.admit(move || {
                if known.is_empty() {
                    let entry = |index: &usize| (batch.lane(*index), units(batch.size(*index)));
                    known.extend(indexes.iter().map(entry));
                }
                known.iter().copied()
            });
            match admitted {
                Admitted::All => return Ok(std::mem::take(pending)),
                Admitted::Wait(wait) => self.pause(wait).await?,
                Admitted::Some(places) => {
                    let go = places.iter().map(|place| pending[*place]).collect();
                    let mut sent = places.into_iter().peekable();
                    let mut place = 0..;
                    pending
                        .retain(|_| place.next() != sent.peek().copied() || sent.next().is_none());
                    return Ok(go);
                }
            }
        }
    }

    /// Waits because a sink asked for it.
    async fn pause(&self, wait: Duration) -> Result<(), Fenced> {
        self.guarded(sleep(wait)).await?;
        self.stages.took(Stage::Throttled, wait);
        Ok(())
    }
}

/// Tells the gate what became of the entries `go`. A key that is hot says nothing about the sink.
fn learn(
    gate: &Gate,
    batch: &impl Batch,
    sent: Duration,
    go: &[usize],
    reply: &Result<Vec<Failed>, Fault>,
) {
    let all = || go.iter().map(|index| units(batch.size(*index)));
    let by_lane = |refused: &dyn Fn(usize) -> bool| {
        let entries = go.iter().enumerate();
        gate.outcomes(
            entries.map(|(at, index)| (batch.lane(*index), batch.size(*index), refused(at))),
        )
    };
    match reply {
        Ok(failed) => {
            let throttled = |entry: &&Failed| entry.kind == FaultKind::Throttled;
            let mut refused: Vec<usize> = failed
                .iter()
                .filter(throttled)
                .map(|entry| entry.index)
                .collect();
            refused.sort_unstable();
            let lost: u32 = failed
                .iter()
                .map(|entry| units(batch.size(go[entry.index])))
                .sum();
            let stored = all().sum::<u32>().saturating_sub(lost);
            if refused.is_empty() {
                gate.settle(sent, stored, &[]);
            } else {
                gate.settle(
                    sent,
                    stored,
                    &by_lane(&|at| refused.binary_search(&at).is_ok()),
                );
            }
        }
        Err(fault) if fault.kind == FaultKind::Throttled => {
            gate.settle(sent, 0, &by_lane(&|_| true))
        }
        Err(_) => {}
    }
}
