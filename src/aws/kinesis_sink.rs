//! A stream that is written: PutRecords, and which of its entries failed.

use aws_sdk_kinesis::Client;

use crate::{
    aws::{
        exchange::Exchange,
        fault,
        kinesis_polling::{obeys_keys, transient},
        kinesis_wire::{entries, results},
    },
    model::decision::Event,
    ports::{EventStream, Failed, Fault},
};

/// The stream of that name.
#[derive(Clone, Debug)]
pub struct StreamSink {
    client: Client,
    stream: String,
}

impl StreamSink {
    /// The stream `name`, through `client`.
    pub fn new(client: Client, name: &str) -> Self {
        Self {
            client,
            stream: name.to_owned(),
        }
    }

    /// How the stream is laid out now.
    pub async fn shape(&self) -> Result<Shape, Fault> {
        const OPERATION: &str = "DescribeStreamSummary";
        let call = self.client.describe_stream_summary();
        let reply = call.stream_name(&self.stream).send().await;
        let reply = reply.map_err(|error| fault(OPERATION, &error))?;
        let summary = reply.stream_description_summary;
        let summary =
            summary.ok_or_else(|| transient(OPERATION, "a reply without a description"))?;
        Ok(Shape {
            shards: summary.open_shard_count.unsigned_abs(),
            keeps_order: obeys_keys(summary.record_distribution_strategy.as_ref()),
        })
    }
}

/// How a stream is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Open shards.
    pub shards: u32,
    /// Whether partition keys say where records go (`RecordDistributionStrategy` other than `AUTO`).
    pub keeps_order: bool,
}

impl EventStream for StreamSink {
    async fn put(&self, events: &[Event<'_>]) -> Result<Vec<Failed>, Fault> {
        const OPERATION: &str = "PutRecords";
        let body = entries::body(&self.stream, events);
        let exchange = Exchange::new(Some(body.into()), results::READING);
        let reply = exchange.reply();
        // Its body is replaced: the stream's name is there for the endpoint's rules.
        let call = self
            .client
            .put_records()
            .stream_name(&self.stream)
            .set_records(Some(Vec::new()))
            .customize()
            .interceptor(exchange);
        call.send()
            .await
            .map_err(|error| fault(OPERATION, &error))?;
        let results = reply.take().unwrap_or_default();
        if results.count != events.len() {
            let message = format!("{} results for {} entries", results.count, events.len());
            return Err(transient(OPERATION, &message));
        }
        Ok(results.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::exchange::canned, ports::FaultKind};

    const EVENTS: [Event<'_>; 2] = [
        Event {
            key: "gate-1",
            data: b"one",
            hash: None,
        },
        Event {
            key: "gate-2",
            data: b"two",
            hash: Some(7),
        },
    ];

    #[tokio::test]
    async fn what_is_sent_is_the_entries_with_the_length_of_their_body() {
        let (client, asked) = canned::kinesis(200, br#"{"Records":[{},{}]}"#);
        let sink = StreamSink::new(client, "decisions");
        assert_eq!(sink.put(&EVENTS).await.expect("a reply"), []);
        let asked = asked.lock().expect("one test");
        let body = entries::body("decisions", &EVENTS);
        assert_eq!(*asked, [(body.len().to_string(), body)]);
    }

    async fn put(status: u16, body: &str) -> Result<Vec<usize>, (FaultKind, String)> {
        let (client, _) = canned::kinesis(status, body.as_bytes());
        let failed = StreamSink::new(client, "decisions").put(&EVENTS).await;
        match failed {
            Ok(failed) => Ok(failed.iter().map(|failed| failed.index).collect()),
            Err(fault) => {
                assert_eq!(fault.operation, "PutRecords");
                Err((fault.kind, fault.message))
            }
        }
    }

    #[tokio::test]
    async fn entries_fail_alone_and_calls_as_a_whole() {
        let partial = r#"{"FailedRecordCount":1,"Records":[{"SequenceNumber":"1"},{"ErrorCode":"InternalFailure"}]}"#;
        assert_eq!(put(200, partial).await, Ok(vec![1]));
        let error = |code: &str| format!(r#"{{"__type":"{code}","message":"so it is"}}"#);
        let rows = [
            (
                400,
                error("ProvisionedThroughputExceededException"),
                FaultKind::Throttled,
                "ProvisionedThroughputExceededException: so it is",
            ),
            (
                400,
                error("ResourceNotFoundException"),
                FaultKind::NotFound,
                "ResourceNotFoundException: so it is",
            ),
            (
                400,
                error("ValidationException"),
                FaultKind::Refused,
                "ValidationException: so it is",
            ),
            (
                500,
                error("InternalFailure"),
                FaultKind::Transient,
                "InternalFailure: so it is",
            ),
            (503, "<html>".to_owned(), FaultKind::Transient, ""),
            (200, "<html>".to_owned(), FaultKind::Transient, ""),
            (200, String::new(), FaultKind::Transient, ""),
            (
                200,
                r#"{"Records":[{}]}"#.to_owned(),
                FaultKind::Transient,
                "1 results for 2 entries",
            ),
        ];
        for (status, body, kind, said) in rows {
            let (found, message) = put(status, &body).await.expect_err("a fault");
            assert_eq!(found, kind, "{status} {body}");
            assert!(message.starts_with(said), "{message}");
        }
    }
}
