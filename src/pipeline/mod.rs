//! The straight line.

pub mod aggregate;
pub mod batch;
pub mod decode;
pub mod encode;
mod json;
