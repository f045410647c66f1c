//! SubscribeToShard as the services play it: one subscription a shard, replaced after five seconds at the earliest, ended by
//! the service after a while, an event now and then also where nothing is written.

use crate::{
    model::position::{Begin, Next, Page, SequenceNumber, ShardId, ShardIterator},
    ports::{Fault, FaultKind},
    sim::{
        log::{Event, Ms},
        world::{Caller, World, fault, number},
    },
};

/// Within this a shard's subscription cannot be replaced, whether or not it still lives (Kinesis API, SubscribeToShard).
const REPLACED_AFTER: Ms = 5_000;

/// The service ends a subscription; five minutes in reality.
const LIVES: Ms = 8_000;

/// Something is sent so often; five seconds in reality.
const HEARTBEAT: Ms = 500;

/// One subscription, as whoever holds it knows it.
#[derive(Debug)]
pub struct Held {
    serial: u64,
    ends_at: Ms,
    next: ShardIterator,
    ended: bool,
}

/// What is sent.
#[derive(Debug)]
pub enum Sent {
    /// Nothing yet.
    Nothing,
    /// Never anything again, and nobody says so.
    Silence,
    /// The connection broke.
    Cut,
    /// The service ended it.
    End,
    /// An event.
    Page(Page),
}

impl World {
    /// SubscribeToShard.
    pub fn subscribe(&mut self, id: &ShardId, from: &Begin) -> Result<Held, Fault> {
        let next = match from {
            Begin::At(checkpoint) => self.iterator(id, checkpoint)?,
            Begin::After(last) => ShardIterator((number(last.as_str()) + 1).to_string()),
        };
        let (serial, began) = self.subscriptions.get(id).copied().unwrap_or_default();
        if serial > 0 && self.now < began + REPLACED_AFTER {
            return Err(fault(FaultKind::InUse, "SubscribeToShard"));
        }
        self.subscriptions
            .insert(id.clone(), (serial + 1, self.now));
        Ok(Held {
            serial: serial + 1,
            ends_at: self.now + LIVES,
            next,
            ended: false,
        })
    }

    /// Whoever holds it went away.
    pub fn unsubscribe(&mut self, _: &ShardId, held: &Held) {
        assert!(held.serial > 0, "a subscription has a number");
    }

    /// What is sent now to whoever waits since `asked`.
    pub fn send(&mut self, from: &Caller, id: &ShardId, held: &mut Held, asked: Ms) -> Sent {
        assert!(!held.ended, "asked again after the last event");
        let current = self.subscriptions.get(id).map(|(serial, _)| *serial);
        if current != Some(held.serial) || self.now >= held.ends_at {
            return Sent::End;
        }
        let shard = &self.shards[id];
        let first = number(&held.next.0);
        let waits = shard
            .records
            .iter()
            .any(|(sequence, _, _)| *sequence >= first);
        if !waits && !shard.closed && self.now < asked + HEARTBEAT {
            return Sent::Nothing;
        }
        if let Some(spoiled) = self.spoiled(from) {
            return spoiled;
        }
        match self.read(from, id, &held.next) {
            Ok(page) => Sent::Page(self.event(held, page)),
            Err(_) => Sent::Cut,
        }
    }

    fn spoiled(&mut self, from: &Caller) -> Option<Sent> {
        let mut hit = |rate: u32| rate > 0 && self.dice.u32(..1000) < rate;
        let (spoiled, how) = if hit(self.rates.request_lost) {
            (Sent::Cut, "cut")
        } else if hit(self.rates.reply_lost / 4) {
            (Sent::Silence, "silent")
        } else {
            return None;
        };
        let (worker, call) = (from.worker.clone(), "SubscribeToShard event");
        self.tell(Event::Fault { worker, call, how });
        Some(spoiled)
    }

    /// The page as an event: its continuation moves also where nothing is written.
    fn event(&self, held: &mut Held, mut page: Page) -> Page {
        if let Next::Iterator(next) = &page.next {
            let at_tip = page.records.is_empty() && page.behind_latest_ms == 0;
            let next = if at_tip {
                self.next_sequence
            } else {
                number(&next.0)
            };
            held.next = ShardIterator(next.to_string());
            let last = next.saturating_sub(1).to_string();
            let last = SequenceNumber::parse(&last).expect("digits");
            page.next = Next::After(last);
        } else {
            held.ended = true;
        }
        page
    }
}
