//! One application as an operator reaches it: its lease tables and its stream. Reads, watches heartbeats, writes.

use std::{collections::BTreeSet, future::Future, time::Duration};

use anyhow::Context;
use tokio::time::{Instant, sleep};

use crate::{
    app::build::endpoints,
    aws::{Clients, dynamo_leases::DynamoLeases, kinesis_polling::PolledStream},
    config::Config,
    lease::{
        view::{STRANGER_FAILOVER, Seen},
        watch::{Life, Watch},
    },
    model::lease::{LeaseRow, LeaseWrite, WorkerId, WorkerRow, Written},
    ports::{Fault, LeaseTable, backoff},
};

/// Longest time of one call on the lease tables. A person waits, and nobody's fence depends on it.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a call is made that may be retried; with the waits between, some ten seconds.
const TRIES: u32 = 5;

/// From look to look at the heartbeats, at most; half a heartbeat where that is less.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Beyond the time after which an owner is dead, for the reads themselves.
const READS: Duration = Duration::from_secs(5);

/// Whom a watch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until each owner moved, or stood still for the failover time.
    Shown,
    /// Until each owner moved or is dead, KCL's workers too.
    Certain,
}

/// What a watch saw.
#[derive(Debug)]
pub struct Watched {
    watch: Watch,
    now: Duration,
}

impl Watched {
    /// What is known of an owner.
    pub fn life(&self, owner: Option<&WorkerId>) -> Option<Life> {
        self.watch.life(owner?, self.now)
    }
}

/// The lease tables and the stream of one application.
#[derive(Debug)]
pub struct Application {
    /// The stream that is read.
    pub stream: PolledStream,
    table: DynamoLeases,
    heartbeat: Duration,
    failover: Duration,
}

impl Application {
    /// No call is made yet.
    ///
    /// # Errors
    /// The file of certificates cannot be read.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let clients = Clients::open(&endpoints(config), CALL_TIMEOUT).await?;
        Ok(Self {
            stream: PolledStream::new(clients.kinesis, &config.swipes.stream),
            table: DynamoLeases::new(clients.leases, &config.leases.table),
            heartbeat: config.leases.heartbeat,
            failover: config.leases.failover,
        })
    }

    /// Every lease, by shard.
    pub async fn rows(&self) -> anyhow::Result<Vec<LeaseRow>> {
        let rows = patiently(|| self.table.leases()).await;
        let mut rows = rows.context("the lease table cannot be read")?;
        rows.sort_by(|one, other| one.shard.cmp(&other.shard));
        Ok(rows)
    }

    /// Watches the heartbeats until it is known which of `owners` live. Takes a heartbeat when all do.
    pub async fn watch(
        &self,
        owners: &BTreeSet<WorkerId>,
        until: Until,
    ) -> anyhow::Result<Watched> {
        let (began, every) = (Instant::now(), (self.heartbeat / 2).min(LOOK_EVERY));
        let mut watch = Watch::new(self.failover);
        let longest = match until {
            Until::Shown => self.failover,
            Until::Certain => self.failover.max(STRANGER_FAILOVER),
        };
        loop {
            let asked = began.elapsed();
            let workers = patiently(|| self.table.workers()).await;
            let workers = workers.context("the workers table cannot be read")?;
            let replied = began.elapsed();
            watch.observe_workers(Seen { asked, replied }, &workers);
            if owners.iter().any(|owner| !watch.has_heartbeat(owner)) {
                let asked = began.elapsed();
                let rows = self.rows().await?;
                let replied = began.elapsed();
                watch.observe_leases(Seen { asked, replied }, &rows);
            }
            let now = began.elapsed();
            let known = |owner| match watch.life(owner, now) {
                Some(Life::Alive(_) | Life::Dead(_)) => true,
                Some(Life::Still(still)) => until == Until::Shown && still >= self.failover,
                None => until == Until::Shown,
            };
            if owners.iter().all(known) || now > longest + READS {
                return Ok(Watched { watch, now });
            }
            sleep(every).await;
        }
    }

    /// Makes the workers that live look at the lease table, which they read seldom while nothing happens: for a heartbeat
    /// there is a worker more, which leaves. Nothing depends on it.
    pub async fn ring(&self) {
        let row = WorkerRow {
            id: WorkerId::new(&format!("operator-{:08x}", fastrand::u32(..))),
            process: fastrand::u64(..),
            heartbeat: 1,
            leaving: true,
            bell: 0,
        };
        let others = self.table.workers().await;
        if others.is_ok_and(|others| others.is_empty()) {
            return;
        }
        let rung = self.table.heartbeat(&row, None).await;
        sleep(self.heartbeat * 5 / 4).await;
        if let Err(fault) = rung.and(self.table.forget(&row).await) {
            eprintln!(
                "swiped: the workers find out at their next look, within half a minute: {fault}"
            );
        }
    }

    /// Writes a row. Sent again when the reply is lost: it recognises its own earlier success.
    pub async fn write(&self, write: &LeaseWrite) -> Result<Written, Fault> {
        patiently(|| self.table.write(write)).await
    }
}

/// Repeats a call that may be retried, a bounded number of times.
pub async fn patiently<R, F>(mut call: impl FnMut() -> F) -> Result<R, Fault>
where
    F: Future<Output = Result<R, Fault>>,
{
    let (first, cap) = (Duration::from_millis(500), Duration::from_secs(4));
    let mut waits = backoff(first, cap, || 0.5 + fastrand::f64() / 2.0);
    for _ in 1..TRIES {
        match call().await {
            Err(fault) if fault.may_retry() => sleep(waits()).await,
            reply => return reply,
        }
    }
    call().await
}

/// The owners of these rows.
pub fn owners<'a>(rows: impl IntoIterator<Item = &'a LeaseRow>) -> BTreeSet<WorkerId> {
    rows.into_iter()
        .filter_map(|row| row.owner.clone())
        .collect()
}
