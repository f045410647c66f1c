//! `swiped` decides badge swipes from an Amazon Kinesis stream: it holds shard leases, answers every swipe from an
//! in-memory card cache that DynamoDB Streams keep fresh, and writes batched grant and deny decisions back.
//!
//! # One line
//!
//! ```text
//! Kinesis shard ─▶ page ─▶ decode ─▶ decide ─▶ batch ─▶ write, resend what failed ─▶ all stored ─▶ checkpoint
//!                                      ▲
//!                      card cache ◀─ change ◀─ feed ◀─ DynamoDB Streams
//! ```
//!
//! A page is the unit: read, decide, write, then the checkpoint moves. Nothing is shared between shards but the access
//! cache, and how many cards are in an area. A record between two checkpoints always ends as a stored decision or a stored reject.
//!
//! A shard is read by fan-out where that is to be had, and by polling elsewhere, or for a while after fan-out failed
//! (`pipeline::reader`; `aws::kinesis_fan_out`, `aws::kinesis_polling`). What every swipe goes through, the bodies of GetRecords and
//! PutRecords and of the decision table's calls, is read and written here instead of by the SDK (`aws::exchange`).
//!
//! # Invariants
//!
//! 1. Every record before a checkpoint has a stored decision or a stored reject.
//! 2. A checkpoint only moves forward, and only the lease's holder writes it.
//! 3. At any instant at most one worker believes that it may checkpoint a shard.
//! 4. A child shard is read only after all its parents ended; a merge has two.
//! 5. What the cache knows of a card never goes back in time, whatever the order of scan and stream.
//! 6. Every queue, batch, retry wait and in-flight set has a bound, and the bound is a named constant.
//! 7. The same swipe gives the same `decision_id` everywhere; what was stored first stays.
//!
//! # Layers
//!
//! | layer | modules | may use |
//! |---|---|---|
//! | vocabulary | [`model`] | std |
//! | pure logic | `pipeline::{aggregate, batch, checksum, decide, decode, encode, explain, hearing, judge, occupancy, pack, presence, pressure, recent, replay}`, [`access`] but its feed, [`lease`] but its coordinator | vocabulary; no clock, no randomness, no I/O |
//! | ports | [`ports`] | vocabulary |
//! | loops | `pipeline::{consumer, desk, reader, writer}`, `access::feed`, `lease::coordinator` | all above, tokio, tracing, [`metrics`] |
//! | adapters | [`aws`] | vocabulary, ports, the AWS SDK |
//! | shell | [`cli`], [`app`], [`admin`], [`config`], [`telemetry`], [`shutdown`] | everything |
//!
//! Time, randomness and identity are arguments: the loops read a clock once a page and pass the value down. The rule
//! is a test (`tidy`).
//!
//! # Where to begin reading
//!
//! [`pipeline`] for the path of a swipe, `pipeline::decide` for the rules, [`access`] for how the cache stays fresh,
//! `lease::protocol` for who reads which shard, [`app`] for start and stop.

pub mod access;
pub mod admin;
pub mod app;
pub mod aws;
pub mod cli;
pub mod config;
pub mod lease;
pub mod metrics;
pub mod model;
#[cfg(test)]
mod oracle;
pub mod pipeline;
pub mod ports;
pub mod shutdown;
#[cfg(test)]
mod sim;
pub mod telemetry;
#[cfg(test)]
mod tidy;
