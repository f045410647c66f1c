//! A Kinesis of our own, in memory: streams, shards, iterators, resharding, fan-out, over AWS JSON 1.1.
//!
//! It exists because every stand-in at hand loses records or loops somewhere between a tailing reader and a
//! reshard, and a fault of the stand-in is hunted for in the daemon. What must hold: a record is visible to
//! every reader once its put is answered; sequence numbers rise along a shard, and a child's are above its
//! parents'; a closed shard ends with its children named; nothing that was acknowledged is lost.
//!
//! [`Store`] and what it holds are pure: no clock (`now_ms` is an argument), no I/O, a mutex round each stream.
//! [`operations`] turns a request's JSON into a call and back; [`super::http`] moves the bytes, [`super::push`] waits
//! for the events of a subscription; [`Faults`] lets a test script what goes wrong. Payloads are never decoded:
//! base64 comes in and goes out, and a record is rendered once, when it is put, so that a read hands out slices.

mod consumer_calls;
pub mod consumers;
mod descriptions;
pub mod faults;
pub mod frames;
pub mod iterator;
pub mod limits;
pub mod listing;
pub mod operations;
pub mod pages;
pub mod puts;
pub mod refusal;
pub mod requests;
pub mod reshard;
pub mod sequence;
pub mod shard;
mod shard_calls;
pub mod store;
pub mod stream;
mod stream_calls;
pub mod subscriptions;

#[cfg(test)]
mod tests;

pub use faults::{Fault, Faults, Mishap};
pub use limits::{ReadLimit, WriteLimit};
pub use refusal::{Refusal, RefusalKind};
pub use store::{Options, Store};
pub use subscriptions::FanOut;
