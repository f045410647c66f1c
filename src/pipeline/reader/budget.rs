//! How many bytes of events a process holds at once.
//!
//! A share is taken *before* an event is read from the network, so that a slow sink stops the reading and not the memory:
//! what is not read stays in the window of its HTTP/2 stream, and then at the service. How large an event will be is not known
//! before: a reader takes what its last one was, and [`Share::holds`] puts it right. An event that is larger is there already,
//! so its share grows at once, as a debt that the next ones wait for.
//!
//! Shares are given in the order in which they were asked for.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::Semaphore;

use crate::metrics::BudgetMetrics;

/// The budget of one process.
#[derive(Debug)]
pub struct ByteBudget {
    total: u32,
    free: Semaphore,
    used: AtomicI64,
    /// Bytes held beyond `total`, to be paid back before anything is free.
    debt: AtomicI64,
    metrics: BudgetMetrics,
}

impl ByteBudget {
    /// A budget of so many bytes.
    pub fn new(total: u32) -> Self {
        Self {
            total,
            free: Semaphore::new(total as usize),
            used: AtomicI64::new(0),
            debt: AtomicI64::new(0),
            metrics: BudgetMetrics::new(),
        }
    }

    /// Waits for `bytes`; no more than there is in all.
    pub async fn take(self: &Arc<Self>, bytes: u32) -> Share {
        let bytes = bytes.min(self.total);
        match self.free.acquire_many(bytes).await {
            Ok(permit) => permit.forget(),
            // Never closed.
            Err(_) => return std::future::pending().await,
        }
        self.count(i64::from(bytes));
        Share {
            budget: Arc::clone(self),
            bytes,
        }
    }

    /// Bytes held now; more than the total when an event was larger than expected.
    pub fn in_use(&self) -> u64 {
        u64::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn count(&self, more: i64) {
        let used = self.used.fetch_add(more, Ordering::Relaxed) + more;
        self.metrics.used(u64::try_from(used).unwrap_or(0));
    }

    /// Takes `bytes` without waiting: what is not free becomes a debt.
    fn take_at_once(&self, bytes: u32) {
        self.count(i64::from(bytes));
        let taken = self.free.forget_permits(bytes as usize);
        let missing = i64::from(bytes) - i64::try_from(taken).unwrap_or(0);
        self.debt.fetch_add(missing, Ordering::AcqRel);
    }

    fn give(&self, bytes: u32) {
        self.count(-i64::from(bytes));
        let bytes = i64::from(bytes);
        let pay = |debt: i64| Some(debt - debt.min(bytes));
        let owed = self
            .debt
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, pay);
        let paid = owed.unwrap_or(0).min(bytes);
        let free = usize::try_from(bytes - paid).unwrap_or(0);
        self.free.add_permits(free);
    }
}

/// A share of the budget; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<ByteBudget>,
    bytes: u32,
}

impl Share {
    /// What it is for came and holds so many bytes.
    pub fn holds(&mut self, bytes: u32) {
        if bytes > self.bytes {
            self.budget.take_at_once(bytes - self.bytes);
        } else {
            self.budget.give(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn is_free(budget: &Arc<ByteBudget>, bytes: u32) -> bool {
        timeout(Duration::from_secs(1), budget.take(bytes))
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_put_right_when_the_event_is_there_and_given_back_when_it_is_dropped() {
        let budget = Arc::new(ByteBudget::new(100));
        let mut share = budget.take(60).await;
        assert!(!is_free(&budget, 50).await);
        share.holds(10);
        assert_eq!(budget.in_use(), 10);
        assert!(is_free(&budget, 90).await && !is_free(&budget, 91).await);
        drop(share);
        assert_eq!(budget.in_use(), 0);
        assert!(is_free(&budget, 100).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_larger_than_the_budget_is_a_debt_that_the_next_ones_wait_for() {
        let budget = Arc::new(ByteBudget::new(100));
        let other = budget.take(30).await;
        let mut share = budget.take(10).await;
        share.holds(250);
        assert_eq!(budget.in_use(), 280);
        drop(other);
        assert!(!is_free(&budget, 1).await, "the debt is paid first");
        drop(share);
        assert_eq!(budget.in_use(), 0);
        assert!(is_free(&budget, 100).await);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_the_whole_budget_is_the_whole_budget() {
        let budget = Arc::new(ByteBudget::new(100));
        let share = budget.take(1000).await;
        assert_eq!(budget.in_use(), 100);
        drop(share);
    }
}
