//! The tries of one batch: what is still to be stored, and how long to wait before it is sent again.

use std::time::Duration;

use tracing::{error, warn};

use crate::{
    metrics::{self, SinkMetrics},
    ports::{Failed, Fault, FaultKind, backoff},
};

/// First wait before failed entries are sent again. A throttled shard of the service refills within a second.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);

/// Longest wait before failed entries are sent again.
const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// The tries of one batch.
pub(super) struct Attempt<W> {
    waits: W,
    failures: u32,
}

impl Attempt<()> {
    pub(super) fn new() -> Attempt<impl FnMut() -> Duration> {
        Attempt {
            waits: backoff(BACKOFF_FIRST, BACKOFF_CAP, fastrand::f64),
            failures: 0,
        }
    }
}

impl<W: FnMut() -> Duration> Attempt<W> {
    /// Leaves in `pending` what is still not stored, and says how long to wait before it may be sent again.
    pub(super) fn settle(
        &mut self,
        pending: &mut Vec<usize>,
        reply: Result<Vec<Failed>, Fault>,
        metrics: &SinkMetrics,
    ) -> Option<Duration> {
        match reply {
            Ok(failed) => {
                for entry in &failed {
                    metrics.failed_entries(entry.kind, 1);
                }
                *pending = failed.iter().map(|entry| pending[entry.index]).collect();
                (!failed.is_empty()).then(|| (self.waits)())
            }
            Err(fault) => Some(self.fault(&fault)),
        }
    }

    /// How long to wait after a call failed as a whole. Says so once a batch, at the first failure.
    pub(super) fn fault(&mut self, fault: &Fault) -> Duration {
        metrics::fault(fault);
        self.failures += 1;
        match fault.kind {
            FaultKind::Throttled | FaultKind::Transient => {
                if self.failures == 1 {
                    warn!(%fault, "write failed, trying again");
                }
            }
            _ => {
                if self.failures == 1 {
                    error!(%fault, "write refused, the shard waits; check permissions and names");
                }
            }
        }
        (self.waits)()
    }
}
