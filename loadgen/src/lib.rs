//! The load generator's rooms that other programs and tests may use.

pub mod local;
pub mod standin;
