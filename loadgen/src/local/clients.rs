//! SDK clients for local endpoints.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kinesis::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls;

use crate::standin::{self, Standins};

/// Where Kinesis, DynamoDB and DynamoDB Streams are.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Kinesis.
    pub kinesis: String,
    /// DynamoDB and its streams.
    pub dynamodb: String,
    /// The region that requests are signed for.
    pub region: String,
}

/// The clients for an [`Endpoints`], with credentials that mean nothing: for local endpoints only.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Kinesis.
    pub kinesis: aws_sdk_kinesis::Client,
    /// DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// DynamoDB Streams.
    pub streams: aws_sdk_dynamodbstreams::Client,
}

impl Endpoints {
    /// The endpoints of running stand-ins.
    pub fn of(standins: &Standins) -> Self {
        Self {
            kinesis: standins.kinesis_url.clone(),
            dynamodb: standins.dynamodb_url.clone(),
            region: standin::kinesis::Options::default().region,
        }
    }

    /// Clients for these endpoints.
    pub async fn clients(&self) -> Clients {
        let dynamodb = config(&self.dynamodb, &self.region).await;
        Clients {
            kinesis: aws_sdk_kinesis::Client::new(&config(&self.kinesis, &self.region).await),
            dynamodb: aws_sdk_dynamodb::Client::new(&dynamodb),
            streams: aws_sdk_dynamodbstreams::Client::new(&dynamodb),
        }
    }
}

async fn config(url: &str, region: &str) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https();
    let credentials = Credentials::new("local", "local", None, None, "local");
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .endpoint_url(url)
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .load()
        .await
}
