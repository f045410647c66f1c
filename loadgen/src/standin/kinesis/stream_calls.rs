//! Calls about whole streams: create, delete, describe, list, set.

use serde_json::{Value, json};

use super::{
    descriptions::{shard_json, summary},
    listing::{self, Filter},
    operations::Call,
    refusal::Refusal,
    shard::shard_index,
    stream::{DEFAULT_RECORD_BYTES, MAX_RECORD_BYTES, ON_DEMAND_SHARDS, Plan},
};

impl Call<'_> {
    pub(super) fn create_stream(&self) -> Result<Value, Refusal> {
        let fields = &self.fields;
        let is_on_demand = fields
            .stream_mode_details
            .as_ref()
            .is_some_and(|mode| mode.stream_mode == "ON_DEMAND");
        let shards = if is_on_demand {
            Some(ON_DEMAND_SHARDS)
        } else {
            fields.shard_count
        };
        let plan = Plan {
            shards: shards.ok_or_else(|| {
                Refusal::invalid("ShardCount must be given for a provisioned stream.")
            })?,
            is_on_demand,
            max_record_bytes: fields
                .max_record_size_in_ki_b
                .map_or(Ok(DEFAULT_RECORD_BYTES), record_bytes)?,
            is_auto_distributed: fields.record_distribution_strategy.as_deref() == Some("AUTO"),
        };
        self.store
            .create_stream(self.stream()?, plan, self.now_ms)?;
        Ok(Value::Null)
    }

    pub(super) fn delete_stream(&self) -> Result<Value, Refusal> {
        self.store.delete_stream(self.stream()?)?;
        Ok(Value::Null)
    }

    pub(super) fn describe_stream(&self) -> Result<Value, Refusal> {
        let after = self
            .fields
            .exclusive_start_shard_id
            .as_deref()
            .and_then(shard_index);
        let limit = self.fields.limit.unwrap_or(100).clamp(1, listing::MAX_PAGE);
        self.with(|stream| {
            let (shards, has_more) = stream.list(&Filter::FromTrimHorizon, after, limit, 0);
            let shards: Vec<Value> = shards
                .into_iter()
                .map(|shard| shard_json(stream, shard))
                .collect();
            let mut description = summary(stream);
            description["Shards"] = shards.into();
            description["HasMoreShards"] = has_more.into();
            Ok(json!({ "StreamDescription": description }))
        })
    }

    pub(super) fn describe_stream_summary(&self) -> Result<Value, Refusal> {
        self.with(|stream| {
            let mut description = summary(stream);
            description["OpenShardCount"] = stream.open_shards().count().into();
            description["ConsumerCount"] = stream.consumers.count().into();
            description["MaxRecordSizeInKiB"] = (stream.plan.max_record_bytes >> 10).into();
            let strategy = if stream.plan.is_auto_distributed {
                "AUTO"
            } else {
                "USER_PARTITION_KEY"
            };
            description["RecordDistributionStrategy"] = strategy.into();
            Ok(json!({ "StreamDescriptionSummary": description }))
        })
    }

    pub(super) fn list_streams(&self) -> Value {
        let after = self
            .fields
            .next_token
            .as_deref()
            .or(self.fields.exclusive_start_stream_name.as_deref());
        let (names, has_more) = self
            .store
            .stream_names(after, self.fields.limit.unwrap_or(100).clamp(1, 10_000));
        let summaries: Vec<Value> = names
            .iter()
            .filter_map(|name| self.store.with(name, |stream| Ok(summary(stream))).ok())
            .collect();
        let next = if has_more {
            names.last().cloned()
        } else {
            None
        };
        json!({ "StreamNames": names, "HasMoreStreams": has_more, "NextToken": next, "StreamSummaries": summaries })
    }

    pub(super) fn update_max_record_size(&self) -> Result<Value, Refusal> {
        let bytes = record_bytes(self.fields.max_record_size_in_ki_b.unwrap_or(0))?;
        self.with(|stream| {
            stream.plan.max_record_bytes = bytes;
            Ok(Value::Null)
        })
    }

    pub(super) fn set_retention(&self, is_increase: bool) -> Result<Value, Refusal> {
        let hours = self.fields.retention_period_hours.unwrap_or(0);
        self.with(|stream| {
            let is_right_way = if is_increase { hours >= stream.retention_hours } else { hours <= stream.retention_hours };
            // 24 hours to 365 days (API reference).
            if !is_right_way || !(24..=8760).contains(&hours) {
                return Err(Refusal::invalid(format!(
                    "Requested retention period ({hours} hours) for stream {} is out of range; it is {} hours now.",
                    stream.name, stream.retention_hours
                )));
            }
            stream.retention_hours = hours;
            Ok(Value::Null)
        })
    }
}

fn record_bytes(kib: u32) -> Result<u32, Refusal> {
    if !(DEFAULT_RECORD_BYTES >> 10..=MAX_RECORD_BYTES >> 10).contains(&kib) {
        return Err(Refusal::validation(
            "MaxRecordSizeInKiB must be from 1024 to 10240.",
        ));
    }
    Ok(kib << 10)
}
