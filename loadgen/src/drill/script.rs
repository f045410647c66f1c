//! What is done to the workers while traffic runs, step by step.

use std::time::Duration;

use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    scene::Scene,
    strain::{Service, Strain},
};
use crate::{
    fleet::{End, Fleet},
    pace::Pace,
    traffic::HUGE_SWIPE,
};

/// After the start of traffic, or after the swipe of nearly 1 MiB, whichever is later: connections are made, first pages
/// read, and that record dealt with, which holds up its shard on a slow machine. Gaps in here count for nothing.
const WARM_UP: Duration = Duration::from_secs(1);

/// That swipe is not waited for any longer: at such a rate the gaps between swipes are what is measured.
const WARM_UP_MAX: Duration = Duration::from_secs(10);

/// The quiet stretch whose longest gap is the base line, and the traffic after the last step: in full and in short.
const QUIET: [Duration; 2] = [Duration::from_secs(6), Duration::from_millis(1500)];
const TAIL: [Duration; 2] = [Duration::from_secs(5), Duration::from_millis(1500)];

/// How long a worker is paused; in both cases others have taken its shards by then.
const PAUSE: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(6)];

/// After the step that should bring it about: all leases held, a worker ready, a worker gone, leases shared evenly.
const WITHIN: Duration = Duration::from_secs(25);

/// From a joiner being ready to leases shared evenly.
const BALANCED_BOUND: Duration = Duration::from_secs(5);

/// What happens to leases only where a worker died, or was taken for dead.
const FORCED: [&str; 3] = ["taken", "fenced", "lost"];

/// How a scene went.
#[derive(Debug, Default)]
pub struct Course {
    /// From the start of traffic to the end of the warm-up.
    pub quiet_from: Duration,
    /// From the start of traffic to the event.
    pub event_at: Duration,
    /// What was promised and did not come.
    pub missed: Vec<String>,
    /// What else was seen.
    pub notes: Vec<String>,
    /// How the worker lived through a fault of the service's.
    pub strain: Option<Strain>,
}

impl Course {
    /// A promise was not kept.
    pub fn miss(&mut self, what: impl Into<String>) {
        self.missed.push(what.into());
    }

    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }
}

/// One scene with its workers.
pub struct Script {
    pub(super) scene: Scene,
    workers: usize,
    pub(super) leases: u32,
    pub(super) short: usize,
    warm_at: Duration,
    /// Swipes a second.
    pub(super) rate: f64,
    pub(super) service: Service,
    pub(super) fleet: Fleet,
    pub(super) course: Course,
}

impl Script {
    /// A script for workers that hold all leases, under traffic of that pace.
    pub fn new(
        scene: Scene,
        leases: u32,
        pace: &Pace,
        short: bool,
        service: Service,
        fleet: Fleet,
    ) -> Self {
        Self {
            scene,
            workers: fleet.started(),
            leases,
            short: usize::from(short),
            warm_at: Duration::try_from_secs_f64(pace.at_s(HUGE_SWIPE))
                .map_or(WARM_UP_MAX, |at| WARM_UP_MAX.min(at + WARM_UP)),
            rate: pace.mean(),
            service,
            fleet,
            course: Course::default(),
        }
    }

    /// Plays it from the start of traffic, and ends the traffic when it is over.
    ///
    /// # Errors
    /// When a worker cannot be started.
    pub async fn play(
        mut self,
        start: oneshot::Receiver<Instant>,
        over: CancellationToken,
    ) -> anyhow::Result<(Fleet, Course)> {
        // Without a start there is no traffic; the sender is gone when the run failed early.
        if let Ok(start) = start.await {
            tokio::select! {
                played = self.steps(start) => played?,
                () = over.cancelled() => {}
            }
        }
        over.cancel();
        Ok((self.fleet, self.course))
    }

    async fn steps(&mut self, start: Instant) -> anyhow::Result<()> {
        sleep(self.warm_at.saturating_sub(start.elapsed())).await;
        self.course.quiet_from = start.elapsed();
        sleep(QUIET[self.short]).await;
        self.course.event_at = start.elapsed();
        match self.scene {
            Scene::Kill => self.kill().await,
            Scene::Term => self.term(1).await,
            Scene::Deploy => self.deploy().await?,
            Scene::Pause => self.pause().await,
            Scene::Join => self.join().await?,
            Scene::Replace => self.replace().await?,
            Scene::Slow | Scene::Throttle => self.strained_sink().await,
            Scene::HalfOpen => self.half_open().await,
        }
        sleep(TAIL[self.short]).await;
        Ok(())
    }

    async fn kill(&mut self) {
        self.fleet.end(1, End::Kill);
        self.wait_until_held().await;
    }

    async fn wait_until_held(&mut self) {
        match self.fleet.wait_until_held(self.leases, WITHIN).await {
            Some(took) => self
                .course
                .note(format!("all leases held after {}", seconds(took))),
            None => self.course.miss("leases are held by nobody"),
        }
    }

    /// SIGTERM; how the worker ended is judged at the end.
    async fn term(&mut self, worker: usize) {
        self.fleet.end(worker, End::Term);
        match self.fleet.wait_until_ended(worker, WITHIN).await {
            Some(took) => self
                .course
                .note(format!("worker-{worker} gone after {}", seconds(took))),
            None => self.course.miss(format!("worker-{worker} does not stop")),
        }
    }

    async fn deploy(&mut self) -> anyhow::Result<()> {
        for old in 1..=self.workers {
            if self.start_ready().await? {
                self.term(old).await;
            }
        }
        self.wait_until_held().await;
        Ok(())
    }

    async fn start_ready(&mut self) -> anyhow::Result<bool> {
        self.fleet.start_one()?;
        let young = self.fleet.started();
        let ready = self.fleet.wait_until_one_is_ready(young, WITHIN).await;
        if !ready {
            self.course.miss(format!("worker-{young} is not ready"));
        }
        Ok(ready)
    }

    async fn pause(&mut self) {
        self.fleet.pause(1, true);
        let began = Instant::now();
        self.wait_until_held().await;
        sleep(PAUSE[self.short].saturating_sub(began.elapsed())).await;
        self.fleet.pause(1, false);
        self.course
            .note(format!("paused {}", seconds(began.elapsed())));
        match self.fleet.wait_until_balanced(self.leases, WITHIN).await {
            Some(took) => self
                .course
                .note(format!("takes part again after {}", seconds(took))),
            None => self.course.miss("takes no part again"),
        }
        let fenced = self.fleet.lease_events("fenced").await;
        self.course.note(format!("{fenced} leases fenced"));
        if fenced == 0.0 {
            self.course.miss("did not fence itself");
        }
    }

    async fn join(&mut self) -> anyhow::Result<()> {
        let before = self.forced().await;
        if !self.start_ready().await? {
            return Ok(());
        }
        match self.fleet.wait_until_balanced(self.leases, WITHIN).await {
            Some(took) => {
                self.course
                    .note(format!("balanced after {}", seconds(took)));
                if took > BALANCED_BOUND {
                    let bound = seconds(BALANCED_BOUND);
                    self.course.miss(format!("balanced later than {bound}"));
                }
            }
            None => self.course.miss("never balanced"),
        }
        for (event, (before, after)) in FORCED
            .into_iter()
            .zip(before.into_iter().zip(self.forced().await))
        {
            if after != before {
                self.course
                    .miss(format!("{} leases {event}", after - before));
            }
        }
        Ok(())
    }

    async fn forced(&mut self) -> Vec<f64> {
        let mut counts = Vec::new();
        for event in FORCED {
            counts.push(self.fleet.lease_events(event).await);
        }
        counts
    }

    async fn replace(&mut self) -> anyhow::Result<()> {
        self.term(1).await;
        if self.start_ready().await? {
            self.wait_until_held().await;
        }
        Ok(())
    }
}

pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
