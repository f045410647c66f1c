//! The only folder that names the AWS SDK: clients, and what their errors mean.
//!
//! SDK retries are off for every client. Whoever waits in `swiped` is a loop that knows its fence, its drain and its
//! backoff; a retry hidden below it could outlive all three, and the SDK's retry tokens are shared by every client of
//! a service, so that a throttled writer would take the retries of the lease client away.
//!
//! Every call has a bound in time: connecting 2 s, a whole attempt 5 s, lease calls less (see [`Clients::open`]).

mod batch_get;
pub mod dynamo_access;
pub mod dynamo_items;
pub mod dynamo_leases;
pub mod dynamo_sink;
mod dynamo_wire;
mod exchange;
pub mod kinesis_fan_out;
pub mod kinesis_polling;
pub mod kinesis_sink;
mod kinesis_wire;
pub mod limits;
mod trust;

use std::{path::PathBuf, time::Duration};

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_kinesis::{
    config::{StalledStreamProtectionConfig, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

use crate::ports::{Fault, FaultKind};
use kinesis_fan_out::Lanes;
use trust::Trust;

pub use trust::TrustError;

/// Connecting takes one round trip and a TLS handshake; two seconds is a broken network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A call of the data path. A full page of 10 MiB at 2 MiB/s, the service's read limit of a shard, takes 5 s.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the services are.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// The region, or the environment's.
    pub region: Option<String>,
    /// Kinesis, when not the region's own.
    pub kinesis: Option<String>,
    /// DynamoDB, when not the region's own.
    pub dynamodb: Option<String>,
    /// DynamoDB Streams, when not the region's own.
    pub dynamodbstreams: Option<String>,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// One client a purpose.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Swipes, decisions and rejects.
    pub kinesis: aws_sdk_kinesis::Client,
    /// Subscriptions to the swipe stream: connections of their own, which live for minutes.
    pub subscriptions: Lanes,
    /// The access table and the decision table.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// The lease tables: connections and a short timeout of their own, so that a busy data path delays no heartbeat.
    pub leases: aws_sdk_dynamodb::Client,
    /// The changes of the access table.
    pub dynamodbstreams: aws_sdk_dynamodbstreams::Client,
}

impl Clients {
    /// Clients with the environment's credentials. No call is made yet. `lease_timeout` bounds one call on the lease
    /// tables; it must be well below the time after which other workers call this one dead.
    ///
    /// # Errors
    /// The file of certificates cannot be read or holds none.
    pub async fn open(endpoints: &Endpoints, lease_timeout: Duration) -> Result<Self, TrustError> {
        let trust = Trust::load(endpoints.ca_file.as_deref())?;
        let base = loader(ATTEMPT_TIMEOUT, endpoints, &trust).load().await;
        let leases = loader(lease_timeout, endpoints, &trust).load().await;
        let mut kinesis = aws_sdk_kinesis::config::Builder::from(&base);
        if let Some(url) = &endpoints.kinesis {
            kinesis = kinesis.endpoint_url(url);
        }
        let mut streams = aws_sdk_dynamodbstreams::config::Builder::from(&base);
        if let Some(url) = &endpoints.dynamodbstreams {
            streams = streams.endpoint_url(url);
        }
        Ok(Self {
            subscriptions: Lanes::new(kinesis.clone(), trust.roots()),
            kinesis: aws_sdk_kinesis::Client::from_conf(kinesis.build()),
            dynamodb: dynamodb(&base, endpoints),
            leases: dynamodb(&leases, endpoints),
            dynamodbstreams: aws_sdk_dynamodbstreams::Client::from_conf(streams.build()),
        })
    }
}

fn dynamodb(shared: &aws_config::SdkConfig, endpoints: &Endpoints) -> aws_sdk_dynamodb::Client {
    let mut config = aws_sdk_dynamodb::config::Builder::from(shared);
    if let Some(url) = &endpoints.dynamodb {
        config = config.endpoint_url(url);
    }
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

fn loader(attempt: Duration, endpoints: &Endpoints, trust: &Trust) -> aws_config::ConfigLoader {
    // ring, not aws-lc; the same connector serves http:// endpoints.
    let http = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(trust.context())
        .build_https();
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(attempt)
                .build(),
        )
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    match &endpoints.region {
        Some(region) => loader.region(Region::new(region.clone())),
        None => loader,
    }
}

/// What the failure of `operation` means for its caller.
pub fn fault<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error
        .raw_response()
        .map(|response| response.status().as_u16());
    let code = error.code();
    let kind = match error {
        SdkError::ConstructionFailure(_) => FaultKind::Refused,
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            FaultKind::Transient
        }
        _ => classify(code, status),
    };
    let message = match (code, error.message()) {
        (Some(code), Some(text)) => format!("{code}: {text}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => chain(error),
    };
    Fault {
        kind,
        operation,
        message,
    }
}

/// The meaning of a service error's code and HTTP status.
fn classify(code: Option<&str>, status: Option<u16>) -> FaultKind {
    match code {
        Some(
            "ThrottlingException"
            | "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "RequestLimitExceeded"
            | "KMSThrottlingException"
            | "ResourceInUseException",
        ) => FaultKind::Throttled,
        Some("ExpiredIteratorException") => FaultKind::IteratorExpired,
        Some("TrimmedDataAccessException") => FaultKind::Trimmed,
        Some("ResourceNotFoundException") => FaultKind::NotFound,
        Some(
            "InternalFailure"
            | "InternalFailureException"
            | "InternalServerError"
            | "ServiceUnavailable"
            | "TransactionInProgressException"
            | "ExpiredTokenException"
            | "ExpiredToken"
            | "RequestTimeTooSkewed",
        ) => FaultKind::Transient,
        _ if status.is_some_and(|status| status >= 500 || status == 429) => FaultKind::Transient,
        _ => FaultKind::Refused,
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_errors_say_whether_a_retry_can_help() {
        let rows = [
            (Some("ThrottlingException"), 400, FaultKind::Throttled),
            (
                Some("ProvisionedThroughputExceededException"),
                400,
                FaultKind::Throttled,
            ),
            (
                Some("ExpiredIteratorException"),
                400,
                FaultKind::IteratorExpired,
            ),
            (Some("TrimmedDataAccessException"), 400, FaultKind::Trimmed),
            (Some("ResourceNotFoundException"), 400, FaultKind::NotFound),
            (Some("InternalServerError"), 500, FaultKind::Transient),
            (Some("SomethingNew"), 503, FaultKind::Transient),
            (None, 502, FaultKind::Transient),
            (Some("AccessDeniedException"), 400, FaultKind::Refused),
            (Some("ValidationException"), 400, FaultKind::Refused),
        ];
        for (code, status, expected) in rows {
            assert_eq!(classify(code, Some(status)), expected, "{code:?} {status}");
        }
    }
}
