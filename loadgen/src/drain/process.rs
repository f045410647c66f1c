//! The two processes that are measured, and the CPU time they took.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tokio::time::{Instant, sleep};

use crate::{
    fleet::{
        self, End, Vitals,
        daemon::{Daemon, cpu_seconds},
    },
    scrape,
    target::Target,
};

/// How long a process may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long the daemon may take to drain; a little over its own limit.
const STOP_WITHIN: Duration = Duration::from_secs(25);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// This very program as another command, with made-up credentials.
fn program() -> anyhow::Result<Command> {
    let own = std::env::current_exe().context("cannot find the own program")?;
    let mut command = Command::new(own);
    command
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::piped());
    Ok(command)
}

/// User and system time of a process so far, in seconds.
fn cpu_of(process: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    let stat = stat.with_context(|| format!("process {process} is gone"))?;
    cpu_seconds(&stat).with_context(|| format!("cannot read the times of process {process}"))
}

/// An instant before which swipes may have been answered, for all that the daemon knows: its replay window is open for half a
/// minute. It is older than any stream.
const IN_BETWEEN: &str = "2020-01-01T00:00:00Z";

/// What the daemon is told beyond names and endpoints, by its environment.
#[derive(Clone, Debug)]
pub struct Extra {
    /// Its lease table.
    pub leases: String,
    /// How it reads.
    pub retrieval: &'static str,
    /// Whether it has to look up what it reads, as after a take-over.
    pub look_ups: bool,
    /// Whether it packs decisions.
    pub aggregate: bool,
}

impl Extra {
    fn environment(&self) -> [(String, String); 4] {
        let start = match self.look_ups {
            true => IN_BETWEEN,
            false => "trim_horizon",
        };
        [
            ("SWIPED_LEASES__TABLE", self.leases.clone()),
            ("SWIPED_SWIPES__RETRIEVAL", self.retrieval.to_owned()),
            ("SWIPED_SWIPES__START", start.to_owned()),
            ("SWIPED_DECISIONS__AGGREGATE", self.aggregate.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }
}

/// The daemon. It is killed when this is dropped.
pub struct Swiped {
    daemon: Daemon,
    log: PathBuf,
}

impl Swiped {
    /// Starts it; configuration and log go into the directory.
    ///
    /// # Errors
    /// When its configuration is refused, or it cannot be started.
    pub fn start(directory: &Path, target: &Target, extra: &Extra) -> anyhow::Result<Self> {
        let (name, admin) = ("daemon", fleet::free_address()?);
        let config = directory.join(format!("{}.toml", extra.leases));
        std::fs::write(&config, fleet::configuration(target, name, admin))
            .with_context(|| format!("cannot write {}", config.display()))?;
        if let Err(problems) = swiped::config::Config::load(&config, extra.environment()) {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!("the daemon refuses this: {}", problems.join("; "));
        }
        let log = directory.join(format!("{}.log", extra.leases));
        let output =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = program()?
            .args(["worker", "--config"])
            .arg(&config)
            .envs(extra.environment())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start the daemon")?;
        let daemon = Daemon::of(name.to_owned(), child, admin);
        Ok(Self { daemon, log })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.daemon.child.id()
    }

    /// User and system time so far, in seconds.
    ///
    /// # Errors
    /// When it ended.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        cpu_of(self.pid())
    }

    /// Waits until its cards are loaded and it holds so many leases.
    ///
    /// # Errors
    /// When it ends, or the time is over.
    pub async fn ready(&mut self, leases: u32) -> anyhow::Result<()> {
        let until = Instant::now() + READY_WITHIN;
        while Instant::now() < until {
            self.daemon.sample();
            if let Some(status) = self.daemon.status {
                bail!("the daemon ended before it was ready: {status}");
            }
            let held = self.metric("swiped_leases_held").await;
            if is_ready(self.daemon.admin).await && held == Some(f64::from(leases)) {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("the daemon is not ready after {} s", READY_WITHIN.as_secs())
    }

    /// A metric, summed over its labels; nothing while it has no value.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = scrape::get(self.daemon.admin, "/metrics").await.ok()?;
        scrape::metric(&text, name)
    }

    /// From now on the peak of its memory counts.
    pub fn reset_peak(&self) {
        self.daemon.reset_peak();
    }

    /// How it is; what it does not tell is missing.
    pub async fn vitals(&self) -> Vitals {
        let mut vitals = Vitals::default();
        let memory = self.daemon.resident_kib().unwrap_or_default();
        let metrics = scrape::get(self.daemon.admin, "/metrics").await;
        vitals.add(memory, &metrics.map(|(_, text)| text).unwrap_or_default());
        vitals
    }

    /// How many lines of its log hold `text`.
    pub fn logged(&self, text: &str) -> usize {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).count()
    }

    /// Stops it by SIGTERM: it stores its checkpoints and gives its leases away. User and system time of its whole life.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn stop(mut self) -> anyhow::Result<f64> {
        self.daemon.end(End::Term);
        let until = Instant::now() + STOP_WITHIN;
        while self.daemon.status.is_none() && Instant::now() < until {
            sleep(LOOK_EVERY).await;
            self.daemon.sample();
        }
        let ended = self.daemon.ended();
        ensure!(
            ended.ended_well,
            "the daemon did not stop well: {}",
            ended.ended
        );
        Ok(self.daemon.cpu_seconds)
    }
}

impl Drop for Swiped {
    fn drop(&mut self) {
        if self.daemon.status.is_none() {
            // Gone already, or gone now.
            _ = self.daemon.child.kill();
            _ = self.daemon.child.wait();
        }
    }
}

async fn is_ready(admin: SocketAddr) -> bool {
    scrape::get(admin, "/readyz")
        .await
        .is_ok_and(|(status, _)| status == 200)
}

/// The bare loop. It is killed when this is dropped.
pub struct Bare {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Bare {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started or ends.
    pub async fn start(args: Vec<String>) -> anyhow::Result<Self> {
        let mut child = program()?
            .arg("bare")
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the bare loop")?;
        let output = child.stdout.take().context("the bare loop has no stdout")?;
        let bare = Self {
            child,
            lines: BufReader::new(output).lines(),
        };
        let (bare, line) = bare.line().await?;
        ensure!(
            line == "ready",
            "the bare loop says `{line}` instead of ready"
        );
        Ok(bare)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it drain. The CPU time that took, in seconds, and how long it took.
    ///
    /// # Errors
    /// When it fails.
    pub async fn drain(mut self) -> anyhow::Result<(f64, Duration)> {
        let (before, began) = (cpu_of(self.pid())?, Instant::now());
        let stdin = self.child.stdin.as_mut();
        let stdin = stdin.context("the bare loop has no stdin")?;
        stdin.write_all(b"go\n").context("the bare loop is gone")?;
        let (bare, line) = self.line().await?;
        let took = began.elapsed();
        ensure!(line.starts_with("done "), "the bare loop says `{line}`");
        Ok((cpu_of(bare.pid())? - before, took))
    }

    /// Its next line. A thread waits for it, so that the rest of this process goes on.
    async fn line(mut self) -> anyhow::Result<(Self, String)> {
        let next = tokio::task::spawn_blocking(move || {
            let line = self.lines.next();
            (self, line)
        });
        let (bare, line) = next.await?;
        let line = line.context("the bare loop ended early; it said why above")??;
        Ok((bare, line))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Gone already, or gone now.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
