//! The straight line.

pub mod aggregate;
pub mod batch;
pub mod decode;
pub mod encode;
pub mod fence;
mod json;
pub mod recent;
