//! `loadgen local`: the stand-ins as servers, with every stream and table a daemon needs.
//!
//! [`create_all`] makes streams and tables at any endpoint, and leaves alone what is there already. The lease
//! table is not among them: the daemon creates its own.

mod clients;
mod create;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

pub use clients::{Clients, Endpoints, secured};
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
    /// Another port of the Kinesis stand-in on 127.0.0.1, with TLS and so with HTTP/2 (0: any free one)
    #[arg(long, requires = "ca_file")]
    pub tls_port: Option<u16>,
    /// Where to write the certificate (PEM) that clients of the TLS port must trust; a new one at each start
    #[arg(long, requires = "tls_port")]
    pub ca_file: Option<PathBuf>,
    /// Least milliseconds between two fan-out events of a shard (0: each put is pushed at once)
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(..=10_000))]
    pub fan_out_tick_ms: u64,
    /// Seconds after which a fan-out subscription ends and has to be renewed
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub subscription_seconds: u64,
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
        kinesis_tls_port: args.tls_port,
        dynamodb_port: args.dynamodb_port,
        kinesis: standin::kinesis::Options {
            retention_ms: Some(args.retention_minutes * 60_000),
            fan_out: standin::kinesis::FanOut {
                tick: Duration::from_millis(args.fan_out_tick_ms),
                life: Duration::from_secs(args.subscription_seconds),
                ..standin::kinesis::FanOut::default()
            },
            ..standin::kinesis::Options::default()
        },
        ..standin::Options::default()
    })?;
    if let (Some(tls), Some(file)) = (&standins.kinesis_tls, &args.ca_file) {
        std::fs::write(file, &tls.ca_pem)
            .with_context(|| format!("cannot write the certificate to {}", file.display()))?;
    }
    let endpoints = Endpoints::of(&standins);
    let clients = endpoints.clients().await;
    let created = create_all(
        &clients.kinesis,
        &clients.dynamodb,
        &Names::with_shards(args.shards),
    )
    .await;
    if created.is_ok() {
        print!("{}", Welcome(&endpoints, tls_of(&standins, args)));
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

/// Where Kinesis is with TLS, and where its certificate is.
fn tls_of<'a>(standins: &'a Standins, args: &'a LocalArgs) -> Option<(&'a str, &'a Path)> {
    let tls = standins.kinesis_tls.as_ref()?;
    Some((&tls.url, args.ca_file.as_deref()?))
}

/// What `loadgen local` prints.
struct Welcome<'a>(&'a Endpoints, Option<(&'a str, &'a Path)>);

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
        if let Some((url, ca)) = self.1 {
            writeln!(f, "kinesis, with tls  {url}   trust {}", ca.display())?;
        }
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
