//! Stores what a page yields, and comes back only when all of it is stored.
//!
//! Order: rejects and the decision table first, then the decision stream. So whatever a gate has seen on the stream is in the
//! table, and whoever reads the shard again after a crash finds the answer there and repeats it, instead of deciding a
//! second time with what it knows by then. With the stream alone nothing can be looked up; consumers then drop
//! repeats by their id.
//!
//! Only failed entries are sent again, with jitter, for as long as the fence is open: there is no last attempt after
//! which a record would be given up. A write that is under way when the fence closes is abandoned.

mod attempt;
mod moves;

use std::{future::Future, ops::Range, pin::pin, sync::Arc};

use futures::{StreamExt, stream::FuturesOrdered};
use tokio::time::{Instant, sleep};

use crate::{
    metrics::{Sink, SinkMetrics},
    model::{
        decision::{Answer, Decision, Event},
        presence::Move,
    },
    pipeline::{
        batch::{BatchLimits, Outbox, cut},
        fence::Fence,
    },
    ports::{DecisionTable, EventStream},
};

use attempt::Attempt;

/// What one write holds, and how many are under way at once for one shard.
#[derive(Clone, Copy, Debug)]
pub struct WriteLimits {
    /// Of one put on a stream.
    pub events: BatchLimits,
    /// Decisions of one put in the table.
    pub table_puts: usize,
    /// Decisions of one look into the table.
    pub table_gets: usize,
    /// Moves of cards of one write.
    pub table_moves: usize,
    /// Writes under way at once.
    pub in_flight: usize,
}

/// Where decisions and rejects go.
#[derive(Debug)]
pub struct Sinks<E, T> {
    /// The decision stream, if there is one.
    pub stream: Option<Arc<E>>,
    /// The decision table, if there is one.
    pub table: Option<Arc<T>>,
    /// The dead-letter stream, if there is one.
    pub rejects: Option<Arc<E>>,
    /// Without a dead-letter stream: pass over rejects, counted and logged, instead of stopping the shard.
    pub skip_rejects: bool,
    /// Decisions carry the words of ONVIF and BACnet, too.
    pub standards: bool,
}

impl<E, T> Clone for Sinks<E, T> {
    fn clone(&self) -> Self {
        Self {
            stream: self.stream.clone(),
            table: self.table.clone(),
            rejects: self.rejects.clone(),
            skip_rejects: self.skip_rejects,
            standards: self.standards,
        }
    }
}

/// This worker may no longer write for the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced;

/// Writes for one shard.
#[derive(Debug)]
pub struct Writer<E, T> {
    sinks: Sinks<E, T>,
    limits: WriteLimits,
    fence: Fence,
    stream: SinkMetrics,
    table: SinkMetrics,
    rejects: SinkMetrics,
}

impl<E: EventStream, T: DecisionTable> Writer<E, T> {
    /// A writer that obeys `fence`.
    pub fn new(sinks: Sinks<E, T>, limits: WriteLimits, fence: Fence) -> Self {
        Self {
            sinks,
            limits,
            fence,
            stream: SinkMetrics::new(Sink::DecisionStream),
            table: SinkMetrics::new(Sink::DecisionTable),
            rejects: SinkMetrics::new(Sink::RejectStream),
        }
    }

    /// Stores everything, or is fenced.
    pub async fn store(
        &self,
        decisions: &[Decision<'_>],
        moves: impl Iterator<Item = Move<'_>>,
        events: &Outbox,
        letters: &Outbox,
    ) -> Result<(), Fenced> {
        let table = async {
            match &self.sinks.table {
                // Where cards are comes after why: a crash in between finds the decisions, and moves the cards by them.
                Some(table) => {
                    self.put_decisions(table, decisions).await?;
                    self.put_presences(table, moves).await
                }
                None => Ok(()),
            }
        };
        let letters = async {
            match &self.sinks.rejects {
                Some(stream) => self.put_events(stream, &self.rejects, letters).await,
                None => Ok(()),
            }
        };
        futures::try_join!(table, letters)?;
        match &self.sinks.stream {
            Some(stream) => self.put_events(stream, &self.stream, events).await,
            None => Ok(()),
        }
    }

    /// The answers that stand already for these decisions, by their index. Without a table there are none.
    pub async fn stored(&self, decisions: &[Decision<'_>]) -> Result<Vec<(usize, Answer)>, Fenced> {
        let Some(table) = &self.sinks.table else {
            return Ok(Vec::new());
        };
        let size = self.limits.table_gets;
        let mut looks = Vec::with_capacity(decisions.len() / size + 1);
        for part in decisions.chunks(size) {
            looks.push(self.look_up(table, part));
        }
        let answers = side_by_side(self.limits.in_flight, looks).await?;
        let answers = answers.into_iter().flatten().enumerate();
        Ok(answers
            .filter_map(|(index, answer)| Some((index, answer?)))
            .collect())
    }

    async fn look_up(
        &self,
        table: &Arc<T>,
        decisions: &[Decision<'_>],
    ) -> Result<Vec<Option<Answer>>, Fenced> {
        let mut attempt = Attempt::new();
        loop {
            match self.guarded(table.stored(decisions)).await? {
                Ok(answers) => return Ok(answers),
                Err(fault) => sleep(attempt.fault(&fault)).await,
            }
        }
    }

    async fn put_events(
        &self,
        sink: &Arc<E>,
        metrics: &SinkMetrics,
        outbox: &Outbox,
    ) -> Result<(), Fenced> {
        let mut writes = Vec::new();
        for batch in cut(outbox.sizes(), self.limits.events) {
            writes.push(self.put_event_batch(sink, metrics, outbox, batch));
        }
        side_by_side(self.limits.in_flight, writes).await?;
        Ok(())
    }

    async fn put_event_batch(
        &self,
        sink: &Arc<E>,
        metrics: &SinkMetrics,
        outbox: &Outbox,
        batch: Range<usize>,
    ) -> Result<(), Fenced> {
        let mut attempt = Attempt::new();
        let mut pending: Vec<usize> = batch.collect();
        while !pending.is_empty() {
            let events: Vec<Event<'_>> = pending.iter().map(|index| outbox.event(*index)).collect();
            metrics.write();
            let reply = self.guarded(sink.put(&events)).await?;
            if let Some(wait) = attempt.settle(&mut pending, reply, metrics) {
                sleep(wait).await;
            }
        }
        Ok(())
    }

    async fn put_decisions(&self, sink: &Arc<T>, decisions: &[Decision<'_>]) -> Result<(), Fenced> {
        // A repeat is in the table already; so no two decisions of a page have the same key.
        let fresh: Vec<&Decision<'_>> = decisions
            .iter()
            .filter(|decision| !decision.repeat)
            .collect();
        let mut writes = Vec::with_capacity(fresh.len() / self.limits.table_puts + 1);
        for batch in fresh.chunks(self.limits.table_puts) {
            writes.push(self.put_decision_batch(sink, batch));
        }
        side_by_side(self.limits.in_flight, writes).await?;
        Ok(())
    }

    async fn put_decision_batch(
        &self,
        sink: &Arc<T>,
        batch: &[&Decision<'_>],
    ) -> Result<(), Fenced> {
        let mut attempt = Attempt::new();
        let mut pending: Vec<usize> = (0..batch.len()).collect();
        while !pending.is_empty() {
            let items: Vec<&Decision<'_>> = pending.iter().map(|index| batch[*index]).collect();
            self.table.write();
            let reply = self.guarded(sink.put(&items)).await?;
            if let Some(wait) = attempt.settle(&mut pending, reply, &self.table) {
                sleep(wait).await;
            }
        }
        Ok(())
    }

    /// Awaits `call` for as long as the fence is open, however often its deadline moves meanwhile.
    async fn guarded<R>(&self, call: impl Future<Output = R>) -> Result<R, Fenced> {
        let mut call = pin!(call);
        loop {
            let open = self.fence.remaining(Instant::now());
            if open.is_zero() {
                return Err(Fenced);
            }
            // The deadline first: a process that was suspended must not go on sending when it wakes.
            tokio::select! {
                biased;
                () = sleep(open) => {}
                reply = &mut call => return Ok(reply),
            }
        }
    }
}

/// Runs `calls`, at most `in_flight` at once, and returns what they return in their order; or the first to be fenced.
async fn side_by_side<R>(
    in_flight: usize,
    calls: Vec<impl Future<Output = Result<R, Fenced>>>,
) -> Result<Vec<R>, Fenced> {
    let mut running = FuturesOrdered::new();
    let mut results = Vec::with_capacity(calls.len());
    for call in calls {
        if running.len() >= in_flight
            && let Some(result) = running.next().await
        {
            results.push(result?);
        }
        running.push_back(call);
    }
    while let Some(result) = running.next().await {
        results.push(result?);
    }
    Ok(results)
}
