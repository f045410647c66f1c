//! Requests as the service spells them, into calls on the store, and back.

use bytes::Bytes;

use super::{
    faults::Fault,
    pages, puts,
    refusal::{Refusal, RefusalKind},
    requests::{Fields, fields},
    store::Store,
    stream::Stream,
};

/// The body of an answer: frames to be sent one after the other.
#[derive(Debug, Default)]
pub struct Reply(pub Vec<Bytes>);

impl Reply {
    /// An answer of one piece.
    pub fn one(text: impl Into<Bytes>) -> Self {
        Self(vec![text.into()])
    }

    /// An answer of several pieces.
    pub fn frames(frames: Vec<Bytes>) -> Self {
        Self(frames)
    }
}

/// Answers `operation`; `fault` is what a script wants of this call, as far as the store plays it.
///
/// # Errors
/// What the service would refuse, and `UnknownOperation` for what is not played.
pub fn answer(
    store: &Store,
    operation: &str,
    body: &[u8],
    fault: Option<&Fault>,
    now_ms: u64,
) -> Result<Reply, Refusal> {
    match operation {
        "PutRecords" => return puts::put_records(store, body, fault, now_ms),
        "PutRecord" => return puts::put_record(store, body, now_ms),
        "GetRecords" => return pages::get_records(store, body, fault, now_ms),
        _ => {}
    }
    let call = Call {
        store,
        now_ms,
        fields: fields(body)?,
    };
    let value = match operation {
        "CreateStream" => call.create_stream()?,
        "DeleteStream" => call.delete_stream()?,
        "DescribeStream" => call.describe_stream()?,
        "DescribeStreamSummary" => call.describe_stream_summary()?,
        "ListStreams" => call.list_streams(),
        "ListShards" => call.list_shards()?,
        "GetShardIterator" => call.get_shard_iterator()?,
        "SplitShard" => call.split_shard()?,
        "MergeShards" => call.merge_shards()?,
        "UpdateShardCount" => call.update_shard_count()?,
        "RegisterStreamConsumer" => call.register_stream_consumer()?,
        "DescribeStreamConsumer" => call.describe_stream_consumer()?,
        "ListStreamConsumers" => call.list_stream_consumers()?,
        "DeregisterStreamConsumer" => call.deregister_stream_consumer()?,
        "UpdateMaxRecordSize" => call.update_max_record_size()?,
        "IncreaseStreamRetentionPeriod" => call.set_retention(true)?,
        "DecreaseStreamRetentionPeriod" => call.set_retention(false)?,
        _ => {
            let message = format!("{operation} is not played by this stand-in.");
            return Err(Refusal::new(RefusalKind::UnknownOperation, message));
        }
    };
    // An operation without an answer sends an empty body.
    Ok(if value.is_null() {
        Reply::default()
    } else {
        Reply::one(value.to_string())
    })
}

/// A small request on its way.
pub(super) struct Call<'a> {
    pub(super) store: &'a Store,
    pub(super) now_ms: u64,
    pub(super) fields: Fields,
}

impl Call<'_> {
    /// The name of the stream that the request is about.
    pub(super) fn stream(&self) -> Result<&str, Refusal> {
        self.fields.target.stream()
    }

    /// Calls `f` with that stream, alone.
    pub(super) fn with<T>(
        &self,
        f: impl FnOnce(&mut Stream) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.store.with(self.stream()?, f)
    }
}
