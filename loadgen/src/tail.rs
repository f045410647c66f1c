//! Reads a stream to its tip and follows it, shard by shard, children after their parent.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use aws_sdk_kinesis::{
    Client,
    operation::get_records::{GetRecordsError, GetRecordsOutput},
    types::{Record, Shard, ShardIteratorType},
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// Pages of shards of one stream at most.
const SHARD_PAGES: usize = 100;

/// Pause after a failed read.
const AFTER_ERROR: Duration = Duration::from_millis(250);

/// Failed reads in a row after which a shard is given up: about half a minute.
const ERRORS: u32 = 120;

/// Empty reads at the tip after which a shard counts as read to its end.
const EMPTY_AT_TIP: u32 = 2;

/// A stream's reader.
#[derive(Clone)]
pub struct Tail {
    kinesis: Client,
    stream: Arc<str>,
    every: Duration,
    /// Ends at the tip instead of following.
    once: bool,
}

/// A place in a shard from which to read.
pub struct Cursor {
    shard: String,
    iterator: String,
    after: Option<String>,
}

/// Every shard of a stream, closed ones too.
///
/// # Errors
/// When they cannot be listed.
pub async fn shards(kinesis: &Client, stream: &str) -> anyhow::Result<Vec<Shard>> {
    let (mut shards, mut token) = (Vec::new(), None);
    for _ in 0..SHARD_PAGES {
        // A page after the first is asked for by its token alone.
        let name = token.is_none().then(|| stream.to_owned());
        let reply = kinesis
            .list_shards()
            .set_stream_name(name)
            .set_next_token(token)
            .send()
            .await;
        let reply =
            reply.with_context(|| format!("cannot list the shards of the stream {stream}"))?;
        shards.extend(reply.shards.unwrap_or_default());
        token = reply.next_token;
        if token.is_none() {
            break;
        }
    }
    Ok(shards)
}

impl Tail {
    /// A reader that follows the stream, asking each shard that often.
    pub fn following(kinesis: &Client, stream: &str, every: Duration) -> Self {
        Self {
            kinesis: kinesis.clone(),
            stream: stream.into(),
            every,
            once: false,
        }
    }

    /// A reader that stops at the tip.
    pub fn once(kinesis: &Client, stream: &str, every: Duration) -> Self {
        Self {
            once: true,
            ..Self::following(kinesis, stream, every)
        }
    }

    /// Opens every shard, at its tip or at its beginning, and reads once so that the place is fixed.
    ///
    /// # Errors
    /// When a shard cannot be opened.
    pub async fn open(&self, from: ShardIteratorType) -> anyhow::Result<Vec<Cursor>> {
        let mut cursors = Vec::new();
        for shard in shards(&self.kinesis, &self.stream).await? {
            let shard = shard.shard_id;
            let iterator = self.iterator(&shard, from.clone(), None).await?;
            cursors.push(Cursor {
                shard,
                iterator,
                after: None,
            });
        }
        Ok(cursors)
    }

    /// Gives every page to `take`, with the instant at which it came, until `stop`, or until the tip.
    ///
    /// # Errors
    /// When a shard cannot be read any more.
    pub async fn read<F>(
        self,
        cursors: Vec<Cursor>,
        stop: CancellationToken,
        take: F,
    ) -> anyhow::Result<()>
    where
        F: Fn(&[Record], Instant) + Clone + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for cursor in cursors {
            tasks.spawn(self.clone().read_shard(cursor, stop.clone(), take.clone()));
        }
        let mut known = std::collections::HashSet::new();
        while let Some(ended) = tasks.join_next().await {
            // A closed shard's children; a merge names its child twice.
            for child in ended.context("a reader panicked")?? {
                if known.insert(child.clone()) && !self.once {
                    let iterator = self
                        .iterator(&child, ShardIteratorType::TrimHorizon, None)
                        .await?;
                    let cursor = Cursor {
                        shard: child,
                        iterator,
                        after: None,
                    };
                    tasks.spawn(self.clone().read_shard(cursor, stop.clone(), take.clone()));
                }
            }
        }
        Ok(())
    }

    async fn read_shard<F>(
        self,
        mut cursor: Cursor,
        stop: CancellationToken,
        take: F,
    ) -> anyhow::Result<Vec<String>>
    where
        F: Fn(&[Record], Instant),
    {
        let (mut errors, mut empty) = (0, 0);
        while !stop.is_cancelled() {
            let page = match self.page(&mut cursor).await {
                Ok(page) => page,
                Err(error) if errors < ERRORS => {
                    errors += 1;
                    tracing::debug!(%error, shard = cursor.shard, "reading failed");
                    tokio::time::sleep(AFTER_ERROR).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            errors = 0;
            take(&page.records, Instant::now());
            if let Some(last) = page.records.last() {
                cursor.after = Some(last.sequence_number.clone());
            }
            let Some(next) = page.next_shard_iterator else {
                return Ok(page
                    .child_shards
                    .unwrap_or_default()
                    .into_iter()
                    .map(|child| child.shard_id)
                    .collect());
            };
            cursor.iterator = next;
            let at_tip = page.records.is_empty() && page.millis_behind_latest.unwrap_or(0) == 0;
            empty = if at_tip { empty + 1 } else { 0 };
            if self.once && empty >= EMPTY_AT_TIP {
                break;
            }
            if at_tip || !self.once {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(self.every) => {}
                }
            }
        }
        Ok(Vec::new())
    }

    async fn page(&self, cursor: &mut Cursor) -> anyhow::Result<GetRecordsOutput> {
        let reply = self
            .kinesis
            .get_records()
            .shard_iterator(&cursor.iterator)
            .send()
            .await;
        let error = match reply {
            Ok(page) => return Ok(page),
            Err(error) => error.into_service_error(),
        };
        if matches!(error, GetRecordsError::ExpiredIteratorException(_)) {
            let from = match cursor.after {
                Some(_) => ShardIteratorType::AfterSequenceNumber,
                None => ShardIteratorType::TrimHorizon,
            };
            cursor.iterator = self
                .iterator(&cursor.shard, from, cursor.after.clone())
                .await?;
        }
        Err(error).with_context(|| {
            format!(
                "cannot read shard {} of the stream {}",
                cursor.shard, self.stream
            )
        })
    }

    async fn iterator(
        &self,
        shard: &str,
        from: ShardIteratorType,
        after: Option<String>,
    ) -> anyhow::Result<String> {
        let request = self
            .kinesis
            .get_shard_iterator()
            .stream_name(&*self.stream)
            .shard_id(shard);
        let reply = request
            .shard_iterator_type(from)
            .set_starting_sequence_number(after)
            .send()
            .await;
        let reply = reply
            .with_context(|| format!("cannot open shard {shard} of the stream {}", self.stream))?;
        reply.shard_iterator.with_context(|| {
            format!(
                "no iterator for shard {shard} of the stream {}",
                self.stream
            )
        })
    }
}
