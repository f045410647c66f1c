//! `loadgen drain --live`: the daemon catches up on a backlog while new swipes go on as ever.
//!
//! The backlog appears when the traffic begins, in one instant, with arrivals and swipes spread over the time in which nobody
//! read. Caught up is who is behind by less than a second of the traffic. Then the traffic goes on for a while, ends, and every
//! decision is looked at: those to the traffic as they come, those to the backlog afterwards.

mod outcome;

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Course, DrainArgs, Sink,
    backlog::Backlog,
    process::{Extra, Swiped},
    readback::lock,
    stage::{Props, Stage},
};
use crate::{
    ledger::Tally,
    pace::{Pace, Rate},
    pack::Packing,
    progress::Progress,
    run::{self, Ran, RunArgs},
    stage::Scratch,
};
use outcome::Report;

/// Who is behind by less than what comes in so long has caught up.
const AT_TIP: Duration = Duration::from_secs(1);

/// The traffic after that, in which it must stay there.
const TAIL: Duration = Duration::from_secs(3);

/// From look to look; each costs the daemon a millisecond.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// After it is ready it opens its shards and reads each once.
const SETTLE: Duration = Duration::from_secs(1);

/// After so many deadlines nobody waits any more.
const DEADLINES: u32 = 2;

/// Leases that the daemon gave up since its heartbeats were late: what it had not checkpointed is decided again.
const FENCED: &str = r#"swiped_lease_events_total{event="fenced"}"#;

/// How long to wait for answers after the last swipe, and how often each shard of the decisions is read.
const DRAIN_S: f64 = 30.0;
const OBSERVE_EVERY_MS: u64 = 50;

/// What was seen of the daemon.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// From the backlog to being caught up, and what CPU time that took.
    caught_up: Option<Duration>,
    cpu_seconds: f64,
    resident_before: u64,
    resident_peak: u64,
    in_flight_most: u64,
    read_ahead_most: u64,
    behind_most: u64,
    /// At the last look.
    behind_at_end: u64,
    fenced: u64,
}

/// Lets the daemon catch up and prints how that went; the exit code of the contract.
///
/// # Errors
/// When something could not be started; the message names the directory with the logs.
pub(super) async fn run(
    args: &DrainArgs,
    rate: Rate,
    stop: CancellationToken,
) -> anyhow::Result<u8> {
    ensure!(
        args.sink == Sink::Stream,
        "traffic is watched on the decision stream: --live goes with --sink stream"
    );
    let scratch = Scratch::create("drain")?;
    let played = tokio::select! {
        played = play(args, rate, &scratch.0) => played,
        () = stop.cancelled() => bail!("interrupted; logs are in {}", scratch.0.display()),
    };
    let report = played
        .with_context(|| format!("the drain ended early; logs are in {}", scratch.0.display()))?;
    print!("{}", report.text());
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    // Why somebody was answered twice is in the log.
    scratch.close(report.exit_code != 0 || report.duplicates != 0 || args.keep)?;
    Ok(report.exit_code)
}

async fn play(args: &DrainArgs, rate: Rate, directory: &Path) -> anyhow::Result<Report> {
    let mut progress = Progress::default();
    let mut stage = Stage::set(args, directory, &mut progress).await?;
    let course = args.course();
    let props = stage.props(course).await?;
    progress.show(&format!("making {} swipes", stage.swipes));
    let backlog = stage.backlog(&props, course).await?;
    let swiped = stage.start(&props, course).await?;
    progress.end();
    let (ran, seen, backlog) = stage.catch_up(args, rate, &props, &swiped, backlog).await?;
    swiped.stop().await?;
    progress.show("reading the decisions back");
    let tally = stage.told(&props, &backlog).await?;
    progress.end();
    stage.strike().await?;
    Ok(Report::of(args, rate, &ran, &tally, seen))
}

impl Stage {
    async fn start(&self, props: &Props, course: Course) -> anyhow::Result<Swiped> {
        let extra = Extra {
            leases: props.leases.clone(),
            retrieval: self.retrieval,
            look_ups: false,
            aggregate: course.aggregate > 1,
        };
        let mut swiped = Swiped::start(&self.directory, &props.target, &extra)?;
        swiped.ready(course.shards).await?;
        sleep(SETTLE).await;
        Ok(swiped)
    }

    /// Traffic, and the backlog as it begins; the end of both when the daemon is at the tip, or after some deadlines.
    async fn catch_up(
        &self,
        args: &DrainArgs,
        rate: Rate,
        props: &Props,
        swiped: &Swiped,
        mut backlog: Backlog,
    ) -> anyhow::Result<(Ran, Seen, Backlog)> {
        let patience = Duration::from_secs(args.deadline) * DEADLINES;
        let traffic = RunArgs {
            seconds: (patience + TAIL).as_secs_f64(),
            rate,
            aggregate: match args.course().aggregate {
                1 => Packing::Plain,
                size => Packing::Aggregated(size),
            },
            drain: DRAIN_S,
            no_repeats: true,
            observe_every: Some(OBSERVE_EVERY_MS),
            slo_p99_ms: None,
        };
        let pace = Pace::new(rate, traffic.seconds);
        let (over, (began, begin)) = (CancellationToken::new(), oneshot::channel());
        let tell = |start: Instant| {
            // Before the first swipe, so that everything arrives in order.
            let exchanged = self.exchange(props, &mut backlog);
            _ = began.send(exchanged.map(|()| start));
        };
        let running = run::run(
            &self.clients,
            &props.target,
            self.world,
            &traffic,
            over.clone(),
            tell,
        );
        let watching = async {
            let seen = match begin.await {
                Ok(start) => self.watch(swiped, start?, &pace, patience).await,
                // The run tells why.
                Err(_) => Ok(Seen::default()),
            };
            over.cancel();
            seen
        };
        let (ran, seen) = tokio::join!(running, watching);
        Ok((ran?, seen?, backlog))
    }

    async fn watch(
        &self,
        swiped: &Swiped,
        start: Instant,
        pace: &Pace,
        patience: Duration,
    ) -> anyhow::Result<Seen> {
        let at_tip = (pace.mean() * AT_TIP.as_secs_f64()) as u64;
        let before = swiped.cpu()?;
        swiped.reset_peak();
        let mut seen = Seen {
            resident_before: swiped.vitals().await.resident_kib << 10,
            ..Seen::default()
        };
        while seen.caught_up.is_none() && start.elapsed() < patience {
            self.look(swiped, pace, start, &mut seen).await;
            if seen.behind_at_end <= at_tip {
                seen.caught_up = Some(start.elapsed());
            }
            seen.cpu_seconds = swiped.cpu()? - before;
        }
        let tail = Instant::now();
        while tail.elapsed() < TAIL {
            self.look(swiped, pace, start, &mut seen).await;
        }
        seen.fenced = swiped.metric(FENCED).await.unwrap_or(0.0) as u64;
        Ok(seen)
    }

    /// Looks once, after a moment.
    async fn look(&self, swiped: &Swiped, pace: &Pace, start: Instant, seen: &mut Seen) {
        sleep(LOOK_EVERY).await;
        let vitals = swiped.vitals().await;
        // By the schedule: a record may hold many swipes.
        let sent = self.swipes + pace.due(start.elapsed().as_secs_f64());
        let behind = sent.saturating_sub(vitals.handled as u64);
        seen.behind_at_end = behind;
        seen.behind_most = seen.behind_most.max(behind);
        seen.resident_peak = seen.resident_peak.max(vitals.peak_kib << 10);
        seen.in_flight_most = seen.in_flight_most.max(vitals.in_flight as u64);
        seen.read_ahead_most = seen.read_ahead_most.max(vitals.read_ahead as u64);
    }

    /// What became of the backlog, by what is on the decision stream.
    async fn told(&self, props: &Props, backlog: &Backlog) -> anyhow::Result<Tally> {
        let ledger = Arc::new(Mutex::new(backlog.ledger()));
        // Whoever watched the traffic counted these.
        let unreadable = Arc::new(AtomicU64::new(0));
        self.read_stream(props, &ledger, &unreadable).await?;
        let tally = lock(&ledger).settle(&[], false);
        Ok(tally)
    }
}
