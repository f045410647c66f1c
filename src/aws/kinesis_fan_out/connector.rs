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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_sdk_kinesis::config::{BehaviorVersion, Builder, Credentials, Region};
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
    use tokio::{
        io::{AsyncRead, AsyncReadExt},
        net::TcpListener,
        time::timeout,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A server for `localhost` that can speak HTTP/2, and who trusts it.
    fn server() -> (TlsAcceptor, RootCertStore) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .expect("a certificate and its key");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).expect("a root");
        (TlsAcceptor::from(Arc::new(config)), roots)
    }

    /// What a client of HTTP/2 says first: the window of a stream, and of the connection.
    async fn windows(client: &mut (impl AsyncRead + Unpin)) -> (Option<u32>, Option<u32>) {
        let mut preface = [0; 24];
        client.read_exact(&mut preface).await.expect("a preface");
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let (mut stream, mut connection) = (None, None);
        loop {
            let mut head = [0; 9];
            client.read_exact(&mut head).await.expect("a frame");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut body = vec![0; length as usize];
            client.read_exact(&mut body).await.expect("its body");
            let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
            match head[3] {
                // SETTINGS: SETTINGS_INITIAL_WINDOW_SIZE is 4.
                4 => {
                    let settings = body.chunks_exact(6);
                    let window = settings.clone().find(|setting| setting[..2] == [0, 4]);
                    stream = window.map(|window| number(&window[2..]));
                }
                // WINDOW_UPDATE of the connection, on top of what every connection has.
                8 => connection = Some(number(&body) + 65_535),
                // HEADERS: the request begins.
                1 => return (stream, connection),
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn over_tls_a_subscription_is_http_2_with_the_stated_windows() {
        let (acceptor, roots) = server();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .endpoint_url(format!("https://localhost:{port}"));
        let lanes = crate::aws::kinesis_fan_out::Lanes::new(config, roots);
        let call = async {
            let lane = lanes.lane();
            let call = lane.client().describe_limits().send();
            timeout(Duration::from_secs(30), call).await
        };
        let told = async {
            let (socket, _) = listener.accept().await.expect("a connection");
            let mut client = acceptor.accept(socket).await.expect("a handshake");
            assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            windows(&mut client).await
        };
        tokio::select! {
            told = told => assert_eq!(told, (Some(512 << 10), Some(16 << 20))),
            reply = call => panic!("nobody answers, and here is {reply:?}"),
        }
    }
}
