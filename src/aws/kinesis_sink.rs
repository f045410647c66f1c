//! A stream that is written: PutRecords, and which of its entries failed.

use aws_sdk_kinesis::{
    Client,
    primitives::Blob,
    types::{PutRecordsRequestEntry, PutRecordsResultEntry, RecordDistributionStrategy},
};

use crate::{
    aws::fault,
    model::decision::Event,
    ports::{EventStream, Failed, Fault, FaultKind},
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
        let summary = reply.stream_description_summary.ok_or_else(|| Fault {
            kind: FaultKind::Transient,
            operation: OPERATION,
            message: "a reply without a description".to_owned(),
        })?;
        let strategy = summary.record_distribution_strategy;
        Ok(Shape {
            shards: summary.open_shard_count.unsigned_abs(),
            keeps_order: strategy != Some(RecordDistributionStrategy::Auto),
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
        let mut entries = Vec::with_capacity(events.len());
        for event in events {
            let entry = PutRecordsRequestEntry::builder()
                .partition_key(event.key)
                .set_explicit_hash_key(event.hash.map(|hash| hash.to_string()))
                .data(Blob::new(event.data));
            entries.push(entry.build().map_err(|error| Fault {
                kind: FaultKind::Refused,
                operation: OPERATION,
                message: error.to_string(),
            })?);
        }
        let call = self
            .client
            .put_records()
            .stream_name(&self.stream)
            .set_records(Some(entries));
        let reply = call
            .send()
            .await
            .map_err(|error| fault(OPERATION, &error))?;
        if reply.records.len() != events.len() {
            let message = format!(
                "{} results for {} entries",
                reply.records.len(),
                events.len()
            );
            return Err(Fault {
                kind: FaultKind::Transient,
                operation: OPERATION,
                message,
            });
        }
        Ok(failed_entries(&reply.records))
    }
}

/// The entries of a reply that were not stored.
fn failed_entries(results: &[PutRecordsResultEntry]) -> Vec<Failed> {
    let failed = results.iter().enumerate().filter_map(|(index, result)| {
        let kind = match result.error_code.as_deref()? {
            "ProvisionedThroughputExceededException" => FaultKind::Throttled,
            _ => FaultKind::Transient,
        };
        Some(Failed { index, kind })
    });
    failed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_with_an_error_code_failed_and_the_others_are_stored() {
        let stored = PutRecordsResultEntry::builder()
            .sequence_number("1")
            .shard_id("s")
            .build();
        let entry = |code: &str| PutRecordsResultEntry::builder().error_code(code).build();
        let results = [
            entry("InternalFailure"),
            stored,
            entry("ProvisionedThroughputExceededException"),
        ];
        assert_eq!(
            failed_entries(&results),
            [
                Failed {
                    index: 0,
                    kind: FaultKind::Transient
                },
                Failed {
                    index: 2,
                    kind: FaultKind::Throttled
                },
            ]
        );
    }
}
