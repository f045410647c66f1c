//! A Kinesis client whose service gives one reply to everything, and keeps what it was asked.

use std::sync::{Arc, Mutex};

use aws_sdk_kinesis::{
    Client,
    config::{
        BehaviorVersion, Builder, Credentials, Region,
        http::{HttpRequest, HttpResponse},
        retry::RetryConfig,
    },
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
    body: Vec<u8>,
    asked: Asked,
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let length = request.headers().get("content-length").unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        let mut asked = self.asked.lock().expect("one test");
        asked.push((length.to_owned(), body.to_vec()));
        let status = StatusCode::try_from(self.status).expect("a status");
        let reply = HttpResponse::new(status, SdkBody::from(self.body.clone()));
        HttpConnectorFuture::ready(Ok(reply))
    }
}

/// A client that is always answered so.
pub(in crate::aws) fn client(status: u16, body: &[u8]) -> (Client, Asked) {
    let asked = Asked::default();
    let connector = SharedHttpConnector::new(Canned {
        status,
        body: body.to_vec(),
        asked: Arc::clone(&asked),
    });
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .retry_config(RetryConfig::disabled())
        .http_client(http_client_fn(move |_, _| connector.clone()));
    (Client::from_conf(config.build()), asked)
}
