//! The tries of one batch: how long to wait before it is sent again.

use std::time::Duration;

use tracing::{error, warn};

use crate::{
    metrics,
    ports::{Fault, FaultKind},
};

/// First wait before failed entries are sent again. A throttled shard of the service refills within a second.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);

/// Longest wait before failed entries are sent again.
const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// The tries of one batch.
pub(super) struct Attempt {
    ceiling: Duration,
    faults: u32,
}

impl Attempt {
    pub(super) const fn new() -> Self {
        Self {
            ceiling: BACKOFF_FIRST,
            faults: 0,
        }
    }

    /// How long to wait after a reply of which some entries failed. Whoever gets on need not wait long: the sink's rate is kept
    /// elsewhere.
    pub(super) fn partly(&mut self, some_stored: bool) -> Duration {
        if some_stored {
            self.ceiling = BACKOFF_FIRST;
        }
        self.wait()
    }

    /// How long to wait after a call failed as a whole. Says so once a batch, at the first failure.
    pub(super) fn fault(&mut self, fault: &Fault) -> Duration {
        metrics::fault(fault);
        self.faults += 1;
        if self.faults == 1 {
            match fault.kind {
                FaultKind::Throttled | FaultKind::HotKey | FaultKind::Transient => {
                    warn!(%fault, "write failed, trying again");
                }
                _ => {
                    error!(%fault, "write refused, the shard waits; check permissions and names");
                }
            }
        }
        self.wait()
    }

    /// Full jitter below a ceiling that doubles.
    fn wait(&mut self) -> Duration {
        let wait = self.ceiling.mul_f64(fastrand::f64());
        self.ceiling = (self.ceiling * 2).min(BACKOFF_CAP);
        wait
    }
}
