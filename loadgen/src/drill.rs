//! `loadgen fleet`: failover drills. Real processes are killed, drained, replaced, paused and joined while swipes flow
//! over every shard; a table says how long shards stood idle, and what was lost or decided twice. Then it is the service that
//! fails, slow, throttling or mute, and a second table says what memory that took and how soon it was made up for.
//!
//! Each scene has stand-ins, workers and traffic of its own. Nothing is sent twice, so a swipe that has two decisions
//! was decided twice. The idle time of a shard is the longest time between two of its decisions as seen on the
//! decision stream, with nothing taken off it: the polling of daemon and observer is in it.

mod burst;
mod outcome;
mod scene;
mod script;
mod strain;
mod tables;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    clients::Clients,
    clock,
    fleet::Fleet,
    pace::{Pace, Rate},
    pack::Packing,
    population::{CARDS_MIN, Population},
    progress::Progress,
    run::{self, Ran, RunArgs},
    seed,
    stage::{self, Scratch},
    target::Target,
    verify,
};

use burst::Burst;
use outcome::Outcome;
use scene::Scene;
use script::{Course, Script};
use strain::{Service, environment};

/// Cards: enough to spread over all shards, and few enough that a worker that starts scans them in a moment. The database
/// stand-in does one thing at a time, as DynamoDB does not: heartbeats of the others wait behind a long scan.
const CARDS: usize = 1040;
const _: () = assert!(CARDS >= CARDS_MIN);

/// Longest traffic of a scene: its script ends it, and every wait in there has an end, the sum of them below this.
const TRAFFIC_S: f64 = 400.0;

/// How long to wait for answers after the last swipe.
const DRAIN_S: f64 = 30.0;

/// How often each shard of the decisions is read. It is part of every idle time.
const OBSERVE_EVERY_MS: u64 = 50;

/// Shards of the decision stream: enough for a backlog, and no more, since each is asked all the time.
const DECISION_SHARDS: i32 = 8;

/// How long workers may take until they share the leases evenly, before anything happens.
const BALANCED_WITHIN: Duration = Duration::from_secs(30);

/// What drills to do.
#[derive(clap::Args, Clone, Debug)]
pub struct DrillArgs {
    /// Two workers only, and shorter: for a gate
    #[arg(long)]
    short: bool,
    /// Shards of the swipe stream
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    shards: u32,
    /// Workers at the start of a scene, again for more [default: 2 and 3; with --short 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=64))]
    workers: Vec<u32>,
    /// Swipes a second, all shards together
    #[arg(long, default_value = "1000")]
    rate: Rate,
    /// This scene alone, again for more
    #[arg(long, value_enum, value_name = "SCENE")]
    only: Vec<Scene>,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the directory with configurations and logs, also when all is well
    #[arg(long)]
    keep: bool,
    /// Write the table as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Plays the scenes and prints their table. 2 when a decision was lost, wrong or contradictory, 1 when a bound was
/// missed, else 0.
///
/// # Errors
/// When something could not be started; the message names the directory with the logs.
pub async fn run(args: &DrillArgs, stop: CancellationToken) -> anyhow::Result<u8> {
    let scratch = Scratch::create("fleet")?;
    let mut outcomes = Vec::new();
    for (scene, workers) in programme(args) {
        let outcome = play(args, scene, workers, &scratch.0, &stop).await;
        outcomes.push(outcome.with_context(|| {
            let logs = scratch.0.display();
            format!("the scene {scene} ended early; logs are in {logs}")
        })?);
        eprintln!(
            "{}",
            tables::text(&outcomes[outcomes.len() - 1..]).trim_end()
        );
    }
    print!("{}", tables::text(&outcomes));
    if let Some(path) = &args.json {
        outcome::write_json(&outcomes, path)?;
    }
    let code = outcomes.iter().map(Outcome::exit_code).max().unwrap_or(0);
    scratch.close(code != 0 || args.keep)?;
    Ok(code)
}

/// The scenes, each with the number of workers that it starts with.
fn programme(args: &DrillArgs) -> Vec<(Scene, u32)> {
    let fleets: &[u32] = match (args.workers.is_empty(), args.short) {
        (false, _) => &args.workers,
        (true, true) => &[2],
        (true, false) => &[2, 3],
    };
    let wanted = |scene: &Scene| args.only.is_empty() || args.only.contains(scene);
    let of_fleets = fleets.iter().flat_map(|workers| {
        let scenes = Scene::ALL.into_iter().filter(|scene| !scene.is_alone());
        scenes.map(|scene| (scene, *workers))
    });
    let alone = Scene::ALL.into_iter().filter(|scene| scene.is_alone());
    let all = of_fleets.chain(alone.map(|scene| (scene, 1)));
    all.filter(|(scene, _)| wanted(scene)).collect()
}

async fn play(
    args: &DrillArgs,
    scene: Scene,
    workers: u32,
    scratch: &Path,
    stop: &CancellationToken,
) -> anyhow::Result<Outcome> {
    let directory = scratch.join(format!("{scene}-{workers}"));
    std::fs::create_dir(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let args = &DrillArgs {
        shards: scene.shards(args.shards),
        ..args.clone()
    };
    let mut progress = Progress::default();
    progress.show(&format!("{scene} with {workers} workers"));
    let (standins, mut target) = stage::standins(scene == Scene::HalfOpen)?;
    if scene.has_burst() {
        // The sink that fails is the only one: what is behind is behind because of it.
        target.decision_table = None;
    }
    let environment = environment(scene, &standins, &directory)?;
    let clients = Clients::connect(&target).await;
    let world = Population {
        cards: CARDS,
        seed: args.seed,
        seeded_at_ms: clock::now_ms(),
    };
    let prepare = prepare(
        args,
        &clients,
        &target,
        &world,
        &directory,
        workers,
        environment,
    );
    let fleet = tokio::select! {
        fleet = prepare => fleet?,
        () = stop.cancelled() => bail!("interrupted"),
    };

    let burst = match scene.has_burst() {
        true => Some(Arc::new(
            tokio::task::spawn_blocking(move || Burst::prepare(world, burst::SWIPES))
                .await
                .context("making the burst panicked")??,
        )),
        false => None,
    };
    let service = Service {
        faults: standins.faults.clone(),
        store: standins.store.clone(),
        swipes: target.swipes.clone(),
        decisions: target.decisions.clone().unwrap_or_default(),
        burst: burst.clone(),
    };
    let over = stop.child_token();
    let (started, start) = oneshot::channel();
    let script = Script::new(
        scene,
        args.shards,
        &Pace::new(args.rate, TRAFFIC_S),
        args.short,
        service,
        fleet,
    );
    let playing = tokio::spawn(script.play(start, over.clone()));
    let tell = |at| _ = started.send(at);
    let ran = run::run(&clients, &target, world, &traffic(args), over.clone(), tell).await;
    over.cancel();
    let played = playing.await.context("the script panicked")?;
    let (ran, (fleet, mut course)) = (ran?, played?);
    if stop.is_cancelled() {
        bail!("interrupted");
    }
    for worker in fleet.stop().await {
        if !worker.ended_well {
            course.miss(format!("{}: {}", worker.name, worker.ended));
        }
    }
    let mut outcome = outcome(&clients, &target, scene, workers, &ran, course).await?;
    if let (Some(burst), Some(decisions)) = (burst, &target.decisions) {
        outcome.add(burst.check(&clients, decisions).await?);
    }
    outcome.judge(scene);
    Ok(outcome)
}

async fn prepare(
    args: &DrillArgs,
    clients: &Clients,
    target: &Target,
    world: &Population,
    directory: &Path,
    workers: u32,
    environment: Vec<(&'static str, String)>,
) -> anyhow::Result<Fleet> {
    if let Some(decisions) = &target.decisions {
        let stream = clients.kinesis.create_stream().stream_name(decisions);
        let made = stream.shard_count(DECISION_SHARDS).send().await;
        made.with_context(|| format!("cannot create the stream {decisions}"))?;
    }
    seed::prepare(
        clients,
        target,
        args.shards,
        world,
        &mut Progress::default(),
    )
    .await?;
    let mut fleet = Fleet::start(directory, target, workers as usize, environment)?;
    fleet.wait_until_ready(args.shards).await?;
    let balanced = fleet.wait_until_balanced(args.shards, BALANCED_WITHIN);
    if balanced.await.is_none() {
        let held = fleet.holdings().await;
        let seconds = BALANCED_WITHIN.as_secs();
        bail!("the workers do not share the leases evenly after {seconds} s; they hold {held:?}");
    }
    Ok(fleet)
}

fn traffic(args: &DrillArgs) -> RunArgs {
    RunArgs {
        seconds: TRAFFIC_S,
        rate: args.rate,
        aggregate: Packing::Plain,
        drain: DRAIN_S,
        no_repeats: true,
        observe_every: Some(OBSERVE_EVERY_MS),
        slo_p99_ms: None,
    }
}

async fn outcome(
    clients: &Clients,
    target: &Target,
    scene: Scene,
    workers: u32,
    ran: &Ran,
    course: Course,
) -> anyhow::Result<Outcome> {
    let table = match &target.decision_table {
        Some(table) => verify::check_table(clients, table, ran).await?,
        None => Default::default(),
    };
    Ok(Outcome::of(scene, workers, ran, &table, course))
}
