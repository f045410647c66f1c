//! The Kinesis stand-in's HTTP: AWS JSON 1.1 over HTTP/1.1, or over HTTP/2 where the client begins with it (the KCL's
//! does) or TLS agrees on it (the AWS SDK's does), one task a connection. No authentication, no CBOR.
//!
//! A subscription's events go out as the connection takes them (see [`super::push`]).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{Request, Response, body::Incoming, header::CONTENT_TYPE, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    kinesis::{Fault, Faults, Refusal, RefusalKind, Store, operations::answer, subscriptions},
    push::{self, Fate, now_ms},
    reply::{Answer, JSON, events, ok, refused},
};

const TARGET_PREFIX: &str = "Kinesis_20131202.";
/// 10 MiB of payload are 14 MiB of base64; 500 entries of overhead and long keys fit beside them.
const MAX_BODY_BYTES: usize = 24 << 20;
/// How much of a request HTTP/2 may send ahead: a page of swipes in one go, several calls at a time.
const WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Calls at a time on one connection: a subscription a shard, and the rest beside them.
const MAX_CALLS: u32 = 1000;
/// A stream's name has 128 characters at most, so its field is in the first or the last so many bytes.
const NAME_WITHIN: usize = 256;
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What is served: the same on every port.
#[derive(Clone)]
pub struct Service {
    /// The streams.
    pub store: Arc<Store>,
    /// What goes wrong.
    pub faults: Arc<Faults>,
}

/// Accepts connections until it is dropped, with TLS if `tls` says how.
pub async fn serve(listener: TcpListener, service: Service, tls: Option<TlsAcceptor>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => drop(tokio::spawn(accept(socket, service.clone(), tls.clone()))),
            Err(error) => {
                // Out of file descriptors, most likely: give connections time to end.
                tracing::warn!(%error, "kinesis stand-in cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn accept(socket: TcpStream, service: Service, tls: Option<TlsAcceptor>) {
    // Without it a small answer waits for the client's delayed acknowledgement.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "kinesis stand-in cannot set nodelay");
    }
    let Some(tls) = tls else {
        return serve_connection(socket, service).await;
    };
    match timeout(HANDSHAKE, tls.accept(socket)).await {
        Ok(Ok(secured)) => Box::pin(serve_connection(secured, service)).await,
        Ok(Err(error)) => tracing::debug!(%error, "kinesis stand-in could not agree on tls"),
        Err(_) => tracing::debug!("kinesis stand-in waited too long for a tls handshake"),
    }
}

async fn serve_connection<S>(socket: S, service: Service)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (decide, mut fate) = watch::channel(Fate::Served);
    let decide = Arc::new(decide);
    let service = service_fn(|request| respond(request, service.clone(), decide.clone()));
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http2()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_CALLS);
    let connection = http.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let decided = tokio::select! {
        result = &mut connection => {
            if let Err(error) = result {
                tracing::debug!(%error, "kinesis stand-in lost a connection");
            }
            return;
        }
        decided = fate.wait_for(|fate| *fate != Fate::Served) => decided.map(|fate| *fate),
    };
    if decided.is_ok_and(|fate| fate == Fate::Frozen) {
        // Held, so that nothing closes it before the stand-in stops.
        std::future::pending::<()>().await;
    }
}

/// The reply is dropped on purpose; hyper closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("the reply was dropped by a scripted fault")]
struct Dropped;

async fn respond(
    request: Request<Incoming>,
    service: Service,
    connection: Arc<watch::Sender<Fate>>,
) -> Result<Response<Answer>, Dropped> {
    let (operation, body) = match read(request).await {
        Ok(call) => call,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let fault = service
        .faults
        .next(&operation, |stream| names(&body, stream));
    if let Some(refusal) = fault
        .as_ref()
        .and_then(|fault| refusal_of(fault, &operation))
    {
        return Ok(refused(&refusal));
    }
    if let Some(Fault::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    let drops = fault == Some(Fault::DropReply);
    let reply = if operation == "SubscribeToShard" {
        subscriptions::subscribe(&service.store, &body, now_ms())
            .map(|at| events(push::body(service.store, at, fault, connection)))
    } else {
        answer(&service.store, &operation, &body, fault.as_ref(), now_ms()).map(ok)
    };
    if drops {
        return Err(Dropped);
    }
    Ok(reply.unwrap_or_else(|refusal| refused(&refusal)))
}

/// Whether a call names that stream, by its name: the SDK puts it at the end of what it writes, others at the beginning.
fn names(body: &[u8], stream: &str) -> bool {
    let name = format!(r#""StreamName":"{stream}""#);
    let first = &body[..body.len().min(NAME_WITHIN)];
    let last = &body[body.len().saturating_sub(NAME_WITHIN)..];
    let has = |part: &[u8]| part.windows(name.len()).any(|text| text == name.as_bytes());
    has(first) || has(last)
}

/// The operation that a request names, and its body.
async fn read(request: Request<Incoming>) -> Result<(String, Bytes), Refusal> {
    let serialization = |message| Refusal::new(RefusalKind::Serialization, message);
    let operation = request
        .headers()
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .and_then(|target| target.strip_prefix(TARGET_PREFIX))
        .unwrap_or_default()
        .to_owned();
    let is_json = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|given| given.as_bytes().starts_with(JSON.as_bytes()));
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES)
        .collect()
        .await
        .map_err(|_| {
            serialization(format!(
                "The request is larger than {MAX_BODY_BYTES} bytes, or was cut off."
            ))
        })?;
    if !is_json {
        return Err(serialization(format!("The content type must be {JSON}.")));
    }
    Ok((operation, body.to_bytes()))
}

/// The refusal that a scripted fault puts in place of the call.
fn refusal_of(fault: &Fault, operation: &str) -> Option<Refusal> {
    let (kind, message) = match fault {
        Fault::Throttle if operation == "SubscribeToShard" => {
            (RefusalKind::LimitExceeded, "Rate exceeded (scripted).")
        }
        Fault::Throttle => (
            RefusalKind::ProvisionedThroughputExceeded,
            "Rate exceeded (scripted).",
        ),
        Fault::ResourceInUse => (
            RefusalKind::ResourceInUse,
            "The resource is in use (scripted).",
        ),
        Fault::InternalFailure => (
            RefusalKind::InternalFailure,
            "Internal service failure (scripted).",
        ),
        Fault::ExpireIterator => (RefusalKind::ExpiredIterator, "Iterator expired (scripted)."),
        _ => return None,
    };
    Some(Refusal::new(kind, message))
}
