//! All of it on one machine: stand-ins, daemons as processes of their own, traffic, verification, summary.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clients::Clients,
    clock,
    fleet::{End, Fleet, Hit},
    population::Population,
    progress::Progress,
    report::{Report, SLO_P99_MS},
    run::{self, RunArgs},
    seed,
    stage::{self, Scratch},
    summary,
    target::Target,
    verify,
};

/// From sample to sample of the workers' memory and CPU.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What the demo does.
#[derive(clap::Args, Clone, Debug)]
pub struct DemoArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Shards of the swipe stream
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    shards: u32,
    /// Daemons
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Cards
    #[arg(long, default_value_t = 10_000, value_parser = crate::population::card_count)]
    cards: usize,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kill -9 a worker so many seconds after the start, as in 1@8 (again for more)
    #[arg(long, value_name = "WORKER@SECONDS")]
    kill: Vec<Hit>,
    /// SIGTERM a worker so many seconds after the start
    #[arg(long, value_name = "WORKER@SECONDS")]
    term: Vec<Hit>,
    /// Start a new worker in place of each one that was hit
    #[arg(long)]
    restart: bool,
    /// Write decisions to the stream alone, not to the table
    #[arg(long)]
    no_table: bool,
    /// Let the workers poll each shard so often, in milliseconds; otherwise they read by fan-out, which the stand-in serves
    /// five times a second
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(10..=60_000))]
    poll_ms: Option<u32>,
    /// Keep the directory with configurations and logs, also when all is well
    #[arg(long)]
    keep: bool,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How the workers read, when that is not left to them.
fn reading(args: &DemoArgs) -> Vec<(&'static str, String)> {
    let Some(poll_ms) = args.poll_ms else {
        return Vec::new();
    };
    vec![
        ("SWIPED_SWIPES__RETRIEVAL", "polling".to_owned()),
        ("SWIPED_SWIPES__POLL_MS", poll_ms.to_string()),
    ]
}

/// Runs the demo and prints its summary; the exit code of the contract.
///
/// # Errors
/// When something could not be started or did not get ready; the message names the directory with the logs.
pub async fn run(args: &DemoArgs, stop: CancellationToken) -> anyhow::Result<u8> {
    let scratch = Scratch::create("demo")?;
    let report = play(args, &scratch.0, stop).await;
    let report = report
        .with_context(|| format!("the demo ended early; logs are in {}", scratch.0.display()))?;
    print!("{}", summary::text(&report));
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    scratch.close(report.exit_code != 0 || args.keep)?;
    Ok(report.exit_code)
}

async fn play(
    args: &DemoArgs,
    directory: &Path,
    stop: CancellationToken,
) -> anyhow::Result<Report> {
    let mut progress = Progress::default();
    progress.show("starting stand-ins for Kinesis and DynamoDB");
    let (_standins, mut target) = stage::standins(false)?;
    if args.no_table {
        target.decision_table = None;
    }
    let clients = Clients::connect(&target).await;
    let prepare = prepare(args, &clients, &target, directory, &mut progress);
    let (world, fleet) = tokio::select! {
        prepared = prepare => prepared?,
        () = stop.cancelled() => bail!("interrupted"),
    };
    progress.end();

    let mut traffic = args.run.clone();
    let quiet = args.kill.is_empty() && args.term.is_empty();
    traffic.slo_p99_ms = traffic.slo_p99_ms.or(quiet.then_some(SLO_P99_MS));
    let (started, start) = oneshot::channel();
    let over = CancellationToken::new();
    let keeper = tokio::spawn(keep(fleet, hits(args), args.restart, start, over.clone()));
    let tell = |at| _ = started.send(at);
    let ran = run::run(&clients, &target, world, &traffic, stop, tell).await;
    over.cancel();
    let fleet = keeper
        .await
        .context("the keeper of the workers panicked")??;
    let ran = ran?;

    progress.show("stopping the workers");
    let (stored, sent) = fleet.added_latency().await;
    let workers = fleet.stop().await;
    let table = match &target.decision_table {
        Some(table) => {
            progress.show("reading the decision table");
            Some(verify::check_table(&clients, table, &ran).await?)
        }
        None => None,
    };
    progress.end();
    let mut report = Report {
        added_latency_ms: stored.percentiles_ms(),
        decide_latency_ms: sent.percentiles_ms(),
        workers,
        table,
        ..ran.report
    };
    report.judge();
    Ok(report)
}

async fn prepare(
    args: &DemoArgs,
    clients: &Clients,
    target: &Target,
    directory: &Path,
    progress: &mut Progress,
) -> anyhow::Result<(Population, Fleet)> {
    let world = Population {
        cards: args.cards,
        seed: args.seed,
        seeded_at_ms: clock::now_ms(),
    };
    seed::prepare(clients, target, args.shards, &world, progress).await?;
    progress.show(&format!("starting {} workers", args.workers));
    let mut fleet = Fleet::start(directory, target, args.workers as usize, reading(args))?;
    fleet.wait_until_ready(args.shards).await?;
    Ok((world, fleet))
}

/// Hits in the order in which they are due.
fn hits(args: &DemoArgs) -> Vec<(Hit, End)> {
    let kills = args.kill.iter().map(|hit| (*hit, End::Kill));
    let mut hits: Vec<(Hit, End)> = kills
        .chain(args.term.iter().map(|hit| (*hit, End::Term)))
        .collect();
    hits.sort_by(|one, other| one.0.at_s.total_cmp(&other.0.at_s));
    hits
}

/// Watches the workers while traffic runs, and hits them when it is time.
async fn keep(
    mut fleet: Fleet,
    hits: Vec<(Hit, End)>,
    restart: bool,
    start: oneshot::Receiver<Instant>,
    over: CancellationToken,
) -> anyhow::Result<Fleet> {
    // Without a start there is nothing to hit; the sender is gone when the run failed early.
    let Ok(start) = start.await else {
        return Ok(fleet);
    };
    let mut hits = hits.into_iter().peekable();
    let mut sample = tokio::time::interval(SAMPLE_EVERY);
    loop {
        let next = hits
            .peek()
            .map_or(start + Duration::from_secs(86_400), |(hit, _)| {
                start + Duration::from_secs_f64(hit.at_s)
            });
        tokio::select! {
            () = over.cancelled() => return Ok(fleet),
            _ = sample.tick() => fleet.sample(),
            () = sleep_until(next) => {
                if let Some((hit, end)) = hits.next() {
                    fleet.end(hit.worker, end);
                    if restart {
                        fleet.start_one()?;
                    }
                }
            }
        }
    }
}
