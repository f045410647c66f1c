//! Clients whose service gives one reply after another, the last one for ever, and keeps what it was asked.

use std::sync::{Arc, Mutex};

use aws_sdk_kinesis::config::{
    BehaviorVersion, Credentials, Region,
    http::{HttpRequest, HttpResponse},
    retry::RetryConfig,
};
use aws_smithy_runtime_api::{
    client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;

/// The requests so far: `content-length` and body.
pub(in crate::aws) type Asked = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

#[derive(Clone, Debug)]
struct Canned {
    status: u16,
    replies: Vec<Vec<u8>>,
    asked: Asked,
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let length = request.headers().get("content-length").unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        let mut asked = self.asked.lock().expect("one test");
        let reply = &self.replies[asked.len().min(self.replies.len() - 1)];
        asked.push((length.to_owned(), body.to_vec()));
        let status = StatusCode::try_from(self.status).expect("a status");
        let reply = HttpResponse::new(status, SdkBody::from(reply.clone()));
        HttpConnectorFuture::ready(Ok(reply))
    }
}

macro_rules! client {
    ($sdk:ident, $status:expr, $replies:expr) => {{
        let asked = Asked::default();
        let connector = SharedHttpConnector::new(Canned {
            status: $status,
            replies: $replies,
            asked: Arc::clone(&asked),
        });
        let config = $sdk::config::Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .retry_config(RetryConfig::disabled())
            .http_client(http_client_fn(move |_, _| connector.clone()));
        ($sdk::Client::from_conf(config.build()), asked)
    }};
}

/// A Kinesis client that is always answered so.
pub(in crate::aws) fn kinesis(status: u16, reply: &[u8]) -> (aws_sdk_kinesis::Client, Asked) {
    client!(aws_sdk_kinesis, status, vec![reply.to_vec()])
}

/// A DynamoDB client that is answered so, one reply after another.
pub(in crate::aws) fn dynamodb(status: u16, replies: &[&str]) -> (aws_sdk_dynamodb::Client, Asked) {
    let replies = replies.iter().map(|reply| reply.as_bytes().to_vec());
    client!(aws_sdk_dynamodb, status, replies.collect())
}
