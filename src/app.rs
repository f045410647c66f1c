//! Not built here.

use std::{path::Path, process::ExitCode};

use crate::config::Config;

/// Runs the daemon.
pub fn run_file(path: &Path) -> ExitCode {
    let _ = path;
    ExitCode::FAILURE
}

/// Lists the leases.
///
/// # Errors
/// Always.
pub fn leases_list(config: &Config, json: bool) -> anyhow::Result<()> {
    let _ = (config, json);
    anyhow::bail!("not built")
}
