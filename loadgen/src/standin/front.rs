//! The front of the DynamoDB stand-in: answers what is about a plain table's data, and hands all else to dynoxide.
//!
//! dynoxide works synchronously in its handlers; the front has threads of its own and passes requests on unchanged over
//! loopback, on kept connections. It sees which tables are created and deleted, and so knows which are plain.
//! It checks no signatures and injects no faults.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING},
    http::request::Parts,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::{TcpListener, TcpStream};

use super::tables::{Refusal, Tables};

const JSON: &str = "application/x-amz-json-1.0";
const TARGET_PREFIX: &str = "DynamoDB_20120810.";
/// What DynamoDB takes at most.
const MAX_BODY_BYTES: usize = 16 << 20;
/// Out of file descriptors, most likely: connections get that long to end before the next is accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

type Reply = Response<Either<Full<Bytes>, Incoming>>;

/// The front, and where dynoxide listens.
#[derive(Debug)]
pub struct Front {
    tables: RwLock<Tables>,
    client: Client<HttpConnector, Full<Bytes>>,
    /// `host:port` of dynoxide.
    behind: String,
}

impl Front {
    /// A front before the server at `url`.
    pub fn new(url: &str) -> Self {
        let mut connector = HttpConnector::new();
        // Without it a small request waits for a delayed acknowledgement.
        connector.set_nodelay(true);
        Self {
            tables: RwLock::default(),
            client: Client::builder(TokioExecutor::new()).build(connector),
            behind: url.trim_start_matches("http://").to_owned(),
        }
    }

    /// Accepts connections until it is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let front = Arc::new(self);
        loop {
            match listener.accept().await {
                Ok((socket, _)) => drop(tokio::spawn(front.clone().serve_connection(socket))),
                Err(error) => {
                    tracing::warn!(%error, "dynamodb stand-in cannot accept a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    async fn serve_connection(self: Arc<Self>, socket: TcpStream) {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "dynamodb stand-in cannot set nodelay");
        }
        let service = service_fn(|request| {
            let front = self.clone();
            async move { front.respond(request).await }
        });
        if let Err(error) = http1::Builder::new()
            .serve_connection(TokioIo::new(socket), service)
            .await
        {
            tracing::debug!(%error, "dynamodb stand-in lost a connection");
        }
    }

    /// An error ends the connection, as one of dynoxide does.
    async fn respond(
        &self,
        request: Request<Incoming>,
    ) -> Result<Reply, hyper_util::client::legacy::Error> {
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
            let body = r#"{"__type":"com.amazon.coral.service#RequestEntityTooLargeException"}"#;
            return Ok(reply(StatusCode::PAYLOAD_TOO_LARGE, body.to_owned()));
        };
        let body = body.to_bytes();
        let operation = operation(&parts);
        // dynoxide refuses what is no text.
        let text = std::str::from_utf8(&body).unwrap_or_default();
        if let Some(answer) = self.answer(&operation, text) {
            return Ok(match answer {
                Ok(body) => reply(StatusCode::OK, body),
                Err(refusal) => reply(StatusCode::BAD_REQUEST, refusal.body()),
            });
        }
        let response = self.forward(parts, body.clone()).await?;
        if response.status().is_success() {
            match operation.as_str() {
                "CreateTable" => self.tables().created(text),
                "DeleteTable" => self.tables().deleted(text),
                _ => {}
            }
        }
        Ok(response.map(Either::Right))
    }

    /// What is about a plain table's data. A batch is read and checked beside others, because it is what has to be fast.
    fn answer(&self, operation: &str, request: &str) -> Option<Result<String, Refusal>> {
        if operation == "BatchWriteItem" {
            let checked = self.tables_to_read().check_batch(request)?;
            return Some(checked.map(|batch| self.tables().write_batch(batch)));
        }
        self.tables().answer(operation, request)
    }

    /// Asks dynoxide; what is about a single connection does not go through.
    async fn forward(
        &self,
        mut parts: Parts,
        body: Bytes,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        for name in [HOST, CONNECTION, TRANSFER_ENCODING] {
            parts.headers.remove(name);
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.behind.as_str())
            .path_and_query(path);
        parts.uri = uri
            .build()
            .expect("an address that listens, and a path that was received");
        self.client
            .request(Request::from_parts(parts, Full::new(body)))
            .await
    }

    /// A panic under the lock leaves at worst one batch half written; the others are served on.
    fn tables(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tables_to_read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The operation on tables that is asked for; empty when it is another service's.
fn operation(parts: &Parts) -> String {
    let target = parts.headers.get("x-amz-target");
    let target = target.and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.strip_prefix(TARGET_PREFIX));
    operation.unwrap_or_default().to_owned()
}

fn reply(status: StatusCode, body: String) -> Reply {
    let mut reply = Response::new(Either::Left(Full::from(body)));
    *reply.status_mut() = status;
    let json = HeaderValue::from_static(JSON);
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply
}
