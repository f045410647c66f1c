//! Stores what a page yields, and comes back only when all of it is stored.
//!
//! Order: rejects and the decision table first, then the decision stream. So whatever a gate has seen on the stream is in the
//! table, and whoever reads the shard again after a crash finds the answer there and repeats it, instead of deciding a
//! second time with what it knows by then. With the stream alone nothing can be looked up; consumers then drop
//! repeats by their id.
//!
//! Only failed entries are sent again, with jitter, for as long as the fence is open: there is no last attempt after
//! which a record would be given up. A write that is under way when the fence closes is abandoned. How much is under way and how
//! fast a sink is written to is shared by all shards ([`flow`]).

mod attempt;
pub mod flow;
mod moves;
mod sending;

use std::{collections::HashSet, future::Future, pin::pin, sync::Arc};

use foldhash::fast::RandomState;
use futures::{StreamExt, TryFutureExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep};

use crate::{
    metrics::{Stage, StageMetrics},
    model::{
        decision::{Answer, Decision},
        presence::Move,
    },
    pipeline::{
        batch::{BatchLimits, Outbox, cut},
        fence::Fence,
        pack::{Groups, hash_key},
        pressure,
    },
    ports::{DecisionTable, EventStream},
};

use attempt::Attempt;
use flow::{Flow, Gate};
use sending::Batch;

/// Bytes of a decision as an item: some twenty attributes with their names. What it takes of the table's throughput (one unit up to
/// 1 KiB) and about what it takes in a request.
const ITEM_BYTES: usize = 1024;

/// As of a decision, of a card's move: a write in a transaction takes two units (DynamoDB developer guide, transactions).
const MOVE_BYTES: usize = 2048;

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
    /// Puts on a stream under way at once.
    pub in_flight: usize,
    /// Calls of the table under way at once.
    pub table_in_flight: usize,
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
    /// Events of the decision stream are packed into aggregates, in these groups.
    pub aggregate: Option<Groups>,
    /// How much may be under way, and how fast each sink may be written to.
    pub flow: Arc<Flow>,
}

impl<E, T> Clone for Sinks<E, T> {
    fn clone(&self) -> Self {
        Self {
            stream: self.stream.clone(),
            table: self.table.clone(),
            rejects: self.rejects.clone(),
            skip_rejects: self.skip_rejects,
            standards: self.standards,
            aggregate: self.aggregate,
            flow: Arc::clone(&self.flow),
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
    stages: StageMetrics,
}

impl Batch for Outbox {
    fn size(&self, index: usize) -> usize {
        Outbox::size(self, index)
    }

    fn lane(&self, index: usize) -> usize {
        let event = self.event(index);
        pressure::lane(event.hash.unwrap_or_else(|| hash_key(event.key)))
    }
}

/// Entries of one size, of a sink that is one lane.
struct Alike(usize);

impl Batch for Alike {
    fn size(&self, _: usize) -> usize {
        self.0
    }

    fn lane(&self, _: usize) -> usize {
        0
    }
}

impl<E: EventStream, T: DecisionTable> Writer<E, T> {
    /// A writer that obeys `fence`.
    pub fn new(sinks: Sinks<E, T>, limits: WriteLimits, fence: Fence) -> Self {
        Self {
            sinks,
            limits,
            fence,
            stages: StageMetrics::new(),
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
        let (flow, began) = (&self.sinks.flow, Instant::now());
        let table = async {
            let Some(table) = &self.sinks.table else {
                return Ok(());
            };
            // Where cards are comes after why: a crash in between finds the decisions, and moves the cards by them.
            self.put_decisions(table, decisions).await?;
            self.put_presences(table, moves).await?;
            self.stages.took(Stage::WriteTable, began.elapsed());
            Ok(())
        };
        let letters = async {
            match &self.sinks.rejects {
                Some(stream) => self.put_events(stream, &flow.rejects, letters).await,
                None => Ok(()),
            }
        };
        futures::try_join!(table, letters)?;
        if let Some(stream) = &self.sinks.stream {
            let began = Instant::now();
            self.put_events(stream, &flow.stream, events).await?;
            self.stages.took(Stage::WriteStream, began.elapsed());
        }
        Ok(())
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
        let answers = side_by_side(self.limits.table_in_flight, looks).await?;
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

    async fn put_events(&self, sink: &Arc<E>, gate: &Gate, outbox: &Outbox) -> Result<(), Fenced> {
        let mut writes = Vec::new();
        for batch in cut(outbox.sizes(), self.limits.events) {
            writes.push(
                self.put_batch(gate, outbox, batch, |go: Vec<usize>| async move {
                    let events: Vec<_> = go.iter().map(|index| outbox.event(*index)).collect();
                    let reply = sink.put(&events).await;
                    (go, reply)
                }),
            );
        }
        side_by_side(self.limits.in_flight, writes).await?;
        Ok(())
    }

    async fn put_decisions(&self, sink: &Arc<T>, decisions: &[Decision<'_>]) -> Result<(), Fenced> {
        // A repeat is in the table already. A device that reports two access points under one number and instant is no
        // repeat, and still has one key: the service refuses a call with the same key twice, and what came first stays.
        let mut keys: HashSet<_, RandomState> =
            HashSet::with_capacity_and_hasher(decisions.len(), RandomState::default());
        let fresh: Vec<&Decision<'_>> = decisions
            .iter()
            .filter(|decision| !decision.repeat && keys.insert(table_key(decision)))
            .collect();
        let (gate, fresh, size) = (&self.sinks.flow.table, &fresh, self.limits.table_puts);
        let mut writes = Vec::with_capacity(fresh.len() / size + 1);
        for start in (0..fresh.len()).step_by(size) {
            let batch = start..fresh.len().min(start + size);
            writes.push(self.put_batch(
                gate,
                &Alike(ITEM_BYTES),
                batch,
                |go: Vec<usize>| async move {
                    let items: Vec<_> = go.iter().map(|index| fresh[*index]).collect();
                    let reply = sink.put(&items).await;
                    (go, reply)
                },
            ));
        }
        side_by_side(self.limits.table_in_flight, writes).await?;
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

/// What the keys of a decision in the table are made of.
fn table_key<'a>(decision: &'a Decision<'_>) -> (&'a str, i64, &'a str, u64) {
    let swipe = &decision.swipe;
    let (card, device) = (&*swipe.card_id, &*swipe.device_id);
    (card, swipe.swiped_at_ms, device, swipe.device_seq)
}

/// Runs `calls`, at most `in_flight` at once, and returns what they return in their order; or the first to be fenced.
async fn side_by_side<R>(
    in_flight: usize,
    calls: Vec<impl Future<Output = Result<R, Fenced>>>,
) -> Result<Vec<R>, Fenced> {
    let mut results: Vec<Option<R>> = calls.iter().map(|_| None).collect();
    let calls = calls.into_iter().enumerate();
    let calls = calls.map(|(at, call)| call.map_ok(move |result| (at, result)));
    // Whichever comes back makes room for the next.
    let mut running = stream::iter(calls).buffer_unordered(in_flight);
    while let Some((at, result)) = running.try_next().await? {
        results[at] = Some(result);
    }
    Ok(results.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests;
