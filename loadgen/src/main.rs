//! A stand-in for the load generator's command line: `local` alone.

use clap::Parser;
use loadgen::local;

#[derive(Parser)]
enum Command {
    /// The stand-ins as servers
    Local(local::LocalArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Local(args) => local::run(&args).await,
    }
}
