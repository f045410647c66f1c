//! The daemon as a process, end to end: over HTTP with the AWS SDK, against the embedded stand-ins.
//!
//! Each test is a scene: a world of its own, daemons in it, something that goes wrong, and an audit of everything that
//! was stored. Nothing else has to be installed.

mod aggregates;
mod backlog;
mod by_hand;
mod cards;
mod crash;
mod drain;
mod fan_out;
mod faults;
mod fixture;
mod garbage;
mod kcl;
mod operator;
mod presence;
mod rejects;
mod reshard;
mod rows;
mod sinks;
mod staleness;
