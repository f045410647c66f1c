//! `loadgen`: swipes in, decisions out, everything checked. A table of contents; the rooms are in the library.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use loadgen::{
    clients::Clients,
    clock, demo,
    drain::{self, bare},
    drill,
    local::{self, LocalArgs},
    population::{self, Population},
    progress::Progress,
    record::RunRecord,
    report::SLO_P99_MS,
    run::{self, RunArgs},
    seed, summary,
    target::TargetArgs,
    verify, worker,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// As the daemon's, which this command runs as a worker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code when the generator could not do its work at all.
const BROKEN: u8 = 70;

/// What is logged unless RUST_LOG says otherwise; dynoxide warns of every condition that is not met.
const LOGS: &str = "warn,dynoxide=error";

/// Exit code after a second signal.
const INTERRUPTED: i32 = 130;

/// Load for `swiped`: cards and doors in, swipes in, decisions checked against the expected answers.
///
/// Exit codes: 0 fine, 1 a latency or rate objective missed, 2 verification failed, 3 the generator itself could not
/// keep its schedule, 70 something could not be started or reached.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// All of it on one machine: stand-ins, daemons, traffic, verification, summary
    Demo(Box<demo::DemoArgs>),
    /// Failover drills: workers killed, drained, replaced, paused and joined under traffic, sinks slow and throttling, a
    /// connection half-open; a table of what it cost
    Fleet(drill::DrillArgs),
    /// One backlog, drained by a bare SDK loop and by the daemon: CPU per swipe, rate, ratio
    Drain(Box<drain::DrainArgs>),
    /// The embedded stand-ins as servers, until a signal
    Local(LocalArgs),
    /// Write cards, doors and rules; create streams and tables where they are missing
    Seed(SeedArgs),
    /// Send swipes and check the decisions that come back
    Run(Box<RunCommand>),
    /// Check a recorded run again, from the decision table and the streams
    Verify(VerifyArgs),
    /// The loop that a drain compares the daemon with
    #[command(hide = true)]
    Bare(Box<bare::BareArgs>),
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        config: PathBuf,
    },
    /// Does what the words after it make `swiped` do
    #[command(hide = true, disable_help_flag = true)]
    Swiped {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

#[derive(clap::Args)]
struct SeedArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Cards
    #[arg(long, default_value_t = 10_000, value_parser = population::card_count)]
    cards: usize,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Shards of streams that are created
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    shards: u32,
}

#[derive(clap::Args)]
struct RunCommand {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Write a record of the run, for `loadgen verify`
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(clap::Args)]
struct VerifyArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The record that `loadgen run --ledger` wrote
    #[arg(long, value_name = "FILE")]
    ledger: PathBuf,
}

fn main() -> ExitCode {
    // The stand-ins beside the daemon, too: who answers late makes it late.
    swiped::cli::small_memory_pages();
    let command = Cli::parse_from(arguments(std::env::args_os())).command;
    // The daemon brings its own runtime and its own logs.
    let command = match command {
        Command::Worker { config } => return worker::run(&config),
        Command::Swiped { words } => {
            return swiped::cli::run(std::iter::once("swiped".into()).chain(words));
        }
        command => command,
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| LOGS.into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match execute(command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("loadgen: {error:#}");
            ExitCode::from(BROKEN)
        }
    }
}

/// The command line, without the `--` that many put before the options of a cargo alias: `cargo demo -- --rate 100`.
fn arguments(given: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let own = given.enumerate();
    own.filter(|(place, word)| !(*place == 2 && word == "--"))
        .map(|(_, word)| word)
}

#[tokio::main]
async fn execute(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Local(args) => local::run(&args).await.map(|()| 0),
        Command::Demo(args) => demo::run(&args, stop_on_signal()?).await,
        Command::Drain(args) => drain::run(&args, stop_on_signal()?).await,
        Command::Bare(args) => bare::run(&args).await.map(|()| 0),
        Command::Fleet(args) => drill::run(&args, stop_on_signal()?).await,
        Command::Seed(args) => seed(&args).await,
        Command::Run(args) => run(&args, stop_on_signal()?).await,
        Command::Verify(args) => verify(&args).await,
        Command::Worker { .. } | Command::Swiped { .. } => Ok(BROKEN),
    }
}

async fn seed(args: &SeedArgs) -> anyhow::Result<u8> {
    let target = args.target.resolve()?;
    let clients = Clients::connect(&target).await;
    let world = Population {
        cards: args.cards,
        seed: args.seed,
        seeded_at_ms: clock::now_ms(),
    };
    seed::prepare(
        &clients,
        &target,
        args.shards,
        &world,
        &mut Progress::default(),
    )
    .await?;
    println!(
        "seeded the table {} with {} cards, seed {}",
        target.access, args.cards, args.seed
    );
    Ok(0)
}

async fn run(args: &RunCommand, stop: CancellationToken) -> anyhow::Result<u8> {
    let target = args.target.resolve()?;
    let clients = Clients::connect(&target).await;
    let world = seed::read_note(&clients.dynamodb, &target.access).await?;
    let mut traffic = args.run.clone();
    traffic.slo_p99_ms.get_or_insert(SLO_P99_MS);
    let mut ran = run::run(&clients, &target, world, &traffic, stop, |_| {}).await?;
    ran.report.judge();
    print!("{}", summary::text(&ran.report));
    if let Some(path) = &args.ledger {
        RunRecord::of(&ran, args.run.rate).write(path)?;
    }
    if let Some(path) = &args.json {
        ran.report.write(path)?;
    }
    Ok(ran.report.exit_code)
}

async fn verify(args: &VerifyArgs) -> anyhow::Result<u8> {
    let record = RunRecord::read(&args.ledger)?;
    let target = args.target.resolve()?;
    let clients = Clients::connect(&target).await;
    let mut code = 0;
    for (store, tally) in verify::check(&clients, &target, &record).await? {
        let word = if tally.is_clean() { "ok" } else { "FAILED" };
        println!(
            "{store}: {word}, {} sent, {} decided, {} rejected, lost {}, wrong {}, contradictory {}, unexpected {}, duplicates {}",
            tally.sent,
            tally.decided,
            tally.rejects,
            tally.lost,
            tally.wrong,
            tally.contradictory,
            tally.unexpected,
            tally.duplicates
        );
        for problem in &tally.problems {
            println!("  {problem}");
        }
        code = if tally.is_clean() { code } else { 2 };
    }
    Ok(code)
}

/// A token that the first SIGINT or SIGTERM cancels; the second one ends the process, and with it the workers.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if token.is_cancelled() {
                std::process::exit(INTERRUPTED);
            }
            token.cancel();
        }
    });
    Ok(stop)
}
