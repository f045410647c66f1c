//! Scripted faults: what goes wrong, at which call of which operation. The HTTP layer asks before each call.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::refusal::RefusalKind;

/// One thing that goes wrong with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: lets a call through before the next fault of the queue.
    None,
    /// The call is refused with `ProvisionedThroughputExceededException`, and SubscribeToShard with
    /// `LimitExceededException`; nothing is done.
    Throttle,
    /// The call is refused with `ResourceInUseException`; nothing is done.
    ResourceInUse,
    /// The call is answered with a 500 `InternalFailure`; nothing is done.
    InternalFailure,
    /// Every `every`-th entry of a PutRecords, beginning with the first, is refused inside a 200 answer, as an internal
    /// failure.
    FailEntries {
        /// 1 refuses all of them.
        every: usize,
    },
    /// The same, as exceeded throughput of the entry's shard.
    ThrottleEntries {
        /// 1 refuses all of them.
        every: usize,
    },
    /// A subscription goes well for a number of events, and then it does not.
    Subscription {
        /// Events that go well, empty ones as well; the initial response is none.
        after: u32,
        /// What happens instead of the next one.
        mishap: Mishap,
    },
    /// GetRecords answers without records though there are some; the next call finds them.
    EmptyPage,
    /// GetRecords or GetShardIterator is refused with `ExpiredIteratorException`.
    ExpireIterator,
    /// The work is done and the connection is closed instead of answering.
    DropReply,
    /// The call waits that long before anything is done.
    Delay(Duration),
}

/// How a subscription goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing more is sent, and nothing is closed. The connection lives: HTTP/2 pings are answered.
    Silence,
    /// The whole connection is neither read nor written any more, and is not closed: half-open.
    Freeze,
    /// The connection is closed in the middle of the event.
    Cut,
    /// The stream ends with an exception (an error without a model where SubscribeToShard has none for it).
    Exception(RefusalKind),
    /// The event's frame has a wrong checksum; the stream goes on.
    Damage,
    /// Every event from here on goes out in pieces, with a pause before each.
    Drip {
        /// Bytes of a piece.
        bytes: usize,
        /// The pause.
        pause: Duration,
    },
}

/// A rule asked at every call: the operation and how many calls of it came before.
type Rule = Box<dyn FnMut(&str, u64) -> Option<Fault> + Send>;

/// The script.
#[derive(Default)]
pub struct Faults {
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    queues: HashMap<String, VecDeque<Fault>>,
    calls: HashMap<String, u64>,
    spells: Vec<Spell>,
    rule: Option<Rule>,
}

struct Spell {
    operation: String,
    /// Nothing: calls on every stream.
    stream: Option<String>,
    fault: Fault,
    until: Instant,
}

impl Faults {
    /// The next calls of `operation` meet `faults`, one each, in this order.
    pub fn push(&self, operation: &str, faults: impl IntoIterator<Item = Fault>) {
        self.lock()
            .queues
            .entry(operation.to_owned())
            .or_default()
            .extend(faults);
    }

    /// Every call of `operation` meets `fault` for that long, unless a queue has a fault for it: a slow
    /// ([`Fault::Delay`]) or throttling sink. The latest of several goes first.
    pub fn spell(&self, operation: &str, fault: Fault, lasting: Duration) {
        self.cast(operation, None, fault, lasting);
    }

    /// The same for the calls that name `stream`, and no others: a sink that is slow while swipes come in as ever.
    pub fn spell_on(&self, stream: &str, operation: &str, fault: Fault, lasting: Duration) {
        self.cast(operation, Some(stream.to_owned()), fault, lasting);
    }

    fn cast(&self, operation: &str, stream: Option<String>, fault: Fault, lasting: Duration) {
        self.lock().spells.push(Spell {
            operation: operation.to_owned(),
            stream,
            fault,
            until: Instant::now() + lasting,
        });
    }

    /// From now on `rule` is asked at every call that no queue and no spell has a fault for.
    pub fn set_rule(&self, rule: impl FnMut(&str, u64) -> Option<Fault> + Send + 'static) {
        self.lock().rule = Some(Box::new(rule));
    }

    /// Everything goes right again.
    pub fn clear(&self) {
        let mut script = self.lock();
        script.queues.clear();
        script.spells.clear();
        script.rule = None;
    }

    /// How many calls of `operation` there were.
    pub fn calls(&self, operation: &str) -> u64 {
        self.lock().calls.get(operation).copied().unwrap_or(0)
    }

    /// Counts a call and says what goes wrong with it; `names` says whether it names a stream.
    pub fn next(&self, operation: &str, names: impl Fn(&str) -> bool) -> Option<Fault> {
        let mut script = self.lock();
        let script = &mut *script;
        let before = if let Some(count) = script.calls.get_mut(operation) {
            *count += 1;
            *count - 1
        } else {
            script.calls.insert(operation.to_owned(), 1);
            0
        };
        let queued = script
            .queues
            .get_mut(operation)
            .and_then(VecDeque::pop_front);
        queued
            .or_else(|| script.spelled(operation, names))
            .or_else(|| script.rule.as_mut()?(operation, before))
            .filter(|fault| *fault != Fault::None)
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Script {
    fn spelled(&mut self, operation: &str, names: impl Fn(&str) -> bool) -> Option<Fault> {
        if self.spells.is_empty() {
            return None;
        }
        let now = Instant::now();
        self.spells.retain(|spell| now < spell.until);
        let of_it = |spell: &&Spell| {
            spell.operation == operation && spell.stream.as_deref().is_none_or(&names)
        };
        let spell = self.spells.iter().rev().find(of_it)?;
        Some(spell.fault.clone())
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spell_comes_after_the_queue_and_passes() {
        let faults = Faults::default();
        let minute = Duration::from_secs(60);
        faults.spell("PutRecords", Fault::Throttle, minute);
        faults.spell("PutRecords", Fault::ThrottleEntries { every: 2 }, minute);
        faults.spell("PutRecords", Fault::DropReply, Duration::ZERO);
        faults.push("PutRecords", [Fault::InternalFailure]);
        let seen: Vec<_> = (0..2)
            .map(|_| faults.next("PutRecords", |_| true))
            .collect();
        assert_eq!(
            seen,
            [
                Some(Fault::InternalFailure),
                Some(Fault::ThrottleEntries { every: 2 })
            ]
        );
        assert_eq!(faults.next("GetRecords", |_| true), None);
    }

    #[test]
    fn a_spell_on_one_stream_leaves_the_others_alone() {
        let faults = Faults::default();
        faults.spell_on(
            "decisions",
            "PutRecords",
            Fault::Throttle,
            Duration::from_secs(60),
        );
        let on = |named: &str| faults.next("PutRecords", |stream| stream == named);
        assert_eq!(
            (on("decisions"), on("swipes")),
            (Some(Fault::Throttle), None)
        );
    }

    #[test]
    fn a_queue_comes_before_the_rule_and_both_end_with_clear() {
        let faults = Faults::default();
        faults.push("PutRecords", [Fault::Throttle, Fault::None]);
        faults.set_rule(|operation, before| {
            (operation == "PutRecords" && before >= 2).then_some(Fault::DropReply)
        });
        let seen: Vec<_> = (0..4)
            .map(|_| faults.next("PutRecords", |_| true))
            .collect();
        assert_eq!(
            seen,
            [
                Some(Fault::Throttle),
                None,
                Some(Fault::DropReply),
                Some(Fault::DropReply)
            ]
        );
        assert_eq!(faults.next("GetRecords", |_| true), None);
        faults.clear();
        assert_eq!(faults.next("PutRecords", |_| true), None);
        assert_eq!(faults.calls("PutRecords"), 5);
    }
}
