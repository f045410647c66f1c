//! SDK clients for local endpoints.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kinesis::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};

use crate::standin::{self, Secured, Standins};

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
        let trust = TrustStore::default();
        let dynamodb = config(&self.dynamodb, &self.region, trust.clone()).await;
        let kinesis = config(&self.kinesis, &self.region, trust).await;
        Clients {
            kinesis: aws_sdk_kinesis::Client::new(&kinesis),
            dynamodb: aws_sdk_dynamodb::Client::new(&dynamodb),
            streams: aws_sdk_dynamodbstreams::Client::new(&dynamodb),
        }
    }
}

/// A client that speaks TLS with the Kinesis stand-in, hence HTTP/2, and trusts nobody else.
pub async fn secured(at: &Secured) -> aws_sdk_kinesis::Client {
    let region = standin::kinesis::Options::default().region;
    let trust = TrustStore::empty().with_pem_certificate(at.ca_pem.as_bytes());
    aws_sdk_kinesis::Client::new(&config(&at.url, &region, trust).await)
}

async fn config(url: &str, region: &str, trust: TrustStore) -> SdkConfig {
    let context = TlsContext::builder().with_trust_store(trust).build();
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::Ring,
        ))
        .tls_context(context.expect("a trust store is all that is set"))
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
