//! Reads one shard, page after page: as the service sends it (fan-out), or by asking (polling).
//!
//! Where fan-out is allowed it is used; after several failures in a row the shard is polled for a while, and then fan-out is
//! tried again ([`choice`]). Both ways share one [`Place`]: so neither change loses a record, and what is read twice at a
//! change is what the desk drops anyway.
//!
//! A position that is no longer kept is a data-loss event: said once, counted, and reading goes on with the oldest record
//! there is; it never passes in silence and never stops the shard.

mod budget;
mod choice;
mod fan_out;
mod place;
mod polling;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{ReadMetrics, Way},
    model::position::{Checkpoint, Page, ShardId},
    ports::{Fault, SwipeStream, backoff},
};

pub use budget::{ByteBudget, Share};
pub use fan_out::FanOutLimits;

use choice::Choice;
use fan_out::{FanOut, Unheard};
use place::Place;
use polling::{Polled, Polling};

/// How fast a shard is polled.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one read to the next at the tip.
    pub poll: Duration,
    /// From one read to the next when more is waiting.
    pub hurry: Duration,
}

/// How a shard is read.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// How fast when it is polled.
    pub pace: Pace,
    /// How by fan-out; nothing: a shard is only polled.
    pub fan_out: Option<FanOutLimits>,
}

/// First wait after a failed call; doubles up to [`BACKOFF_CAP`].
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Longest wait after a failed call: five seconds is how long a shard refuses reads after a full 10 MiB.
const BACKOFF_CAP: Duration = Duration::from_secs(5);

/// A page that came.
#[derive(Debug)]
pub struct Arrival {
    /// The page.
    pub page: Page,
    /// When it came.
    pub at: Instant,
    /// Its share of the process's budget, to be dropped with the records. A polled page has none: it is asked for when there
    /// is room for it.
    pub share: Option<Share>,
}

/// What came of asking for the next page.
#[derive(Debug)]
pub enum Read {
    /// A page.
    Page(Arrival),
    /// The reader was told to stop.
    Stopped,
    /// The stream says that there is no such shard.
    Gone(Fault),
}

/// Reads one shard. Dropping it ends its subscription.
#[derive(Debug)]
pub struct PageReader<S: SwipeStream> {
    stream: Arc<S>,
    place: Place,
    choice: Choice,
    polling: Polling,
    fan_out: FanOut<S::Subscription>,
    metrics: ReadMetrics,
}

impl<S: SwipeStream> PageReader<S> {
    /// A reader of `shard` that begins with the record of `from`, inclusive. Events wait for room in `budget`.
    pub fn new(
        stream: Arc<S>,
        shard: ShardId,
        from: Checkpoint,
        limits: ReadLimits,
        budget: Arc<ByteBudget>,
    ) -> Self {
        let metrics = ReadMetrics::new(&shard);
        Self {
            stream,
            choice: Choice::new(limits.fan_out),
            polling: Polling::new(limits.pace),
            fan_out: FanOut::new(limits.fan_out.unwrap_or_default(), budget),
            place: Place::new(shard, from),
            metrics,
        }
    }

    /// The next page, when it is time for it. Retries whatever may be retried until `stop`.
    pub async fn next(&mut self, stop: &CancellationToken) -> Read {
        tokio::select! {
            biased;
            () = stop.cancelled() => Read::Stopped,
            read = self.read() => read,
        }
    }

    /// As [`PageReader::next`], when there is a next page.
    pub async fn next_if(&mut self, more: bool, stop: &CancellationToken) -> Read {
        if more {
            self.next(stop).await
        } else {
            Read::Stopped
        }
    }

    async fn read(&mut self) -> Read {
        let mut waits = backoff(BACKOFF_FIRST, BACKOFF_CAP, fastrand::f64);
        loop {
            let way = self.choice.way(Instant::now());
            self.metrics.read_by(way);
            match way {
                Way::Polling => match self.poll(&mut waits).await {
                    Some(read) => return read,
                    None => continue,
                },
                Way::FanOut => {
                    self.polling.forget();
                    match self.listen().await {
                        Ok(arrival) => return Read::Page(arrival),
                        Err(unheard) => self.fan_out_failed(unheard),
                    }
                }
            }
        }
    }

    /// One read by polling; nothing when it failed and may be repeated.
    async fn poll(&mut self, waits: impl FnMut() -> Duration) -> Option<Read> {
        match self
            .polling
            .ask(&*self.stream, &mut self.place, waits)
            .await
        {
            Polled::Page(page, at) => {
                let share = None;
                Some(Read::Page(Arrival { page, at, share }))
            }
            Polled::Gone(fault) => Some(Read::Gone(fault)),
            Polled::Failed => None,
        }
    }

    async fn listen(&mut self) -> Result<Arrival, Unheard> {
        let (stream, place, metrics) = (&*self.stream, &mut self.place, &self.metrics);
        let arrival = self.fan_out.next(stream, place, metrics).await?;
        self.choice.went_well();
        Ok(arrival)
    }

    fn fan_out_failed(&mut self, unheard: Unheard) {
        let jitter = fastrand::f64();
        if let Some(pause) = self.choice.failed(unheard, Instant::now(), jitter) {
            self.metrics.fell_back();
            self.place.says_it_falls_back(pause);
        }
    }
}
