//! The Kinesis stand-in's HTTP: AWS JSON 1.1 over HTTP/1.1, or over HTTP/2 where the client begins with it (the KCL's
//! does), one task a connection. No TLS, no authentication, no CBOR.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::{TcpListener, TcpStream};

use super::kinesis::{
    Fault, Faults, Refusal, RefusalKind, Store,
    operations::{Reply, answer},
};

const JSON: &str = "application/x-amz-json-1.1";
const TARGET_PREFIX: &str = "Kinesis_20131202.";
/// 10 MiB of payload are 14 MiB of base64; 500 entries of overhead and long keys fit beside them.
const MAX_BODY_BYTES: usize = 24 << 20;

/// Accepts connections until it is dropped.
pub async fn serve(listener: TcpListener, store: Arc<Store>, faults: Arc<Faults>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => drop(tokio::spawn(serve_connection(
                socket,
                store.clone(),
                faults.clone(),
            ))),
            Err(error) => {
                // Out of file descriptors, most likely: give connections time to end.
                tracing::warn!(%error, "kinesis stand-in cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_connection(socket: TcpStream, store: Arc<Store>, faults: Arc<Faults>) {
    // Without it a small answer waits for the client's delayed acknowledgement.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "kinesis stand-in cannot set nodelay");
    }
    let service = service_fn(|request| {
        let (store, faults) = (store.clone(), faults.clone());
        async move { respond(request, &store, &faults).await }
    });
    if let Err(error) = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(socket), service)
        .await
    {
        tracing::debug!(%error, "kinesis stand-in lost a connection");
    }
}

/// The reply is dropped on purpose; hyper closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("the reply was dropped by a scripted fault")]
struct Dropped;

async fn respond(
    request: Request<Incoming>,
    store: &Store,
    faults: &Faults,
) -> Result<Response<Frames>, Dropped> {
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
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY_BYTES)
        .collect()
        .await
    else {
        let message = format!("The request is larger than {MAX_BODY_BYTES} bytes, or was cut off.");
        return Ok(refused(&Refusal::new(RefusalKind::Serialization, message)));
    };
    if !is_json {
        let message = format!("The content type must be {JSON}.");
        return Ok(refused(&Refusal::new(RefusalKind::Serialization, message)));
    }
    let fault = faults.next(&operation);
    if let Some(refusal) = fault.as_ref().and_then(refusal_of) {
        return Ok(refused(&refusal));
    }
    if let Some(Fault::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    let answer = answer(
        store,
        &operation,
        &body.to_bytes(),
        fault.as_ref(),
        now_ms(),
    );
    if fault == Some(Fault::DropReply) {
        return Err(Dropped);
    }
    Ok(answer.map_or_else(
        |refusal| refused(&refusal),
        |reply| response(StatusCode::OK, reply),
    ))
}

/// The refusal that a scripted fault puts in place of the call.
fn refusal_of(fault: &Fault) -> Option<Refusal> {
    let (kind, message) = match fault {
        Fault::Throttle => (
            RefusalKind::ProvisionedThroughputExceeded,
            "Rate exceeded (scripted).",
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

fn refused(refusal: &Refusal) -> Response<Frames> {
    let body = serde_json::json!({ "__type": refusal.kind.code(), "message": refusal.message });
    let status = StatusCode::from_u16(refusal.kind.status()).unwrap_or(StatusCode::BAD_REQUEST);
    response(status, Reply::one(body.to_string()))
}

fn response(status: StatusCode, reply: Reply) -> Response<Frames> {
    let mut response = Response::new(Frames(reply.0.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// Unix epoch ms.
fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_millis() as u64
}

/// A body of known length in several pieces: a page goes out of the store without being copied together.
#[derive(Debug)]
struct Frames(VecDeque<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|bytes| bytes.len() as u64).sum())
    }
}
