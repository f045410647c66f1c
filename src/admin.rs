//! The admin listener: `/metrics`, `/livez`, `/readyz` and `/status.json` over HTTP/1.1.
//!
//! It has a thread and a runtime of its own, so that it answers while the data path is saturated or stuck: that is
//! when somebody asks. It is bound before anything else starts, so that a taken port is the first and clear error. It
//! only reads what the loops publish ([`Board`], [`Pulses`]) and never changes what they do.

mod board;
mod pulse;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, thread, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time};

use crate::{metrics, telemetry::Exposition};
pub use board::{AccessStatus, Board, LeaseStatus};
pub use pulse::{Pulse, Pulses};

/// Most connections at once: a scraper, a prober, a few people. More wait in the kernel.
const CONNECTIONS: usize = 64;

/// How long a client may take for a request, and an idle connection may stay.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How often pulses are looked at and `swiped_ready` is set.
const TICK: Duration = Duration::from_millis(500);

/// A listener that is bound and not yet serving.
#[derive(Debug)]
pub struct Admin {
    listener: std::net::TcpListener,
}

/// What the listener tells.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `/metrics`
    pub exposition: Exposition,
    /// `/livez`
    pub pulses: Arc<Pulses>,
    /// `/readyz` and `/status.json`
    pub board: Arc<Board>,
}

impl Admin {
    /// Takes the address.
    ///
    /// # Errors
    /// The address cannot be bound; says which key to change.
    pub fn bind(listen: SocketAddr) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(listen).with_context(|| {
            format!("cannot listen on {listen}: free the port or change admin.listen")
        })?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// The address that was taken; tells the port when 0 was asked for.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves on a thread of its own until the process ends.
    ///
    /// # Errors
    /// The thread or its runtime cannot be made.
    pub fn start(self, sources: Sources) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("admin runtime")?;
        let serve = move || runtime.block_on(serve(self.listener, sources));
        thread::Builder::new()
            .name("admin".to_owned())
            .spawn(serve)
            .context("admin thread")?;
        Ok(())
    }
}

async fn serve(listener: std::net::TcpListener, sources: Sources) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "admin listener cannot be used");
            return;
        }
    };
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tick = time::interval(TICK);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                sources.pulses.look();
                metrics::ready(sources.board.failed_checks().is_empty());
            }
            accepted = accept(&listener, &seats) => {
                let Some((stream, seat)) = accepted else { continue };
                let sources = sources.clone();
                tokio::spawn(async move {
                    let answer = service_fn(|request| std::future::ready(answer(&request, &sources)));
                    let served = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADER_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                    if let Err(error) = served {
                        tracing::debug!(%error, "admin connection ended");
                    }
                    drop(seat);
                });
            }
        }
    }
}

/// The next connection, when there is a seat for it.
async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, seat)),
        Err(error) => {
            // Out of file descriptors, most likely: they do not come back at once.
            tracing::warn!(%error, "admin connection not accepted");
            time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

type Answer = Result<Response<Full<Bytes>>, Infallible>;

fn answer<B>(request: &Request<B>, sources: &Sources) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = respond(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "only GET and HEAD\n".to_owned(),
        );
        refused
            .headers_mut()
            .insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    Ok(match request.uri().path() {
        "/metrics" => {
            metrics::ready(sources.board.failed_checks().is_empty());
            respond(StatusCode::OK, EXPOSITION, sources.exposition.render())
        }
        "/livez" => checked("alive", &sources.pulses.overdue()),
        "/readyz" => checked("ready", &sources.board.failed_checks()),
        "/status.json" => respond(StatusCode::OK, JSON, sources.board.to_json().to_string()),
        _ => {
            let known = "not found; there are /metrics /livez /readyz /status.json\n".to_owned();
            respond(StatusCode::NOT_FOUND, TEXT, known)
        }
    })
}

const TEXT: &str = "text/plain; charset=utf-8";
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FailedCheck {
    /// A fixed name.
    check: String,
    /// Why, for people.
    detail: String,
}

/// 200 without failed checks, 503 with them.
fn checked(word: &str, failed: &[FailedCheck]) -> Response<Full<Bytes>> {
    let status = if failed.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let list: Vec<_> = failed
        .iter()
        .map(|failed| serde_json::json!({ "check": failed.check, "detail": failed.detail }))
        .collect();
    respond(
        status,
        JSON,
        serde_json::json!({ word: failed.is_empty(), "failed": list }).to_string(),
    )
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}

#[cfg(test)]
mod tests;
