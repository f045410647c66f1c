//! The demo's daemons: started, watched, killed on request, stopped.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::time::Instant;

use crate::{
    report::Worker,
    scrape::{self, Buckets},
    target::Target,
};

/// How long workers may take to be ready and to hold every lease.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a worker may take to drain; a little over its own limit.
const STOP_WITHIN: Duration = Duration::from_secs(25);

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The kernel counts CPU time of processes in hundredths of a second (USER_HZ, the same on every Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// The histogram of what the daemon adds.
const ADDED_LATENCY: &str = "swiped_added_latency_seconds";

/// A worker and a time: `1@8` is the first worker, 8 s after the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Number of the worker, from 1.
    pub worker: usize,
    /// Seconds after the start.
    pub at_s: f64,
}

impl FromStr for Hit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (worker, at) = text.split_once('@').unwrap_or((text, ""));
        match (worker.parse(), at.parse()) {
            (Ok(worker), Ok(at_s)) if worker >= 1 && (0.0..86_400.0).contains(&at_s) => {
                Ok(Self { worker, at_s })
            }
            _ => Err(format!("`{text}`: use WORKER@SECONDS, as in 1@8")),
        }
    }
}

/// How a worker is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM: it drains and must exit 0.
    Term,
    /// SIGKILL.
    Kill,
}

/// One daemon.
struct Daemon {
    name: String,
    child: Child,
    admin: SocketAddr,
    asked: Option<(End, Instant)>,
    status: Option<ExitStatus>,
    cpu_seconds: f64,
    rss_kib: Option<(u64, u64)>,
}

/// All of them, those that ended too.
pub struct Fleet {
    directory: PathBuf,
    target: Target,
    daemons: Vec<Daemon>,
    started: usize,
}

impl Fleet {
    /// Starts so many workers; configurations and logs go into the directory.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(directory: &Path, target: &Target, workers: usize) -> anyhow::Result<Self> {
        let mut fleet = Self {
            directory: directory.to_owned(),
            target: target.clone(),
            daemons: Vec::new(),
            started: 0,
        };
        for _ in 0..workers {
            fleet.start_one()?;
        }
        Ok(fleet)
    }

    /// Starts one more.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_one(&mut self) -> anyhow::Result<()> {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let admin = free_address()?;
        let config = self.directory.join(format!("{name}.toml"));
        std::fs::write(&config, configuration(&self.target, &name, admin))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let log = self.directory.join(format!("{name}.log"));
        let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(std::env::current_exe().context("cannot find the own program")?)
            .args(["worker", "--config"])
            .arg(&config)
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        self.daemons.push(Daemon {
            name,
            child,
            admin,
            asked: None,
            status: None,
            cpu_seconds: 0.0,
            rss_kib: None,
        });
        Ok(())
    }

    /// Waits until every worker is ready and all leases are held.
    ///
    /// # Errors
    /// When one ends, or the time is over.
    pub async fn wait_until_ready(&mut self, leases: u32) -> anyhow::Result<()> {
        let until = Instant::now() + READY_WITHIN;
        let mut held = 0.0;
        while Instant::now() < until {
            self.sample();
            let (mut ready, mut sum) = (true, 0.0);
            for daemon in &self.daemons {
                if let Some(status) = daemon.status {
                    bail!("{} ended before it was ready: {status}", daemon.name);
                }
                ready &= scrape::get(daemon.admin, "/readyz")
                    .await
                    .is_ok_and(|(status, _)| status == 200);
                if let Ok((_, text)) = scrape::get(daemon.admin, "/metrics").await {
                    sum += scrape::metric(&text, "swiped_leases_held").unwrap_or(0.0);
                }
            }
            if ready && sum == f64::from(leases) {
                // Growth counts from here: before, the cache was being filled.
                self.daemons
                    .iter_mut()
                    .for_each(|daemon| daemon.rss_kib = None);
                self.sample();
                return Ok(());
            }
            held = sum;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        bail!(
            "the workers are not ready after {} s; they hold {held} of {leases} leases",
            READY_WITHIN.as_secs()
        )
    }

    /// Looks at every process: memory, CPU time, whether it still runs.
    pub fn sample(&mut self) {
        for daemon in &mut self.daemons {
            daemon.sample();
        }
    }

    /// Ends a worker by its number from 1.
    pub fn end(&mut self, worker: usize, end: End) {
        if let Some(daemon) = self.daemons.get_mut(worker - 1) {
            daemon.end(end);
        }
    }

    /// What the workers that still run have measured of themselves.
    pub async fn added_latency(&self) -> Buckets {
        let mut buckets = Buckets::default();
        for daemon in self.daemons.iter().filter(|daemon| daemon.status.is_none()) {
            if let Ok((_, text)) = scrape::get(daemon.admin, "/metrics").await {
                buckets.add(&text, ADDED_LATENCY);
            }
        }
        buckets
    }

    /// Stops every worker that still runs by SIGTERM and tells how each ended.
    pub async fn stop(mut self) -> Vec<Worker> {
        self.sample();
        for daemon in self
            .daemons
            .iter_mut()
            .filter(|daemon| daemon.asked.is_none())
        {
            daemon.end(End::Term);
        }
        let until = Instant::now() + STOP_WITHIN;
        while self.daemons.iter().any(|daemon| daemon.status.is_none()) && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
            self.sample();
        }
        self.daemons.iter().map(Daemon::ended).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            if daemon.status.is_none() {
                // Gone already, or gone now.
                _ = daemon.child.kill();
                _ = daemon.child.wait();
            }
        }
    }
}

impl Daemon {
    fn sample(&mut self) {
        if self.status.is_some() {
            return;
        }
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let rss = std::fs::read_to_string(process.join("status"))
            .ok()
            .as_deref()
            .and_then(rss_kib);
        if let Some(rss) = rss {
            self.rss_kib = Some((self.rss_kib.map_or(rss, |(first, _)| first), rss));
        }
        let cpu = std::fs::read_to_string(process.join("stat"))
            .ok()
            .as_deref()
            .and_then(cpu_seconds);
        // A process that ended has no memory, but its times until somebody waits for it.
        self.cpu_seconds = cpu.unwrap_or(self.cpu_seconds);
        self.status = self.child.try_wait().ok().flatten();
    }

    fn end(&mut self, end: End) {
        self.sample();
        if self.status.is_some() {
            return;
        }
        self.asked = Some((end, Instant::now()));
        match end {
            End::Kill => _ = self.child.kill(),
            // The standard library sends no other signal; every system that runs this has a shell.
            End::Term => {
                let kill = Command::new("sh")
                    .args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()])
                    .status();
                if let Err(error) = kill {
                    tracing::warn!(%error, "cannot send SIGTERM");
                }
            }
        }
    }

    fn ended(&self) -> Worker {
        let (ended, ended_well) = match (self.asked, self.status) {
            (_, None) => ("did not stop when asked to".to_owned(), false),
            (None, Some(status)) => (format!("ended by itself: {status}"), false),
            (Some((End::Kill, _)), Some(_)) => ("killed".to_owned(), true),
            (Some((End::Term, _)), Some(status)) => (status.to_string(), status.success()),
        };
        let mib = |kib: u64| kib as f64 / 1024.0;
        let (first, last) = self.rss_kib.unwrap_or_default();
        Worker {
            name: self.name.clone(),
            ended,
            ended_well,
            cpu_seconds: self.cpu_seconds,
            rss_first_mib: mib(first),
            rss_last_mib: mib(last),
        }
    }
}

/// Resident memory by `/proc/PID/status`.
fn rss_kib(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time by `/proc/PID/stat`: fields 14 and 15. The name before may hold anything, so count from its end.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr()?)
}

fn configuration(target: &Target, worker: &str, admin: SocketAddr) -> String {
    let endpoint = |url: &Option<String>| url.clone().unwrap_or_default();
    let (kinesis, dynamodb) = (endpoint(&target.kinesis), endpoint(&target.dynamodb));
    format!(
        r#"[aws]
region = "{region}"
[aws.endpoints]
kinesis = "{kinesis}"
dynamodb = "{dynamodb}"
dynamodbstreams = "{dynamodb}"
[swipes]
stream = "{swipes}"
start = "trim_horizon"
[leases]
table = "swiped-leases"
worker_id = "{worker}"
[access]
table = "{access}"
[decisions]
stream = "{decisions}"
table = "{table}"
[rejects]
stream = "{rejects}"
[admin]
listen = "{admin}"
"#,
        region = target.region,
        swipes = target.swipes,
        access = target.access,
        decisions = endpoint(&target.decisions),
        table = endpoint(&target.decision_table),
        rejects = endpoint(&target.rejects),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_is_a_worker_and_a_time() {
        assert_eq!(
            "2@10.5".parse(),
            Ok(Hit {
                worker: 2,
                at_s: 10.5
            })
        );
        for text in ["", "2", "@3", "0@3", "1@-1", "a@1", "1@"] {
            assert!(text.parse::<Hit>().is_err(), "{text}");
        }
    }

    #[test]
    fn cpu_time_and_memory_are_read_whatever_the_process_is_called() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 123 456 789";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(
            rss_kib("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t3\n"),
            Some(2048)
        );
    }

    #[test]
    fn the_configuration_of_a_worker_is_one_that_the_load_generator_reads_back() {
        let target = Target::at("http://127.0.0.1:1", "http://127.0.0.1:2");
        let text = configuration(&target, "worker-1", SocketAddr::from(([127, 0, 0, 1], 9)));
        let path = std::env::temp_dir().join(format!("loadgen-test-{}.toml", std::process::id()));
        std::fs::write(&path, text).expect("writes");
        let args = crate::target::TargetArgs {
            config: Some(path.clone()),
            ..Default::default()
        };
        assert_eq!(args.resolve().expect("resolves"), target);
        std::fs::remove_file(path).expect("removes");
    }
}
