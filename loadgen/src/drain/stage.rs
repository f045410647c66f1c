//! What drains are played on: stand-ins, a seeded world, and for each drain streams and tables of its own.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use aws_sdk_kinesis::types::ShardIteratorType;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Course, DrainArgs, Sink,
    backlog::{self, Backlog},
    outcome::{Measured, Replay, Row, Written},
    process::{Bare, Extra, Swiped},
};
use crate::{
    clients::Clients,
    clock,
    ledger::Ledger,
    local::{self, Endpoints},
    observer,
    pack::Packing,
    population::Population,
    progress::Progress,
    seed,
    standin::{self, Standins},
    tail::Tail,
    target::Target,
    verify,
};

/// From look to look at what the daemon has done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// From scrape to scrape of its metrics: 0.1 % of a core at most.
const SCRAPE_EVERY: Duration = Duration::from_millis(250);

/// After it is ready it opens its shards and reads each once.
const SETTLE: Duration = Duration::from_secs(1);

/// Without one decision more for so long, a drain does not end.
const STALLED: Duration = Duration::from_secs(60);

/// From read to read of one shard at the service.
const READ_EVERY: Duration = Duration::from_millis(200);

/// The stage.
pub(super) struct Stage {
    standins: Standins,
    target: Target,
    clients: Clients,
    world: Population,
    directory: PathBuf,
    swipes: u64,
    retrieval: &'static str,
    played: u32,
}

/// One drain's streams and tables.
struct Props {
    target: Target,
    /// Stream or table that the bare loop writes.
    bare: String,
    leases: String,
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

    /// Plays one drain: the daemon, its decisions read back, the bare loop.
    pub(super) async fn play(
        &mut self,
        course: Course,
        progress: &mut Progress,
    ) -> anyhow::Result<Row> {
        let props = self.props(course).await?;
        let what = describe(course);
        progress.show(&format!("{what}: making {} swipes", self.swipes));
        let mut backlog = self.backlog(&props, course).await?;
        let mut measured = Measured {
            swipes: self.swipes,
            swipe_records: backlog.records,
            retrieval: self.retrieval,
            paced: READ_EVERY * backlog.pages.saturating_sub(1),
            ..Measured::default()
        };
        self.drain(&props, course, &mut backlog, &mut measured, progress)
            .await?;

        progress.show(&format!("{what}: reading the decisions back"));
        let ledger = Arc::new(Mutex::new(backlog.ledger()));
        let unreadable = Arc::new(AtomicU64::new(0));
        measured.written = match course.sink {
            Sink::Stream => self.read_stream(&props, &ledger, &unreadable).await?,
            Sink::Table => self.read_table(&props, &ledger).await?,
        };
        measured.tally = lock(&ledger).settle(&[], true);
        let rejects = self.records(props.target.rejects.as_deref())?;
        measured.tally.unexpected += rejects + unreadable.load(Relaxed);

        self.drain_bare(&props, course, &mut backlog, &mut measured, progress)
            .await?;
        self.clear(&props, course).await?;
        Ok(Row::of(course, measured))
    }

    /// Streams and tables of their own, so that nothing of the last drain is in the way.
    async fn props(&mut self, course: Course) -> anyhow::Result<Props> {
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

    async fn backlog(&self, props: &Props, course: Course) -> anyhow::Result<Backlog> {
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
    fn exchange(&self, props: &Props, backlog: &mut Backlog) -> anyhow::Result<()> {
        let exchanged = self.standins.store.with(&props.target.swipes, |stream| {
            stream.exchange_records(&mut backlog.stream);
            Ok(())
        });
        exchanged.map_err(refused)
    }

    async fn drain(
        &self,
        props: &Props,
        course: Course,
        backlog: &mut Backlog,
        measured: &mut Measured,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let mut extra = Extra {
            leases: props.leases.clone(),
            retrieval: self.retrieval,
            aggregate: course.aggregate > 1 && course.sink == Sink::Stream,
        };
        let started = Swiped::start(&self.directory, &props.target, &extra);
        let mut swiped = match started {
            Err(error) if extra.aggregate => {
                measured.notes.push(format!(
                    "decisions went plain, swipes alone were aggregated: {error:#}"
                ));
                extra.aggregate = false;
                Swiped::start(&self.directory, &props.target, &extra)?
            }
            started => started?,
        };
        swiped.ready(course.shards).await?;
        sleep(SETTLE).await;
        let before = swiped.cpu()?;
        self.exchange(props, backlog)?;
        let what = format!("{}: daemon, pid {}", describe(course), swiped.pid());
        let (took, replay) = self
            .decided(&swiped, props, course, progress, &what)
            .await?;
        let cpu = swiped.stop().await?;
        self.exchange(props, backlog)?;
        (measured.took, measured.cpu) = (took, cpu - before);
        measured.replay = (course.sink == Sink::Table).then(|| match replay {
            Some((swipes, at)) => Replay {
                swipes,
                cpu_us_per_swipe_after: (self.swipes > swipes)
                    .then(|| (cpu - at) * 1e6 / (self.swipes - swipes) as f64),
            },
            None => Replay {
                swipes: self.swipes,
                cpu_us_per_swipe_after: None,
            },
        });
        Ok(())
    }

    /// Waits until every swipe is decided. How long it took, and how many were decided and what CPU time was spent when the
    /// last shard's replay window closed.
    async fn decided(
        &self,
        swiped: &Swiped,
        props: &Props,
        course: Course,
        progress: &mut Progress,
        what: &str,
    ) -> anyhow::Result<(Duration, Option<(u64, f64)>)> {
        let began = Instant::now();
        let (mut stored, mut last_stored) = (0, began);
        let (mut decided, mut last_decided) = (0, began);
        let mut scrape_at = began + SCRAPE_EVERY;
        let mut replay = None;
        loop {
            sleep(LOOK_EVERY).await;
            let records = self.records(props.target.decisions.as_deref())?;
            if records > stored {
                (stored, last_stored) = (records, Instant::now());
            }
            if Instant::now() < scrape_at {
                continue;
            }
            let count = swiped.metric("swiped_decisions_total").await;
            let (now, count) = (Instant::now(), count.unwrap_or(0.0) as u64);
            scrape_at = now + SCRAPE_EVERY;
            if count > decided {
                (decided, last_decided) = (count, now);
            }
            if replay.is_none() && swiped.logged("replay window closed") >= course.shards as usize {
                replay = Some((decided, swiped.cpu()?));
            }
            progress.line(|| format!("{what}: {decided} of {} decided", self.swipes));
            if decided >= self.swipes {
                let end = match course.sink {
                    Sink::Stream => last_stored,
                    Sink::Table => last_decided,
                };
                return Ok((end - began, replay));
            }
            ensure!(
                last_decided.elapsed() < STALLED,
                "{what}: stalled at {decided} of {} decisions",
                self.swipes
            );
        }
    }

    async fn drain_bare(
        &self,
        props: &Props,
        course: Course,
        backlog: &mut Backlog,
        measured: &mut Measured,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let written = measured.written;
        let options = [
            ("--kinesis", self.standins.kinesis_url.clone()),
            ("--dynamodb", self.standins.dynamodb_url.clone()),
            ("--region", self.target.region.clone()),
            ("--from", props.target.swipes.clone()),
            ("--into", props.bare.clone()),
            ("--sink", course.sink.as_str().to_owned()),
            ("--records", backlog.records.to_string()),
            ("--entries", written.entries.to_string()),
            ("--entry-bytes", mean(written).to_string()),
        ];
        let args = options
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value]);
        let bare = Bare::start(args.collect()).await?;
        progress.show(&format!(
            "{}: bare loop, pid {}",
            describe(course),
            bare.pid()
        ));
        sleep(SETTLE).await;
        self.exchange(props, backlog)?;
        (measured.bare_cpu, measured.bare_took) = bare.drain().await?;
        self.exchange(props, backlog)?;
        measured.bare_written = match course.sink {
            Sink::Stream => self.written(&props.bare, |_| ()).await?,
            Sink::Table => written,
        };
        Ok(())
    }

    /// Records that a stream ever had.
    fn records(&self, stream: Option<&str>) -> anyhow::Result<u64> {
        let Some(stream) = stream else { return Ok(0) };
        // The first numbers went to the shards.
        let count = |stream: &mut standin::kinesis::stream::Stream| {
            Ok(stream.tip() - 1 - stream.shards().count() as u64)
        };
        self.standins.store.with(stream, count).map_err(refused)
    }

    /// Tells the ledger of every decision on the stream.
    async fn read_stream(
        &self,
        props: &Props,
        ledger: &Arc<Mutex<Ledger>>,
        unreadable: &Arc<AtomicU64>,
    ) -> anyhow::Result<Written> {
        let stream = props.target.decisions.as_deref().unwrap_or_default();
        let (told, strange) = (ledger.clone(), unreadable.clone());
        self.written(stream, move |page| {
            let (seen, unreadable) = observer::decisions(page);
            let mut told = lock(&told);
            seen.into_iter().for_each(|seen| _ = told.decided(seen));
            _ = strange.fetch_add(unreadable, Relaxed);
        })
        .await
    }

    /// Reads a stream from end to end; what is on it.
    async fn written(
        &self,
        stream: &str,
        take: impl Fn(&[aws_sdk_kinesis::types::Record]) + Clone + Send + 'static,
    ) -> anyhow::Result<Written> {
        let sum = Arc::new(Mutex::new(Written::default()));
        let counted = sum.clone();
        let tail = Tail::once(&self.clients.kinesis, stream, LOOK_EVERY);
        let cursors = tail.open(ShardIteratorType::TrimHorizon).await?;
        tail.read(cursors, CancellationToken::new(), move |page, _| {
            take(page);
            let bytes = page.iter().map(|record| {
                let key = record.partition_key.as_deref().unwrap_or_default();
                record.data.as_ref().len() + key.len()
            });
            let bytes: usize = bytes.sum();
            let mut sum = lock(&counted);
            sum.entries += page.len() as u64;
            sum.bytes += bytes as u64;
        })
        .await?;
        let sum = *lock(&sum);
        Ok(sum)
    }

    /// Tells the ledger of every decision in the table.
    async fn read_table(
        &self,
        props: &Props,
        ledger: &Arc<Mutex<Ledger>>,
    ) -> anyhow::Result<Written> {
        let table = props.target.decision_table.as_deref().unwrap_or_default();
        let mut written = Written::default();
        verify::read_table(&self.clients, table, |seen| {
            written.entries += 1;
            lock(ledger).decided(seen);
        })
        .await?;
        Ok(written)
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

fn describe(course: Course) -> String {
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

/// Bytes of an entry, rounded.
fn mean(written: Written) -> u64 {
    let entries = written.entries.max(1);
    ((written.bytes + entries / 2) / entries).max(1)
}

fn refused(refusal: standin::kinesis::Refusal) -> anyhow::Error {
    anyhow!("the Kinesis stand-in: {}", refusal.message)
}

/// A panic under the lock is told elsewhere; what was counted stays.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_what_was_written_is_rounded() {
        let mean = |entries, bytes| mean(Written { entries, bytes });
        assert_eq!(
            (mean(2, 801), mean(2, 800), mean(3, 1000), mean(0, 0)),
            (401, 400, 333, 1)
        );
    }
}
