//! The HTTP client of subscriptions. The SDK's own sets neither HTTP/2 windows nor keep-alive, so this one is made of the
//! same parts: hyper's pooling client over rustls with ring.
//!
//! The window of a stream is what the service may send beyond what is read: it is the memory of a shard whose consumer
//! is slow. The window of the connection is as large as those of all its streams together, so that a stream that is not
//! read never stops another. Over `http://` (stand-ins) a subscription is a chunked reply of HTTP/1.1 on its own connection.

use std::time::Duration;

use aws_sdk_kinesis::config::{SharedHttpClient, http::HttpRequest};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::HttpResponse,
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as Tcp},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::aws::{CONNECT_TIMEOUT, kinesis_fan_out::lanes::STREAMS_MAX};

/// Unread bytes of one subscription: a quarter of a second at a shard's 2 MiB/s, enough for a round trip of 250 ms.
const STREAM_WINDOW: u32 = 512 << 10;

/// Unread bytes of one connection: those of all its streams.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_MAX;

/// From PING to PING. The service sends something about every 5 s, so a connection without an answer for so long is dead.
const PING_EVERY: Duration = Duration::from_secs(10);

/// How long a PING may go unanswered before the connection and all its subscriptions are given up.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
struct Connector(Client<HttpsConnector<Tcp>, SdkBody>);

/// A client with a connection pool of its own that trusts `roots`.
pub(super) fn http_client(roots: &RootCertStore) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector(client(roots)));
    http_client_fn(move |_, _| connector.clone())
}

fn client(roots: &RootCertStore) -> Client<HttpsConnector<Tcp>, SdkBody> {
    let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let mut tcp = Tcp::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(PING_EVERY));
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(tcp);
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_adaptive_window(false)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT);
    builder.build(https)
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let reply = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let reply = reply
                .await
                .map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(reply.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}
