//! The swipe stream, read by polling: ListShards, GetShardIterator, GetRecords.

use std::convert::Infallible;

use aws_sdk_kinesis::{
    Client,
    primitives::DateTime,
    types::{RecordDistributionStrategy, Shard, ShardIteratorType},
};

use crate::{
    aws::{exchange::Exchange, fault, kinesis_wire::records, limits},
    model::position::{Begin, Checkpoint, Page, ShardId, ShardInfo, ShardIterator},
    ports::{Fault, FaultKind, SwipeStream},
};

/// The stream of that name.
#[derive(Clone, Debug)]
pub struct PolledStream {
    client: Client,
    stream: String,
}

impl PolledStream {
    /// The stream `name`, through `client`.
    pub fn new(client: Client, name: &str) -> Self {
        Self {
            client,
            stream: name.to_owned(),
        }
    }

    /// As [`SwipeStream::read`], one record at most: to see where an iterator stands, at the price of one read of the shard's
    /// five a second.
    ///
    /// # Errors
    /// As [`SwipeStream::read`].
    pub async fn peek(&self, iterator: ShardIterator) -> Result<Page, Fault> {
        self.page(iterator, 1).await
    }

    /// Whether the partition key decides the shard, so that the swipes of one card stay in order. A stream whose distribution
    /// strategy is `AUTO` (on-demand streams) ignores it (Kinesis API, `RecordDistributionStrategy`).
    ///
    /// # Errors
    /// The stream cannot be described.
    pub async fn keeps_order(&self) -> Result<bool, Fault> {
        let call = self.client.describe_stream_summary();
        let reply = call.stream_name(&self.stream).send().await;
        let reply = reply.map_err(|error| fault("DescribeStreamSummary", &error))?;
        let summary = reply.stream_description_summary;
        let strategy = summary.and_then(|summary| summary.record_distribution_strategy);
        Ok(obeys_keys(strategy.as_ref()))
    }

    async fn page(&self, iterator: ShardIterator, limit: i32) -> Result<Page, Fault> {
        const OPERATION: &str = "GetRecords";
        let exchange = Exchange::new(None, records::READING);
        let reply = exchange.reply();
        let call = self
            .client
            .get_records()
            .shard_iterator(iterator.0)
            .limit(limit)
            .customize()
            .interceptor(exchange);
        call.send()
            .await
            .map_err(|error| fault(OPERATION, &error))?;
        let page = reply.take();
        page.ok_or_else(|| transient(OPERATION, "no page in the reply"))
    }
}

impl SwipeStream for PolledStream {
    type Subscription = Infallible;

    async fn shards(&self) -> Result<Vec<ShardInfo>, Fault> {
        let mut shards = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let call = self.client.list_shards();
            // A continued listing must not name the stream again.
            let call = match next {
                Some(token) => call.next_token(token),
                None => call
                    .stream_name(&self.stream)
                    .max_results(limits::LIST_SHARDS_MAX),
            };
            let reply = call
                .send()
                .await
                .map_err(|error| fault("ListShards", &error))?;
            shards.extend(reply.shards.unwrap_or_default().iter().map(shard_info));
            match reply.next_token {
                Some(token) => next = Some(token),
                None => return Ok(shards),
            }
        }
    }

    async fn iterator(&self, shard: &ShardId, from: &Checkpoint) -> Result<ShardIterator, Fault> {
        const OPERATION: &str = "GetShardIterator";
        let call = self
            .client
            .get_shard_iterator()
            .stream_name(&self.stream)
            .shard_id(shard.as_str());
        let call = match from {
            Checkpoint::TrimHorizon => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Checkpoint::Latest => call.shard_iterator_type(ShardIteratorType::Latest),
            Checkpoint::AtTimestamp(ms) => call
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(*ms)),
            Checkpoint::At(position) => call
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(position.sequence.as_str()),
            Checkpoint::ShardEnd => {
                return Err(refused(
                    OPERATION,
                    "a shard that ended has no iterator".to_owned(),
                ));
            }
        };
        let reply = call.send().await.map_err(|error| {
            let mut fault = fault(OPERATION, &error);
            // The service calls a sequence number that it no longer keeps an invalid argument.
            let at_record = matches!(from, Checkpoint::At(_));
            if at_record && fault.message.starts_with("InvalidArgumentException") {
                fault.kind = FaultKind::Trimmed;
            }
            fault
        })?;
        let iterator = reply.shard_iterator;
        iterator
            .map(ShardIterator)
            .ok_or_else(|| transient(OPERATION, "no iterator in the reply"))
    }

    async fn read(&self, _: &ShardId, iterator: ShardIterator) -> Result<Page, Fault> {
        self.page(iterator, limits::GET_RECORDS_MAX).await
    }

    async fn subscribe(&self, _: &ShardId, _: &Begin) -> Result<Infallible, Fault> {
        let why = "this stream is only polled";
        Err(refused("SubscribeToShard", why.to_owned()))
    }

    async fn event(&self, subscription: &mut Infallible) -> Result<Option<Page>, Fault> {
        match *subscription {}
    }
}

fn shard_info(shard: &Shard) -> ShardInfo {
    let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
    let range = shard.hash_key_range.as_ref();
    ShardInfo {
        id: ShardId::new(&shard.shard_id),
        parents: parents
            .into_iter()
            .flatten()
            .map(|parent| ShardId::new(parent))
            .collect(),
        hash_range: range
            .map(|range| {
                (
                    range.starting_hash_key.clone(),
                    range.ending_hash_key.clone(),
                )
            })
            .unwrap_or_default(),
    }
}

/// Whether a stream of that distribution strategy puts records where their partition keys say.
pub(super) fn obeys_keys(strategy: Option<&RecordDistributionStrategy>) -> bool {
    strategy != Some(&RecordDistributionStrategy::Auto)
}

pub(super) fn transient(operation: &'static str, what: &str) -> Fault {
    Fault {
        kind: FaultKind::Transient,
        operation,
        message: what.to_owned(),
    }
}

pub(super) fn refused(operation: &'static str, message: String) -> Fault {
    Fault {
        kind: FaultKind::Refused,
        operation,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::exchange::canned, model::position::Next};

    async fn page(status: u16, body: &str) -> Result<Page, Fault> {
        let (client, asked) = canned::kinesis(status, body.as_bytes());
        let stream = PolledStream::new(client, "swipes");
        let iterator = ShardIterator("AAA".to_owned());
        let page = stream.read(&ShardId::new("s"), iterator).await;
        let asked = asked.lock().expect("one test");
        let [(length, body)] = &asked[..] else {
            panic!("one call, not {asked:?}");
        };
        assert_eq!(*length, body.len().to_string());
        let asked: serde_json::Value = serde_json::from_slice(body).expect("json");
        let expected = serde_json::json!({"ShardIterator": "AAA", "Limit": 10_000});
        assert_eq!(asked, expected, "the SDK's own body");
        page
    }

    #[tokio::test]
    async fn a_page_is_read_from_a_reply_of_success() {
        let body =
            r#"{"Records":[{"SequenceNumber":"7","Data":"b25l"}],"NextShardIterator":"BBB"}"#;
        let page = page(200, body).await.expect("a page");
        assert_eq!(page.next, Next::Iterator(ShardIterator("BBB".to_owned())));
        let [record] = &page.records[..] else {
            panic!("one record, not {:?}", page.records);
        };
        assert_eq!(
            (record.sequence.as_str(), &*record.data),
            ("7", &b"one"[..])
        );
    }

    #[tokio::test]
    async fn an_error_is_the_fault_that_the_sdk_makes_of_it() {
        let error = |code: &str| format!(r#"{{"__type":"{code}","message":"so it is"}}"#);
        use FaultKind::{IteratorExpired, NotFound, Refused, Throttled, Transient, Trimmed};
        for (status, code, kind) in [
            (400, "ProvisionedThroughputExceededException", Throttled),
            (400, "KMSThrottlingException", Throttled),
            (400, "ExpiredIteratorException", IteratorExpired),
            (400, "TrimmedDataAccessException", Trimmed),
            (400, "ResourceNotFoundException", NotFound),
            (400, "AccessDeniedException", Refused),
            (500, "InternalFailure", Transient),
        ] {
            let fault = page(status, &error(code)).await.expect_err("a fault");
            assert_eq!(
                (fault.kind, fault.operation),
                (kind, "GetRecords"),
                "{code}"
            );
            assert_eq!(fault.message, format!("{code}: so it is"));
        }
        for (status, body) in [(200, "<html>"), (200, ""), (503, "<html>"), (200, "{}")] {
            let fault = page(status, body).await.expect_err("a fault");
            assert_eq!(fault.kind, Transient, "{status} {body}");
            assert_ne!(fault.message, "");
        }
    }
}
