//! The parts of `page`, each alone: what a page costs beyond their sum is the price of doing them together.

use std::{hint::black_box, sync::LazyLock};

use swiped::{
    access::cache::{RUN_MAX, View},
    model::{card::Card, decision::Answer, position::ShardId, swipe::Swipe},
    pipeline::{
        batch::Outbox,
        decide::{Policy, decide_card},
        decode::decode,
        encode,
        judge::{Judged, UserRecord, unpack},
        occupancy::Occupancy,
        presence::Presences,
        recent::Recent,
    },
};

use crate::{
    SHARD,
    estate::{NOW_MS, Page},
    judge_all,
};

static SHARD_ID: LazyLock<ShardId> = LazyLock::new(|| ShardId::new(SHARD));

/// What a page is made of, each part alone.
pub struct Parts<'a> {
    page: &'a Page,
    view: View,
    swipes: Vec<Swipe<'a>>,
    cards: Vec<Option<Card>>,
    recent: Recent,
    judged: Judged<'a>,
    events: Outbox,
    letters: Outbox,
}

impl<'a> Parts<'a> {
    pub fn new(page: &'a Page, users: &[UserRecord<'a>], view: View) -> Self {
        let memory = (&mut Presences::default(), &Occupancy::default());
        let recent = &mut Recent::default();
        let judged = judge_all(users, &SHARD_ID, recent, memory, view.clone());
        let swipes = judged.decisions.iter();
        let mut parts = Self {
            page,
            swipes: swipes.map(|decision| decision.swipe.clone()).collect(),
            cards: Vec::new(),
            recent: Recent::default(),
            judged,
            events: Outbox::default(),
            letters: Outbox::default(),
            view,
        };
        let runs = parts.swipes.chunks(RUN_MAX);
        parts.cards = runs.flat_map(|run| parts.cards_of(run)).collect();
        parts
    }

    pub fn decode(&self) {
        for user in unpack(black_box(&self.page.records), None) {
            let data = user.data.expect("no aggregate");
            black_box(decode(data).expect("a swipe"));
        }
    }

    pub fn look_up(&self) {
        for run in self.swipes.chunks(RUN_MAX) {
            black_box(self.cards_of(black_box(run)));
        }
    }

    fn cards_of(&self, run: &[Swipe<'_>]) -> [Option<Card>; RUN_MAX] {
        self.view.cards(run.iter().map(|swipe| &*swipe.card_id))
    }

    /// As a page is renumbered; far from its own numbers.
    pub fn renumber(&mut self) {
        for swipe in &mut self.swipes {
            swipe.device_seq += 1 << 32;
        }
    }

    pub fn decide(&mut self) {
        let policy = Policy::default();
        for (swipe, card) in self.swipes.iter().zip(&self.cards) {
            let ruling = decide_card(black_box(swipe), *card, &self.view, &policy, NOW_MS);
            black_box(self.recent.answer(swipe, || Answer {
                verdict: ruling.verdict,
                decided_at_ms: NOW_MS,
            }));
        }
    }

    pub fn encode(&mut self) {
        let judged = black_box(&self.judged);
        encode::outboxes(judged, false, &mut self.events, &mut self.letters);
    }
}
