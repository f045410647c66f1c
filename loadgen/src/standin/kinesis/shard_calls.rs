//! Calls about shards: list, iterate, split, merge, count.

use serde_json::{Value, json};

use super::{
    descriptions::shard_json,
    iterator::Start,
    listing::{self, Filter, NextToken},
    operations::Call,
    puts::parse_hash,
    refusal::Refusal,
    requests::{required, to_ms},
    shard::shard_index,
};

impl Call<'_> {
    pub(super) fn list_shards(&self) -> Result<Value, Refusal> {
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

    pub(super) fn get_shard_iterator(&self) -> Result<Value, Refusal> {
        let fields = &self.fields;
        let start = Start::named(
            required(&fields.shard_iterator_type, "shardIteratorType")?,
            &fields.starting_sequence_number,
            fields.timestamp.map(to_ms),
        )?;
        let shard = required(&fields.shard_id, "shardId")?;
        let iterator = self
            .store
            .iterator(self.stream()?, shard, &start, self.now_ms)?;
        Ok(json!({ "ShardIterator": iterator }))
    }

    pub(super) fn split_shard(&self) -> Result<Value, Refusal> {
        let start = parse_hash(required(
            &self.fields.new_starting_hash_key,
            "newStartingHashKey",
        )?)?;
        let shard = required(&self.fields.shard_to_split, "shardToSplit")?;
        self.with(|stream| stream.split(shard, start, self.now_ms))?;
        Ok(Value::Null)
    }

    pub(super) fn merge_shards(&self) -> Result<Value, Refusal> {
        let shard = required(&self.fields.shard_to_merge, "shardToMerge")?;
        let adjacent = required(&self.fields.adjacent_shard_to_merge, "adjacentShardToMerge")?;
        self.with(|stream| stream.merge(shard, adjacent, self.now_ms))?;
        Ok(Value::Null)
    }

    pub(super) fn update_shard_count(&self) -> Result<Value, Refusal> {
        let target = self.fields.target_shard_count.unwrap_or(0);
        self.with(|stream| {
            let before = stream.update_shard_count(target, self.now_ms)?;
            Ok(json!({
                "StreamName": stream.name, "StreamARN": stream.arn,
                "CurrentShardCount": before, "TargetShardCount": target,
            }))
        })
    }
}
