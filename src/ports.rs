//! The five things the loops need from the world, as traits. Each has a real implementation under `aws/` and a
//! simulated one; nothing else in the crate is generic over the outside.
//!
//! Every error is a [`Fault`], and a fault answers "may I retry?".

mod backoff;
mod clock;
mod fault;

use std::{fmt, future::Future, sync::Arc};

use crate::model::{
    decision::{Answer, Decision, Event},
    item::{Change, Item},
    lease::{LeaseRow, LeaseWrite, WorkerRow, Written},
    position::{Begin, Checkpoint, Page, ShardId, ShardInfo, ShardIterator},
    presence::{Move, Presence},
};

pub use backoff::backoff;
pub use clock::Clock;
pub use fault::{Failed, Fault, FaultKind};

// === swipes in ===

/// Reads the swipe stream: page after page as the caller asks (polling), or as the service sends (fan-out).
pub trait SwipeStream: Send + Sync + 'static {
    /// One shard as the service sends it. Dropping it ends it.
    type Subscription: fmt::Debug + Send;

    /// Every shard the stream still lists, closed ones too.
    fn shards(&self) -> impl Future<Output = Result<Vec<ShardInfo>, Fault>> + Send;

    /// An iterator that begins *at* the record of `from` (inclusive: the caller drops what is done), at the oldest
    /// record, at the tip, or at an instant. `ShardEnd` has none and is refused.
    fn iterator(
        &self,
        shard: &ShardId,
        from: &Checkpoint,
    ) -> impl Future<Output = Result<ShardIterator, Fault>> + Send;

    /// The next page.
    fn read(
        &self,
        shard: &ShardId,
        iterator: ShardIterator,
    ) -> impl Future<Output = Result<Page, Fault>> + Send;

    /// Has the service send a shard. `InUse` while a subscription of a moment ago holds it; an older one is ended by this.
    fn subscribe(
        &self,
        shard: &ShardId,
        from: &Begin,
    ) -> impl Future<Output = Result<Self::Subscription, Fault>> + Send;

    /// What the service sends next, or nothing when it ended the subscription, as it does after five minutes at most. Waits
    /// as long as it takes: how long is too long is the caller's to say. Not to be asked again after it was given up.
    fn event(
        &self,
        subscription: &mut Self::Subscription,
    ) -> impl Future<Output = Result<Option<Page>, Fault>> + Send;
}

// === decisions and rejects out ===

/// Puts events on a stream: decisions, or rejects.
pub trait EventStream: Send + Sync + 'static {
    /// Stores a batch within the service's limits (the caller cuts it) and says which entries were not stored;
    /// no failed entry means all are.
    fn put(&self, events: &[Event<'_>]) -> impl Future<Output = Result<Vec<Failed>, Fault>> + Send;
}

/// The decision table.
pub trait DecisionTable: Send + Sync + 'static {
    /// Stores decisions of at most one batch, no two with one key, and says which were not stored.
    fn put(
        &self,
        decisions: &[&Decision<'_>],
    ) -> impl Future<Output = Result<Vec<Failed>, Fault>> + Send;

    /// What is stored for the swipes of these decisions (at most one batch), in their order.
    fn stored(
        &self,
        decisions: &[Decision<'_>],
    ) -> impl Future<Output = Result<Vec<Option<Answer>>, Fault>> + Send;

    /// Where these cards (at most one batch, no two alike) are in these groups of areas, in their order.
    fn presences(
        &self,
        asked: &[(Box<str>, Arc<str>)],
    ) -> impl Future<Output = Result<Vec<Option<Presence>>, Fault>> + Send;

    /// Stores where cards are (at most one batch, no card twice in a group), unless something newer is stored.
    fn put_presences(&self, moves: &[Move<'_>]) -> impl Future<Output = Result<(), Fault>> + Send;

    /// How many cards are in one of these areas; nothing when the table has no index to count by.
    fn count_inside(
        &self,
        areas: &[Arc<str>],
    ) -> impl Future<Output = Result<Option<u64>, Fault>> + Send;
}

// === the access table ===

/// Where a scan of one segment goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanCursor(pub Item);

/// One reply of a scan.
#[derive(Clone, Debug, Default)]
pub struct ScanPage {
    /// The items.
    pub items: Vec<Item>,
    /// Where the segment goes on, or nothing at its end.
    pub next: Option<ScanCursor>,
}

/// A shard of the table's change stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeShard {
    /// Its name.
    pub id: ShardId,
    /// The shard it continues; may no longer be listed.
    pub parent: Option<ShardId>,
}

/// Where to begin in a change shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeStart {
    /// With what comes next.
    Latest,
    /// With the oldest change kept.
    TrimHorizon,
    /// After the change of this sequence number.
    After(String),
}

/// One reply of a change shard.
#[derive(Clone, Debug, Default)]
pub struct ChangePage {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// The iterator of the next page; nothing when the shard is closed and fully read.
    pub next: Option<ShardIterator>,
    /// Whether the reply was cut by a limit, so that more is known to wait.
    pub more: bool,
}

/// The access table and its change stream.
pub trait AccessTable: Send + Sync + 'static {
    /// Scans one of `segments` parts of the table.
    fn scan(
        &self,
        segment: u32,
        segments: u32,
        from: Option<ScanCursor>,
    ) -> impl Future<Output = Result<ScanPage, Fault>> + Send;

    /// Every shard of the change stream that is still listed. `Trimmed` once when another stream took its place.
    fn change_shards(&self) -> impl Future<Output = Result<Vec<ChangeShard>, Fault>> + Send;

    /// An iterator into a change shard.
    fn change_iterator(
        &self,
        shard: &ShardId,
        from: &ChangeStart,
    ) -> impl Future<Output = Result<ShardIterator, Fault>> + Send;

    /// The next page of changes.
    fn changes(
        &self,
        iterator: ShardIterator,
    ) -> impl Future<Output = Result<ChangePage, Fault>> + Send;
}

// === leases ===

/// The lease table and the workers table beside it. Reads are consistent. No call is retried below this line, and none
/// outlives the adapter's own timeout.
pub trait LeaseTable: Send + Sync + 'static {
    /// Every lease row; rows of other kinds that KCL keeps in the same table are left out.
    fn leases(&self) -> impl Future<Output = Result<Vec<LeaseRow>, Fault>> + Send;

    /// Makes those of these rows, parents first, that do not exist, without an owner. No row is made before its parents'.
    fn create(&self, rows: &[LeaseRow]) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Writes a row under its condition. Attributes that are not ours survive.
    fn write(&self, write: &LeaseWrite) -> impl Future<Output = Result<Written, Fault>> + Send;

    /// Writes the end of a shard and makes the rows of its children (those that do not exist yet): all or nothing.
    fn end_shard(
        &self,
        write: &LeaseWrite,
        children: &[LeaseRow],
    ) -> impl Future<Output = Result<Written, Fault>> + Send;

    /// Every worker's heartbeat.
    fn workers(&self) -> impl Future<Output = Result<Vec<WorkerRow>, Fault>> + Send;

    /// Stores this worker's heartbeat, and whether that was done: not where the row is that of another process. With
    /// `in_place_of` it is stored in place of exactly that row of a dead process.
    fn heartbeat(
        &self,
        row: &WorkerRow,
        in_place_of: Option<&WorkerRow>,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Removes a worker's row if it still is that process's: its own at the end, or that of one that is dead for long.
    fn forget(&self, row: &WorkerRow) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Removes the row of a lease that ended, if it is still as it was seen.
    fn remove(&self, row: &LeaseRow) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Where the stream was begun: `proposed` the first time, and from then on what was proposed then.
    fn start(
        &self,
        proposed: &Checkpoint,
    ) -> impl Future<Output = Result<Checkpoint, Fault>> + Send;
}
