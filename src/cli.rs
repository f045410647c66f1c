//! The command line, as types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Decides badge swipes from an Amazon Kinesis stream.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon until SIGTERM or SIGINT; a second signal exits at once
    Run(ConfigFile),
    /// Print every problem of a configuration, with its place; exit 0 when there is none, else 1
    Check(ConfigFile),
    /// Look at the lease table
    #[command(subcommand)]
    Leases(Leases),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Leases {
    /// One row a shard: owner, checkpoint, state
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// One JSON document instead of a table
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct ConfigFile {
    /// The TOML file; SWIPED_SECTION__KEY variables override its keys
    #[arg(long, value_name = "FILE", env = "SWIPED_CONFIG")]
    pub(crate) config: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_of_the_contract_is_understood() {
        for line in [
            "swiped run --config F",
            "swiped check --config F",
            "swiped leases list --config F",
            "swiped leases list --config F --json",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }
}
