//! The shard consumer: read → decode → decide → write → report, one page at a time, for one shard.
//!
//! The next page is read while this one is handled, one page ahead and no more. The consumer never writes a checkpoint: it
//! reports how far it is, and the lease coordinator writes. It never gives a record up: what cannot be stored holds
//! the shard where it is.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    access::cache::AccessCache,
    model::{
        lease::Finish,
        position::{Checkpoint, Next, Position, ShardId},
    },
    pipeline::{
        decide::Policy,
        desk::Desk,
        fence::Fence,
        occupancy::Occupancy,
        reader::{Arrival, ByteBudget, PageReader, Read, ReadLimits},
        replay::Replay,
        writer::{Sinks, WriteLimits},
    },
    ports::{Clock, DecisionTable, EventStream, SwipeStream},
};

/// What every consumer of a worker keeps to.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerLimits {
    /// How to read.
    pub read: ReadLimits,
    /// How much to write at once.
    pub write: WriteLimits,
    /// What the rules may assume.
    pub policy: Policy,
}

/// What every consumer of a worker works with.
#[derive(Debug)]
pub struct Shared<S, E, T> {
    /// The swipe stream.
    pub stream: Arc<S>,
    /// Where decisions and rejects go.
    pub sinks: Sinks<E, T>,
    /// What is known about cards and doors.
    pub cache: Arc<AccessCache>,
    /// How fast, how much, by which policy.
    pub limits: ConsumerLimits,
    /// How many bytes of events all shards together may hold.
    pub budget: Arc<ByteBudget>,
    /// How many cards are where.
    pub occupancy: Arc<Occupancy>,
    /// The wall clock.
    pub clock: Clock,
}

/// Where a consumer begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// What is done.
    pub from: Checkpoint,
    /// The shard continues no other, so that nothing was published before its oldest record.
    pub root: bool,
}

/// How far a consumer is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Everything up to here is stored.
    pub done: Option<Position>,
    /// How far the last page was behind the tip, in milliseconds.
    pub behind_latest_ms: i64,
}

/// Consumes one shard.
#[derive(Debug)]
pub struct ShardConsumer<S: SwipeStream, E, T> {
    shard: ShardId,
    reader: PageReader<S>,
    desk: Desk<E, T>,
}

impl<S: SwipeStream, E: EventStream, T: DecisionTable> ShardConsumer<S, E, T> {
    /// A consumer of `shard` that begins at `start` and writes while `fence` is open.
    pub fn new(
        shared: &Shared<S, E, T>,
        shard: ShardId,
        start: Start,
        fence: Fence,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let Start { from, root } = start;
        let first = root && from == Checkpoint::TrimHorizon;
        let replay = Replay::new(shared.sinks.table.is_some(), first);
        let done: Option<Position> = match &from {
            Checkpoint::At(position) => Some(position.clone()),
            _ => None,
        };
        let (stream, budget) = (Arc::clone(&shared.stream), Arc::clone(&shared.budget));
        Self {
            reader: PageReader::new(stream, shard.clone(), from, shared.limits.read, budget),
            desk: Desk::new(shared, shard.clone(), done, fence, replay, progress),
            shard,
        }
    }

    /// Consumes until the shard ends, `drain` is cancelled, the fence closes, or a record cannot be kept safe.
    pub async fn run(self, drain: CancellationToken) -> Finish {
        let Self {
            shard,
            mut reader,
            mut desk,
        } = self;
        let mut read = reader.next(&drain).await;
        loop {
            let Arrival {
                mut page,
                at,
                share,
            } = match read {
                Read::Page(arrival) => arrival,
                Read::Stopped => return Finish::Drained,
                Read::Gone(fault) => return Finish::Gone(fault.to_string()),
            };
            let after = std::mem::take(&mut page.next);
            let more = !matches!(after, Next::ShardEnd(_));
            let handled = async {
                let handled = desk.handle(&page, at).await;
                // Before the next page is waited for, or shards could wait for each other's room.
                drop((page, share));
                handled
            };
            let ahead = async { Ok(reader.next_if(more, &drain).await) };
            // What was read ahead does not hold up a consumer that cannot go on: the service may have nothing to send.
            let next = match futures::try_join!(handled, ahead) {
                Ok(((), next)) => next,
                Err(finish) => return finish,
            };
            if let Next::ShardEnd(children) = after {
                info!(%shard, children = children.len(), "shard read to its end");
                return Finish::ShardEnd(children);
            }
            read = next;
        }
    }
}
