//! The desk of one shard: where a page is judged, encoded and stored.
//!
//! A page is handled in parts of at most [`PART_MAX`] swipes, so that a page of aggregates is bounded too; each part is stored
//! completely before its last position is reported.
//!
//! After a take-over the records between the stored checkpoint and the point that the previous owner had reached come again.
//! Until that *replay window* is certainly behind, every part is looked up in the decision table first and what is
//! found there stands. The window ends with the first page read at the tip (what comes later is newer than this
//! consumer), or after [`PART_MAX`] swipes in a row of which none was stored: the previous owner stored part after part,
//! so a longer run of unknown ones cannot lie before its last.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};
use tracing::{debug, info};

use crate::{
    access::cache::AccessCache,
    metrics::{DecisionMetrics, DecisionTally, PageMetrics, PageTally, RejectTally, ShardMetrics},
    model::position::{Page, Position, ShardId},
    pipeline::{
        batch::Outbox,
        consumer::{Finish, Progress, Shared},
        decide::{Policy, decide_run},
        encode,
        fence::Fence,
        judge::{Judged, UserRecord, judge, unpack},
        recent::Recent,
        writer::{Fenced, Writer},
    },
    ports::{Clock, DecisionTable, EventStream},
};

/// Swipes of one part: as many as a page of plain records can hold, so that only aggregates are ever cut.
pub const PART_MAX: usize = 10_000;

/// Where the pages of one shard are worked.
#[derive(Debug)]
pub struct Desk<E, T> {
    shard: ShardId,
    writer: Writer<E, T>,
    /// Without a dead-letter stream: whether rejects are passed over (or stop the shard).
    skip_rejects: Option<bool>,
    cache: Arc<AccessCache>,
    policy: Policy,
    clock: Clock,
    progress: watch::Sender<Progress>,
    recent: Recent,
    replay: Replay,
    done: Option<Position>,
    /// The events and dead letters of a part; the memory is kept from part to part.
    events: Outbox,
    letters: Outbox,
    shard_metrics: ShardMetrics,
    page_metrics: PageMetrics,
    decision_metrics: DecisionMetrics,
}

/// The replay window: whether decisions may already be stored.
#[derive(Debug)]
struct Replay {
    open: bool,
    unknown_in_a_row: usize,
}

impl<E: EventStream, T: DecisionTable> Desk<E, T> {
    /// The desk of `shard`, where everything up to `done` is stored.
    pub fn new<S>(
        shared: &Shared<S, E, T>,
        shard: ShardId,
        done: Option<Position>,
        fence: Fence,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let sinks = &shared.sinks;
        Self {
            skip_rejects: sinks.rejects.is_none().then_some(sinks.skip_rejects),
            replay: Replay {
                open: sinks.table.is_some(),
                unknown_in_a_row: 0,
            },
            writer: Writer::new(sinks.clone(), shared.limits.write, fence),
            shard_metrics: ShardMetrics::new(&shard),
            page_metrics: PageMetrics::new(),
            decision_metrics: DecisionMetrics::new(),
            shard,
            cache: Arc::clone(&shared.cache),
            policy: shared.limits.policy,
            clock: shared.clock,
            progress,
            recent: Recent::default(),
            done,
            events: Outbox::default(),
            letters: Outbox::default(),
        }
    }

    /// Handles a page that came at `arrived`: when this returns without an error, all of it is stored and reported.
    pub async fn handle(&mut self, page: &Page, arrived: Instant) -> Result<(), Finish> {
        let users = unpack(&page.records, self.done.as_ref());
        self.shard_metrics.page(&PageTally {
            records: page.records.len() as u64,
            bytes: page
                .records
                .iter()
                .map(|record| record.data.len() as u64)
                .sum(),
            swipes: users.len() as u64,
            behind_latest_ms: page.behind_latest_ms,
        });
        for part in users.chunks(PART_MAX) {
            self.handle_part(part, arrived).await?;
            self.done = part.last().map(UserRecord::position);
            self.report(page.behind_latest_ms);
        }
        if users.is_empty() {
            self.report(page.behind_latest_ms);
        }
        if self.replay.open && page.behind_latest_ms == 0 {
            self.close_replay("reached the tip");
        }
        Ok(())
    }

    fn report(&self, behind_latest_ms: i64) {
        self.progress.send_replace(Progress {
            done: self.done.clone(),
            behind_latest_ms,
        });
    }

    async fn handle_part(
        &mut self,
        part: &[UserRecord<'_>],
        arrived: Instant,
    ) -> Result<(), Finish> {
        let shard = self.shard.clone();
        let mut judged = self.judge(part, &shard);
        if let (Some(first), Some(false)) = (judged.rejects.first(), self.skip_rejects) {
            let (kind, sequence) = (first.reject.kind.as_str(), first.source.sequence);
            return Err(Finish::Halted(format!(
                "a record is no swipe ({kind}: {}) at {sequence}, and there is no rejects.stream to keep it; \
                 configure one, or set rejects.on_reject = \"skip\" to lose such records",
                first.reject.detail
            )));
        }
        if self.replay.open {
            self.keep_stored(&mut judged).await?;
        }
        self.encode(&judged);
        let sent = Instant::now();
        self.writer
            .store(&judged.decisions, &self.events, &self.letters)
            .await
            .map_err(|Fenced| Finish::Fenced)?;
        let stored = Instant::now();
        self.page_metrics.decided(sent - arrived);
        self.page_metrics.written(stored - sent);
        self.page_metrics.stored(stored - arrived);
        self.count(&judged);
        Ok(())
    }

    fn judge<'a>(&mut self, part: &[UserRecord<'a>], shard: &'a ShardId) -> Judged<'a> {
        let (view, policy) = (self.cache.view(), self.policy);
        let now_ms = self.clock.now_ms();
        judge(
            part,
            shard,
            &mut self.recent,
            now_ms,
            policy.actuate_within_ms,
            |decisions, rulings| decide_run(decisions, &view, &policy, now_ms, rulings),
        )
    }

    /// Within the replay window: what the table already says stands, and is not actuated again.
    async fn keep_stored(&mut self, judged: &mut Judged<'_>) -> Result<(), Finish> {
        let stored = self.writer.stored(&judged.decisions).await;
        let stored = stored.map_err(|Fenced| Finish::Fenced)?;
        for (index, answer) in &stored {
            let decision = &mut judged.decisions[*index];
            decision.answer = *answer;
            decision.actuate = false;
            decision.repeat = true;
            self.recent.remember(&decision.swipe, *answer);
        }
        self.page_metrics.recovered(stored.len() as u64);
        match stored.last() {
            Some((last, _)) => self.replay.unknown_in_a_row = judged.decisions.len() - 1 - last,
            None => self.replay.unknown_in_a_row += judged.decisions.len(),
        }
        if self.replay.unknown_in_a_row >= PART_MAX {
            self.close_replay("passed the previous owner's last part");
        }
        Ok(())
    }

    fn close_replay(&mut self, why: &'static str) {
        info!(shard = %self.shard, why, "replay window closed");
        self.replay.open = false;
    }

    fn encode(&mut self, judged: &Judged<'_>) {
        encode::outboxes(judged, &mut self.events, &mut self.letters);
        for rejected in &judged.rejects {
            let (reject, source) = (&rejected.reject, &rejected.source);
            debug!(shard = source.shard, sequence = source.sequence, sub = source.sub,
                   error = reject.kind.as_str(), detail = %reject.detail, "record rejected");
        }
    }

    fn count(&self, judged: &Judged<'_>) {
        let mut decisions = DecisionTally::default();
        let mut repeats = 0;
        for decision in &judged.decisions {
            decisions[decision.answer.verdict.reason as usize] += 1;
            repeats += u64::from(decision.repeat);
        }
        let mut rejects = RejectTally::default();
        for rejected in &judged.rejects {
            rejects[rejected.reject.kind as usize] += 1;
        }
        self.decision_metrics.add(&decisions);
        self.decision_metrics.add_rejects(&rejects);
        self.page_metrics.duplicates(repeats);
    }
}
