//! The command line: its words, and who does what they ask for.
//!
//! It is in the library so that `loadgen` can stand in for the binary in its tests.

mod access;
mod decisions;
mod explain;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    app::{
        self,
        leases::{Chosen, Order, Place},
    },
    config::{self, Config},
};

/// Has the kernel back this process, and those it starts, with memory pages of 4 KiB only, never of 2 MiB. To be called before
/// memory is taken.
///
/// The allocator asks for the large ones, which help a table of a million cards a little; but what a page of swipes needs comes
/// and goes, and then a large one is cleared for a few bytes. On a virtual machine that stopped a page for 6 to 8 ms at a time,
/// and a backlog cost a fifth more (`cargo demo --no-table`, `loadgen drain`). Where the kernel does not know the call,
/// nothing changes.
pub fn small_memory_pages() {
    // Nothing is wrong where it fails, only slower.
    rustix::thread::disable_transparent_huge_pages(true).unwrap_or_default();
}

/// Decides badge swipes from an Amazon Kinesis stream.
#[derive(Debug, Parser)]
#[command(name = "swiped", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM or SIGINT; a second signal exits at once
    Run(ConfigFile),
    /// Print every problem of a configuration, with its place; exit 0 when there is none, else 1
    Check(ConfigFile),
    /// Look at the leases: who reads which shard, and how far; release and rewind them
    #[command(subcommand)]
    Leases(Leases),
    /// Change the access table by hand: import files, put, revoke, suspend, reissue, forgive; validate all of it
    #[command(subcommand)]
    Access(access::Access),
    /// What was decided, the newest first: of a card, at a door, of a reason; and who is inside an area
    Decisions(decisions::Decisions),
    /// Why a card gets the answer it gets at a door: every rule in order, what it saw, and which one settled it
    Explain(explain::Explain),
}

#[derive(Debug, Subcommand)]
enum Leases {
    /// One row a shard: owner, state, time behind, checkpoint
    ///
    /// Watches the heartbeats for as long as it takes to see who lives: about one heartbeat, or leases.failover_ms when somebody
    /// does not.
    ///
    /// HEARTBEAT: how old the owner's last one is, at most (<0.6s) when it moves, at least (≥3.0s) when it stands.
    ///
    /// STATE: held; silent (its owner's heartbeat stands); orphaned (no owner); waiting (for its parents' end); ended; missing
    /// (the stream has the shard, the table no row; the daemon makes it).
    ///
    /// BEHIND: how far the first record after the checkpoint is behind the tip of the shard; ? when the stream did not say,
    /// with the reason on standard error.
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// A JSON array of objects instead of a table
        #[arg(long)]
        json: bool,
        /// Do not ask the stream how far each shard is behind (one read of each)
        #[arg(long)]
        no_behind: bool,
    },
    /// Take owners away, so that the living workers share their leases anew
    ///
    /// Refused when the owner lives, unless forced: it may be in the middle of a page. Exit 0 when every lease is free, else 1.
    Release {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        which: Which,
        /// Even when the owner lives. Nothing is lost: it drops the lease at its next write, and what it read since the checkpoint is
        /// decided again. With decisions.table the first answers stand; without it a second answer can differ
        #[arg(long)]
        force: bool,
    },
    /// Move checkpoints, to decide records again or to skip some
    ///
    /// Stop the daemons first: a lease whose owner lives is always refused. When one lease is refused, none is moved. What is read
    /// again is decided again: with decisions.table the first answers stand. Exit 0 when every checkpoint is there, else 1.
    Rewind {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        which: Which,
        /// trim_horizon (all the stream keeps), latest (now), an RFC 3339 instant, or SEQUENCE[/SUB] as `swiped leases list` prints it:
        /// the last record that counts as done
        #[arg(long, value_name = "PLACE")]
        to: Place,
        /// Even past records that nobody has decided: they never are
        #[arg(long)]
        skip_records: bool,
        /// Even an ended shard whose children are being read: older swipes are decided after newer ones
        #[arg(long)]
        force: bool,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args, Debug)]
struct ConfigFile {
    /// The TOML file; SWIPED_SECTION__KEY variables override its keys
    #[arg(long, value_name = "FILE", env = "SWIPED_CONFIG")]
    config: PathBuf,
}

#[derive(Args, Debug)]
struct Which {
    /// Shards, by name
    #[arg(value_name = "SHARD", required_unless_present_any = ["all", "owner"])]
    shards: Vec<String>,
    /// Every lease of the table
    #[arg(long, conflicts_with = "shards")]
    all: bool,
    /// The leases that this worker owns
    #[arg(long, value_name = "WORKER", conflicts_with_all = ["shards", "all"])]
    owner: Option<String>,
}

impl Which {
    fn chosen(self) -> Chosen {
        match self.owner {
            Some(owner) => Chosen::Owner(owner),
            None if self.all => Chosen::All,
            None => Chosen::Shards(self.shards),
        }
    }
}

/// Does what a command line says, as `swiped` does; the first word is the program's name.
pub fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    match Cli::parse_from(words).command {
        Command::Run(file) => app::run_file(&file.config),
        Command::Check(file) => check(&file.config),
        Command::Leases(order) => {
            let (file, order) = order.order();
            with_config(&file, |config| app::leases::leases(config, &order))
        }
        Command::Explain(order) => {
            let (file, order) = order.order();
            with_config(&file, |config| app::explain::explained(config, &order))
        }
        Command::Decisions(order) => {
            let (file, order) = order.order();
            with_config(&file, |config| app::decisions::decisions(config, &order))
        }
        Command::Access(order) => {
            let (file, order) = order.order();
            with_config(&file, |config| {
                let order = order.map_err(anyhow::Error::msg)?;
                app::access::access(config, &order)
            })
        }
    }
}

/// The problems are what was asked for, so they go to standard output.
fn check(file: &Path) -> ExitCode {
    match Config::load(file, config::environment()) {
        Ok(config) => {
            println!("{}: ok", file.display());
            println!("{}", config.summary());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            problems.iter().for_each(|problem| println!("{problem}"));
            ExitCode::FAILURE
        }
    }
}

/// Does what needs a configuration; why it could not goes to standard error.
fn with_config(
    file: &ConfigFile,
    run: impl FnOnce(&Config) -> anyhow::Result<ExitCode>,
) -> ExitCode {
    let config = match Config::load(&file.config, config::environment()) {
        Ok(config) => config,
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            return ExitCode::FAILURE;
        }
    };
    run(&config).unwrap_or_else(|error| {
        eprintln!("swiped: {error:#}");
        ExitCode::FAILURE
    })
}

impl Leases {
    fn order(self) -> (ConfigFile, Order) {
        match self {
            Self::List {
                file,
                json,
                no_behind,
            } => {
                let behind = !no_behind;
                (file, Order::List { json, behind })
            }
            Self::Release { file, which, force } => {
                let chosen = which.chosen();
                (file, Order::Release { chosen, force })
            }
            Self::Rewind {
                file,
                which,
                to,
                skip_records,
                force,
                dry_run,
            } => {
                let order = Order::Rewind {
                    chosen: which.chosen(),
                    to,
                    force,
                    skip_records,
                    dry_run,
                };
                (file, order)
            }
        }
    }
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
            "swiped leases list --config F --json --no-behind",
            "swiped leases release --config F shardId-1 shardId-2",
            "swiped leases release --config F --all --force",
            "swiped leases release --config F --owner worker-1",
            "swiped leases rewind --config F shardId-1 --to trim_horizon",
            "swiped leases rewind --config F --all --to 2026-03-01T06:00:00Z --dry-run",
            "swiped leases rewind --config F shardId-1 --to 4968/3 --skip-records --force",
            "swiped access import --config F cards.csv --kind cards --dry-run",
            "swiped access import --config F items.json --skip-refused",
            "swiped access put --config F 42 CardStatus=issued AccessProfiles=staff;night ValidTo=",
            "swiped access put --config F --kind doors lobby Direction=in",
            "swiped access put --config F --kind calendars xmas --date 2026-12-25 Recurring=true",
            "swiped access revoke --config F 42",
            "swiped access revoke --config F 42 --reason stolen",
            "swiped access suspend --config F 42",
            "swiped access reissue --config F 42 --to jo --valid-to 2027-01-01",
            "swiped access forgive --config F 42",
            "swiped access validate --config F",
            "swiped explain --config F --card 42 --at lobby",
            "swiped explain --config F --card 42 --at lobby --when 2026-03-02T07:58:41.123Z --device gate --json --items F",
            "swiped decisions --config F --card 42",
            "swiped decisions --config F --card 42 --at lobby --last 3 --json",
            "swiped decisions --config F --at lobby --since 2026-03-01T06:00:00Z --csv",
            "swiped decisions --config F --reason CredentialExpired",
            "swiped decisions inside --config F lobby --json",
        ] {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }

    #[test]
    fn what_is_half_said_or_said_twice_is_not_guessed() {
        for line in [
            "swiped leases release --config F",
            "swiped leases release --config F --all shardId-1",
            "swiped leases release --config F --owner worker-1 shardId-1",
            "swiped leases release --config F --owner worker-1 --all",
            "swiped leases rewind --config F --to latest",
            "swiped leases rewind --config F shardId-1",
            "swiped leases rewind --config F shardId-1 --to yesterday",
            "swiped explain --config F --card 42",
            "swiped explain --config F --card 42 --at lobby --when soon",
            "swiped decisions --config F",
            "swiped decisions --card 42",
            "swiped decisions --config F --card 42 --last 0",
            "swiped decisions --config F --card 42 --json --csv",
            "swiped decisions --config F --reason Bored",
            "swiped decisions inside --config F",
            "swiped access import --config F",
            "swiped access import --config F cards.csv --kind people",
            "swiped access put --config F 42",
            "swiped access put --config F 42 CardStatus",
            "swiped access put --config F not/an/id CardStatus=lost",
            "swiped access revoke --config F",
            "swiped access revoke --config F 42 --reason bored",
            "swiped access reissue --config F 42 --valid-to soon",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
