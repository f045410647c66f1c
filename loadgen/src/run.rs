//! One run: traffic out, answers in, verdict.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use aws_sdk_kinesis::types::ShardIteratorType;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    churn::{self, Change, Timetable},
    churner,
    clients::Clients,
    clock,
    gaps::Gaps,
    ledger::Ledger,
    pace::{Pace, Rate},
    pack::Packing,
    population::Population,
    producer::{Counters, Producer, Sent, lock},
    report::{Environment, Percentiles, Report, RevocationLag},
    rights,
    tail::{Cursor, Tail},
    target::Target,
    traffic::{self, Traffic},
    watch::Watch,
};

/// From the end of preparations to the first swipe.
const LEAD: Duration = Duration::from_millis(200);

/// How often requests are made: plain, and aggregated (so that aggregates fill).
const TICK: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(50)];

/// How often a shard of decisions is read: at an emulator, and at the service, which allows five reads a second.
const OBSERVE_EVERY: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(250)];

/// How often a shard of rejects is read at most.
const REJECTS_EVERY: Duration = Duration::from_millis(100);

/// What traffic, and for how long.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    /// Length of the run in seconds
    #[arg(long, default_value_t = 20.0, value_parser = seconds)]
    pub seconds: f64,
    /// Swipes a second, fractions too, or FROM:TO for a ramp
    #[arg(long, default_value = "5000")]
    pub rate: Rate,
    /// User records an aggregate: off, K, mixed or mixed:K
    #[arg(long, default_value = "off", value_name = "HOW")]
    pub aggregate: Packing,
    /// How long to wait for answers after the last swipe, in seconds
    #[arg(long, default_value_t = 30.0, value_parser = seconds, value_name = "SECONDS")]
    pub drain: f64,
    /// Send no swipe twice; otherwise one in 200 is, as by producers whose reply was lost
    #[arg(long)]
    pub no_repeats: bool,
    /// How often each shard of the decisions is read, in milliseconds [default: 20 at an emulator, 250 at the service]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub observe_every: Option<u64>,
    /// The 99th percentile that must not be reached, in milliseconds [default: 1000; none in a demo that hits a worker]
    #[arg(long, value_name = "MS")]
    pub slo_p99_ms: Option<f64>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("use 0.1 to 86400 seconds".to_owned()),
    }
}

/// A run that is over.
pub struct Ran {
    /// What it was like, not yet judged.
    pub report: Report,
    /// What was answered.
    pub ledger: Ledger,
    /// What was sent.
    pub traffic: Traffic,
    /// When.
    pub pace: Pace,
    /// What churn cards became.
    pub changes: Vec<Change>,
    /// How long shards got no decision.
    pub gaps: Gaps,
}

/// Sends the traffic and waits for its answers. `started` is called with the instant at which the schedule starts.
///
/// # Errors
/// When the target cannot be read or written, or was not seeded for now.
pub async fn run(
    clients: &Clients,
    target: &Target,
    world: Population,
    args: &RunArgs,
    stop: CancellationToken,
    started: impl FnOnce(Instant),
) -> anyhow::Result<Ran> {
    let age = clock::now_ms() - world.seeded_at_ms;
    ensure!(
        (0..rights::GOOD_FOR_MS).contains(&(age + (args.seconds * 1e3) as i64)),
        "the cards were seeded too long ago: their schedules mean what they should for three hours; run `loadgen seed` again"
    );
    if churner::put_back(&clients.dynamodb, &target.access, &world).await? {
        // What was put back has the same grace as any other change.
        tokio::time::sleep(Duration::from_millis(churn::GRACE_MS.unsigned_abs() + 500)).await;
    }
    let pace = Pace::new(args.rate, args.seconds);
    let answers = Answers::open(clients, target, args).await?;
    // Everything is open: from here on nothing but the schedule decides when swipes are sent.
    let (start, start_ms) = (
        Instant::now() + LEAD,
        clock::now_ms() + LEAD.as_millis() as i64,
    );
    let traffic = Traffic {
        population: world,
        timetable: Timetable::new((args.seconds * 1e3) as i64),
        start_ms,
        base_seq: traffic::base_seq(start_ms),
    };
    let watch = Arc::new(Watch::new(pace, start, traffic.base_seq));
    let reading = CancellationToken::new();
    let readers = answers.read(&watch, &reading);
    let (client, table) = (clients.dynamodb.clone(), target.access.clone());
    let churn = tokio::spawn(churner::run(
        client,
        table,
        world,
        traffic.timetable,
        start,
        stop.clone(),
    ));
    let counters = Arc::new(Counters::default());
    let producer = Producer {
        kinesis: clients.kinesis.clone(),
        stream: target.swipes.clone(),
        traffic: Arc::new(traffic.clone()),
        pace,
        packing: args.aggregate,
        repeats: !args.no_repeats,
        linger: if args.aggregate == Packing::Plain {
            TICK[0]
        } else {
            TICK[1]
        },
        ledger: watch.ledger.clone(),
        counters: counters.clone(),
    };
    started(start);
    let producing = tokio::spawn(producer.run(start, stop.clone()));
    let drain = Duration::from_secs_f64(args.drain);
    let sent = watch.follow(producing, drain, &counters).await?;
    let changes = churn.await.context("the changer of cards panicked")?;
    reading.cancel();
    for reader in readers {
        reader.await.context("a reader panicked")??;
    }
    let Some(watch) = Arc::into_inner(watch) else {
        bail!("a reader is still running")
    };
    let mut report = report(&watch, &sent, &counters, &changes, target.rejects.is_some());
    report.rate_requested = pace.total() as f64 / pace.seconds();
    report.slo_p99_ms = args.slo_p99_ms;
    report.interrupted = stop.is_cancelled();
    report.environment = environment(&world, args);
    let gaps = watch.gaps();
    let Some(ledger) = Arc::into_inner(watch.ledger) else {
        bail!("the ledger is still in use")
    };
    let ledger = ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Ran {
        report,
        ledger,
        traffic,
        pace,
        changes,
        gaps,
    })
}

fn report(
    watch: &Watch,
    sent: &Sent,
    counters: &Counters,
    changes: &[Change],
    rejects: bool,
) -> Report {
    let ledger = lock(&watch.ledger);
    let tally = ledger.settle(changes, rejects);
    let lags = churn::revocation_lags_ms(changes, ledger.churn_answers());
    let mut report = Report {
        v: 1,
        schedule_slip_ms: Percentiles::of_us(&sent.slip_us),
        latency_ms: watch.latency(),
        rate_achieved: tally.sent as f64 / sent.took.as_secs_f64().max(watch.seconds()),
        revocation_lag_ms: RevocationLag::of(&lags),
        repeats_sent: counters.repeats.load(Relaxed),
        records_resent: counters.resent.load(Relaxed),
        send_failures: counters.failed.load(Relaxed),
        ..Report::default()
    };
    report.set_tally(tally);
    let unreadable = watch.unreadable.load(Relaxed);
    if unreadable > 0 {
        report.unexpected += unreadable;
        report.problems.push(format!("unexpected: {unreadable} records of the streams of answers are neither decision nor reject"));
    }
    report
}

fn environment(world: &Population, args: &RunArgs) -> Environment {
    Environment {
        seed: world.seed,
        cards: world.cards,
        seconds: args.seconds,
        rate: args.rate.to_string(),
        packing: format!("{:?}", args.aggregate).to_lowercase(),
        ..Environment::here()
    }
}

/// The streams of answers, opened at their tips.
struct Answers {
    decisions: (Tail, Vec<Cursor>),
    rejects: Option<(Tail, Vec<Cursor>)>,
}

impl Answers {
    async fn open(clients: &Clients, target: &Target, args: &RunArgs) -> anyhow::Result<Self> {
        let Some(decisions) = &target.decisions else {
            bail!(
                "a run watches the decision stream, and the configuration names none; set decisions.stream"
            )
        };
        let every = args.observe_every.map_or_else(
            || {
                if target.kinesis.is_some() {
                    OBSERVE_EVERY[0]
                } else {
                    OBSERVE_EVERY[1]
                }
            },
            Duration::from_millis,
        );
        let decisions = Self::open_one(clients, decisions, every).await?;
        let rejects = match &target.rejects {
            // Nothing is timed there.
            Some(rejects) => {
                Some(Self::open_one(clients, rejects, every.max(REJECTS_EVERY)).await?)
            }
            None => None,
        };
        Ok(Self { decisions, rejects })
    }

    async fn open_one(
        clients: &Clients,
        stream: &str,
        every: Duration,
    ) -> anyhow::Result<(Tail, Vec<Cursor>)> {
        let tail = Tail::following(&clients.kinesis, stream, every);
        let cursors = tail.open(ShardIteratorType::Latest).await?;
        Ok((tail, cursors))
    }

    fn read(
        self,
        watch: &Arc<Watch>,
        stop: &CancellationToken,
    ) -> Vec<JoinHandle<anyhow::Result<()>>> {
        let (told, (tail, cursors)) = (watch.clone(), self.decisions);
        let mut readers = vec![tokio::spawn(tail.read(
            cursors,
            stop.clone(),
            move |page, at| told.decisions(page, at),
        ))];
        if let Some((tail, cursors)) = self.rejects {
            let told = watch.clone();
            readers.push(tokio::spawn(tail.read(
                cursors,
                stop.clone(),
                move |page, _| told.rejects(page),
            )));
        }
        readers
    }
}
