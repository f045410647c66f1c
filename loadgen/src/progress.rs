//! One line that is rewritten in place on a terminal, and printed now and then elsewhere. On stderr: results have
//! stdout to themselves.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use tokio::time::Instant;

/// How often a line is written: on a terminal, elsewhere.
const EVERY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// The line.
pub struct Progress {
    terminal: bool,
    last: Option<Instant>,
    open: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            last: None,
            open: false,
        }
    }
}

impl Progress {
    /// Shows a line, unless the last one is too young.
    pub fn line(&mut self, text: impl FnOnce() -> String) {
        let every = if self.terminal { EVERY[0] } else { EVERY[1] };
        if self.last.is_none_or(|last| last.elapsed() >= every) {
            self.last = Some(Instant::now());
            self.show(&text());
        }
    }

    /// Shows a line whatever the time.
    pub fn show(&mut self, text: &str) {
        let mut out = std::io::stderr().lock();
        // A closed stderr must not end the run.
        _ = if self.terminal {
            write!(out, "\r\x1b[K{text}")
        } else {
            writeln!(out, "{text}")
        };
        _ = out.flush();
        self.open = self.terminal;
    }

    /// Ends the line, so that what follows starts on one of its own.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            eprintln!();
        }
        self.last = None;
    }
}
