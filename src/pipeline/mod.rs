//! The straight line.

pub mod decide;
