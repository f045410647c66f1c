//! The event log: everything that happened in a simulated world, in order, with its virtual time. The checker reads
//! this and nothing else, and two runs of one seed must leave the same text.

use std::fmt;

use crate::model::{
    lease::WorkerId,
    position::{Checkpoint, ShardId},
};

/// Virtual milliseconds since the run began.
pub type Ms = u64;

/// A place in the log: how many entries came before. Orders what happened within one millisecond.
pub type Mark = usize;

/// One user record: the Kinesis record's number, and the place inside an aggregate.
pub type Place = (u64, u64);

/// Something that happened at the services or to the fleet. `sent` is when the worker sent the call that did it.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "some of it is for whoever reads the log")]
pub enum Event {
    /// A shard exists from now on.
    ShardOpened {
        shard: ShardId,
        parents: Vec<ShardId>,
    },
    /// A shard takes no more records.
    ShardClosed { shard: ShardId },
    /// A record was put: the decision id of each user record in it; none for what is no swipe.
    Appended {
        shard: ShardId,
        sequence: u64,
        users: Vec<Option<String>>,
    },
    /// Records below this number are no longer kept.
    Trimmed { shard: ShardId, below: u64 },
    /// A worker sends a call: about which shard, how many entries it has, and how many such calls of its are now under way.
    Asked {
        worker: WorkerId,
        call: &'static str,
        shard: ShardId,
        entries: usize,
        open: usize,
    },
    /// A page was served.
    Read {
        worker: WorkerId,
        shard: ShardId,
        sent: Mark,
        records: usize,
    },
    /// A decision is in the table.
    TablePut {
        worker: WorkerId,
        shard: ShardId,
        sent: Mark,
        place: Place,
        id: String,
        answer: String,
    },
    /// A decision is on the stream.
    StreamPut {
        worker: WorkerId,
        shard: ShardId,
        sent: Mark,
        place: Place,
        id: String,
        answer: String,
    },
    /// Where a card is, is in the table.
    Moved {
        worker: WorkerId,
        card: String,
        id: String,
    },
    /// A dead letter is on the stream of rejects.
    RejectPut {
        worker: WorkerId,
        shard: ShardId,
        sent: Mark,
        place: Place,
    },
    /// Another application read the shard this far, before or beside the fleet.
    DoneElsewhere {
        shard: ShardId,
        checkpoint: Checkpoint,
    },
    /// A lease row that another application left.
    RowFound {
        shard: ShardId,
        owner: Option<WorkerId>,
        checkpoint: Checkpoint,
    },
    /// A worker of another application renewed its lease.
    Renewed { worker: WorkerId, shard: ShardId },
    /// A lease row was made.
    RowMade {
        worker: WorkerId,
        shard: ShardId,
        checkpoint: Checkpoint,
    },
    /// A conditional write applied.
    RowWritten {
        worker: WorkerId,
        shard: ShardId,
        owner_was: Option<WorkerId>,
        owner: Option<WorkerId>,
        counter: u64,
        checkpoint: Option<Checkpoint>,
    },
    /// The row of a lease that ended was removed.
    RowRemoved { worker: WorkerId, shard: ShardId },
    /// A heartbeat is stored.
    Heartbeat { worker: WorkerId, count: u64 },
    /// A worker's own row was removed by it, or by another.
    Forgotten { by: WorkerId, worker: WorkerId },
    /// Something happened to a worker.
    Fleet { worker: WorkerId, what: Fate },
    /// A card is another from now on.
    CardChanged { card: String, status: &'static str },
    /// The worker's clock says so when it starts: the wall clock's reading at time 0 of the run.
    ClockSet { worker: WorkerId, zero_ms: i64 },
    /// A worker's cache was told what a card is.
    CardHeard {
        worker: WorkerId,
        card: String,
        status: &'static str,
        version: i64,
    },
    /// The network or a service failed a call.
    Fault {
        worker: WorkerId,
        call: &'static str,
        how: &'static str,
    },
    /// From now on nothing fails.
    Quiet,
}

/// What happens to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It runs.
    Started,
    /// It is gone between two instructions.
    Crashed,
    /// It was told to stop.
    Draining,
    /// It stopped by itself after a drain.
    Left,
    /// It stands still for so long.
    Paused(Ms),
    /// It cannot reach the lease tables for so long.
    CutOff(Ms),
}

/// The log.
#[derive(Clone, Debug, Default)]
pub struct Log(Vec<(Ms, Event)>);

impl Log {
    /// Appends an event.
    pub fn push(&mut self, at: Ms, event: Event) {
        self.0.push((at, event));
    }

    /// Where the next entry will stand.
    pub fn mark(&self) -> Mark {
        self.0.len()
    }

    /// The entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = (Mark, Ms, &Event)> {
        let entries = self.0.iter().enumerate();
        entries.map(|(mark, (at, event))| (mark, *at, event))
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mark, at, event) in self.entries() {
            writeln!(f, "{mark:>6} {at:>7} {event:?}")?;
        }
        Ok(())
    }
}
