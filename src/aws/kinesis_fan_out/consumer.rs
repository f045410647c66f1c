//! The consumer under whose name this application subscribes: one a stream for all its workers.

use std::time::Duration;

use aws_sdk_kinesis::{Client, error::ProvideErrorMetadata, types::ConsumerStatus};
use tokio::time::{Instant, sleep};

use crate::{
    aws::{fault, kinesis_polling::transient},
    ports::{Fault, FaultKind},
};

const REGISTER: &str = "RegisterStreamConsumer";
const DESCRIBE: &str = "DescribeStreamConsumer";

/// From look to look at a consumer that is being made. The service allows 20 a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a consumer may take to become active; some ten seconds are usual.
const ACTIVE_WITHIN: Duration = Duration::from_secs(60);

/// A registered consumer that is active.
#[derive(Clone, Debug)]
pub struct Consumer {
    arn: String,
}

impl Consumer {
    /// Its name for calls.
    pub fn arn(&self) -> &str {
        &self.arn
    }
}

/// Registers `name` as a consumer of `stream`, unless it is, and waits until it is active.
///
/// # Errors
/// `Refused` when it cannot be: permission, the stream's limit of consumers, a service that has no consumers.
/// `Transient` and `Throttled` when it may work later.
pub async fn register(client: &Client, stream: &str, name: &str) -> Result<Consumer, Fault> {
    let arn = stream_arn(client, stream).await?;
    let until = Instant::now() + ACTIVE_WITHIN;
    loop {
        // Also after it was seen, which was perhaps its last moment: it may be on its way out.
        let call = client.register_stream_consumer();
        let reply = call.stream_arn(&arn).consumer_name(name).send().await;
        if let Err(error) = &reply
            && error.code() != Some("ResourceInUseException")
        {
            let mut fault = fault(REGISTER, error);
            // Not a rate: so many consumers a stream may have.
            if error.code() == Some("LimitExceededException") {
                fault.kind = FaultKind::Refused;
            }
            return Err(fault);
        }
        if let Some(consumer) = active(client, &arn, name, until).await? {
            return Ok(consumer);
        }
    }
}

async fn stream_arn(client: &Client, stream: &str) -> Result<String, Fault> {
    const OPERATION: &str = "DescribeStreamSummary";
    let call = client.describe_stream_summary().stream_name(stream);
    let reply = call
        .send()
        .await
        .map_err(|error| fault(OPERATION, &error))?;
    let summary = reply.stream_description_summary;
    summary
        .map(|summary| summary.stream_arn)
        .ok_or_else(|| transient(OPERATION, "no summary in the reply"))
}

/// Looks until the consumer is active; nothing when there is none any more.
async fn active(
    client: &Client,
    arn: &str,
    name: &str,
    until: Instant,
) -> Result<Option<Consumer>, Fault> {
    loop {
        let call = client.describe_stream_consumer();
        let reply = call.stream_arn(arn).consumer_name(name).send().await;
        let found = match reply {
            Ok(reply) => reply.consumer_description,
            Err(error) if error.code() == Some("ResourceNotFoundException") => None,
            Err(error) => return Err(fault(DESCRIBE, &error)),
        };
        let status = found.as_ref().map(|found| found.consumer_status.clone());
        match (found, &status) {
            (Some(found), Some(ConsumerStatus::Active)) => {
                let arn = found.consumer_arn;
                return Ok(Some(Consumer { arn }));
            }
            _ if Instant::now() >= until => {
                let state = status.map_or("missing".to_owned(), |status| status.to_string());
                let why = format!("consumer {name} is {state} after 60 s and not ACTIVE");
                return Err(transient(DESCRIBE, &why));
            }
            (None, _) => {
                sleep(LOOK_EVERY).await;
                return Ok(None);
            }
            _ => sleep(LOOK_EVERY).await,
        }
    }
}
