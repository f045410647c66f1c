//! The embedded stand-ins: Kinesis (our own, on request with TLS and so with HTTP/2 as well) and DynamoDB with its
//! streams (dynoxide, behind a front that holds plain tables), as servers on loopback.
//!
//! Each runs on threads and a runtime of its own, so that it neither starves its host nor is starved: dynoxide works
//! synchronously inside its handlers. Nothing is kept: what was written is gone when the stand-ins stop.
//! The daemon never depends on this room.

pub mod dynamo;
pub mod front;
pub mod http;
pub mod kinesis;
pub mod push;
pub mod reply;
mod server;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod tls;

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use kinesis::{Faults, Store};
use server::Server;
use tls::Tls;

/// Threads of the DynamoDB stand-in's front: the batches of a page of decisions come side by side.
const DYNAMODB_THREADS: usize = 2;

/// How the stand-ins are started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port of Kinesis on 127.0.0.1; 0 takes any free one.
    pub kinesis_port: u16,
    /// Another port of the same Kinesis, with TLS (HTTP/2 and HTTP/1.1); 0 takes any free one, `None` leaves it away.
    pub kinesis_tls_port: Option<u16>,
    /// Port of DynamoDB and its streams on 127.0.0.1; 0 takes any free one.
    pub dynamodb_port: u16,
    /// Threads of the Kinesis stand-in, on each of its ports (at least 1).
    pub kinesis_threads: usize,
    /// How Kinesis behaves.
    pub kinesis: kinesis::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kinesis_port: 0,
            kinesis_tls_port: None,
            dynamodb_port: 0,
            // One answers small calls while the other is busy with a page.
            kinesis_threads: 2,
            kinesis: kinesis::Options::default(),
        }
    }
}

/// Running stand-ins. They stop when this is dropped; [`Standins::stop`] says how that went.
#[derive(Debug)]
pub struct Standins {
    /// Endpoint of Kinesis.
    pub kinesis_url: String,
    /// The same Kinesis with TLS, if that was asked for.
    pub kinesis_tls: Option<Secured>,
    /// Endpoint of DynamoDB and of DynamoDB Streams.
    pub dynamodb_url: String,
    /// The streams, for tests that look or trim.
    pub store: Arc<Store>,
    /// What goes wrong in Kinesis.
    pub faults: Arc<Faults>,
    kinesis: Server,
    secure_kinesis: Option<Server>,
    // Declared before what is behind it: stopped first.
    dynamodb: Server,
    dynoxide: Server,
}

/// An endpoint with TLS.
#[derive(Clone, Debug)]
pub struct Secured {
    /// Where it is.
    pub url: String,
    /// What its clients must trust: a certificate of this run (PEM).
    pub ca_pem: String,
}

impl Standins {
    /// Starts all of them; they answer when this returns.
    ///
    /// # Errors
    /// When a port is taken, or a thread, a runtime or the database cannot be had.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let store = Arc::new(Store::new(options.kinesis.clone()));
        let faults = Arc::new(Faults::default());
        let service = http::Service {
            store: store.clone(),
            faults: faults.clone(),
        };
        let kinesis = serve_kinesis(options, options.kinesis_port, service.clone(), None)?;
        let (mut kinesis_tls, mut secure_kinesis) = (None, None);
        if let Some(port) = options.kinesis_tls_port {
            let tls = Tls::create()?;
            let server = serve_kinesis(options, port, service, Some(tls.acceptor))?;
            kinesis_tls = Some(Secured {
                url: server.secure_url(),
                ca_pem: tls.ca_pem,
            });
            secure_kinesis = Some(server);
        }
        let database = dynamo::Database::create()?;
        let dynoxide = Server::start("dynoxide", 0, 1, async move |listener, stop| {
            database.serve(listener, stop).await
        })?;
        let front = front::Front::new(&dynoxide.url());
        let dynamodb = Server::start(
            "dynamodb-standin",
            options.dynamodb_port,
            DYNAMODB_THREADS,
            async move |listener, stop| {
                tokio::select! {
                    () = front.serve(listener) => {}
                    _ = stop => {}
                }
                Ok(())
            },
        )?;
        Ok(Self {
            kinesis_url: kinesis.url(),
            kinesis_tls,
            dynamodb_url: dynamodb.url(),
            store,
            faults,
            kinesis,
            secure_kinesis,
            dynamodb,
            dynoxide,
        })
    }

    /// Stops all and removes what they kept.
    ///
    /// # Errors
    /// When a server had failed, or its files cannot be removed.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let secured = self.secure_kinesis.as_mut().map_or(Ok(()), Server::stop);
        let kinesis = self.kinesis.stop().and(secured);
        let dynamodb = self.dynamodb.stop();
        self.dynoxide.stop().and(dynamodb).and(kinesis)
    }
}

fn serve_kinesis(
    options: &Options,
    port: u16,
    service: http::Service,
    tls: Option<TlsAcceptor>,
) -> anyhow::Result<Server> {
    let name = if tls.is_some() {
        "kinesis-tls"
    } else {
        "kinesis-standin"
    };
    let serve = async move |listener, stop| {
        tokio::select! {
            () = http::serve(listener, service, tls) => {}
            _ = stop => {}
        }
        Ok(())
    };
    Server::start(name, port, options.kinesis_threads, serve)
}

/// A listener on loopback.
async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}; is something else there? choose another port, or 0 for any"))
}
