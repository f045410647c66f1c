//! DynamoDB and DynamoDB Streams: dynoxide, embedded, on a file in shared memory.
//!
//! dynoxide finds a stream's next sequence number by scanning all of its records, so each write to a table with a
//! stream gets slower as the stream grows. An index on that expression cures it; it is made through a second
//! connection, which only a database in a file allows, and shared memory keeps the file as fast as memory.
//! The directory is removed at the end; one that a killed process left behind is removed at the next start.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use rusqlite::Connection;
use tokio::{net::TcpListener, sync::oneshot};

const SHARED_MEMORY: &str = "/dev/shm";
const PREFIX: &str = "swiped-dynamodb-";
/// Idle connections end at once; one in the middle of a request gets that long.
const STOP_GRACE: Duration = Duration::from_secs(1);
const INDEX: &str = "CREATE INDEX IF NOT EXISTS stream_records_by_number
    ON _stream_records (table_name, CAST(sequence_number AS INTEGER))";

/// A database in a directory of its own.
pub struct Database {
    // Declared before the directory: closed before it is removed.
    inner: dynoxide::Database,
    directory: Directory,
}

impl Database {
    /// An empty database.
    ///
    /// # Errors
    /// When its directory or file cannot be made.
    pub fn create() -> anyhow::Result<Self> {
        let directory = Directory::create()?;
        let file = directory.0.join("dynamodb.sqlite");
        let name = file
            .to_str()
            .with_context(|| format!("the path {} is not UTF-8", file.display()))?;
        let inner = dynoxide::Database::new(name)
            .map_err(|error| anyhow!("cannot create the database {name}: {error}"))?;
        // No fsync and a large page cache: nothing here has to survive a crash.
        inner
            .enable_bulk_loading()
            .map_err(|error| anyhow!("cannot set up the database {name}: {error}"))?;
        let second = Connection::open(&file)
            .with_context(|| format!("cannot open the database {name} a second time"))?;
        second
            .execute_batch(INDEX)
            .with_context(|| format!("cannot index the stream records of {name}"))?;
        Ok(Self { inner, directory })
    }

    /// Serves until `stop` resolves, then removes the database.
    ///
    /// # Errors
    /// When the server fails, or its directory cannot be removed.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: oneshot::Receiver<()>,
    ) -> anyhow::Result<()> {
        let Self { inner, directory } = self;
        let (stopping, stopped) = oneshot::channel();
        let shutdown = async move {
            // A dropped sender means the same as a sent stop.
            stop.await.ok();
            stopping.send(()).ok();
        };
        let serving = dynoxide::server::serve_with_shutdown(listener, inner, shutdown);
        let overdue = async {
            stopped.await.ok();
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            served = serving => served.map_err(|error| anyhow!("the DynamoDB stand-in failed: {error}"))?,
            () = overdue => tracing::debug!("the DynamoDB stand-in stopped with requests under way"),
        }
        directory.remove()
    }
}

/// A directory that is removed when it is dropped.
struct Directory(PathBuf);

impl Directory {
    fn create() -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let shared = Path::new(SHARED_MEMORY);
        let root = if shared.is_dir() {
            shared.to_owned()
        } else {
            std::env::temp_dir()
        };
        remove_left_behind(&root);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("{PREFIX}{}-{count}", process::id()));
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
        Ok(Self(path))
    }

    fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.0)
            .with_context(|| format!("cannot remove the directory {}", self.0.display()))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(error) = fs::remove_dir_all(&self.0)
        {
            tracing::warn!(%error, path = %self.0.display(), "cannot remove the directory of a stand-in");
        }
    }
}

/// Removes the directories of processes that are gone. Where there is no `/proc` nothing is known and nothing is done.
fn remove_left_behind(root: &Path) {
    if !Path::new("/proc/self").exists() {
        return;
    }
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(owner_of);
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, path = %entry.path().display(), "cannot remove what a killed stand-in left");
        }
    }
}

/// The process that a directory's name speaks of.
fn owner_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let root = std::env::temp_dir().join(format!("swiped-left-behind-{}", process::id()));
        // No process has the greatest id there can be.
        let (dead, alive, foreign) = (
            format!("{PREFIX}4294967295-0"),
            format!("{PREFIX}{}-0", process::id()),
            "other",
        );
        for name in [&dead, &alive, foreign] {
            fs::create_dir_all(root.join(name)).expect("a directory");
        }
        remove_left_behind(&root);
        assert!(
            !root.join(&dead).exists() && root.join(&alive).exists() && root.join(foreign).exists()
        );
        fs::remove_dir_all(&root).expect("removed");
    }

    /// What dynoxide asks at every write to a table with a stream, and at every read of the stream.
    #[test]
    fn a_stream_is_never_scanned_to_find_a_number() {
        let database = Database::create().expect("a database");
        let second =
            Connection::open(database.directory.0.join("dynamodb.sqlite")).expect("opened");
        let check = |query: &str, expected: &str| {
            let mut statement = second
                .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
                .expect("prepared");
            let steps = statement
                .query_map([], |row| row.get::<_, String>(3))
                .expect("explained");
            let steps: Vec<String> = steps.map(|step| step.expect("a step")).collect();
            assert_eq!(steps, [expected]);
        };
        // The greatest number is the last entry of the index.
        check(
            "SELECT COALESCE(MAX(CAST(sequence_number AS INTEGER)), 0) + 1 FROM _stream_records WHERE table_name = 't'",
            "SEARCH _stream_records USING COVERING INDEX stream_records_by_number (table_name=?)",
        );
        check(
            "SELECT event_name FROM _stream_records WHERE table_name = 't' AND shard_id = 's' AND
             CAST(sequence_number AS INTEGER) > 7 ORDER BY CAST(sequence_number AS INTEGER) LIMIT 9",
            "SEARCH _stream_records USING INDEX stream_records_by_number (table_name=? AND <expr>>?)",
        );
    }

    #[test]
    fn the_database_is_gone_when_it_is_dropped() {
        let database = Database::create().expect("a database");
        let path = database.directory.0.clone();
        assert!(path.join("dynamodb.sqlite").exists());
        drop(database);
        assert!(!path.exists());
    }
}
