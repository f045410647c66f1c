//! What is known about cards, doors and rules, and how it stays fresh.

pub mod cache;
pub mod cards;
pub mod change;
pub mod feed;
pub mod fields;
pub mod profiles;
pub mod read;
pub mod rulebook;
pub mod schedule;
pub mod take;
mod write;

#[cfg(test)]
pub mod fixtures;
