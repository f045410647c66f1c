//! The words of the domain, as types: what a gate sends, what is known, what is answered, and where
//! in a stream all of it stands.
//!
//! Nothing here does I/O, waits, logs or reads a clock; every other room speaks in these types.

pub mod card;
pub mod decision;
pub mod door;
pub mod item;
pub mod lease;
pub mod position;
pub mod presence;
pub mod reject;
pub mod standards;
pub mod swipe;
