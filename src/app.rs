//! Builds everything, waits until the access cache is loaded, runs, and drains.
//!
//! Start: admin listener bound → lease tables → access table opened → scan and replay → ready → leases. No lease is taken before
//! the cache is loaded: a worker that cannot decide would only hold swipes up. Stop: not ready → consumers finish
//! their page → checkpoints → leases given away → exit 0, within `shutdown.grace_ms`.
//!
//! If one of the main tasks ends by itself, the process ends: a daemon without its feed or its coordinator looks alive
//! and is not.

pub mod access;
mod build;
mod count;
pub mod decisions;
pub mod explain;
pub mod leases;
mod order;
mod publish;
mod retrieval;

use std::{future::Future, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use sd_notify::NotifyState;
use tokio::{
    sync::{oneshot, watch},
    time::{interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    access::{
        cache::AccessCache,
        feed::{AccessFeed, FeedLimits},
    },
    admin::{Admin, Board, Pulses, Sources},
    aws::{Clients, dynamo_access::DynamoAccess, dynamo_leases::DynamoLeases},
    config::{self, Config},
    lease::coordinator::{Coordinator, LeaseReport},
    pipeline::pack::Groups,
    ports::{Clock, Fault, backoff},
    shutdown,
    telemetry::{self, Exposition, Recorder},
};

use build::{endpoints, lease_limits, shared, worker_id};
use count::count;
use publish::publish;

/// How often the status page is brought up to date, and the watchdog told that all is well.
const REPORT: Duration = Duration::from_secs(1);

/// How often a start that waits says what it waits for.
const WAITING: Duration = Duration::from_secs(15);

/// A loop that did not go round for so long is stuck: ten heartbeats, and more than any call may take.
const STUCK: Duration = Duration::from_secs(15);

/// The daemon, from the file on: what `swiped run` does.
pub fn run_file(path: &Path) -> ExitCode {
    let config = match Config::load(path, config::environment()) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            return ExitCode::FAILURE;
        }
    };
    match start(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = format!("{error:#}"), "stopped");
            eprintln!("swiped: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(config: &Config) -> anyhow::Result<()> {
    telemetry::start_logging(&config.log)?;
    let exposition = Recorder::install()?;
    let drain = shutdown::listen().context("cannot listen for signals")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(run(config, exposition, drain))
}

async fn run(
    config: &Config,
    exposition: Exposition,
    drain: CancellationToken,
) -> anyhow::Result<()> {
    let me = worker_id(config);
    let max_staleness = u64::try_from(config.policy.max_card_staleness_ms).unwrap_or(0);
    let board = Arc::new(Board::new(
        me.as_str(),
        Duration::from_millis(max_staleness),
    ));
    let pulses = Arc::new(Pulses::new());
    let admin = Admin::bind(config.admin.listen)?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        worker = %me,
        admin = %admin.address()?,
        stream = config.swipes.stream,
        "starting"
    );
    admin.start(Sources {
        exposition,
        pulses: Arc::clone(&pulses),
        board: Arc::clone(&board),
    })?;
    tokio::spawn(pulses.watch("runtime", STUCK).keep_beating(REPORT));

    let clients = Clients::open(&endpoints(config), config.leases.failover / 3).await?;
    let leases = DynamoLeases::new(clients.leases.clone(), &config.leases.table);
    let Some(()) = patiently(&drain, || leases.prepare())
        .await
        .context("leases.table")?
    else {
        return Ok(());
    };
    let access = patiently(&drain, || {
        let (dynamodb, streams) = (clients.dynamodb.clone(), clients.dynamodbstreams.clone());
        DynamoAccess::open(dynamodb, streams, config.access.table.clone())
    });
    let Some(access) = access.await.context("access.table")? else {
        return Ok(());
    };

    let cache = Arc::new(AccessCache::new());
    let limits = FeedLimits {
        poll: config.access.poll,
        segments: config.access.segments,
        seed: fastrand::u64(..),
        ..FeedLimits::default()
    };
    let feed = AccessFeed::new(access, Arc::clone(&cache), limits, Clock::System);
    let (loaded, mut is_loaded) = oneshot::channel();
    let feed_stop = CancellationToken::new();
    let mut feed = tokio::spawn(feed.run(loaded, feed_stop.clone()));

    let (report, reports) = watch::channel(LeaseReport::default());
    tokio::spawn(publish(
        Arc::clone(&board),
        Arc::clone(&cache),
        reports,
        Arc::clone(&pulses),
    ));

    let mut waiting = interval(WAITING);
    waiting.reset();
    loop {
        tokio::select! {
            _ = &mut is_loaded => break,
            ended = &mut feed => return feed_ended(ended),
            () = drain.cancelled() => return Ok(()),
            _ = waiting.tick() => warn!("still loading the access table; no lease is taken before"),
        }
    }
    info!(cards = cache.cards(), "access cache loaded");

    let Some(consumer) = retrieval::settle(config, &clients, &drain).await? else {
        return Ok(());
    };
    let mut shared = shared(config, &clients, cache, consumer);
    if let (true, Some(stream)) = (config.decisions.aggregate, &shared.sinks.stream) {
        let shape = patiently(&drain, || stream.shape());
        let Some(shape) = shape.await.context("decisions.stream")? else {
            return Ok(());
        };
        order::judge_packing(shape.keeps_order)?;
        shared.sinks.aggregate = Some(Groups::for_shards(shape.shards));
    }
    let shared = Arc::new(shared);
    let Some(order) = patiently(&drain, || shared.stream.keeps_order())
        .await
        .context("swipes.stream")?
    else {
        return Ok(());
    };
    let has_table = shared.sinks.table.is_some();
    order::judge(order, has_table, shared.cache.view().rulebook())?;
    if let Some(table) = &shared.sinks.table {
        let (table, cache) = (Arc::clone(table), Arc::clone(&shared.cache));
        tokio::spawn(count(table, cache, Arc::clone(&shared.occupancy)));
    }
    let coordinator = Coordinator::new(
        me,
        fastrand::u64(..),
        Arc::new(leases),
        shared,
        lease_limits(config),
        report,
    );
    let pulse = pulses.watch("lease coordinator", STUCK);
    let mut coordinator = tokio::spawn(coordinator.run(drain.clone(), move || pulse.beat()));
    notify(&[NotifyState::Ready]);
    info!("ready");

    tokio::select! {
        ended = &mut feed => return feed_ended(ended),
        ended = &mut coordinator, if !drain.is_cancelled() => {
            ended.context("the lease coordinator failed")??;
            if !drain.is_cancelled() {
                bail!("the lease coordinator ended by itself");
            }
            return Ok(());
        }
        () = drain.cancelled() => {}
    }
    board.draining();
    notify(&[NotifyState::Stopping]);
    let drained = timeout(config.shutdown.grace, &mut coordinator).await;
    feed_stop.cancel();
    match drained {
        Ok(ended) => {
            ended.context("the lease coordinator failed while draining")??;
            info!("drained");
            Ok(())
        }
        Err(_) => bail!(
            "the drain took longer than shutdown.grace_ms ({}); leases that are left expire by themselves",
            config.shutdown.grace.as_millis()
        ),
    }
}

fn feed_ended(
    ended: Result<Result<(), crate::access::feed::FeedError>, tokio::task::JoinError>,
) -> anyhow::Result<()> {
    ended.context("the access feed failed")??;
    bail!("the access feed ended by itself")
}

/// Repeats a call that may be retried until it succeeds, is refused, or `drain` is cancelled (nothing).
async fn patiently<R, F>(
    drain: &CancellationToken,
    mut call: impl FnMut() -> F,
) -> anyhow::Result<Option<R>>
where
    F: Future<Output = Result<R, Fault>>,
{
    let mut waits = backoff(
        Duration::from_millis(200),
        Duration::from_secs(5),
        fastrand::f64,
    );
    loop {
        let reply = tokio::select! {
            reply = call() => reply,
            () = drain.cancelled() => return Ok(None),
        };
        match reply {
            Ok(reply) => return Ok(Some(reply)),
            Err(fault) if fault.may_retry() => warn!(%fault, "start waits for AWS, trying again"),
            Err(fault) => return Err(fault.into()),
        }
        tokio::select! {
            () = tokio::time::sleep(waits()) => {}
            () = drain.cancelled() => return Ok(None),
        }
    }
}

/// Tells systemd; without one nothing happens.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "could not tell the service manager");
    }
}
