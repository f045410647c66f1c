//! What drains are played on: stand-ins, a seeded world, and for each drain streams and tables of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow};

use super::{
    Course, DrainArgs, Retrieval, Sink,
    backlog::{self, Backlog},
    outcome::Measured,
};
use crate::{
    clients::Clients,
    clock,
    local::{self, Endpoints},
    pack::Packing,
    population::Population,
    progress::Progress,
    seed,
    standin::{self, Standins, kinesis::stream::Stream},
    target::Target,
};

/// From read to read of one shard at the service.
const READ_EVERY: Duration = Duration::from_millis(200);

/// The stage.
pub(super) struct Stage {
    pub(super) standins: Standins,
    pub(super) target: Target,
    pub(super) clients: Clients,
    pub(super) world: Population,
    pub(super) directory: PathBuf,
    pub(super) swipes: u64,
    pub(super) retrieval: &'static str,
    pub(super) look_ups: bool,
    played: u32,
}

/// One drain's streams and tables.
pub(super) struct Props {
    pub(super) target: Target,
    /// Stream or table that the bare loop writes.
    pub(super) bare: String,
    /// The daemon's lease table.
    pub(super) leases: String,
}

impl Stage {
    /// Starts stand-ins and seeds the access table.
    pub(super) async fn set(
        args: &DrainArgs,
        directory: &Path,
        progress: &mut Progress,
    ) -> anyhow::Result<Self> {
        progress.show("starting stand-ins for Kinesis and DynamoDB");
        // Records are kept for a day, as the service does: a backlog is older than a demo's.
        let standins = Standins::start(&standin::Options::default())?;
        let mut target = Target::at(&standins.kinesis_url, &standins.dynamodb_url);
        target.region = Endpoints::of(&standins).region;
        let clients = Clients::connect(&target).await;
        let world = Population {
            cards: args.cards,
            seed: args.seed,
            seeded_at_ms: clock::now_ms() - backlog::age_ms(args.swipes),
        };
        seed::prepare(&clients, &target, 1, &world, progress).await?;
        Ok(Self {
            standins,
            target,
            clients,
            world,
            directory: directory.to_owned(),
            swipes: args.swipes,
            retrieval: args.retrieval.as_str(),
            look_ups: args.look_ups,
            played: 0,
        })
    }

    /// Stops the stand-ins.
    pub(super) async fn strike(self) -> anyhow::Result<()> {
        let standins = self.standins;
        tokio::task::spawn_blocking(move || standins.stop())
            .await
            .context("stopping the stand-ins panicked")?
    }

    /// Plays one round of a drain: the daemon, its decisions read back, the bare loop.
    pub(super) async fn play(
        &mut self,
        course: Course,
        progress: &mut Progress,
    ) -> anyhow::Result<Measured> {
        let props = self.props(course).await?;
        let what = describe(course);
        progress.show(&format!("{what}: making {} swipes", self.swipes));
        let mut backlog = self.backlog(&props, course).await?;
        let mut measured = Measured {
            swipes: self.swipes,
            swipe_records: backlog.records,
            retrieval: self.retrieval,
            ..Measured::default()
        };
        if self.retrieval == Retrieval::Polling.as_str() {
            measured.paced = READ_EVERY * backlog.pages().saturating_sub(1);
        } else {
            measured.notes.push(format!(
                "the daemon read by {}, the bare loop polled",
                self.retrieval
            ));
        }
        self.drain(&props, course, &mut backlog, &mut measured, progress)
            .await?;

        progress.show(&format!("{what}: reading the decisions back"));
        (measured.written, measured.tally) = self.read_back(&props, course, &backlog).await?;

        self.drain_bare(&props, course, &mut backlog, &mut measured, progress)
            .await?;
        self.clear(&props, course).await?;
        Ok(measured)
    }

    /// Streams and tables of their own, so that nothing of the last drain is in the way.
    pub(super) async fn props(&mut self, course: Course) -> anyhow::Result<Props> {
        self.played += 1;
        let name = |what: &str| format!("drain-{}-{what}", self.played);
        let mut target = Target {
            swipes: name("swipes"),
            decisions: None,
            decision_table: None,
            rejects: Some(name("rejects")),
            ..self.target.clone()
        };
        let bare = name("bare");
        let mut beside = target.clone();
        match course.sink {
            Sink::Stream => {
                (target.decisions, beside.decisions) = (Some(name("decisions")), Some(bare.clone()))
            }
            Sink::Table => {
                target.decision_table = Some(name("decisions"));
                beside.decision_table = Some(bare.clone());
            }
        }
        for target in [&target, &beside] {
            let names = target.names(course.shards);
            local::create_all(&self.clients.kinesis, &self.clients.dynamodb, &names).await?;
        }
        Ok(Props {
            target,
            bare,
            leases: name("leases"),
        })
    }

    pub(super) async fn backlog(&self, props: &Props, course: Course) -> anyhow::Result<Backlog> {
        let packing = match course.aggregate {
            1 => Packing::Plain,
            size => Packing::Aggregated(size),
        };
        let (store, stream) = (self.standins.store.clone(), props.target.swipes.clone());
        let (world, swipes) = (self.world, self.swipes);
        let filled = tokio::task::spawn_blocking(move || {
            // Nobody reads the stream yet.
            store.with(&stream, |empty| {
                Ok(Backlog::fill(empty, world, swipes, packing))
            })
        });
        filled
            .await
            .context("making the backlog panicked")?
            .map_err(refused)?
    }

    /// The backlog appears, or goes away again.
    pub(super) fn exchange(&self, props: &Props, backlog: &mut Backlog) -> anyhow::Result<()> {
        let exchanged = self.standins.store.with(&props.target.swipes, |stream| {
            stream.exchange_records(&mut backlog.stream);
            Ok(())
        });
        exchanged.map_err(refused)
    }

    /// Records that a stream ever had.
    pub(super) fn records(&self, stream: Option<&str>) -> anyhow::Result<u64> {
        let Some(stream) = stream else { return Ok(0) };
        let count = |stream: &mut Stream| Ok(stream.records_put());
        self.standins.store.with(stream, count).map_err(refused)
    }

    /// Deletes what this drain made: a million decisions are half a gigabyte of memory.
    async fn clear(&self, props: &Props, course: Course) -> anyhow::Result<()> {
        let target = &props.target;
        let mut streams = vec![Some(&target.swipes), target.rejects.as_ref()];
        let mut tables = vec![target.decision_table.as_ref()];
        match course.sink {
            Sink::Stream => streams.extend([target.decisions.as_ref(), Some(&props.bare)]),
            Sink::Table => tables.push(Some(&props.bare)),
        }
        for stream in streams.into_iter().flatten() {
            self.standins.store.delete_stream(stream).map_err(refused)?;
        }
        for table in tables.into_iter().flatten() {
            let call = self.clients.dynamodb.delete_table().table_name(table);
            call.send()
                .await
                .with_context(|| format!("cannot delete the table {table}"))?;
        }
        Ok(())
    }
}

/// The drain in words.
pub(super) fn describe(course: Course) -> String {
    let Course {
        shards,
        aggregate,
        sink,
    } = course;
    let records = match aggregate {
        1 => "plain".to_owned(),
        size => format!("aggregates of {size}"),
    };
    format!("{shards} shards, {records}, {}", sink.as_str())
}

fn refused(refusal: standin::kinesis::Refusal) -> anyhow::Error {
    anyhow!("the Kinesis stand-in: {}", refusal.message)
}
