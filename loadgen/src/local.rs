//! `loadgen local`: the stand-ins as servers, with every stream and table a daemon needs.
//!
//! [`create_all`] makes streams and tables at any endpoint, and leaves alone what is there already. The lease
//! table is not among them: the daemon creates its own.

mod clients;
mod create;

use std::fmt;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

pub use clients::{Clients, Endpoints};
pub use create::{BY_ACCESS_POINT, Names, create_all};

use crate::standin::{self, Standins};

/// Options of `loadgen local`.
#[derive(Clone, Debug, clap::Args)]
pub struct LocalArgs {
    /// Port of the Kinesis stand-in on 127.0.0.1 (0: any free one)
    #[arg(long, default_value_t = 4567)]
    pub kinesis_port: u16,
    /// Port of the DynamoDB and DynamoDB Streams stand-in on 127.0.0.1 (0: any free one)
    #[arg(long, default_value_t = 8000)]
    pub dynamodb_port: u16,
    /// Shards of the swipe stream
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub shards: u32,
    /// Minutes that records stay in the streams; they are in memory (5000 small records a second: 8 GB an hour)
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub retention_minutes: u64,
}

/// Starts the stand-ins, creates everything, says where it is, and runs until SIGINT or SIGTERM.
///
/// # Errors
/// When a port is taken or something cannot be created.
pub async fn run(args: &LocalArgs) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let standins = Standins::start(&standin::Options {
        kinesis_port: args.kinesis_port,
        dynamodb_port: args.dynamodb_port,
        kinesis: standin::kinesis::Options {
            retention_ms: Some(args.retention_minutes * 60_000),
            ..standin::kinesis::Options::default()
        },
        ..standin::Options::default()
    })?;
    let endpoints = Endpoints::of(&standins);
    let clients = endpoints.clients().await;
    let created = create_all(
        &clients.kinesis,
        &clients.dynamodb,
        &Names::with_shards(args.shards),
    )
    .await;
    if created.is_ok() {
        print!("{}", Welcome(&endpoints));
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    drop(clients);
    tokio::task::spawn_blocking(move || standins.stop())
        .await
        .context("stopping the stand-ins panicked")??;
    created
}

/// What `loadgen local` prints.
struct Welcome<'a>(&'a Endpoints);

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoints {
            kinesis,
            dynamodb,
            region,
        } = self.0;
        writeln!(
            f,
            "kinesis            {kinesis}   streams swipes, swipe-decisions, swipe-rejects"
        )?;
        writeln!(
            f,
            "dynamodb, streams  {dynamodb}   tables access, swipe-decisions"
        )?;
        writeln!(f, "\nin another terminal:\n")?;
        writeln!(
            f,
            "  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION={region}"
        )?;
        writeln!(
            f,
            "  export SWIPED_AWS__REGION={region} SWIPED_AWS__ENDPOINTS__KINESIS={kinesis}"
        )?;
        writeln!(
            f,
            "  export SWIPED_AWS__ENDPOINTS__DYNAMODB={dynamodb} SWIPED_AWS__ENDPOINTS__DYNAMODBSTREAMS={dynamodb}"
        )?;
        writeln!(
            f,
            "  cargo run --release -p loadgen -- seed --config config/local.toml"
        )?;
        writeln!(
            f,
            "  cargo run --release --bin swiped -- run --config config/local.toml"
        )?;
        writeln!(
            f,
            "  cargo run --release -p loadgen -- run --config config/local.toml"
        )?;
        writeln!(f, "\nnothing is kept after ctrl-c")
    }
}
