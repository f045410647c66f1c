//! The `process_*` series that every Prometheus client has, read from `/proc/self` at each scrape.
//!
//! Written as text beside the recorder's: the facade's counters are whole numbers and CPU seconds are not. A file that
//! cannot be read (another system than Linux, a locked-down `/proc`) leaves its series out.

use std::{
    fmt::{Display, Write},
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

/// `USER_HZ`: what `/proc` counts CPU time in, 100 a second on every Linux since 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

/// This process.
#[derive(Debug)]
pub(super) struct Process {
    started_at_seconds: f64,
}

impl Process {
    pub(super) fn started_now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            started_at_seconds: since.map_or(0.0, |since| since.as_secs_f64()),
        }
    }

    /// Appends the series that can be read.
    pub(super) fn render(&self, text: &mut String) {
        let started = Some(self.started_at_seconds);
        put(
            text,
            "process_start_time_seconds",
            "gauge",
            "Start of the process, Unix epoch seconds.",
            started,
        );
        put(
            text,
            "process_cpu_seconds_total",
            "counter",
            "User and system CPU time.",
            cpu_seconds(),
        );
        put(
            text,
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            status_bytes("VmRSS:"),
        );
        put(
            text,
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory.",
            status_bytes("VmSize:"),
        );
        put(
            text,
            "process_open_fds",
            "gauge",
            "Open file descriptors.",
            open_fds(),
        );
        put(
            text,
            "process_max_fds",
            "gauge",
            "Most file descriptors allowed.",
            max_fds(),
        );
    }
}

fn put(text: &mut String, name: &str, kind: &str, help: &str, value: Option<impl Display>) {
    if let Some(value) = value {
        write!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        )
        .expect("a String takes all");
    }
}

/// Fields 14 and 15 of `stat`, counted after the command, which may itself hold spaces and parentheses.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

pub(super) fn status_bytes(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn open_fds() -> Option<usize> {
    // The directory itself is open while it is read.
    fs::read_dir("/proc/self/fd")
        .ok()
        .map(|entries| entries.count().saturating_sub(1))
}

fn max_fds() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
