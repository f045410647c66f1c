//! Where a shard's reading stands, whichever way it is read.

use std::time::Duration;

use tracing::{error, info, warn};

use crate::{
    metrics::{self, PageMetrics},
    model::position::{Begin, Checkpoint, Next, Page, Position, SequenceNumber, ShardId},
    ports::{Fault, FaultKind, SwipeStream},
};

/// The place of one reader in its shard.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) shard: ShardId,
    pub(super) metrics: PageMetrics,
    /// The last record read, or where reading began: an iterator begins here, inclusive.
    from: Checkpoint,
    /// Where the next subscription begins. Never a checkpoint: nobody decided the records before it, there are none.
    continuation: Option<SequenceNumber>,
    /// The record that the next page has to begin with when nothing was trimmed.
    expected: Option<Position>,
}

impl Place {
    /// At the record of `from`, inclusive.
    pub(super) fn new(shard: ShardId, from: Checkpoint) -> Self {
        let expected = match &from {
            Checkpoint::At(position) => Some(position.clone()),
            _ => None,
        };
        Self {
            shard,
            metrics: PageMetrics::new(),
            from,
            continuation: None,
            expected,
        }
    }

    /// Where an iterator begins.
    pub(super) fn from(&self) -> &Checkpoint {
        &self.from
    }

    /// Where a subscription begins.
    pub(super) fn begin(&self) -> Begin {
        match &self.continuation {
            Some(number) => Begin::After(number.clone()),
            None => Begin::At(self.from.clone()),
        }
    }

    /// A page was read.
    pub(super) async fn passed<S: SwipeStream>(&mut self, stream: &S, page: &Page) {
        if let Some(first) = page.records.first() {
            if let Some(expected) = self.expected.take()
                && first.sequence > expected.sequence
            {
                self.check_gap(stream, &expected).await;
            }
            let last = page.records.last().unwrap_or(first);
            self.from = behind(&last.sequence);
            self.continuation = None;
        }
        if let Next::After(number) = &page.next {
            // The tip of a moment ago is no tip later: what came since would be passed over.
            if self.from == Checkpoint::Latest {
                self.from = behind(number);
            }
            self.continuation = Some(number.clone());
        }
    }

    /// The page does not begin with the record of the checkpoint: says so when the stream no longer holds that record.
    async fn check_gap<S: SwipeStream>(&self, stream: &S, expected: &Position) {
        let oldest = async {
            let iterator = stream
                .iterator(&self.shard, &Checkpoint::TrimHorizon)
                .await?;
            stream.read(&self.shard, iterator).await
        };
        match oldest.await {
            Ok(page) => {
                if let Some(oldest) = page
                    .records
                    .first()
                    .filter(|oldest| oldest.sequence > expected.sequence)
                {
                    self.lost(&format!(
                        "checkpoint {} is older than {}",
                        expected.sequence, oldest.sequence
                    ));
                }
            }
            Err(fault) => {
                warn!(shard = %self.shard, %fault, "could not look for a gap behind the checkpoint")
            }
        }
    }

    /// A call failed: counts it, says it, and moves on where the position is no longer kept.
    pub(super) fn recover(&mut self, fault: &Fault) {
        metrics::fault(fault);
        match fault.kind {
            FaultKind::IteratorExpired => {
                self.metrics.iterator_refreshed();
                info!(shard = %self.shard, "shard iterator expired, taking a new one");
            }
            // A continuation is no record; whether one was lost shows at the last record.
            FaultKind::Trimmed if self.continuation.take().is_some() => {
                info!(shard = %self.shard, %fault, "the subscription cannot be continued, beginning at the last record");
            }
            FaultKind::Trimmed => {
                self.lost(&fault.message);
                self.from = Checkpoint::TrimHorizon;
            }
            FaultKind::InUse => {
                info!(shard = %self.shard, %fault, "another subscription still holds the shard, trying again")
            }
            FaultKind::Throttled | FaultKind::HotKey => {
                info!(shard = %self.shard, %fault, "read throttled, slowing down")
            }
            FaultKind::Transient => warn!(shard = %self.shard, %fault, "read failed, trying again"),
            FaultKind::Refused | FaultKind::NotFound => {
                error!(shard = %self.shard, %fault, "read refused, trying again; check the permissions");
            }
        }
    }

    fn lost(&self, gap: &str) {
        self.metrics.data_lost();
        error!(shard = %self.shard, gap, "DATA LOSS: swipes were trimmed from the stream before they were read");
    }

    /// Says that the shard is polled from now on.
    pub(super) fn says_it_falls_back(&self, pause: Duration) {
        let seconds = pause.as_secs();
        warn!(shard = %self.shard, seconds, "fan-out fails, polling for a while");
    }
}

/// Everything up to this number is read.
fn behind(number: &SequenceNumber) -> Checkpoint {
    Checkpoint::At(Position {
        sequence: number.clone(),
        sub: u64::MAX,
    })
}
