//! `swiped` decides badge swipes from an Amazon Kinesis stream.

pub mod access;
pub mod admin;
pub mod app;
pub mod aws;
pub mod config;
pub mod lease;
pub mod metrics;
pub mod model;
pub mod pipeline;
pub mod ports;
pub mod shutdown;
pub mod telemetry;
#[cfg(test)]
mod tidy;
