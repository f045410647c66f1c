//! One run: traffic out, answers in, verdict.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use hdrhistogram::Histogram;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    churn::{self, Change, Timetable},
    churner,
    clients::Clients,
    clock,
    ledger::Ledger,
    observer,
    pace::{Pace, Rate},
    pack::Packing,
    population::Population,
    producer::{self, Counters, Producer, lock},
    progress::Progress,
    report::{Environment, Percentiles, Report, RevocationLag},
    rights,
    tail::Tail,
    target::Target,
    traffic::{self, Traffic},
};

/// From the end of preparations to the first swipe.
const LEAD: Duration = Duration::from_millis(200);

/// After the last expected answer: how long repeats and contradictions are still looked for.
const LINGER: Duration = Duration::from_millis(700);

/// How often requests are made: plain, and aggregated (so that aggregates fill).
const TICK: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(50)];

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
    /// How often each shard of the decisions is read, in milliseconds; the service allows five reads a second
    #[arg(long, default_value_t = 20, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub observe_every: u64,
    /// The 99th percentile that must not be reached, in milliseconds [default: 1000, none when a worker is killed]
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
    let start_ms = clock::now_ms() + LEAD.as_millis() as i64;
    let base_seq = traffic::base_seq(start_ms);
    let watch = Arc::new(Watch {
        ledger: Arc::new(Mutex::new(Ledger::new(base_seq, pace.total()))),
        latency_us: Mutex::new(producer::slip_histogram()),
        unreadable: Mutex::new(0),
        pace,
        start: Instant::now() + LEAD,
    });
    let reading = CancellationToken::new();
    let readers = watch.clone().open(clients, target, args, &reading).await?;
    ensure!(
        watch.start > Instant::now() - LEAD,
        "opening the decision stream took too long; try again"
    );

    let timetable = Timetable::new((args.seconds * 1e3) as i64);
    let traffic = Traffic {
        population: world,
        timetable,
        start_ms,
        base_seq,
    };
    let (access, table) = (clients.dynamodb.clone(), target.access.clone());
    let churn = tokio::spawn(churner::run(
        access,
        table,
        world,
        timetable,
        watch.start,
        stop.clone(),
    ));
    let counters = Arc::new(Counters::default());
    let producer = Producer {
        kinesis: clients.kinesis.clone(),
        stream: target.swipes.clone(),
        traffic: Arc::new(traffic.clone()),
        pace,
        packing: args.aggregate,
        linger: if args.aggregate == Packing::Plain {
            TICK[0]
        } else {
            TICK[1]
        },
        ledger: watch.ledger.clone(),
        counters: counters.clone(),
    };
    started(watch.start);
    let producing = tokio::spawn(producer.run(watch.start, stop.clone()));
    let sent = watch
        .follow(producing, Duration::from_secs_f64(args.drain), &counters)
        .await?;
    let changes = churn.await.context("the changer of cards panicked")?;
    reading.cancel();
    for reader in readers {
        reader.await.context("a reader panicked")??;
    }

    let mut report = Report {
        v: 1,
        rate_requested: pace.total() as f64 / pace.seconds(),
        schedule_slip_ms: Percentiles::of_us(&sent.slip_us),
        latency_ms: Percentiles::of_us(
            &watch
                .latency_us
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        ),
        slo_p99_ms: args.slo_p99_ms,
        repeats_sent: counters.repeats.load(Relaxed),
        records_resent: counters.resent.load(Relaxed),
        send_failures: counters.failed.load(Relaxed),
        interrupted: stop.is_cancelled(),
        environment: Environment {
            seed: world.seed,
            cards: world.cards,
            seconds: args.seconds,
            rate: args.rate.to_string(),
            packing: format!("{:?}", args.aggregate).to_lowercase(),
            ..Environment::here()
        },
        ..Report::default()
    };
    let tally = lock(&watch.ledger).settle(&changes, target.rejects.is_some());
    report.rate_achieved = tally.sent as f64 / sent.took.as_secs_f64().max(pace.seconds());
    report.revocation_lag_ms = RevocationLag::of(&churn::revocation_lags_ms(
        &changes,
        lock(&watch.ledger).churn_answers(),
    ));
    report.set_tally(tally);
    let unreadable = *watch
        .unreadable
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if unreadable > 0 {
        report.unexpected += unreadable;
        report.problems.push(format!(
            "{unreadable} records of the decision or reject stream are neither"
        ));
    }
    let Some(watch) = Arc::into_inner(watch) else {
        bail!("a reader is still running")
    };
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
    })
}

/// What readers share.
struct Watch {
    ledger: Arc<Mutex<Ledger>>,
    latency_us: Mutex<Histogram<u64>>,
    unreadable: Mutex<u64>,
    pace: Pace,
    start: Instant,
}

impl Watch {
    /// Opens the streams of answers at their tips and starts reading them.
    async fn open(
        self: Arc<Self>,
        clients: &Clients,
        target: &Target,
        args: &RunArgs,
        stop: &CancellationToken,
    ) -> anyhow::Result<Vec<JoinHandle<anyhow::Result<()>>>> {
        let Some(decisions) = &target.decisions else {
            bail!(
                "a run watches the decision stream, and the configuration names none; set decisions.stream"
            )
        };
        let every = Duration::from_millis(args.observe_every);
        let tail = Tail::following(&clients.kinesis, decisions, every);
        let (this, cursors) = (self.clone(), tail.open(ShardIteratorType::Latest).await?);
        let mut readers = vec![tokio::spawn(tail.read(
            cursors,
            stop.clone(),
            move |page, at| this.decisions(page, at),
        ))];
        if let Some(rejects) = &target.rejects {
            let tail = Tail::following(&clients.kinesis, rejects, every * 5);
            let (this, cursors) = (self, tail.open(ShardIteratorType::Latest).await?);
            readers.push(tokio::spawn(tail.read(
                cursors,
                stop.clone(),
                move |page, _| this.rejects(page),
            )));
        }
        Ok(readers)
    }

    fn decisions(&self, records: &[Record], at: Instant) {
        if records.is_empty() {
            return;
        }
        let (seen, unreadable) = observer::decisions(records);
        *self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += unreadable;
        let elapsed_s = at.saturating_duration_since(self.start).as_secs_f64();
        let mut latency_us = self
            .latency_us
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut ledger = lock(&self.ledger);
        for k in seen.into_iter().filter_map(|seen| ledger.decided(seen)) {
            latency_us.saturating_record(((elapsed_s - self.pace.at_s(k)) * 1e6).max(0.0) as u64);
        }
    }

    fn rejects(&self, records: &[Record]) {
        let (seen, unreadable) = observer::rejects(records);
        *self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += unreadable;
        let mut ledger = lock(&self.ledger);
        for (place, error) in seen {
            ledger.rejected(place, &error);
        }
    }

    /// Shows progress until everything is sent and answered, or until the wait for answers is over.
    async fn follow(
        &self,
        mut producing: JoinHandle<anyhow::Result<producer::Sent>>,
        drain: Duration,
        counters: &Counters,
    ) -> anyhow::Result<producer::Sent> {
        let mut progress = Progress::default();
        let mut before = (0, 0, Instant::now());
        let sent = loop {
            tokio::select! {
                sent = &mut producing => break sent.context("the producer panicked")??,
                () = tokio::time::sleep(Duration::from_secs(1)) => self.show(&mut progress, &mut before, counters),
            }
        };
        let until = Instant::now() + drain;
        while lock(&self.ledger).open() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if before.2.elapsed() >= Duration::from_secs(1) {
                self.show(&mut progress, &mut before, counters);
            }
        }
        tokio::time::sleep(LINGER).await;
        self.show(&mut progress, &mut before, counters);
        progress.end();
        Ok(sent)
    }

    fn show(&self, progress: &mut Progress, before: &mut (u64, u64, Instant), counters: &Counters) {
        let (stored, now) = (counters.stored.load(Relaxed), Instant::now());
        let (tally, open) = {
            let ledger = lock(&self.ledger);
            (ledger.tally().clone(), ledger.open())
        };
        let latency = Percentiles::of_us(
            &self
                .latency_us
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let step = now.duration_since(before.2).as_secs_f64().max(1e-3);
        progress.show(&format!(
            "{:>5.1} s  sent {:>6.0}/s  decided {:>6.0}/s  p50 {:>5.0} ms  p99 {:>5.0} ms  open {open}  wrong {}",
            now.saturating_duration_since(self.start).as_secs_f64(),
            stored.saturating_sub(before.0) as f64 / step,
            tally.decided.saturating_sub(before.1) as f64 / step,
            latency.p50,
            latency.p99,
            tally.wrong + tally.contradictory + tally.unexpected,
        ));
        *before = (stored, tally.decided, now);
    }
}
