//! The bodies of GetRecords and PutRecords, for an [`Exchange`](super::exchange::Exchange) of them, and the events of
//! SubscribeToShard.

pub(super) mod entries;
pub(super) mod event;
pub(super) mod records;
pub(super) mod results;
