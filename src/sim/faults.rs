//! What goes wrong on a call's way: drawn from the world's own dice, so that one seed gives one history.
//!
//! A call has a way there, an effect and a way back. It can be refused, lost on either way, or late on either way; a late
//! one outlives the caller's patience and takes effect afterwards. One promise is kept because the fence depends on
//! it: a write of decisions that was sent takes effect within [`FLIGHT_MAX`], which is below the lease margin.

use std::time::Duration;

use fastrand::Rng;

use crate::ports::FaultKind;

/// A call, by what can go wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// ListShards, GetShardIterator.
    Ask,
    /// GetRecords.
    Read,
    /// A look into the decision table.
    Look,
    /// A batch of decisions or rejects.
    Put,
    /// Whatever concerns leases.
    Lease,
}

impl Call {
    /// How long the caller waits, as the adapters do: the lease client is the impatient one.
    pub fn patience(self) -> Duration {
        match self {
            Self::Lease => Duration::from_millis(800),
            _ => Duration::from_secs(5),
        }
    }
}

/// Longest way of a write of decisions; the margin of the fleet is 750 ms.
pub const FLIGHT_MAX: u64 = 400;

/// Longest way there of other calls: later than the caller's patience.
const LATE_MAX: u64 = 2_500;

/// How often something goes wrong, of a thousand calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Refused for now.
    pub throttled: u32,
    /// Lost before it took effect.
    pub request_lost: u32,
    /// Took effect, and nobody was told.
    pub reply_lost: u32,
    /// Late on either way.
    pub late: u32,
    /// Of the entries of a batch: not stored.
    pub partial: u32,
    /// Of reads: the iterator has expired.
    pub expired: u32,
    /// Of reads: an empty page in spite of records that wait.
    pub empty: u32,
}

impl Rates {
    /// Everything, now and then.
    pub const WEATHER: Self = Self {
        throttled: 20,
        request_lost: 15,
        reply_lost: 25,
        late: 30,
        partial: 20,
        expired: 10,
        empty: 30,
    };
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It takes effect and is answered.
    Served,
    /// It is answered with this fault, without effect.
    Refused(FaultKind),
    /// It never arrives.
    RequestLost,
    /// It takes effect; the answer never arrives.
    ReplyLost,
}

/// The way of one call.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    /// Until it takes effect.
    pub there: Duration,
    /// Until the answer is back.
    pub back: Duration,
    /// What becomes of it.
    pub outcome: Outcome,
    /// A lost call is noticed when the caller's patience ends, not at once.
    pub silent: bool,
    /// It goes another way than it should.
    pub fault: Option<&'static str>,
}

impl Rates {
    /// Draws the way of a call.
    pub fn trip(&self, call: Call, dice: &mut Rng) -> Trip {
        let mut hit = |rate: u32| rate > 0 && dice.u32(..1000) < rate;
        let (outcome, mut fault) = if hit(self.throttled) {
            (Outcome::Refused(FaultKind::Throttled), Some("throttled"))
        } else if hit(self.request_lost) {
            (Outcome::RequestLost, Some("request lost"))
        } else if hit(self.reply_lost) {
            (Outcome::ReplyLost, Some("reply lost"))
        } else if call == Call::Read && hit(self.expired) {
            (
                Outcome::Refused(FaultKind::IteratorExpired),
                Some("expired"),
            )
        } else {
            (Outcome::Served, None)
        };
        let (late_there, late_back) = (hit(self.late), hit(self.late));
        let longest = match call {
            Call::Put => FLIGHT_MAX,
            _ => LATE_MAX,
        };
        let mut way = |late: bool, longest: u64| {
            let ms = if late {
                dice.u64(20..=longest)
            } else {
                dice.u64(1..=8)
            };
            Duration::from_millis(ms)
        };
        let (there, back) = (way(late_there, longest), way(late_back, LATE_MAX));
        if late_there || late_back {
            fault = fault.or(Some("late"));
        }
        Trip {
            there,
            back,
            outcome,
            silent: dice.bool(),
            fault,
        }
    }

    /// Whether an entry of a batch fails.
    pub fn entry_fails(&self, dice: &mut Rng) -> bool {
        self.partial > 0 && dice.u32(..1000) < self.partial
    }

    /// Whether a page is empty for no reason.
    pub fn page_is_empty(&self, dice: &mut Rng) -> bool {
        self.empty > 0 && dice.u32(..1000) < self.empty
    }
}
