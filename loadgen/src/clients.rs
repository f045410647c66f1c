//! SDK clients. Retries are off for Kinesis: the producer resends what failed and must know what it resent.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::config::Credentials;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

use crate::target::Target;

const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The clients of one target.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Kinesis, without retries.
    pub kinesis: aws_sdk_kinesis::Client,
    /// DynamoDB, with the SDK's retries.
    pub dynamodb: aws_sdk_dynamodb::Client,
}

impl Clients {
    /// Clients for that target. Against an emulator, credentials are made up when the environment has none.
    pub async fn connect(target: &Target) -> Self {
        let http = Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(target.region.clone()))
            .http_client(http)
            .timeout_config(timeouts);
        let emulated = target.kinesis.is_some() && target.dynamodb.is_some();
        if emulated && std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
            loader = loader
                .credentials_provider(Credentials::new("local", "local", None, None, "emulator"));
        }
        let shared = loader.load().await;
        let mut kinesis =
            aws_sdk_kinesis::config::Builder::from(&shared).retry_config(RetryConfig::disabled());
        kinesis.set_endpoint_url(target.kinesis.clone());
        let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(&shared)
            .retry_config(RetryConfig::standard().with_max_attempts(6));
        dynamodb.set_endpoint_url(target.dynamodb.clone());
        Self {
            kinesis: aws_sdk_kinesis::Client::from_conf(kinesis.build()),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
        }
    }
}
