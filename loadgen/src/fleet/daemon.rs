//! One daemon process.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus},
};

use tokio::time::Instant;

use crate::report::Worker;

/// The kernel counts CPU time of processes in hundredths of a second (USER_HZ, the same on every Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// How a worker is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM: it drains and must exit 0.
    Term,
    /// SIGKILL.
    Kill,
}

/// One daemon.
pub struct Daemon {
    /// Its name.
    pub name: String,
    /// Its process.
    pub child: Child,
    /// Where it tells its health.
    pub admin: SocketAddr,
    /// How and when it was made to end.
    pub asked: Option<(End, Instant)>,
    /// It is stopped by SIGSTOP.
    pub paused: bool,
    /// How it ended.
    pub status: Option<ExitStatus>,
    /// User and system time.
    pub cpu_seconds: f64,
    /// Resident memory, first and last seen.
    pub rss_kib: Option<(u64, u64)>,
}

impl Daemon {
    /// A process that was started just now.
    pub fn of(name: String, child: Child, admin: SocketAddr) -> Self {
        Self {
            name,
            child,
            admin,
            asked: None,
            paused: false,
            status: None,
            cpu_seconds: 0.0,
            rss_kib: None,
        }
    }

    /// Looks at the process.
    pub fn sample(&mut self) {
        if self.status.is_some() {
            return;
        }
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let rss = std::fs::read_to_string(process.join("status"))
            .ok()
            .as_deref()
            .and_then(|status| kib(status, "VmRSS:"));
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

    /// Its peak of resident memory counts from now on. Where the kernel does not allow that, it is that of its whole life.
    pub fn reset_peak(&self) {
        // 5 resets VmHWM (proc(5), clear_refs).
        _ = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
    }

    /// Resident memory now and at its peak, in KiB; nothing when it is gone.
    pub fn resident_kib(&self) -> Option<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        Some((kib(&status, "VmRSS:")?, kib(&status, "VmHWM:")?))
    }

    /// Makes it end.
    pub fn end(&mut self, end: End) {
        self.sample();
        if self.status.is_some() {
            return;
        }
        self.asked = Some((end, Instant::now()));
        match end {
            End::Kill => _ = self.child.kill(),
            End::Term => self.signal("TERM"),
        }
    }

    /// Stops its execution as a suspended machine would, or lets it go on.
    pub fn pause(&mut self, paused: bool) {
        self.sample();
        if self.status.is_none() {
            self.paused = paused;
            self.signal(if paused { "STOP" } else { "CONT" });
        }
    }

    /// The standard library sends SIGKILL alone; every system that runs this has a shell.
    fn signal(&self, name: &str) {
        let script = format!("kill -{name} \"$0\"");
        let kill = Command::new("sh")
            .args(["-c", &script, &self.child.id().to_string()])
            .status();
        match kill {
            Ok(status) if status.success() => {}
            Ok(status) => tracing::warn!(%status, "cannot send SIG{name}"),
            Err(error) => tracing::warn!(%error, "cannot send SIG{name}"),
        }
    }

    /// How it was, for the report.
    pub fn ended(&self) -> Worker {
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

/// A size by `/proc/PID/status`.
fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time by `/proc/PID/stat`: fields 14 and 15. The name before may hold anything, so count from its end.
pub(crate) fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_and_memory_are_read_whatever_the_process_is_called() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 123 456 789";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(
            kib("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t3\n", "VmRSS:"),
            Some(2048)
        );
    }
}
