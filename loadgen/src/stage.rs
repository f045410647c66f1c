//! What demo and drills play on: stand-ins, and a directory for configurations and logs.

use std::path::PathBuf;

use anyhow::{Context, ensure};

use crate::{
    local::Endpoints,
    standin::{self, Standins},
    target::Target,
};

/// How long records stay in the stand-in's streams: they are in memory, and nothing is read later than a drain.
const RETENTION_MS: u64 = 180_000;

/// Starts stand-ins for Kinesis and DynamoDB, and says how they are reached. With `tls`, Kinesis has a port with TLS as well.
///
/// # Errors
/// When they cannot be started.
pub fn standins(tls: bool) -> anyhow::Result<(Standins, Target)> {
    let kinesis = standin::kinesis::Options {
        retention_ms: Some(RETENTION_MS),
        ..Default::default()
    };
    let standins = Standins::start(&standin::Options {
        kinesis,
        kinesis_tls_port: tls.then_some(0),
        ..Default::default()
    })?;
    let mut target = Target::at(&standins.kinesis_url, &standins.dynamodb_url);
    target.region = Endpoints::of(&standins).region;
    Ok((standins, target))
}

/// A directory of this process's own.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Makes it, among the system's temporary files.
    ///
    /// # Errors
    /// When it is there already, or cannot be made.
    pub fn create(purpose: &str) -> anyhow::Result<Self> {
        let name = format!("swiped-{purpose}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        ensure!(
            !path.exists(),
            "{} is in the way; remove it",
            path.display()
        );
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// The end of a command: says where the logs are when they are kept, and removes it with all that is in it when not.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn close(self, keep: bool) -> anyhow::Result<()> {
        if keep {
            println!("logs: {}", self.0.display());
            return Ok(());
        }
        std::fs::remove_dir_all(&self.0)
            .with_context(|| format!("cannot remove {}", self.0.display()))
    }
}
