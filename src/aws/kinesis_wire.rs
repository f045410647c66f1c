//! The bodies of GetRecords and PutRecords, for an [`Exchange`](super::exchange::Exchange) of them.

pub(super) mod entries;
pub(super) mod records;
pub(super) mod results;
