//! The services' limits, each with where it is documented (API references of November 2026).

/// Actions of one TransactWriteItems call (DynamoDB API, TransactWriteItems).
pub const TRANSACT_WRITE_ITEMS_MAX: usize = 100;

/// Records of one GetRecords reply (Kinesis API, GetRecords).
pub const GET_RECORDS_MAX: i32 = 10_000;

/// Calls of GetRecords on one shard a second, shared by every reader (Kinesis API, GetRecords).
pub const GET_RECORDS_CALLS_A_SECOND: u32 = 5;

/// Shards of one ListShards reply (Kinesis API, ListShards).
pub const LIST_SHARDS_MAX: i32 = 1000;

/// Entries of one PutRecords call (Kinesis API, PutRecords).
pub const PUT_RECORDS_ENTRIES_MAX: usize = 500;

/// Bytes of one PutRecords call, payloads and partition keys. The API takes 10 MiB since late 2025; regions and
/// stand-ins that still have the older limit take 5 MiB, and at 500 entries of a decision's size neither is reached.
pub const PUT_RECORDS_BYTES_MAX: usize = 5 << 20;

/// Bytes of one Kinesis record, payload and partition key, unless the stream is set to more
/// (Kinesis API, UpdateMaxRecordSize).
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Puts of one BatchWriteItem call (DynamoDB API, BatchWriteItem).
pub const BATCH_WRITE_ITEMS_MAX: usize = 25;

/// Keys of one BatchGetItem call (DynamoDB API, BatchGetItem).
pub const BATCH_GET_ITEMS_MAX: usize = 100;

/// Records of one GetRecords reply (DynamoDB Streams API, GetRecords).
pub const CHANGE_RECORDS_MAX: i32 = 1000;

/// From this size on a GetRecords reply of DynamoDB Streams may have been cut: a reply holds at most 1 MB, and the
/// record that did not fit has at most two images of 400 KB (DynamoDB Streams API, GetRecords; DynamoDB limits).
pub const CHANGES_CUT_BYTES: i64 = 1_000_000 - 2 * 400_000;

/// Shards of one DescribeStream reply (DynamoDB Streams API, DescribeStream).
pub const DESCRIBE_STREAM_SHARDS_MAX: i32 = 100;
