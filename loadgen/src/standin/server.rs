//! A server on a thread and a runtime of its own: started when it listens, stopped by its owner.

use std::{
    net::SocketAddr,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use tokio::{net::TcpListener, runtime::Builder, sync::oneshot};

/// How long connections that are still served may hold up a stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Server {
    /// Listens on `port` of loopback and runs `serve` there, which ends when its second argument resolves.
    pub(super) fn start<F>(name: &str, port: u16, threads: usize, serve: F) -> anyhow::Result<Self>
    where
        F: AsyncFnOnce(TcpListener, oneshot::Receiver<()>) -> anyhow::Result<()> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name(name)
            .enable_all()
            .build()
            .with_context(|| format!("cannot build the runtime of {name}"))?;
        let (stop, stopped) = oneshot::channel();
        let (listens, listening) = mpsc::sync_channel(1);
        let run = move || {
            let result = runtime.block_on(async {
                let listener = super::listen(port).await?;
                let address = listener.local_addr()?;
                listens.send(address).ok();
                serve(listener, stopped).await
            });
            runtime.shutdown_timeout(STOP_GRACE);
            result
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .with_context(|| format!("cannot start the thread of {name}"))?;
        match listening.recv() {
            Ok(address) => Ok(Self {
                address,
                stop: Some(stop),
                thread: Some(thread),
            }),
            // The thread ended before it listened, and says why.
            Err(_) => Err(join(thread)
                .err()
                .unwrap_or_else(|| anyhow!("{name} ended before it listened"))),
        }
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens, when it speaks TLS.
    pub(super) fn secure_url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Stops it and waits until it has ended; a second call does nothing.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(stop) = self.stop.take() {
            // An error means that it has ended by itself; joining tells how.
            stop.send(()).ok();
        }
        self.thread.take().map_or(Ok(()), join)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "a stand-in did not stop well");
        }
    }
}

fn join(thread: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    thread
        .join()
        .map_err(|_| anyhow!("the thread of a stand-in panicked"))?
}
