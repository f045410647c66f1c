//! Builds everything, waits until the access cache is loaded, runs, and drains.
//!
//! Start: admin listener bound → lease tables → access table opened → scan and replay → ready → leases. No lease is taken before
//! the cache is loaded: a worker that cannot decide would only hold swipes up. Stop: not ready → consumers finish
//! their page → checkpoints → leases given away → exit 0, within `shutdown.grace_ms`.
//!
//! If one of the main tasks ends by itself, the process ends: a daemon without its feed or its coordinator looks alive
//! and is not.

mod leases;

use std::{future::Future, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use sd_notify::NotifyState;
use tokio::{
    sync::{oneshot, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    access::{
        cache::AccessCache,
        feed::{AccessFeed, FeedLimits},
    },
    admin::{AccessStatus, Admin, Board, LeaseStatus, Pulses, Sources},
    aws::{
        self, Clients, dynamo_access::DynamoAccess, dynamo_leases::DynamoLeases,
        dynamo_sink::TableSink, kinesis_polling::PolledStream, kinesis_sink::StreamSink, limits,
    },
    config::{self, Config, OnReject, Start},
    lease::{
        coordinator::{Coordinator, LeaseLimits, LeaseReport},
        protocol::Timing,
    },
    model::{lease::WorkerId, position::Checkpoint},
    pipeline::{
        batch::BatchLimits,
        consumer::{ConsumerLimits, Shared},
        decide::Policy,
        reader::Pace,
        writer::{Sinks, WriteLimits},
    },
    ports::{Clock, Fault, backoff},
    shutdown,
    telemetry::{self, Exposition, Recorder},
};

pub use leases::list as leases_list;

/// How often the status page is brought up to date, and the watchdog told that all is well.
const REPORT: Duration = Duration::from_secs(1);

/// How often a start that waits says what it waits for.
const WAITING: Duration = Duration::from_secs(15);

/// A loop that did not go round for so long is stuck: ten heartbeats, and more than any call may take.
const STUCK: Duration = Duration::from_secs(15);

/// Writes of one shard under way at once: a full page of 10 000 decisions is 20 puts on a stream.
const WRITES_IN_FLIGHT: usize = 8;

/// The workers of one fleet that may follow the change stream of the access table: two readers a stream shard is the
/// limit that DynamoDB Streams documents.
const CHANGE_READERS_MAX: usize = 2;

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

    let clients = Clients::open(&endpoints(config), config.leases.failover / 3).await;
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

    let shared = Arc::new(shared(config, &clients, cache));
    let coordinator = Coordinator::new(me, Arc::new(leases), shared, lease_limits(config), report);
    let pulse = pulses.watch("lease coordinator", STUCK);
    let mut coordinator = tokio::spawn(coordinator.run(drain.clone(), move || pulse.beat()));
    notify(&[NotifyState::Ready]);
    info!("ready");

    tokio::select! {
        ended = &mut feed => return feed_ended(ended),
        ended = &mut coordinator, if !drain.is_cancelled() => {
            ended.context("the lease coordinator failed")?;
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
            ended.context("the lease coordinator failed while draining")?;
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

/// The configured worker id, or the host's name with a random suffix: unique for this process.
fn worker_id(config: &Config) -> WorkerId {
    match &config.leases.worker_id {
        Some(id) => WorkerId::new(id),
        None => {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let host = if host.trim().is_empty() {
                "swiped"
            } else {
                host.trim()
            };
            WorkerId::new(&format!("{host}-{:08x}", fastrand::u32(..)))
        }
    }
}

fn endpoints(config: &Config) -> aws::Endpoints {
    let (aws, one) = (&config.aws, &config.aws.endpoints);
    let or_all = |url: &Option<String>| url.clone().or_else(|| aws.endpoint_url.clone());
    aws::Endpoints {
        region: aws.region.clone(),
        kinesis: or_all(&one.kinesis),
        dynamodb: or_all(&one.dynamodb),
        dynamodbstreams: or_all(&one.dynamodbstreams),
    }
}

fn shared(
    config: &Config,
    clients: &Clients,
    cache: Arc<AccessCache>,
) -> Shared<PolledStream, StreamSink, TableSink> {
    let (kinesis, decisions) = (&clients.kinesis, &config.decisions);
    let sink = |name: &String| Arc::new(StreamSink::new(kinesis.clone(), name));
    let table = |name: &String| {
        Arc::new(TableSink::new(
            clients.dynamodb.clone(),
            name,
            decisions.ttl_days,
        ))
    };
    let policy = &config.policy;
    Shared {
        stream: Arc::new(PolledStream::new(kinesis.clone(), &config.swipes.stream)),
        sinks: Sinks {
            stream: decisions.stream.as_ref().map(sink),
            table: decisions.table.as_ref().map(table),
            rejects: config.rejects.stream.as_ref().map(sink),
            skip_rejects: config.rejects.on_reject == OnReject::Skip,
        },
        cache,
        limits: ConsumerLimits {
            pace: Pace {
                poll: config.swipes.poll,
                hurry: Duration::from_secs(1) / limits::GET_RECORDS_CALLS_A_SECOND,
            },
            write: WriteLimits {
                events: BatchLimits {
                    entries: limits::PUT_RECORDS_ENTRIES_MAX,
                    bytes: limits::PUT_RECORDS_BYTES_MAX,
                },
                table_puts: limits::BATCH_WRITE_ITEMS_MAX,
                table_gets: limits::BATCH_GET_ITEMS_MAX,
                in_flight: WRITES_IN_FLIGHT,
            },
            policy: Policy {
                max_card_staleness_ms: policy.max_card_staleness_ms,
                max_clock_skew_ms: policy.max_clock_skew_ms,
                max_swipe_age_ms: policy.max_swipe_age_ms,
                actuate_within_ms: policy.actuate_within_ms,
                require_known_devices: policy.require_known_devices,
            },
        },
        clock: Clock::System,
    }
}

fn lease_limits(config: &Config) -> LeaseLimits {
    let leases = &config.leases;
    LeaseLimits {
        heartbeat: leases.heartbeat,
        timing: Timing {
            failover: leases.failover,
            // What is under way when the fence closes has a quarter of the failover time to end.
            margin: leases.failover / 4,
            checkpoint: leases.checkpoint,
        },
        shard_sync: leases.shard_sync,
        start: match config.swipes.start {
            Start::TrimHorizon => Checkpoint::TrimHorizon,
            // Resolved once, and stored in the rows: a restart goes on from the first start.
            Start::Latest => Checkpoint::AtTimestamp(Clock::System.now_ms()),
            Start::At(ms) => Checkpoint::AtTimestamp(ms),
        },
    }
}

/// Keeps the status page up to date and the watchdog quiet.
async fn publish(
    board: Arc<Board>,
    cache: Arc<AccessCache>,
    reports: watch::Receiver<LeaseReport>,
    pulses: Arc<Pulses>,
) {
    let mut tick = interval(REPORT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut outgrown = false;
    loop {
        tick.tick().await;
        let staleness = cache.staleness_ms(Clock::System.now_ms());
        board.access(AccessStatus {
            loaded: staleness < i64::MAX,
            cards: cache.cards() as u64,
            staleness: Duration::from_millis(u64::try_from(staleness).unwrap_or(0)),
        });
        let report = reports.borrow().clone();
        if report.workers > CHANGE_READERS_MAX && !std::mem::replace(&mut outgrown, true) {
            warn!(
                workers = report.workers,
                "more workers than DynamoDB Streams allow readers; card changes may be throttled"
            );
        }
        let held = report.held.iter().map(|held| LeaseStatus {
            shard: held.shard.to_string(),
            checkpoint: held
                .checkpoint
                .as_ref()
                .map_or_else(String::new, leases::spell),
            behind_latest_ms: Some(held.behind_latest_ms),
            halted: held.halted.then(|| "see the log".to_owned()),
        });
        board.leases(held.collect(), report.workers as u64);
        if pulses.is_alive() {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Tells systemd; without one nothing happens.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "could not tell the service manager");
    }
}
