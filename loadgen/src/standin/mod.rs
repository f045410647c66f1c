//! The embedded stand-ins: Kinesis (our own) and DynamoDB with its streams (dynoxide, behind a front that holds plain
//! tables), as servers on loopback.
//!
//! Each runs on threads and a runtime of its own, so that it neither starves its host nor is starved: dynoxide works
//! synchronously inside its handlers. Nothing is kept: what was written is gone when the stand-ins stop.
//! The daemon never depends on this room.

pub mod dynamo;
pub mod front;
pub mod http;
pub mod kinesis;
mod server;
pub mod tables;
#[cfg(test)]
mod tests;

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::Context as _;
use tokio::net::TcpListener;

use kinesis::{Faults, Store};
use server::Server;

/// How the stand-ins are started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port of Kinesis on 127.0.0.1; 0 takes any free one.
    pub kinesis_port: u16,
    /// Port of DynamoDB and its streams on 127.0.0.1; 0 takes any free one.
    pub dynamodb_port: u16,
    /// Threads of the Kinesis stand-in (at least 1).
    pub kinesis_threads: usize,
    /// How Kinesis behaves.
    pub kinesis: kinesis::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kinesis_port: 0,
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
    /// Endpoint of DynamoDB and of DynamoDB Streams.
    pub dynamodb_url: String,
    /// The streams, for tests that look or trim.
    pub store: Arc<Store>,
    /// What goes wrong in Kinesis.
    pub faults: Arc<Faults>,
    kinesis: Server,
    // Declared before what is behind it: stopped first.
    dynamodb: Server,
    dynoxide: Server,
}

impl Standins {
    /// Starts both; they answer when this returns.
    ///
    /// # Errors
    /// When a port is taken, or a thread, a runtime or the database cannot be had.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let store = Arc::new(Store::new(options.kinesis.clone()));
        let faults = Arc::new(Faults::default());
        let (served, scripted) = (store.clone(), faults.clone());
        let kinesis = Server::start(
            "kinesis-standin",
            options.kinesis_port,
            options.kinesis_threads,
            async move |listener, stop| {
                tokio::select! {
                    () = http::serve(listener, served, scripted) => {}
                    _ = stop => {}
                }
                Ok(())
            },
        )?;
        let database = dynamo::Database::create()?;
        let dynoxide = Server::start("dynoxide", 0, 1, async move |listener, stop| {
            database.serve(listener, stop).await
        })?;
        let front = front::Front::new(&dynoxide.url());
        let dynamodb = Server::start(
            "dynamodb-standin",
            options.dynamodb_port,
            1,
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
            dynamodb_url: dynamodb.url(),
            store,
            faults,
            kinesis,
            dynamodb,
            dynoxide,
        })
    }

    /// Stops all and removes what they kept.
    ///
    /// # Errors
    /// When a server had failed, or its files cannot be removed.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let kinesis = self.kinesis.stop();
        let dynamodb = self.dynamodb.stop();
        self.dynoxide.stop().and(dynamodb).and(kinesis)
    }
}

/// A listener on loopback.
async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}; is something else there? choose another port, or 0 for any"))
}
