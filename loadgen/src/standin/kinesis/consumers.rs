//! The consumers that are registered with one stream, and whose turn it is on each shard.
//!
//! A subscription is a turn: a later one of the same consumer and shard takes over, so the number of the turn tells
//! an open subscription that it has lost. Nothing else of a subscription is kept here, and nothing per call.

use std::collections::{BTreeMap, HashMap};

use super::{
    refusal::{Refusal, RefusalKind},
    subscriptions::FanOut,
};

/// Most consumers that may be in creation at a time (API reference, RegisterStreamConsumer).
const MAX_CREATING: usize = 5;

/// A registered consumer.
#[derive(Debug)]
pub struct Consumer {
    /// Its name, unique within the stream.
    pub name: String,
    /// Its resource name; a later consumer of the same name has another.
    pub arn: String,
    /// When it was registered (Unix epoch ms, whole seconds).
    pub created_ms: u64,
    /// When it can subscribe (Unix epoch ms).
    active_ms: u64,
    turns: HashMap<u32, Turn>,
}

/// The latest subscription to one shard.
#[derive(Clone, Copy, Debug)]
struct Turn {
    number: u64,
    since_ms: u64,
}

/// All consumers of one stream.
#[derive(Debug, Default)]
pub struct Consumers {
    by_name: BTreeMap<String, Consumer>,
    last_created_s: u64,
    turns: u64,
}

impl Consumer {
    /// `CREATING`, and `ACTIVE` from a time on.
    pub fn status(&self, now_ms: u64) -> &'static str {
        if self.is_active(now_ms) {
            "ACTIVE"
        } else {
            "CREATING"
        }
    }

    fn is_active(&self, now_ms: u64) -> bool {
        now_ms >= self.active_ms
    }
}

impl Consumers {
    /// Registers `name` with the stream of that resource name.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name, `ResourceInUse` when it is taken, `LimitExceeded`.
    pub fn register(
        &mut self,
        stream_arn: &str,
        name: &str,
        options: &FanOut,
        now_ms: u64,
    ) -> Result<&Consumer, Refusal> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_name) {
            return Err(Refusal::invalid(format!(
                "Value '{name}' at 'consumerName' failed to satisfy constraint: Member must satisfy regular expression pattern: \
                 [a-zA-Z0-9_.-]+"
            )));
        }
        if let Some(consumer) = self.by_name.get(name) {
            return Err(Refusal::new(
                RefusalKind::ResourceInUse,
                format!("Consumer {} already exists.", consumer.arn),
            ));
        }
        let creating = self.all().filter(|one| !one.is_active(now_ms)).count();
        if self.count() >= options.max_consumers || creating >= MAX_CREATING {
            return Err(Refusal::new(
                RefusalKind::LimitExceeded,
                format!(
                    "Stream {stream_arn} has {} consumers, {creating} of them in creation; at most {} and {MAX_CREATING} are allowed.",
                    self.count(),
                    options.max_consumers
                ),
            ));
        }
        // The second is part of the resource name, which is never given twice.
        self.last_created_s = (now_ms / 1000).max(self.last_created_s + 1);
        let consumer = Consumer {
            name: name.to_owned(),
            arn: format!("{stream_arn}/consumer/{name}:{}", self.last_created_s),
            created_ms: self.last_created_s * 1000,
            active_ms: now_ms + options.creating.as_millis() as u64,
            turns: HashMap::new(),
        };
        Ok(self.by_name.entry(name.to_owned()).or_insert(consumer))
    }

    /// Forgets a consumer; its subscriptions end when they look next.
    pub fn deregister(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// The consumer of that name.
    ///
    /// # Errors
    /// `ResourceNotFound`.
    pub fn named(&self, name: &str) -> Result<&Consumer, Refusal> {
        self.by_name.get(name).ok_or_else(|| no_consumer(name))
    }

    /// The consumer of that resource name.
    ///
    /// # Errors
    /// `ResourceNotFound`, also for an earlier consumer of the same name.
    pub fn of_arn(&self, arn: &str) -> Result<&Consumer, Refusal> {
        self.by_name
            .get(name_in(arn).unwrap_or_default())
            .filter(|consumer| consumer.arn == arn)
            .ok_or_else(|| no_consumer(arn))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    /// All of them, in order of their names.
    pub fn all(&self) -> impl Iterator<Item = &Consumer> {
        self.by_name.values()
    }

    /// Begins a turn of a consumer on `shard`, and ends the turn before; its number.
    ///
    /// # Errors
    /// `ResourceNotFound`; `ResourceInUse` while the consumer is in creation, or when the turn before began less than
    /// [`FanOut::takeover`] ago, ended or not.
    pub fn take_turn(
        &mut self,
        arn: &str,
        shard: u32,
        options: &FanOut,
        now_ms: u64,
    ) -> Result<u64, Refusal> {
        let in_use = |message: String| Err(Refusal::new(RefusalKind::ResourceInUse, message));
        let consumer = self.of_arn(arn)?;
        if !consumer.is_active(now_ms) {
            return in_use(format!("Consumer {arn} is not ACTIVE."));
        }
        let wait_ms = options.takeover.as_millis() as u64;
        if let Some(turn) = consumer.turns.get(&shard)
            && now_ms < turn.since_ms + wait_ms
        {
            return in_use(format!(
                "Another active subscription exists for this consumer: {arn}, and it began less than {wait_ms} ms ago."
            ));
        }
        self.turns += 1;
        let turn = Turn {
            number: self.turns,
            since_ms: now_ms,
        };
        if let Some(consumer) = self.by_name.get_mut(name_in(arn).unwrap_or_default()) {
            consumer.turns.insert(shard, turn);
        }
        Ok(turn.number)
    }

    /// Whether the turn of that number goes on.
    ///
    /// # Errors
    /// `ResourceNotFound` when the consumer is gone, `ResourceInUse` when another subscription took over.
    pub fn check_turn(&self, arn: &str, shard: u32, number: u64) -> Result<(), Refusal> {
        let turn = self.of_arn(arn)?.turns.get(&shard);
        if turn.is_some_and(|turn| turn.number == number) {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalKind::ResourceInUse,
            format!("Another subscription took over for this consumer: {arn}."),
        ))
    }
}

/// The consumer's name in its resource name.
fn name_in(arn: &str) -> Option<&str> {
    let (_, named) = arn.split_once("/consumer/")?;
    named.rsplit_once(':').map(|(name, _)| name)
}

fn no_consumer(which: &str) -> Refusal {
    Refusal::new(
        RefusalKind::ResourceNotFound,
        format!("Consumer {which} not found."),
    )
}
