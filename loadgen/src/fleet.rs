//! Daemons as processes: started, watched, killed or paused on request, stopped.

pub(crate) mod daemon;
mod holdings;
pub(crate) mod memory;
mod vitals;

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::time::Instant;

use daemon::Daemon;
pub use daemon::End;
pub use vitals::Vitals;

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

/// The histogram of what the daemon adds, and of the part of it until its first write is sent.
const ADDED_LATENCY: &str = "swiped_added_latency_seconds";
const DECIDE_LATENCY: &str = "swiped_page_decide_seconds";

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

/// All of them, those that ended too.
pub struct Fleet {
    directory: PathBuf,
    target: Target,
    environment: Vec<(&'static str, String)>,
    daemons: Vec<Daemon>,
    started: usize,
}

impl Fleet {
    /// Starts so many workers; configurations and logs go into the directory. What the environment says comes before the
    /// configuration.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(
        directory: &Path,
        target: &Target,
        workers: usize,
        environment: Vec<(&'static str, String)>,
    ) -> anyhow::Result<Self> {
        let mut fleet = Self {
            directory: directory.to_owned(),
            target: target.clone(),
            environment,
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
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        self.daemons.push(Daemon::of(name, child, admin));
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

    /// Stops a worker's execution, or lets it go on, by its number from 1.
    pub fn pause(&mut self, worker: usize, paused: bool) {
        if let Some(daemon) = self.daemons.get_mut(worker - 1) {
            daemon.pause(paused);
        }
    }

    /// How many were started so far: the number of the youngest.
    pub fn started(&self) -> usize {
        self.started
    }

    /// What the workers that still run have measured of themselves: from a page's arrival to its decisions being stored, and
    /// to the first write being sent.
    pub async fn added_latency(&self) -> (Buckets, Buckets) {
        let (mut stored, mut sent) = (Buckets::default(), Buckets::default());
        for daemon in self.daemons.iter().filter(|daemon| daemon.status.is_none()) {
            if let Ok((_, text)) = scrape::get(daemon.admin, "/metrics").await {
                stored.add(&text, ADDED_LATENCY);
                sent.add(&text, DECIDE_LATENCY);
            }
        }
        (stored, sent)
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

pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr()?)
}

pub(crate) fn configuration(target: &Target, worker: &str, admin: SocketAddr) -> String {
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
