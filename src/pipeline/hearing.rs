//! All the rules, asked in their order with what is known while a part of a page is judged. Pure.

use crate::{
    access::cache::View,
    model::{
        decision::{Answer, Decision, Verdict},
        swipe::Swipe,
    },
    pipeline::{
        decide::{Policy, Ruling, decide_run},
        judge::Rules,
        occupancy::Occupancy,
        presence::Presences,
    },
};

/// What is known while a part of a page is judged.
#[derive(Debug)]
pub struct Hearing<'a> {
    /// Cards, doors and rights.
    pub view: View,
    /// What the operator sets.
    pub policy: &'a Policy,
    /// When, Unix epoch milliseconds.
    pub now_ms: i64,
    /// Where the shard's cards are.
    pub presences: &'a mut Presences,
    /// How many are where.
    pub occupancy: &'a Occupancy,
}

impl Rules for Hearing<'_> {
    fn rule(
        &mut self,
        first: usize,
        decisions: &[Decision<'_>],
        rulings: &mut Vec<Ruling>,
    ) -> bool {
        decide_run(decisions, &self.view, self.policy, self.now_ms, rulings);
        let book = self.view.rulebook();
        self.presences.knows(first, decisions, rulings, book)
    }

    fn settle(&mut self, index: usize, swipe: &Swipe<'_>, ruling: &Ruling) -> Verdict {
        let (book, occupancy) = (self.view.rulebook(), self.occupancy);
        self.presences.settle(index, swipe, ruling, book, occupancy)
    }

    fn learnt(&mut self, index: usize, swipe: &Swipe<'_>, answer: &Answer, ruling: &Ruling) {
        let (book, occupancy) = (self.view.rulebook(), self.occupancy);
        self.presences
            .learnt(index, swipe, answer, ruling, book, occupancy);
    }
}
