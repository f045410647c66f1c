//! `loadgen drain`: one backlog, drained by the daemon and by a bare SDK loop, and what each paid for it in CPU time.
//!
//! Both are processes of their own, ready and idle when the backlog appears: its records are exchanged with those of an
//! empty stream in one instant. CPU is user and system time by the kernel, from that instant on: the daemon's until it has
//! stored its checkpoints and given its leases away after the last decision, the loop's until its last write. Stand-ins
//! are not in either. Then every decision is read back and must be the one that the swipe has to get.
//!
//! The daemon goes first, since the loop has to write what the daemon was seen to write: as many entries, as many bytes.

mod acts;
pub mod backlog;
pub mod bare;
mod live;
mod outcome;
mod process;
mod readback;
mod stage;
mod summary;

use std::path::PathBuf;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use crate::{pace::Rate, progress::Progress, stage::Scratch};
use outcome::Objectives;
pub use outcome::{Report, Row};
use stage::Stage;

/// User records an aggregate where all combinations are played and nobody says how many.
const AGGREGATE: usize = 64;

/// Most swipes: their schedules mean what they should for three hours, and a backlog grows by 1500 a second.
const SWIPES_MAX: u64 = 10_000_000;

/// Where decisions go.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sink {
    /// The decision stream.
    #[default]
    Stream,
    /// The decision table.
    Table,
}

impl Sink {
    /// The word of the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Table => "table",
        }
    }
}

/// How the daemon reads.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[value(rename_all = "snake_case")]
pub enum Retrieval {
    /// GetRecords.
    Polling,
    /// SubscribeToShard.
    FanOut,
    /// What the daemon finds best.
    Auto,
}

impl Retrieval {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::FanOut => "fan_out",
            Self::Auto => "auto",
        }
    }
}

/// What to drain.
#[derive(clap::Args, Clone, Debug)]
pub struct DrainArgs {
    /// Shards of the swipe stream, and of the decision stream
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    shards: u32,
    /// Swipes of the backlog
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=SWIPES_MAX))]
    swipes: u64,
    /// User records an aggregate, of swipes and of decisions [default: plain records; with --all 64]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(2..=2000))]
    aggregate: Option<u64>,
    /// Where decisions go
    #[arg(long, value_enum, default_value_t)]
    sink: Sink,
    /// How the daemon reads; the bare loop polls
    #[arg(long, value_enum, default_value_t = Retrieval::Polling)]
    retrieval: Retrieval,
    /// Cards
    #[arg(long, default_value_t = 10_000, value_parser = crate::population::card_count)]
    cards: usize,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Every combination: 1 shard and --shards, plain and aggregated, stream and table
    #[arg(long)]
    all: bool,
    /// Let swipes be looked up in the decision table first, as after a take-over: for half a minute
    #[arg(long)]
    look_ups: bool,
    /// Rounds of each combination, daemon and loop in turn; the cheapest of each side counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Catch up instead: so many new swipes a second go on while the daemon alone drains the backlog, which is as old as its
    /// swipes are many (1500 a second); say how long it takes. The bare loop has no part in it
    #[arg(long, value_name = "RATE", conflicts_with_all = ["all", "rounds", "look_ups", "max_ratio", "min_per_core"])]
    live: Option<Rate>,
    /// Exit 1 when that takes longer than so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "live", value_parser = clap::value_parser!(u64).range(1..=3600))]
    deadline: u64,
    /// Exit 1 when the daemon takes more CPU time a swipe than so many times the bare loop's
    #[arg(long, value_name = "RATIO")]
    max_ratio: Option<f64>,
    /// Exit 1 when the daemon decides fewer swipes in a second of its own CPU time
    #[arg(long, value_name = "SWIPES")]
    min_per_core: Option<f64>,
    /// Keep the directory with configurations and logs, also when all is well
    #[arg(long)]
    keep: bool,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One backlog and how it is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    shards: u32,
    /// User records an aggregate; 1: plain records.
    aggregate: usize,
    sink: Sink,
}

impl DrainArgs {
    /// What was asked for.
    fn course(&self) -> Course {
        Course {
            shards: self.shards,
            aggregate: self.aggregate.map_or(1, |size| size as usize),
            sink: self.sink,
        }
    }
}

/// What is played, the one that was asked for first.
fn courses(args: &DrainArgs) -> Vec<Course> {
    let mut courses = vec![args.course()];
    if args.all {
        let size = args.aggregate.map_or(AGGREGATE, |size| size as usize);
        for sink in [Sink::Stream, Sink::Table] {
            for aggregate in [1, size] {
                for shards in [args.shards, 1] {
                    courses.push(Course {
                        shards,
                        aggregate,
                        sink,
                    });
                }
            }
        }
    }
    let mut known = Vec::new();
    courses.retain(|course| {
        let is_new = !known.contains(course);
        known.push(*course);
        is_new
    });
    courses
}

/// Drains and prints what it cost; the exit code of the contract.
///
/// # Errors
/// When something could not be started or stopped going on; the message names the directory with the logs.
pub async fn run(args: &DrainArgs, stop: CancellationToken) -> anyhow::Result<u8> {
    if let Some(rate) = args.live {
        return live::run(args, rate, stop).await;
    }
    let scratch = Scratch::create("drain")?;
    let played = tokio::select! {
        played = play(args, &scratch) => played,
        () = stop.cancelled() => bail!("interrupted; logs are in {}", scratch.0.display()),
    };
    let report = played
        .with_context(|| format!("the drain ended early; logs are in {}", scratch.0.display()))?;
    print!("{}", report.text());
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    scratch.close(report.exit_code != 0 || args.keep)?;
    Ok(report.exit_code)
}

async fn play(args: &DrainArgs, scratch: &Scratch) -> anyhow::Result<Report> {
    let mut progress = Progress::default();
    let mut stage = Stage::set(args, &scratch.0, &mut progress).await?;
    let mut rows = Vec::new();
    for course in courses(args) {
        let mut rounds = Vec::new();
        for _ in 0..args.rounds {
            rounds.push(stage.play(course, &mut progress).await?);
            progress.end();
        }
        rows.push(Row::of(course, rounds));
    }
    stage.strike().await?;
    Ok(Report::of(
        rows,
        Objectives {
            max_ratio: args.max_ratio,
            min_per_core: args.min_per_core,
        },
        args.cards,
        args.seed,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        drain: DrainArgs,
    }

    #[track_caller]
    fn check(words: &str, expected: &[(u32, usize, Sink)]) {
        let words = std::iter::once("drain").chain(words.split_whitespace());
        let args = <Cli as clap::Parser>::parse_from(words).drain;
        let found: Vec<(u32, usize, Sink)> = courses(&args)
            .iter()
            .map(|course| (course.shards, course.aggregate, course.sink))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_asked_for_comes_first_and_nothing_twice() {
        use Sink::{Stream, Table};
        check("", &[(8, 1, Stream)]);
        check("--shards 2 --aggregate 20", &[(2, 20, Stream)]);
        check(
            "--all --sink table",
            &[
                (8, 1, Table),
                (8, 1, Stream),
                (1, 1, Stream),
                (8, 64, Stream),
                (1, 64, Stream),
                (1, 1, Table),
                (8, 64, Table),
                (1, 64, Table),
            ],
        );
        check(
            "--all --shards 1 --aggregate 9",
            &[(1, 9, Stream), (1, 1, Stream), (1, 1, Table), (1, 9, Table)],
        );
    }
}
