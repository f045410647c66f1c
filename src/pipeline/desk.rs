//! The desk of one shard: where a page is judged, encoded and stored.
//!
//! A page is handled in parts of at most [`PART_MAX`] swipes, so that a page of aggregates is bounded too; each part is stored
//! completely before its last position is reported.
//!
//! After a take-over records come again that were decided before: while the replay window is open ([`Replay`]), every
//! part is looked up in the decision table first, and what is found there stands.

mod halt;

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};
use tracing::{debug, info};

use halt::{Halt, halt};

use crate::{
    access::cache::AccessCache,
    metrics::{
        DecisionMetrics, DecisionTally, PageMetrics, PageTally, RejectTally, ShardMetrics, Stage,
        StageMetrics,
    },
    model::{
        lease::Finish,
        position::{Page, Position, ShardId},
    },
    pipeline::{
        batch::Outbox,
        consumer::{Progress, Shared},
        decide::Policy,
        encode,
        fence::Fence,
        hearing::Hearing,
        judge::{Judged, UserRecord, judge, undecided, unpack},
        occupancy::Occupancy,
        pack::Packer,
        presence::Presences,
        recent::Recent,
        replay::{Replay, UNKNOWN_RUN},
        writer::{Fenced, Writer},
    },
    ports::{Clock, DecisionTable, EventStream},
};

/// Swipes of one part: decisions and events of so many, 0.7 KiB each, stay in a core's own cache; and five full writes.
pub const PART_MAX: usize = 2_500;

// What the previous owner stored last is one part at most.
const _: () = assert!(PART_MAX <= UNKNOWN_RUN);

/// Where the pages of one shard are worked.
#[derive(Debug)]
pub struct Desk<E, T> {
    shard: ShardId,
    writer: Writer<E, T>,
    /// Without a dead-letter stream: whether rejects are passed over (or stop the shard).
    skip_rejects: Option<bool>,
    cache: Arc<AccessCache>,
    policy: Policy,
    standards: bool,
    clock: Clock,
    progress: watch::Sender<Progress>,
    recent: Recent,
    presences: Presences,
    occupancy: Arc<Occupancy>,
    replay: Replay,
    /// Where the replay window's time begins.
    began: Instant,
    done: Option<Position>,
    /// The events and dead letters of a part; the memory is kept from part to part.
    events: Outbox,
    letters: Outbox,
    packer: Option<Packer>,
    /// When the page before this one was done.
    idle_since: Instant,
    stages: StageMetrics,
    shard_metrics: ShardMetrics,
    page_metrics: PageMetrics,
    decision_metrics: DecisionMetrics,
}

impl<E: EventStream, T: DecisionTable> Desk<E, T> {
    /// The desk of `shard`, where everything up to `done` is stored.
    pub fn new<S>(
        shared: &Shared<S, E, T>,
        shard: ShardId,
        done: Option<Position>,
        fence: Fence,
        replay: Replay,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let sinks = &shared.sinks;
        Self {
            skip_rejects: sinks.rejects.is_none().then_some(sinks.skip_rejects),
            replay,
            began: Instant::now(),
            writer: Writer::new(sinks.clone(), shared.limits.write, fence),
            shard_metrics: ShardMetrics::new(&shard),
            page_metrics: PageMetrics::new(),
            decision_metrics: DecisionMetrics::new(),
            shard,
            cache: Arc::clone(&shared.cache),
            policy: shared.limits.policy,
            standards: sinks.standards,
            clock: shared.clock,
            progress,
            recent: Recent::default(),
            presences: Presences::default(),
            occupancy: Arc::clone(&shared.occupancy),
            done,
            events: Outbox::default(),
            letters: Outbox::default(),
            packer: sinks.aggregate.map(Packer::new),
            idle_since: Instant::now(),
            stages: StageMetrics::new(),
        }
    }

    /// Handles a page that came at `arrived`: when this returns without an error, all of it is stored and reported.
    pub async fn handle(&mut self, page: &Page, arrived: Instant) -> Result<(), Finish> {
        self.stages.took(Stage::Read, self.idle_since.elapsed());
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
            let halt = self.handle_part(part, arrived).await?;
            let stored = halt.as_ref().map_or(part.len(), |halt| halt.at);
            if let Some(last) = part[..stored].last() {
                self.done = Some(last.position());
            }
            self.report(page.behind_latest_ms);
            if let Some(Halt { why, .. }) = halt {
                return Err(Finish::Halted(why));
            }
        }
        if users.is_empty() {
            self.report(page.behind_latest_ms);
        }
        let since = arrived.saturating_duration_since(self.began).as_millis();
        let published_ms = i64::try_from(since).unwrap_or(i64::MAX) - page.behind_latest_ms;
        let at_tip = page.behind_latest_ms == 0;
        if self.replay.handled(published_ms, at_tip) {
            info!(shard = %self.shard, "replay window closed");
        }
        self.idle_since = Instant::now();
        Ok(())
    }

    fn report(&self, behind_latest_ms: i64) {
        self.progress.send_replace(Progress {
            done: self.done.clone(),
            behind_latest_ms,
        });
    }

    /// Stores all of `part`, or what comes before the record at which the shard has to stop.
    async fn handle_part(
        &mut self,
        part: &[UserRecord<'_>],
        arrived: Instant,
    ) -> Result<Option<Halt>, Finish> {
        let (shard, began) = (self.shard.clone(), Instant::now());
        let replayed = match self.replay.is_open() {
            true => self.remember_stored(part, &shard).await?,
            false => 0,
        };
        let mut judged = self.judge(part, &shard).await?;
        let halt = match self.skip_rejects {
            Some(false) => halt(part, &mut judged),
            _ => None,
        };
        self.page_metrics.recovered(replayed);
        self.encode(&judged);
        let events = match &mut self.packer {
            Some(packer) => packer.pack(&self.events),
            None => &self.events,
        };
        let moves = self.presences.moves(&judged.decisions);
        let sent = Instant::now();
        self.writer
            .store(&judged.decisions, moves, events, &self.letters)
            .await
            .map_err(|Fenced| Finish::Fenced)?;
        self.presences.end_part(&self.occupancy);
        let stored = Instant::now();
        self.stages.took(Stage::Judge, sent - began);
        self.page_metrics.decided(sent - arrived);
        self.page_metrics.written(stored - sent);
        self.page_metrics.stored(stored - arrived);
        self.count(&judged);
        Ok(halt)
    }

    /// Judges all of `part`, and looks up on the way where cards are that were not seen here yet.
    async fn judge<'a>(
        &mut self,
        part: &[UserRecord<'a>],
        shard: &'a ShardId,
    ) -> Result<Judged<'a>, Finish> {
        let now_ms = self.clock.now_ms();
        let mut judged = Judged::default();
        judged.decisions.reserve(part.len());
        let mut from = 0;
        loop {
            let mut rules = Hearing {
                view: self.cache.view(),
                policy: &self.policy,
                now_ms,
                presences: &mut self.presences,
                occupancy: &self.occupancy,
            };
            let (rest, recent) = (&part[from..], &mut self.recent);
            from += judge(
                rest,
                shard,
                recent,
                now_ms,
                &self.policy,
                &mut rules,
                &mut judged,
            );
            if from == part.len() {
                return Ok(judged);
            }
            self.look_for(&part[from..], shard, now_ms).await?;
        }
    }

    /// Asks the table where the cards of `part` are, as far as that is not known here.
    async fn look_for(
        &mut self,
        part: &[UserRecord<'_>],
        shard: &ShardId,
        now_ms: i64,
    ) -> Result<(), Finish> {
        let asked = {
            let view = self.cache.view();
            let decisions = undecided(part, shard, now_ms);
            self.presences.unknown(&decisions, view.rulebook())
        };
        let found = self.writer.presences(&asked).await;
        let found = found.map_err(|Fenced| Finish::Fenced)?;
        for ((card, group), presence) in asked.into_iter().zip(found) {
            self.presences.learn(&card, &group, presence);
        }
        Ok(())
    }

    /// Within the replay window: what the table already says stands, and is not actuated again. How many that are.
    async fn remember_stored(
        &mut self,
        part: &[UserRecord<'_>],
        shard: &ShardId,
    ) -> Result<u64, Finish> {
        let decisions = undecided(part, shard, self.clock.now_ms());
        let stored = self.writer.stored(&decisions).await;
        let stored = stored.map_err(|Fenced| Finish::Fenced)?;
        for (index, answer) in &stored {
            self.recent.learn(&decisions[*index].swipe, *answer);
        }
        let last = stored.last().map(|(last, _)| *last);
        self.replay.looked_up(decisions.len(), last);
        Ok(stored.len() as u64)
    }

    fn encode(&mut self, judged: &Judged<'_>) {
        encode::outboxes(judged, self.standards, &mut self.events, &mut self.letters);
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
