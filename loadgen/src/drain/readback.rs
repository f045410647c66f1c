//! Reads back what was written, and tells the ledger.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use tokio_util::sync::CancellationToken;

use super::{
    Course, Sink,
    backlog::Backlog,
    outcome::Written,
    stage::{Props, Stage},
};
use crate::{
    ledger::{Ledger, Tally},
    observer,
    tail::Tail,
    verify,
};

/// From read to read of a shard that is at its tip.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Stage {
    /// What the daemon wrote, and what was right, wrong or missing in it.
    pub(super) async fn read_back(
        &self,
        props: &Props,
        course: Course,
        backlog: &Backlog,
    ) -> anyhow::Result<(Written, Tally)> {
        let ledger = Arc::new(Mutex::new(backlog.ledger()));
        let unreadable = Arc::new(AtomicU64::new(0));
        let written = match course.sink {
            Sink::Stream => self.read_stream(props, &ledger, &unreadable).await?,
            Sink::Table => self.read_table(props, &ledger).await?,
        };
        let mut tally = lock(&ledger).settle(&[], true);
        // No record of a backlog is one to reject.
        let rejects = self.records(props.target.rejects.as_deref())?;
        tally.unexpected += rejects + unreadable.load(Relaxed);
        Ok((written, tally))
    }

    /// Tells the ledger of every decision on the stream.
    pub(super) async fn read_stream(
        &self,
        props: &Props,
        ledger: &Arc<Mutex<Ledger>>,
        unreadable: &Arc<AtomicU64>,
    ) -> anyhow::Result<Written> {
        let stream = props.target.decisions.as_deref().unwrap_or_default();
        let (told, strange) = (ledger.clone(), unreadable.clone());
        self.written(stream, move |page| {
            let (seen, unreadable) = observer::decisions(page);
            let mut told = lock(&told);
            seen.into_iter().for_each(|seen| _ = told.decided(seen));
            _ = strange.fetch_add(unreadable, Relaxed);
        })
        .await
    }

    /// Reads a stream from end to end; what is on it.
    pub(super) async fn written(
        &self,
        stream: &str,
        take: impl Fn(&[Record]) + Clone + Send + 'static,
    ) -> anyhow::Result<Written> {
        let sum = Arc::new(Mutex::new(Written::default()));
        let counted = sum.clone();
        let tail = Tail::once(&self.clients.kinesis, stream, LOOK_EVERY);
        let cursors = tail.open(ShardIteratorType::TrimHorizon).await?;
        tail.read(cursors, CancellationToken::new(), move |page, _| {
            take(page);
            let bytes = page.iter().map(|record| {
                let key = record.partition_key.as_deref().unwrap_or_default();
                record.data.as_ref().len() + key.len()
            });
            let bytes: usize = bytes.sum();
            let mut sum = lock(&counted);
            sum.entries += page.len() as u64;
            sum.bytes += bytes as u64;
        })
        .await?;
        let sum = *lock(&sum);
        Ok(sum)
    }

    /// Tells the ledger of every decision in the table.
    async fn read_table(
        &self,
        props: &Props,
        ledger: &Arc<Mutex<Ledger>>,
    ) -> anyhow::Result<Written> {
        let table = props.target.decision_table.as_deref().unwrap_or_default();
        let mut written = Written::default();
        verify::read_table(&self.clients, table, |seen| {
            written.entries += 1;
            lock(ledger).decided(seen);
        })
        .await?;
        Ok(written)
    }
}

/// A panic under the lock is told elsewhere; what was counted stays.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
