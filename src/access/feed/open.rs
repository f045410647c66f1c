//! Opens the change stream at its tip, before anything is scanned.

use fastrand::Rng;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::sleep;
use tracing::warn;

use super::{
    AccessFeed,
    ask::{Answer, Ask},
    course::{AWAITED_LISTING, End, end},
    lineage::Lineage,
};
use crate::{
    model::position::{ShardId, ShardIterator},
    ports::{AccessTable, ChangeStart, FaultKind},
};

/// Iterators that are opened at once: enough for the round trips of a wide table, few for its service.
const OPENING_AT_ONCE: usize = 16;

impl<T: AccessTable> AccessFeed<T> {
    /// Lists the shards until there is one, and opens every leaf at its tip.
    pub(super) async fn open(
        &self,
        rng: &mut Rng,
    ) -> Result<(Lineage, Vec<(ShardId, ShardIterator)>), End> {
        let mut said = false;
        loop {
            let listed = self.list_once(rng.u64(..)).await;
            let listed = listed.map_err(|fault| match fault.kind {
                FaultKind::NotFound => End::Fault(fault),
                _ => end(fault, true),
            })?;
            let (lineage, leaves) = Lineage::begin(&listed);
            if !leaves.is_empty() {
                return Ok((lineage, self.open_at_tip(leaves, rng).await?));
            }
            if !said {
                warn!("the access stream lists no shard to read yet; waiting for one");
                said = true;
            }
            sleep(AWAITED_LISTING).await;
        }
    }

    async fn open_at_tip(
        &self,
        leaves: Vec<ShardId>,
        rng: &mut Rng,
    ) -> Result<Vec<(ShardId, ShardIterator)>, End> {
        let mut opened = Vec::with_capacity(leaves.len());
        let mut left = leaves.into_iter();
        let mut opening = FuturesUnordered::new();
        let mut open = |shard| {
            self.ask(
                Ask::Open {
                    shard,
                    start: ChangeStart::Latest,
                },
                rng.u64(..),
            )
        };
        opening.extend(left.by_ref().take(OPENING_AT_ONCE).map(&mut open));
        while let Some(answer) = opening.next().await {
            if let Answer::Opened { shard, iterator } = answer {
                opened.push((shard, iterator.map_err(|fault| end(fault, true))?));
            }
            opening.extend(left.next().map(&mut open));
        }
        Ok(opened)
    }
}
