//! The consumer under whose name this application subscribes: one a stream for all its workers. Whoever finds that it is gone,
//! because somebody deregistered it, registers it again.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_kinesis::{Client, error::ProvideErrorMetadata, types::ConsumerStatus};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

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

/// A registered consumer that is active, or was.
#[derive(Clone)]
pub struct Consumer {
    client: Client,
    stream_arn: String,
    name: String,
    /// It has another one each time it is registered.
    arn: Arc<Mutex<String>>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("arn", &self.arn())
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// Its name for calls.
    pub fn arn(&self) -> String {
        let arn = self.arn.lock().unwrap_or_else(PoisonError::into_inner);
        arn.clone()
    }

    /// Registers it again if `gone`, as which a subscription failed, is gone, and says whether there is another one now. Does not
    /// wait until that is active: subscribing fails until then.
    pub(super) async fn renew(&self, gone: &str) -> bool {
        if self.arn() != gone {
            // Another shard's reader came first.
            return true;
        }
        let call = self.client.register_stream_consumer();
        let call = call.stream_arn(&self.stream_arn).consumer_name(&self.name);
        let registered = match call.send().await {
            Ok(reply) => reply.consumer.map(|consumer| consumer.consumer_arn),
            Err(error) if error.code() == Some("ResourceInUseException") => self.described().await,
            Err(error) => {
                let fault = fault(REGISTER, &error);
                warn!(%fault, "the consumer is gone and cannot be registered again");
                None
            }
        };
        let Some(registered) = registered.filter(|registered| registered != gone) else {
            return false;
        };
        info!(
            consumer = registered,
            "the consumer was gone and is registered again"
        );
        *self.arn.lock().unwrap_or_else(PoisonError::into_inner) = registered;
        true
    }

    /// Who another worker registered.
    async fn described(&self) -> Option<String> {
        let call = self.client.describe_stream_consumer();
        let call = call.stream_arn(&self.stream_arn).consumer_name(&self.name);
        let found = call.send().await.ok()?.consumer_description;
        found.map(|consumer| consumer.consumer_arn)
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
        if let Some(active) = active(client, &arn, name, until).await? {
            return Ok(Consumer {
                client: client.clone(),
                stream_arn: arn,
                name: name.to_owned(),
                arn: Arc::new(Mutex::new(active)),
            });
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

/// Looks until the consumer is active, and says its ARN; nothing when there is none any more.
async fn active(
    client: &Client,
    arn: &str,
    name: &str,
    until: Instant,
) -> Result<Option<String>, Fault> {
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
                return Ok(Some(found.consumer_arn));
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
