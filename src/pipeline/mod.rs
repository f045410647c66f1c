//! The straight line.

pub mod decode;
mod json;
