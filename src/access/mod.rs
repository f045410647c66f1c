//! What is known about cards, doors and rules, and how it stays fresh.
//!
//! Items of one table become a map in memory that every shard consumer reads without waiting. `read`, `fields`,
//! `cards`, `profiles`, `rulebook` and `schedule` say what an item means; `cache` holds what is known and changes it;
//! `feed` is the loop that loads it and follows the table's change stream. All but the feed is pure.
//!
//! Three things must hold, and each has one place. What is known of an entity never goes back in time: `cache`, where
//! the stream wins over the scan and an older `Version` is dropped. Nothing passes unseen: `feed::lineage`, where a
//! shard that continues nothing that was read is a gap, and a gap means a fresh map. And how old the knowledge is,
//! is known at every instant: freshness moves only by a reply that was sent for, never by the passing of time, so a
//! feed that hangs, is throttled or lost its stream makes the cache stale and the rules cautious, whatever the cause.
//!
//! A malformed item is absent: it is counted and logged, and grants nothing.

pub mod amend;
pub mod audit;
pub mod cache;
pub mod cards;
pub mod change;
pub mod feed;
pub mod fields;
pub mod profiles;
pub mod read;
pub mod references;
pub mod rulebook;
pub mod schedule;
pub mod take;
mod write;

#[cfg(test)]
pub mod fixtures;
