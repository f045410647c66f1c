//! The straight line a swipe takes.
//!
//! ```text
//! reader ─▶ page ─▶ judge: unpack, decode, decide ─▶ encode, pack, batch ─▶ writer ─▶ all stored ─▶ report
//! ```
//!
//! `aggregate`, `checksum`, `decode`, `decide`, `presence`, `judge`, `encode`, `pack`, `batch`, `pressure` and `recent` are pure; `reader`, `writer`, `desk` and
//! `consumer` wait. `decide` asks the rules that need no memory, `presence` those that do. A page is the unit: it is read, decided, stored and reported as a whole, and nothing is shared between
//! shards but the access cache.

pub mod aggregate;
pub mod batch;
pub mod checksum;
pub mod consumer;
pub mod decide;
pub mod decode;
pub mod desk;
pub mod encode;
pub mod explain;
pub mod fence;
pub mod hearing;
mod json;
pub mod judge;
pub mod occupancy;
pub mod pack;
pub mod presence;
pub mod pressure;
pub mod reader;
pub mod recent;
pub mod replay;
pub mod writer;
