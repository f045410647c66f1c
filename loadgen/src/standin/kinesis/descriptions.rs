//! Streams and shards as the service describes them.

use serde_json::{Value, json};

use super::{
    shard::{Shard, shard_id},
    stream::Stream,
};

/// What every description of a stream says.
pub(super) fn summary(stream: &Stream) -> Value {
    json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": { "StreamMode": if stream.plan.is_on_demand { "ON_DEMAND" } else { "PROVISIONED" } },
        "RetentionPeriodHours": stream.retention_hours,
        "StreamCreationTimestamp": stream.created_ms as f64 / 1000.0,
        "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
        "EncryptionType": "NONE",
    })
}

/// A shard as DescribeStream and ListShards show it.
pub(super) fn shard_json(stream: &Stream, shard: &Shard) -> Value {
    let mut range =
        json!({ "StartingSequenceNumber": stream.sequence(shard, shard.start).as_str() });
    if let Some(end) = shard.end {
        range["EndingSequenceNumber"] = stream.sequence(shard, end).as_str().into();
    }
    let mut value = json!({
        "ShardId": shard.id(),
        "HashKeyRange": {
            "StartingHashKey": shard.first_hash.to_string(),
            "EndingHashKey": shard.last_hash.to_string(),
        },
        "SequenceNumberRange": range,
    });
    let names = ["ParentShardId", "AdjacentParentShardId"];
    for (name, parent) in names.into_iter().zip(&shard.parents) {
        value[name] = shard_id(*parent).into();
    }
    value
}
