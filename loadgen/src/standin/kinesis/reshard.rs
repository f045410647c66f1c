//! Resharding: split, merge, and a new shard count as splits and merges with the right parents.

use super::{
    refusal::{Refusal, RefusalKind},
    shard::Shard,
    stream::{MAX_SHARDS, Stream, even_starts},
};

impl Stream {
    /// Splits an open shard at `second_start`, the least hash key of its second child.
    ///
    /// # Errors
    /// `ResourceNotFound`, `ResourceInUse` when it is closed, `InvalidArgument` when `second_start` is not inside it.
    pub fn split(&mut self, id: &str, second_start: u128, now_ms: u64) -> Result<(), Refusal> {
        let shard = self.open_shard(id)?;
        let (index, first, last) = (shard.index, shard.first_hash, shard.last_hash);
        if second_start <= first || second_start > last {
            return Err(Refusal::invalid(format!(
                "NewStartingHashKey {second_start} used in SplitShard() on shard {id} in stream {} is not both greater than one \
                 plus the shard's StartingHashKey {first} and less than the shard's EndingHashKey {last}.",
                self.name
            )));
        }
        self.room_for(1)?;
        self.close_shard(index, now_ms);
        let children = vec![
            self.add_shard((first, second_start - 1), vec![index], now_ms),
            self.add_shard((second_start, last), vec![index], now_ms),
        ];
        self.name_children(index, children);
        Ok(())
    }

    /// Merges two adjacent open shards.
    ///
    /// # Errors
    /// `ResourceNotFound`, `ResourceInUse` when one is closed, `InvalidArgument` when they are not adjacent.
    pub fn merge(&mut self, id: &str, adjacent: &str, now_ms: u64) -> Result<(), Refusal> {
        let (one, other) = (self.open_shard(id)?, self.open_shard(adjacent)?);
        let (low, high) = if one.first_hash < other.first_hash {
            (one, other)
        } else {
            (other, one)
        };
        if low.last_hash.checked_add(1) != Some(high.first_hash) {
            return Err(Refusal::invalid(format!(
                "Shards {id} and {adjacent} in stream {} are not an adjacent pair of shards eligible for merging.",
                self.name
            )));
        }
        let hashes = (low.first_hash, high.last_hash);
        let parents = vec![one.index, other.index];
        for parent in &parents {
            self.close_shard(*parent, now_ms);
        }
        let child = self.add_shard(hashes, parents.clone(), now_ms);
        for parent in parents {
            self.name_children(parent, vec![child]);
        }
        Ok(())
    }

    /// Brings the stream to `target` even open shards; their number before. Each new edge is a split, each old edge
    /// that does not belong any more a merge: a shard may be opened and closed at once, as it is in the service.
    ///
    /// # Errors
    /// `InvalidArgument` for a target that is not between half and double of the present count.
    pub fn update_shard_count(&mut self, target: u32, now_ms: u64) -> Result<u32, Refusal> {
        let before = self.open_shards().count() as u32;
        if target == 0 || target > MAX_SHARDS || target > before * 2 || target < before.div_ceil(2)
        {
            return Err(Refusal::invalid(format!(
                "UpdateShardCount cannot scale below half or over double your current open shard count. Current open shard count: \
                 {before} Target shard count: {target}"
            )));
        }
        let starts: Vec<u128> = even_starts(target).collect();
        for start in &starts {
            let around = self
                .open_shards()
                .find(|shard| inside(shard, *start))
                .map(Shard::id);
            if let Some(id) = around {
                self.split(&id, *start, now_ms)?;
            }
        }
        while let Some((low, high)) = self.stray_pair(&starts) {
            self.merge(&low, &high, now_ms)?;
        }
        Ok(before)
    }

    /// Two adjacent open shards whose edge is not among `starts`.
    fn stray_pair(&self, starts: &[u128]) -> Option<(String, String)> {
        let mut low = None;
        for shard in self.open_shards() {
            if let Some(low) = low
                && starts.binary_search(&shard.first_hash).is_err()
            {
                return Some((low, shard.id()));
            }
            low = Some(shard.id());
        }
        None
    }

    fn open_shard(&self, id: &str) -> Result<&Shard, Refusal> {
        let shard = self.shard(id)?;
        if shard.is_open() {
            return Ok(shard);
        }
        Err(Refusal::new(
            RefusalKind::ResourceInUse,
            format!(
                "Shard {id} in stream {} has already been merged or split, and thus is not eligible.",
                self.name
            ),
        ))
    }

    fn room_for(&self, more: usize) -> Result<(), Refusal> {
        if self.open_shards().count() + more <= MAX_SHARDS as usize {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalKind::LimitExceeded,
            format!(
                "Stream {} would have more than {MAX_SHARDS} open shards.",
                self.name
            ),
        ))
    }

    fn name_children(&mut self, parent: u32, children: Vec<u32>) {
        if let Some(shard) = self.shard_at_mut(parent) {
            shard.children = children;
        }
    }
}

fn inside(shard: &Shard, start: u128) -> bool {
    shard.first_hash < start && start <= shard.last_hash
}
