//! A stream that does what a test tells it, and writes down what it was asked and when.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    model::position::{
        Begin, Checkpoint, ChildShard, Next, Page, Position, Record, SequenceNumber, ShardId,
        ShardInfo, ShardIterator,
    },
    ports::{Fault, FaultKind, SwipeStream},
};

/// What becomes of a call of SubscribeToShard.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// It fails.
    Refuse(FaultKind),
    /// These happen one after the other, and then nothing any more.
    Serve(Vec<Step>),
}

/// What happens in a subscription.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// An event with these records (of so many bytes each) and this continuation.
    Event(&'static [u64], u64),
    /// The same with large records.
    Large(&'static [u64], u64),
    /// So many children: the last event.
    ShardEnd(&'static [u64], usize),
    /// Nothing for so long.
    Wait(Duration),
    /// The connection breaks.
    Cut,
    /// The service ends it.
    End,
}

#[derive(Debug)]
pub(super) struct Scripted {
    start: Instant,
    plans: Mutex<VecDeque<Plan>>,
    polled: Mutex<VecDeque<&'static [u64]>>,
    asked: Mutex<Vec<(u64, String)>>,
}

/// Says when it is dropped.
#[derive(Debug)]
pub(super) struct Subscription {
    stream: Arc<Scripted>,
    steps: VecDeque<Step>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.tell("dropped".to_owned());
    }
}

/// Every clone is the same stream.
#[derive(Clone, Debug)]
pub(super) struct ScriptedStream(pub(super) Arc<Scripted>);

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scripted {
    fn tell(&self, what: String) {
        let at = u64::try_from(self.start.elapsed().as_millis()).expect("a short test");
        held(&self.asked).push((at, what));
    }
}

impl ScriptedStream {
    pub(super) fn new(plans: Vec<Plan>, polled: Vec<&'static [u64]>) -> Self {
        Self(Arc::new(Scripted {
            start: Instant::now(),
            plans: Mutex::new(plans.into()),
            polled: Mutex::new(polled.into()),
            asked: Mutex::default(),
        }))
    }

    /// What was asked, without when.
    pub(super) fn asked(&self) -> Vec<String> {
        let asked = held(&self.0.asked);
        asked.iter().map(|(_, what)| what.clone()).collect()
    }

    /// When this was asked, in milliseconds from the beginning.
    pub(super) fn times(&self, of: &str) -> Vec<u64> {
        let asked = held(&self.0.asked);
        let of = asked.iter().filter(|(_, what)| what.starts_with(of));
        of.map(|(at, _)| *at).collect()
    }
}

pub(super) fn sequence(number: u64) -> SequenceNumber {
    SequenceNumber::parse(&number.to_string()).expect("digits")
}

pub(super) fn at(number: u64) -> Checkpoint {
    Checkpoint::At(Position {
        sequence: sequence(number),
        sub: 0,
    })
}

fn page(numbers: &[u64], bytes: usize, next: Next) -> Page {
    let records = numbers.iter().map(|number| Record {
        sequence: sequence(*number),
        data: vec![0; bytes].into(),
    });
    Page {
        records: records.collect(),
        behind_latest_ms: 0,
        next,
    }
}

fn children(count: usize) -> Next {
    let child = |index| ChildShard {
        id: ShardId::new(&format!("child-{index}")),
        parents: Vec::new(),
        hash_range: (String::new(), String::new()),
    };
    Next::ShardEnd((0..count).map(child).collect())
}

fn named(from: &Checkpoint) -> String {
    match from {
        Checkpoint::At(position) => format!("at {}", position.sequence),
        other => format!("at {other:?}"),
    }
}

pub(super) fn fault(kind: FaultKind) -> Fault {
    Fault {
        kind,
        operation: "scripted",
        message: String::new(),
    }
}

impl SwipeStream for ScriptedStream {
    type Subscription = Subscription;

    async fn shards(&self) -> Result<Vec<ShardInfo>, Fault> {
        Ok(Vec::new())
    }

    async fn iterator(&self, _: &ShardId, from: &Checkpoint) -> Result<ShardIterator, Fault> {
        self.0.tell(format!("iterator {}", named(from)));
        Ok(ShardIterator(String::new()))
    }

    async fn read(&self, _: &ShardId, iterator: ShardIterator) -> Result<Page, Fault> {
        self.0.tell("read".to_owned());
        let numbers = held(&self.0.polled).pop_front().unwrap_or_default();
        Ok(page(numbers, 1, Next::Iterator(iterator)))
    }

    async fn subscribe(&self, _: &ShardId, from: &Begin) -> Result<Subscription, Fault> {
        self.0.tell(match from {
            Begin::At(from) => format!("subscribe {}", named(from)),
            Begin::After(number) => format!("subscribe after {number}"),
        });
        let plan = held(&self.0.plans).pop_front();
        match plan.unwrap_or(Plan::Serve(Vec::new())) {
            Plan::Refuse(kind) => Err(fault(kind)),
            Plan::Serve(steps) => Ok(Subscription {
                stream: Arc::clone(&self.0),
                steps: steps.into(),
            }),
        }
    }

    async fn event(&self, subscription: &mut Subscription) -> Result<Option<Page>, Fault> {
        self.0.tell("event".to_owned());
        loop {
            let after = |number: u64| Next::After(sequence(number));
            return match subscription.steps.pop_front() {
                Some(Step::Event(numbers, next)) => Ok(Some(page(numbers, 1, after(next)))),
                Some(Step::Large(numbers, next)) => Ok(Some(page(numbers, 300_000, after(next)))),
                Some(Step::ShardEnd(numbers, count)) => Ok(Some(page(numbers, 1, children(count)))),
                Some(Step::Cut) => Err(fault(FaultKind::Transient)),
                Some(Step::End) => Ok(None),
                Some(Step::Wait(pause)) => {
                    sleep(pause).await;
                    continue;
                }
                None => std::future::pending().await,
            };
        }
    }
}
