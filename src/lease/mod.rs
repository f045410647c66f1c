//! Who reads which shard: leases without a leader, one heartbeat a worker.
//!
//! Liveness belongs to the worker, not to the lease: a worker bumps one row of its own once a heartbeat, and idle shards cost
//! nothing. Everybody computes the same `plan` from what it sees; a lease is given by its owner or taken from the dead, and
//! nothing else. The format of a row is KCL's, so that checkpoints are portable; the protocol is ours.
//!
//! `plan`, `view`, `sync`, `audit` and `protocol` are pure; `coordinator` waits. `watch` and `amend` are for operators: who
//! lives, and what may be done to a lease by hand.

pub mod amend;
pub mod audit;
pub mod coordinator;
pub mod plan;
pub mod protocol;
pub mod sync;
pub mod view;
pub mod watch;
