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
    ports::{Clock, Failed, Fault, FaultKind},
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
        let bytes = events
            .iter()
            .map(|event| event.key.len() + event.data.len())
            .sum();
        let _under_way = self.under_way(bytes);
        sleep(20 * MS).await;
        let mut inner = self.inner.lock().expect("no test panics inside");
        inner.calls += 1;
        if let Some(kind) = inner.fails {
            return Err(Fault {
                kind,
                operation: "PutRecords",
                message: String::new(),
            });
        }
        let mut failed = Vec::new();
        for (index, event) in events.iter().enumerate() {
            inner.entries += 1;
            if inner.stores() {
                *inner.stored.entry(event.data.to_vec()).or_default() += 1;
            } else {
                inner.refused += 1;
                failed.push(Failed {
                    index,
                    kind: FaultKind::Throttled,
                });
            }
        }
        Ok(failed)
    }
}

impl DecisionTable for Sinkhole {
    async fn put(&self, decisions: &[&Decision<'_>]) -> Result<Vec<Failed>, Fault> {
        let _under_way = self.under_way(decisions.len() * ITEM_BYTES);
        let mut keys: Vec<_> = decisions
            .iter()
            .map(|one| (one.partition_key(), one.sort_key()))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(
            keys.len(),
            decisions.len(),
            "the service refuses a call with a key twice"
        );
        sleep(10 * MS).await;
        let mut inner = self.inner.lock().expect("no test panics inside");
        inner.calls += 1;
        let mut failed = Vec::new();
        for (index, decision) in decisions.iter().enumerate() {
            inner.entries += 1;
            let hot = inner.hot.contains(&&*decision.swipe.card_id);
            if hot || !inner.stores() {
                inner.refused += 1;
                let kind = if hot {
                    FaultKind::HotKey
                } else {
                    FaultKind::Throttled
                };
                failed.push(Failed { index, kind });
            } else {
                let key = (decision.partition_key(), decision.sort_key());
                assert!(
                    inner.rows.insert(key, decision.answer).is_none(),
                    "nothing stored is rewritten"
                );
            }
        }
        Ok(failed)
    }

    async fn stored(&self, decisions: &[Decision<'_>]) -> Result<Vec<Option<Answer>>, Fault> {
        Ok(vec![None; decisions.len()])
    }

    async fn presences(
        &self,
        asked: &[(Box<str>, Arc<str>)],
    ) -> Result<Vec<Option<Presence>>, Fault> {
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
    events: BatchLimits {
        entries: 500,
        bytes: 5 << 20,
    },
    table_puts: 25,
    table_gets: 100,
    table_moves: 100,
    in_flight: 8,
    table_in_flight: 10,
};

fn writer(
    stream: &Arc<Sinkhole>,
    table: Option<&Arc<Sinkhole>>,
    flow: &Arc<Flow>,
    fence: Fence,
) -> Writer<Sinkhole, Sinkhole> {
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
        source: Source {
            shard: "s",
            sequence: "1",
            sub: 0,
        },
    }
}

fn open_for(time: Duration) -> Fence {
    let start = Instant::now();
    let fence = Fence::closed(start, Clock::Simulated { epoch_ms: 0, start });
    fence.extend(start + time);
    fence
}

async fn put(writer: &Writer<Sinkhole, Sinkhole>, events: &Outbox) -> Result<(), Fenced> {
    writer
        .store(&[], std::iter::empty(), events, &Outbox::default())
        .await
}

/// Eight shards that write pages of 2000 events one after another until `until`; how many events that were.
async fn write_for(stream: &Arc<Sinkhole>, flow: &Arc<Flow>, until: Duration) -> usize {
    let ends = Instant::now() + until;
    let shards = (0..8).map(|shard| {
        let writer = writer(stream, None, flow, open_for(Duration::from_secs(86_400)));
        async move {
            let mut round = 0;
            while Instant::now() < ends {
                let events = page(shard, round, 2000, 300);
                put(&writer, &events).await.expect("never fenced");
                round += 1;
                sleep(Duration::from_millis(1000)).await;
            }
            round * 2000
        }
    });
    futures::future::join_all(shards).await.into_iter().sum()
}

#[tokio::test(start_paused = true)]
async fn a_minute_of_throttling_loses_nothing_resends_only_what_failed_and_is_over_by_itself() {
    const BUDGET: usize = 512 << 10;
    // The same jitter every time.
    fastrand::seed(7);
    let (stream, flow) = (Arc::new(Sinkhole::default()), Arc::new(Flow::new(BUDGET)));
    let script = async {
        sleep(5000 * MS).await;
        assert_eq!(stream.get(|inner| inner.refused), 0);
        stream.set(|inner| inner.rate = 800.0);
        sleep(20_000 * MS).await;
        let (before, refused) = stream.get(|inner| (inner.stored.len(), inner.refused));
        sleep(40_000 * MS).await;
        let (after, refused) = stream.get(|inner| (inner.stored.len(), inner.refused - refused));
        println!(
            "throttled: {} stored and {refused} refused in 40 s",
            after - before
        );
        assert!(
            after - before > 25_000,
            "what the sink takes is used: {}",
            after - before
        );
        assert!(
            refused < (after - before) as u64 / 4,
            "and it is seldom asked for more: {refused}"
        );
        stream.set(|inner| inner.rate = f64::INFINITY);
        sleep(12_000 * MS).await;
        let before = stream.get(|inner| inner.stored.len());
        sleep(5000 * MS).await;
        let after = stream.get(|inner| inner.stored.len());
        assert!(
            after - before > 5 * 8 * 2000 / 2,
            "full speed again: {}",
            after - before
        );
    };
    let (written, ()) = futures::join!(write_for(&stream, &flow, Duration::from_secs(85)), script);
    stream.get(|inner| {
        assert_eq!(inner.stored.len(), written, "nothing is lost");
        assert!(
            inner.stored.values().all(|times| *times == 1),
            "nothing that was stored is sent again"
        );
        assert_eq!(inner.entries, inner.refused + written as u64);
    });
    let most = stream.most_in_flight.load(Ordering::Relaxed);
    println!("at most {most} bytes under way");
    assert!((BUDGET / 2..=BUDGET).contains(&most), "{most}");
    assert_eq!(flow.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_refuses_every_call_for_a_minute_is_written_again_within_seconds() {
    for kind in [
        FaultKind::Throttled,
        FaultKind::Transient,
        FaultKind::Refused,
    ] {
        let (stream, flow) = (Arc::new(Sinkhole::default()), Arc::default());
        let script = async {
            sleep(3000 * MS).await;
            stream.set(|inner| inner.fails = Some(kind));
            let before = stream.get(|inner| inner.calls);
            sleep(60_000 * MS).await;
            let calls = stream.get(|inner| inner.calls) - before;
            assert!(
                calls < 60 * 8 * 4 * 4,
                "{kind:?}: {calls} calls for nothing"
            );
            stream.set(|inner| inner.fails = None);
            sleep(10_000 * MS).await;
            let before = stream.get(|inner| inner.stored.len());
            sleep(5000 * MS).await;
            let rate = (stream.get(|inner| inner.stored.len()) - before) / 5;
            assert!(rate > 8 * 2000 / 2, "{kind:?}: full speed again: {rate}");
        };
        let (written, ()) =
            futures::join!(write_for(&stream, &flow, Duration::from_secs(80)), script);
        assert_eq!(stream.get(|inner| inner.stored.len()), written, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_many_shards_are_under_way_side_by_side_within_the_budget() {
    let (stream, flow) = (Arc::new(Sinkhole::default()), Arc::new(Flow::new(4 << 20)));
    write_for(&stream, &flow, Duration::from_secs(3)).await;
    let calls = stream.most_calls.load(Ordering::Relaxed);
    assert!(
        (17..=32).contains(&calls),
        "eight shards with four requests each: {calls}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_larger_than_the_budget_takes_all_of_it_and_others_their_turn() {
    let (stream, flow) = (Arc::new(Sinkhole::default()), Arc::new(Flow::new(64 << 10)));
    let fence = open_for(Duration::from_secs(60));
    let writers = [(); 3].map(|()| writer(&stream, None, &flow, fence.clone()));
    let (large, small) = (page(0, 0, 300, 1000), page(1, 0, 10, 10));
    let (one, two, three) = futures::join!(
        put(&writers[0], &large),
        put(&writers[1], &small),
        put(&writers[2], &large)
    );
    assert_eq!((one, two, three), (Ok(()), Ok(()), Ok(())));
    assert_eq!(stream.most_calls.load(Ordering::Relaxed), 1);
    assert_eq!(stream.get(|inner| inner.stored.len()), 310);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_shard_gives_back_what_it_holds_and_what_it_waits_for() {
    let (stream, flow) = (Arc::new(Sinkhole::default()), Arc::new(Flow::new(64 << 10)));
    let fences = [10, 15, 86_400_000].map(|ms| open_for(MS * ms));
    let writers = fences.map(|fence| writer(&stream, None, &flow, fence));
    let events = page(0, 0, 300, 1000);
    let all = writers.iter().map(|writer| put(writer, &events));
    let ended = futures::future::join_all(all).await;
    assert_eq!(ended, [Err(Fenced), Err(Fenced), Ok(())]);
    assert_eq!(flow.in_flight(), 0);
    assert_eq!(stream.get(|inner| inner.stored.len()), 300);
}

#[tokio::test(start_paused = true)]
async fn a_hot_key_holds_up_its_own_batch_and_no_other() {
    let (stream, table) = (Arc::new(Sinkhole::default()), Arc::new(Sinkhole::default()));
    let flow = Arc::default();
    table.set(|inner| inner.hot = vec!["hot"]);
    let fence = open_for(Duration::from_secs(86_400));
    let stuck = writer(&stream, Some(&table), &flow, fence.clone());
    let free = writer(&stream, Some(&table), &flow, fence);
    let nothing = Outbox::default();
    let hot = [decision("hot", 1, "door"), decision("cold", 2, "door")];
    let script = async {
        sleep(100 * MS).await;
        let began = Instant::now();
        for seq in 0..400 {
            let one = [decision("other", 100 + seq, "door")];
            free.store(&one, std::iter::empty(), &nothing, &nothing)
                .await
                .expect("never fenced");
        }
        assert!(
            began.elapsed() < 4100 * MS,
            "not slowed down: {:?}",
            began.elapsed()
        );
        assert_eq!(
            table.get(|inner| inner.rows.len()),
            401,
            "the cold one of the batch too"
        );
        table.set(|inner| inner.hot.clear());
    };
    let (ended, ()) = futures::join!(
        stuck.store(&hot, std::iter::empty(), &nothing, &nothing),
        script
    );
    assert_eq!(ended, Ok(()));
    assert_eq!(table.get(|inner| inner.rows.len()), 402);
}

#[tokio::test(start_paused = true)]
async fn a_table_at_its_limit_slows_down_all_of_its_writers() {
    let (stream, table) = (Arc::new(Sinkhole::default()), Arc::new(Sinkhole::default()));
    table.set(|inner| inner.rate = 100.0);
    let (flow, nothing) = (Arc::default(), Outbox::default());
    let decisions: Vec<_> = (0..3000).map(|seq| decision("card", seq, "door")).collect();
    let fence = open_for(Duration::from_secs(86_400));
    let writers = [(); 3].map(|()| writer(&stream, Some(&table), &flow, fence.clone()));
    let parts = decisions.chunks(1000).zip(&writers);
    let writes =
        parts.map(|(part, writer)| writer.store(part, std::iter::empty(), &nothing, &nothing));
    let began = Instant::now();
    futures::future::try_join_all(writes)
        .await
        .expect("never fenced");
    let (took, refused) = (began.elapsed(), table.get(|inner| inner.refused));
    println!("3000 at 100 a second: {took:?}, {refused} refused");
    assert!(took < Duration::from_secs(36), "{took:?}");
    // 750 are under way before the first refusal is heard of, and a second's worth of them is stored.
    assert!(refused < 650 + 300, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn decisions_with_one_key_are_stored_once_and_the_first_stays() {
    let (stream, table) = (Arc::new(Sinkhole::default()), Arc::new(Sinkhole::default()));
    let flow = Arc::default();
    let writer = writer(
        &stream,
        Some(&table),
        &flow,
        open_for(Duration::from_secs(60)),
    );
    let mut decisions = vec![decision("1", 7, "in"), decision("1", 7, "out")];
    decisions[1].answer.decided_at_ms = 1;
    decisions.extend((8..60).map(|seq| decision("1", seq, "in")));
    decisions.push(Decision {
        repeat: true,
        ..decision("1", 8, "in")
    });
    let nothing = Outbox::default();
    writer
        .store(&decisions, std::iter::empty(), &nothing, &nothing)
        .await
        .expect("never fenced");
    table.get(|inner| {
        assert_eq!(inner.rows.len(), 53);
        assert!(inner.rows.values().all(|answer| answer.decided_at_ms == 0));
    });
}
