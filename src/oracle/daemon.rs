//! A world played by the daemon's own code: from the bytes of a record to the answer, with the memory of a shard's
//! consumer. What is stored is kept in two maps, so that a consumer can be replaced between any two swipes.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    access::{
        cache::{AccessCache, View},
        fixtures::put,
    },
    model::{
        decision::{self, Decision, Verdict},
        position::{Record, SequenceNumber, ShardId},
        presence::Presence,
        swipe::Swipe,
    },
    pipeline::{
        decide::{Policy, Ruling, decide},
        judge::{Judged, Rules, judge, unpack},
        occupancy::Occupancy,
        presence::Presences,
        recent::Recent,
    },
};

use super::{
    rules::{Answer, Limits},
    world::{Step, World},
};

/// What a shard's consumer asks and remembers.
struct Consumer {
    view: View,
    policy: Policy,
    now_ms: i64,
    presences: Presences,
    occupancy: Occupancy,
    /// The decision table, as far as it tells where cards are.
    stored: BTreeMap<(Box<str>, Arc<str>), Presence>,
}

impl Consumer {
    fn store(&mut self, decisions: &[Decision<'_>]) {
        for moved in self.presences.moves(decisions) {
            let presence = moved.presence();
            let key = (Box::from(&*moved.swipe.card_id), Arc::clone(moved.group));
            let newer = |was: &Presence| was.at_ms > presence.at_ms;
            if !self.stored.get(&key).is_some_and(newer) {
                self.stored.insert(key, presence);
            }
        }
        self.presences.end_part(&self.occupancy);
    }
}

impl Rules for Consumer {
    fn rule(&mut self, _: usize, decisions: &[Decision<'_>], rulings: &mut Vec<Ruling>) -> bool {
        for (card, group) in self.presences.unknown(decisions, self.view.rulebook()) {
            let stored = self.stored.get(&(card.clone(), group.clone()));
            self.presences.learn(&card, &group, stored.cloned());
        }
        for decision in decisions {
            rulings.push(decide(
                &decision.swipe,
                &self.view,
                &self.policy,
                self.now_ms,
            ));
        }
        true
    }

    fn settle(&mut self, index: usize, swipe: &Swipe<'_>, ruling: &Ruling) -> Verdict {
        let book = self.view.rulebook();
        self.presences
            .settle(index, swipe, ruling, book, &self.occupancy)
    }

    fn learnt(
        &mut self,
        index: usize,
        swipe: &Swipe<'_>,
        answer: &decision::Answer,
        ruling: &Ruling,
    ) {
        let (book, occupancy) = (self.view.rulebook(), &self.occupancy);
        self.presences
            .learnt(index, swipe, answer, ruling, book, occupancy);
    }
}

/// The answers of the daemon's own code to all swipes of a world, in order.
pub fn play_daemon(world: &World) -> Vec<Answer> {
    let cache = AccessCache::new();
    let changes: Vec<_> = world.items.iter().cloned().map(put).collect();
    cache.apply(&changes);
    let mut consumer = Consumer {
        view: cache.view(),
        policy: policy(&world.limits),
        now_ms: 0,
        presences: Presences::default(),
        occupancy: Occupancy::default(),
        stored: BTreeMap::new(),
    };
    let mut recent = Recent::default();
    let mut answers = Vec::new();
    for page in world.steps.chunk_by(on_one_page) {
        let step = &page[0];
        if let Some(fresh_ms) = step.fresh_ms {
            cache.mark_fresh(fresh_ms);
        }
        if let Some(item) = &step.change {
            cache.apply(&[put(item.clone())]);
        }
        if step.take_over {
            consumer.presences = Presences::default();
        }
        consumer.view = cache.view();
        consumer.now_ms = step.now_ms;
        judge_page(page, &mut consumer, &mut recent, &mut answers);
    }
    answers
}

/// Whether the daemon may have read both at once: nothing happened in between.
fn on_one_page(one: &Step, next: &Step) -> bool {
    let same = (one.now_ms, one.fresh_ms) == (next.now_ms, next.fresh_ms);
    same && next.change.is_none() && !next.take_over
}

fn judge_page(
    page: &[Step],
    consumer: &mut Consumer,
    recent: &mut Recent,
    answers: &mut Vec<Answer>,
) {
    let records = page.iter().enumerate().map(|(index, step)| Record {
        sequence: SequenceNumber::parse(&index.to_string()).expect("digits"),
        data: step.swipe.as_json().into_bytes().into(),
    });
    let records: Vec<_> = records.collect();
    let (users, shard) = (unpack(&records, None), ShardId::new("shard"));
    let mut judged = Judged::default();
    let (policy, now_ms) = (consumer.policy, consumer.now_ms);
    judge(
        &users,
        &shard,
        recent,
        now_ms,
        &policy,
        consumer,
        &mut judged,
    );
    assert_eq!(judged.decisions.len(), page.len(), "a swipe, a decision");
    consumer.store(&judged.decisions);
    for decision in &judged.decisions {
        let verdict = &decision.answer.verdict;
        let mut flags: Vec<_> = verdict.flags().collect();
        flags.sort_unstable();
        answers.push(Answer {
            decision: verdict.reason.outcome().as_str(),
            reason: verdict.reason.as_str(),
            rule: verdict.reason.rule(),
            flags,
            actuate: decision.actuate,
        });
    }
}

pub fn policy(limits: &Limits) -> Policy {
    Policy {
        max_card_staleness_ms: limits.staleness_ms,
        max_clock_skew_ms: limits.skew_ms,
        max_swipe_age_ms: limits.age_ms,
        actuate_within_ms: limits.actuate_ms,
        require_known_devices: limits.known_devices,
    }
}
