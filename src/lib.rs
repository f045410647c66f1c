//! `swiped` decides badge swipes from an Amazon Kinesis stream.

pub mod access;
pub mod aws;
pub mod config;
pub mod metrics;
pub mod model;
pub mod pipeline;
pub mod ports;
