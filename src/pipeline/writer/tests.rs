//! Writers against a sink whose throughput and faults are set by hand, in paused time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

use super::*;
use crate::{
    model::{
        decision::{Event, Reason, Source, Verdict},
        presence::Presence,
        swipe::Swipe,
    },
    ports::{Failed, Fault, FaultKind},
};
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

/// A stream and a table in memory.
#[derive(Debug, Default)]
struct Sinkhole {
    inner: Mutex<Inner>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    calls_in_flight: AtomicUsize,
    most_calls: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    /// Entries a second, with a second's worth at once.
    rate: f64,
    level: f64,
    at: Instant,
    /// Of each payload, how often it was stored.
    stored: BTreeMap<Vec<u8>, u32>,
    entries: u64,
    refused: u64,
    /// Of cards of the table, those whose key is hot.
    hot: Vec<&'static str>,
    rows: HashMap<(String, String), Answer>,
    calls: u64,
    fails: Option<FaultKind>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            rate: f64::INFINITY,
            level: 0.0,
            at: Instant::now(),
            stored: BTreeMap::new(),
            entries: 0,
            refused: 0,
            hot: Vec::new(),
            rows: HashMap::new(),
            calls: 0,
            fails: None,
        }
    }
}

impl Inner {
    fn stores(&mut self) -> bool {
        let seconds = self.at.elapsed().as_secs_f64();
        self.at = Instant::now();
        if self.rate.is_infinite() {
            return true;
        }
        self.level = (self.level + self.rate * seconds).min(self.rate);
        let stores = self.level >= 1.0;
        self.level -= f64::from(u8::from(stores));
        stores
    }
}

/// Lets go when the call ends or is abandoned.
struct UnderWay<'a>(&'a Sinkhole, usize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(self.1, Ordering::Relaxed);
        self.0.calls_in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sinkhole {
    fn under_way(&self, bytes: usize) -> UnderWay<'_> {
        let now = self.in_flight.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.most_in_flight.fetch_max(now, Ordering::Relaxed);
        let calls = self.calls_in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_calls.fetch_max(calls, Ordering::Relaxed);
        UnderWay(self, bytes)
    }

    fn set(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner.lock().expect("no test panics inside"));
    }

    fn get<R>(&self, read: impl FnOnce(&Inner) -> R) -> R {
        read(&self.inner.lock().expect("no test panics inside"))
    }
}

impl EventStream for Sinkhole {
    async fn put(&self, events: &[Event<'_>]) -> Result<Vec<Failed>, Fault> {
        assert!((1..=500).contains(&events.len()));
        let bytes = events.iter().map(|event| event.key.len() + event.data.len()).sum();
        let _under_way = self.under_way(bytes);
        sleep(20 * MS).await;
        let mut inner = self.inner.lock().expect("no test panics inside");
        inner.calls += 1;
        if let Some(kind) = inner.fails {
            return Err(Fault { kind, operation: "PutRecords", message: String::new() });
        }
        let mut failed = Vec::new();
        for (index, event) in events.iter().enumerate() {
            inner.entries += 1;
            if inner.stores() {
                *inner.stored.entry(event.data.to_vec()).or_default() += 1;
            } else {
                inner.refused += 1;
                failed.push(Failed { index, kind: FaultKind::Throttled });
            }
        }
        Ok(failed)
    }
}

impl DecisionTable for Sinkhole {
    async fn put(&self, decisions: &[&Decision<'_>]) -> Result<Vec<Failed>, Fault> {
        let _under_way = self.under_way(decisions.len() * ITEM_BYTES);
        let mut keys: Vec<_> = decisions.iter().map(|one| (one.partition_key(), one.sort_key())).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), decisions.len(), "the service refuses a call with a key twice");
        sleep(10 * MS).await;
        let mut inner = self.inner.lock().expect("no test panics inside");
        inner.calls += 1;
        let mut failed = Vec::new();
        for (index, decision) in decisions.iter().enumerate() {
            inner.entries += 1;
            let hot = inner.hot.contains(&&*decision.swipe.card_id);
            if hot || !inner.stores() {
                inner.refused += 1;
                let kind = if hot { FaultKind::HotKey } else { FaultKind::Throttled };
                failed.push(Failed { index, kind });
            } else {
                let key = (decision.partition_key(), decision.sort_key());
                assert!(inner.rows.insert(key, decision.answer).is_none(), "nothing stored is rewritten");
            }
        }
        Ok(failed)
    }

    async fn stored(&self, decisions: &[Decision<'_>]) -> Result<Vec<Option<Answer>>, Fault> {
        Ok(vec![None; decisions.len()])
    }

    async fn presences(&self, asked: &[(Box<str>, Arc<str>)]) -> Result<Vec<Option<Presence>>, Fault> {
        Ok(vec![None; asked.len()])
    }

    async fn put_presences(&self, _: &[Move<'_>]) -> Result<(), Fault> {
        Ok(())
    }

    async fn count_inside(&self, _: &[Arc<str>]) -> Result<Option<u64>, Fault> {
        Ok(None)
    }
}

const LIMITS: WriteLimits = WriteLimits {
    events: BatchLimits { entries: 500, bytes: 5 << 20 },
    table_puts: 25,
    table_gets: 100,
    table_moves: 100,
    in_flight: 8,
};

fn writer(stream: &Arc<Sinkhole>, table: Option<&Arc<Sinkhole>>, flow: &Arc<Flow>, fence: Fence) -> Writer<Sinkhole, Sinkhole> {
    let sinks = Sinks {
        stream: Some(Arc::clone(stream)),
        table: table.map(Arc::clone),
        rejects: None,
        skip_rejects: false,
        standards: false,
        aggregate: None,
        flow: Arc::clone(flow),
    };
    Writer::new(sinks, LIMITS, fence)
}

fn page(shard: usize, round: usize, events: usize, bytes: usize) -> Outbox {
    let mut outbox = Outbox::default();
    for event in 0..events {
        outbox.push(&format!("gate-{}", event % 97), |out| {
            out.extend_from_slice(format!("{shard}/{round}/{event}").as_bytes());
            out.resize(out.len() + bytes, b'.');
        });
    }
    outbox
}

fn decision(card: &'static str, seq: u64, door: &'static str) -> Decision<'static> {
    Decision {
        swipe: Swipe {
            device_id: "gate-1".into(),
            device_seq: seq,
            access_point: door.into(),
            card_id: card.into(),
            swiped_at_ms: 1_772_438_321_123,
            direction: None,
            offline: false,
            trace_id: None,
        },
        answer: Answer {
            verdict: Verdict::of(Reason::Granted),
            decided_at_ms: 0,
        },
        direction: None,
        actuate: true,
        repeat: false,
        source: Source { shard: "s", sequence: "1", sub: 0 },
    }
}

/// Eight shards that write pages of 2000 events one after another until `until`; how many events that were.
async fn write_for(stream: &Arc<Sinkhole>, flow: &Arc<Flow>, until: Duration) -> usize {
    let ends = Instant::now() + until;
    let shards = (0..8).map(|shard| {
        let writer = writer(stream, None, flow, Fence::open_for_ever());
        async move {
            let mut round = 0;
            while Instant::now() < ends {
                let events = page(shard, round, 2000, 300);
                let nothing = Outbox::default();
                writer.store(&[], std::iter::empty(), &events, &nothing).await.expect("never fenced");
                round += 1;
                sleep(Duration::from_millis(1000)).await;
            }
            round * 2000
        }
    });
    futures::future::join_all(shards).await.into_iter().sum()
}
