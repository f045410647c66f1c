//! Scripted faults: what goes wrong, at which call of which operation. The HTTP layer asks before each call.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// One thing that goes wrong with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: lets a call through before the next fault of the queue.
    None,
    /// The call is refused with `ProvisionedThroughputExceededException`; nothing is done.
    Throttle,
    /// The call is answered with a 500 `InternalFailure`; nothing is done.
    InternalFailure,
    /// Every `every`-th entry of a PutRecords, beginning with the first, is refused inside a 200 answer.
    FailEntries {
        /// 1 refuses all of them.
        every: usize,
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
    rule: Option<Rule>,
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

    /// From now on `rule` is asked at every call that no queue has a fault for.
    pub fn set_rule(&self, rule: impl FnMut(&str, u64) -> Option<Fault> + Send + 'static) {
        self.lock().rule = Some(Box::new(rule));
    }

    /// Everything goes right again.
    pub fn clear(&self) {
        let mut script = self.lock();
        script.queues.clear();
        script.rule = None;
    }

    /// How many calls of `operation` there were.
    pub fn calls(&self, operation: &str) -> u64 {
        self.lock().calls.get(operation).copied().unwrap_or(0)
    }

    /// Counts a call and says what goes wrong with it.
    pub fn next(&self, operation: &str) -> Option<Fault> {
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
            .or_else(|| script.rule.as_mut()?(operation, before))
            .filter(|fault| *fault != Fault::None)
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_queue_comes_before_the_rule_and_both_end_with_clear() {
        let faults = Faults::default();
        faults.push("PutRecords", [Fault::Throttle, Fault::None]);
        faults.set_rule(|operation, before| {
            (operation == "PutRecords" && before >= 2).then_some(Fault::DropReply)
        });
        let seen: Vec<_> = (0..4).map(|_| faults.next("PutRecords")).collect();
        assert_eq!(
            seen,
            [
                Some(Fault::Throttle),
                None,
                Some(Fault::DropReply),
                Some(Fault::DropReply)
            ]
        );
        assert_eq!(faults.next("GetRecords"), None);
        faults.clear();
        assert_eq!(faults.next("PutRecords"), None);
        assert_eq!(faults.calls("PutRecords"), 5);
    }
}
