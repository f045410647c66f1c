//! Requests as the service spells them, into calls on the store, and back.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    descriptions::{shard_json, summary},
    faults::Fault,
    iterator::Start,
    listing::{self, Filter, NextToken},
    pages,
    puts::{self, parse_hash},
    refusal::{Refusal, RefusalKind},
    requests::{Fields, fields, required, to_ms},
    shard::shard_index,
    store::Store,
    stream::{DEFAULT_RECORD_BYTES, MAX_RECORD_BYTES, ON_DEMAND_SHARDS, Plan, Stream},
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
struct Call<'a> {
    store: &'a Store,
    now_ms: u64,
    fields: Fields,
}

impl Call<'_> {
    fn stream(&self) -> Result<&str, Refusal> {
        self.fields.target.stream()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Stream) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.store.with(self.stream()?, f)
    }

    fn create_stream(&self) -> Result<Value, Refusal> {
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

    fn delete_stream(&self) -> Result<Value, Refusal> {
        self.store.delete_stream(self.stream()?)?;
        Ok(Value::Null)
    }

    fn describe_stream(&self) -> Result<Value, Refusal> {
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

    fn describe_stream_summary(&self) -> Result<Value, Refusal> {
        self.with(|stream| {
            let mut description = summary(stream);
            description["OpenShardCount"] = stream.open_shards().count().into();
            description["ConsumerCount"] = 0.into();
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

    fn list_streams(&self) -> Value {
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

    fn list_shards(&self) -> Result<Value, Refusal> {
        let fields = &self.fields;
        let limit = fields.max_results.unwrap_or(listing::DEFAULT_PAGE);
        if limit == 0 || limit > listing::MAX_PAGE {
            return Err(Refusal::invalid(format!(
                "MaxResults must be from 1 to {}.",
                listing::MAX_PAGE
            )));
        }
        let (name, filter, after) = match &fields.next_token {
            Some(_) if self.stream().is_ok() => {
                return Err(Refusal::invalid(
                    "NextToken and StreamName cannot be provided together.",
                ));
            }
            Some(token) => {
                let token = NextToken::decode(token, self.now_ms)?;
                (token.stream, token.filter, Some(token.after))
            }
            None => {
                let after = fields
                    .exclusive_start_shard_id
                    .as_deref()
                    .and_then(shard_index);
                (self.stream()?.to_owned(), self.filter()?, after)
            }
        };
        self.store.with(&name, |stream| {
            let retention_ms = self.store.retention_ms(stream);
            stream.sweep(retention_ms, self.now_ms);
            let (shards, has_more) = stream.list(
                &filter,
                after,
                limit,
                self.now_ms.saturating_sub(retention_ms),
            );
            let next = shards.last().filter(|_| has_more).map(|last| NextToken {
                stream: name.clone(),
                filter: filter.clone(),
                after: last.index,
                issued_ms: self.now_ms,
            });
            let shards: Vec<Value> = shards
                .into_iter()
                .map(|shard| shard_json(stream, shard))
                .collect();
            Ok(json!({ "Shards": shards, "NextToken": next.map(|next| next.encode()) }))
        })
    }

    fn filter(&self) -> Result<Filter, Refusal> {
        self.fields
            .shard_filter
            .as_ref()
            .map_or(Ok(Filter::FromTrimHorizon), |raw| {
                Filter::named(
                    &raw.r#type,
                    raw.shard_id.as_deref(),
                    raw.timestamp.map(to_ms),
                )
            })
    }

    fn get_shard_iterator(&self) -> Result<Value, Refusal> {
        let fields = &self.fields;
        let sequence = || {
            required(&fields.starting_sequence_number, "startingSequenceNumber").map(str::to_owned)
        };
        let start = match required(&fields.shard_iterator_type, "shardIteratorType")? {
            "TRIM_HORIZON" => Start::TrimHorizon,
            "LATEST" => Start::Latest,
            "AT_SEQUENCE_NUMBER" => Start::AtSequence(sequence()?),
            "AFTER_SEQUENCE_NUMBER" => Start::AfterSequence(sequence()?),
            "AT_TIMESTAMP" => {
                let seconds = fields
                    .timestamp
                    .ok_or_else(|| Refusal::invalid("Must specify timestampInMillis"))?;
                Start::AtTimestamp(to_ms(seconds))
            }
            other => {
                return Err(Refusal::validation(format!(
                    "Value '{other}' at 'shardIteratorType' is no iterator type."
                )));
            }
        };
        let shard = required(&fields.shard_id, "shardId")?;
        let iterator = self
            .store
            .iterator(self.stream()?, shard, &start, self.now_ms)?;
        Ok(json!({ "ShardIterator": iterator }))
    }

    fn split_shard(&self) -> Result<Value, Refusal> {
        let start = parse_hash(required(
            &self.fields.new_starting_hash_key,
            "newStartingHashKey",
        )?)?;
        let shard = required(&self.fields.shard_to_split, "shardToSplit")?;
        self.with(|stream| stream.split(shard, start, self.now_ms))?;
        Ok(Value::Null)
    }

    fn merge_shards(&self) -> Result<Value, Refusal> {
        let shard = required(&self.fields.shard_to_merge, "shardToMerge")?;
        let adjacent = required(&self.fields.adjacent_shard_to_merge, "adjacentShardToMerge")?;
        self.with(|stream| stream.merge(shard, adjacent, self.now_ms))?;
        Ok(Value::Null)
    }

    fn update_shard_count(&self) -> Result<Value, Refusal> {
        let target = self.fields.target_shard_count.unwrap_or(0);
        self.with(|stream| {
            let before = stream.update_shard_count(target, self.now_ms)?;
            Ok(json!({
                "StreamName": stream.name, "StreamARN": stream.arn,
                "CurrentShardCount": before, "TargetShardCount": target,
            }))
        })
    }

    fn update_max_record_size(&self) -> Result<Value, Refusal> {
        let bytes = record_bytes(self.fields.max_record_size_in_ki_b.unwrap_or(0))?;
        self.with(|stream| {
            stream.plan.max_record_bytes = bytes;
            Ok(Value::Null)
        })
    }

    fn set_retention(&self, is_increase: bool) -> Result<Value, Refusal> {
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
