//! `loadgen worker`: the daemon, as the demo starts it: a process of its own that can be killed.
//!
//! It is this very binary, so that the demo needs no other one. It ends when its stdin ends: the demo holds the
//! other end, and a demo that was killed leaves no daemons behind.

use std::{
    io::{Read, sink},
    path::Path,
    process::ExitCode,
};

/// Exit code of a worker whose demo is gone.
const ORPHANED: i32 = 70;

/// Does what `swiped run --config FILE` does, until stdin ends at the latest.
pub fn run(config: &Path) -> ExitCode {
    std::thread::spawn(|| {
        // Whether by end or by error: nobody is there any more.
        _ = std::io::copy(&mut std::io::stdin().lock().take(u64::MAX), &mut sink());
        std::process::exit(ORPHANED);
    });
    swiped::app::run_file(config)
}
