use tokio::time::{sleep, timeout};

use super::{
    scripted::{
        Plan::{self, Refuse, Serve},
        ScriptedStream,
        Step::{self, Cut, End, Event, Large, Wait},
        at,
    },
    *,
};
use crate::{model::position::Next, ports::FaultKind};

const SECOND: Duration = Duration::from_secs(1);

/// The daemon's own times.
const LIMITS: ReadLimits = ReadLimits {
    pace: Pace {
        poll: Duration::from_millis(250),
        hurry: Duration::from_millis(200),
    },
    fan_out: Some(FanOutLimits {
        renew: Duration::from_secs(270),
        idle: Duration::from_secs(15),
        room: Duration::from_secs(240),
        fall_back: Duration::from_secs(60),
    }),
};

struct Scene {
    stream: ScriptedStream,
    reader: PageReader<ScriptedStream>,
    budget: Arc<ByteBudget>,
    stop: CancellationToken,
    start: Instant,
}

impl Scene {
    fn new(from: Checkpoint, plans: Vec<Plan>, polled: Vec<&'static [u64]>) -> Self {
        let stream = ScriptedStream::new(plans, polled);
        let budget = Arc::new(ByteBudget::new(1 << 20));
        let shard = ShardId::new("shardId-000000000000");
        let shared = Arc::new(stream.clone());
        Self {
            reader: PageReader::new(shared, shard, from, LIMITS, Arc::clone(&budget)),
            stream,
            budget,
            stop: CancellationToken::new(),
            start: Instant::now(),
        }
    }

    async fn arrival(&mut self) -> Arrival {
        let read = timeout(3600 * SECOND, self.reader.next(&self.stop)).await;
        match read.expect("within an hour") {
            Read::Page(arrival) => arrival,
            other => panic!("{other:?} is no page"),
        }
    }

    /// The numbers of the next page's records, which is handled at once.
    async fn page(&mut self) -> Vec<u64> {
        let page = self.arrival().await.page;
        let records = page.records.iter();
        let numbers = records.map(|record| record.sequence.as_str().parse().expect("digits"));
        numbers.collect()
    }

    /// The records of so many pages.
    async fn pages(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.extend(self.page().await);
        }
        numbers
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

fn serve(steps: &[Step]) -> Plan {
    Serve(steps.to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_subscription_begins_at_the_checkpoint_and_goes_on_after_the_last_continuation() {
    let mut scene = Scene::new(
        at(5),
        vec![
            serve(&[Event(&[5, 6], 6), Event(&[], 9), End]),
            serve(&[Event(&[10], 10), Cut]),
            serve(&[Event(&[11], 11)]),
        ],
        vec![],
    );
    assert_eq!(scene.pages(4).await, [5, 6, 10, 11]);
    let asked = scene.stream.asked();
    let subscribed = asked.iter().filter(|what| what.starts_with("subscribe"));
    assert_eq!(
        subscribed.collect::<Vec<_>>(),
        ["subscribe at 5", "subscribe after 9", "subscribe after 10"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_renewed_before_five_minutes_and_nothing_is_lost_or_repeated() {
    let tick = [Wait(5 * SECOND), Event(&[], 7)];
    let mut first = vec![Event(&[6, 7], 7)];
    first.extend(std::iter::repeat_n(tick, 100).flatten());
    let mut scene = Scene::new(at(6), vec![serve(&first), serve(&[Event(&[8], 8)])], vec![]);
    let mut read = Vec::new();
    while read.last() != Some(&8) {
        read.extend(scene.page().await);
    }
    assert_eq!(read, [6, 7, 8]);
    let elapsed = scene.elapsed().as_secs();
    assert!((243..=275).contains(&elapsed), "renewed after {elapsed} s");
    let asked = scene.stream.asked();
    let end = &asked[asked.len() - 3..];
    assert_eq!(end, ["dropped", "subscribe after 7", "event"]);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_subscription_is_noticed_within_twenty_seconds() {
    let mut scene = Scene::new(
        at(1),
        vec![serve(&[Event(&[1], 1)]), serve(&[Event(&[2], 2)])],
        vec![],
    );
    assert_eq!(scene.pages(2).await, [1, 2]);
    let elapsed = scene.elapsed();
    assert!(
        (15 * SECOND..20 * SECOND).contains(&elapsed),
        "noticed after {elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_does_not_count_while_a_page_is_handled() {
    let steps = [Event(&[1], 1), Wait(10 * SECOND), Event(&[2], 2)];
    let mut scene = Scene::new(at(1), vec![serve(&steps)], vec![]);
    assert_eq!(scene.page().await, [1]);
    sleep(60 * SECOND).await;
    assert_eq!(scene.page().await, [2]);
    assert_eq!(
        scene.stream.asked(),
        ["subscribe at 1", "event", "event"],
        "one subscription"
    );
}

#[tokio::test(start_paused = true)]
async fn room_for_an_event_is_got_before_the_event_is_asked_for() {
    let steps = [Event(&[1], 1), Event(&[2], 2)];
    let mut scene = Scene::new(at(1), vec![serve(&steps)], vec![]);
    assert_eq!(scene.page().await, [1]);
    let others = scene.budget.take(1 << 20).await;
    let waited = timeout(100 * SECOND, scene.reader.next(&scene.stop)).await;
    waited.expect_err("no page without room");
    assert_eq!(scene.stream.asked(), ["subscribe at 1", "event"]);
    drop(others);
    assert_eq!(scene.page().await, [2]);
    assert_eq!(scene.stream.asked(), ["subscribe at 1", "event", "event"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_keeps_its_room_until_it_is_handled() {
    let steps = [Large(&[1, 2], 2), Large(&[3], 3)];
    let mut scene = Scene::new(at(1), vec![serve(&steps)], vec![]);
    let first = scene.arrival().await;
    let held = scene.budget.in_use();
    assert!((600_000..601_000).contains(&held), "{held} bytes");
    // As large an event may come again, and there is no room for it beside the first.
    let ahead = timeout(SECOND, scene.reader.next(&scene.stop)).await;
    ahead.expect_err("no room");
    drop(first);
    let second = scene.arrival().await;
    assert!(scene.budget.in_use() < 301_000);
    drop(second);
    assert_eq!(scene.budget.in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_without_room_for_four_minutes_is_given_up_and_goes_on_where_it_stopped() {
    let mut scene = Scene::new(
        at(1),
        vec![serve(&[Event(&[1], 4)]), serve(&[Event(&[5], 5)])],
        vec![],
    );
    assert_eq!(scene.page().await, [1]);
    let others = scene.budget.take(1 << 20).await;
    let free = async {
        sleep(300 * SECOND).await;
        drop(others);
    };
    let stop = scene.stop.clone();
    let (read, ()) = futures::join!(scene.reader.next(&stop), free);
    assert!(matches!(read, Read::Page(_)), "{read:?}");
    assert_eq!(scene.stream.times("dropped"), [240_000]);
    assert_eq!(scene.stream.times("subscribe after 4"), [300_000]);
}

#[tokio::test(start_paused = true)]
async fn while_another_subscription_holds_the_shard_it_is_asked_for_each_second_and_polled_meanwhile()
 {
    let mut plans = vec![Refuse(FaultKind::InUse); 5];
    plans.push(serve(&[Event(&[2, 3], 3)]));
    let mut scene = Scene::new(at(1), plans, vec![&[1], &[2]]);
    let mut read = Vec::new();
    while read.last() != Some(&3) {
        read.extend(scene.page().await);
    }
    assert_eq!(read, [1, 2, 2, 3]);
    assert_eq!(
        scene.stream.times("subscribe"),
        [0, 1000, 2000, 3000, 4000, 5000]
    );
    assert_eq!(scene.stream.times("read")[..3], [0, 250, 500]);
    assert_eq!(scene.stream.times("subscribe at 2").len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_stays_in_use_is_only_polled_for_a_while() {
    let mut scene = Scene::new(at(1), vec![Refuse(FaultKind::InUse); 40], vec![]);
    while scene.elapsed() < 69 * SECOND {
        scene.page().await;
    }
    let tries = scene.stream.times("subscribe");
    assert_eq!((tries.len(), tries.last()), (10, Some(&9000)));
}

#[tokio::test(start_paused = true)]
async fn after_three_failures_in_a_row_the_shard_is_polled_for_a_while_and_then_fan_out_is_tried_again()
 {
    let mut scene = Scene::new(
        at(1),
        vec![
            serve(&[Event(&[1, 2], 2), Cut]),
            Refuse(FaultKind::Transient),
            Refuse(FaultKind::Throttled),
            serve(&[Event(&[3, 4], 4)]),
        ],
        vec![&[2], &[3]],
    );
    let mut read = scene.pages(1).await;
    while read.last() != Some(&4) {
        read.extend(scene.page().await);
    }
    // The record at which a way begins again was read before: the desk knows it.
    assert_eq!(read, [1, 2, 2, 3, 3, 4]);
    let asked = scene.stream.asked();
    assert!(asked.contains(&"iterator at 2".to_owned()), "{asked:?}");
    assert_eq!(
        asked[asked.len() - 2..],
        ["subscribe at 3".to_owned(), "event".to_owned()]
    );
    let (polls, back) = (
        scene.stream.times("read"),
        scene.stream.times("subscribe at 3"),
    );
    let polled = back[0] - polls[0];
    assert!((60_000..=91_000).contains(&polled), "polled {polled} ms");
}

#[tokio::test(start_paused = true)]
async fn one_event_makes_failures_before_it_forgotten() {
    let flaky = || [serve(&[Event(&[], 9), Cut]), Refuse(FaultKind::Transient)];
    let plans = std::iter::repeat_with(flaky).take(10).flatten();
    let mut scene = Scene::new(at(1), plans.collect(), vec![]);
    scene.pages(10).await;
    assert_eq!(scene.stream.times("read"), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_the_service_refuses_is_polled_at_once() {
    for kind in [FaultKind::Refused, FaultKind::NotFound] {
        let mut scene = Scene::new(at(1), vec![Refuse(kind)], vec![&[1]]);
        assert_eq!(scene.page().await, [1]);
        assert_eq!(scene.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_ends_before_its_first_event_is_a_failure() {
    let mut scene = Scene::new(at(1), vec![serve(&[End]); 9], vec![&[1]]);
    assert_eq!(scene.page().await, [1]);
    assert_eq!(scene.stream.times("subscribe").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_last_event_of_a_shard_names_its_children() {
    for count in [0, 1, 2] {
        let steps = [Event(&[1], 1), Step::ShardEnd(&[2], count)];
        let mut scene = Scene::new(at(1), vec![serve(&steps)], vec![]);
        scene.page().await;
        let last = scene.arrival().await.page;
        assert_eq!(last.records.len(), 1);
        match last.next {
            Next::ShardEnd(children) => assert_eq!(children.len(), count),
            other => panic!("{other:?} is no end"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_dropped_when_its_reader_is() {
    let mut scene = Scene::new(at(1), vec![serve(&[Event(&[1], 1)])], vec![]);
    scene.page().await;
    let (stream, stop) = (scene.stream.clone(), scene.stop.clone());
    stop.cancel();
    assert!(matches!(scene.reader.next(&stop).await, Read::Stopped));
    drop(scene.reader);
    assert_eq!(stream.asked(), ["subscribe at 1", "event", "dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_continuation_that_is_not_kept_leads_to_the_last_record_and_only_its_loss_is_a_loss() {
    let mut scene = Scene::new(
        at(1),
        vec![
            serve(&[Event(&[1, 2], 5), Cut]),
            Refuse(FaultKind::Trimmed),
            serve(&[Event(&[2, 6], 6), Cut]),
            Refuse(FaultKind::Trimmed),
            serve(&[Event(&[6], 6), Cut]),
        ],
        vec![],
    );
    assert_eq!(scene.pages(3).await, [1, 2, 2, 6, 6]);
    let asked = scene.stream.asked();
    let subscribed = asked.iter().filter(|what| what.starts_with("subscribe"));
    assert_eq!(
        subscribed.collect::<Vec<_>>(),
        [
            "subscribe at 1",
            "subscribe after 5",
            "subscribe at 2",
            "subscribe after 6",
            "subscribe at 6"
        ]
    );
    let mut scene = Scene::new(
        at(1),
        vec![Refuse(FaultKind::Trimmed), serve(&[Event(&[8], 8)])],
        vec![],
    );
    assert_eq!(scene.page().await, [8]);
    let asked = scene.stream.asked();
    assert_eq!(asked[..2], ["subscribe at 1", "subscribe at TrimHorizon"]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_began_at_the_tip_never_passes_over_what_came_since() {
    let mut scene = Scene::new(
        Checkpoint::Latest,
        vec![serve(&[Event(&[], 7)]), Refuse(FaultKind::Refused)],
        vec![&[8]],
    );
    assert_eq!(scene.pages(2).await, [8]);
    let asked = scene.stream.asked();
    assert!(asked.contains(&"iterator at 7".to_owned()), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn without_fan_out_a_shard_is_polled_at_its_pace() {
    let stream = ScriptedStream::new(vec![], vec![&[1], &[2]]);
    let limits = ReadLimits {
        fan_out: None,
        ..LIMITS
    };
    let budget = Arc::new(ByteBudget::new(1));
    let shared = Arc::new(stream.clone());
    let mut reader = PageReader::new(shared, ShardId::new("s"), at(1), limits, budget);
    let stop = CancellationToken::new();
    for _ in 0..3 {
        assert!(matches!(reader.next(&stop).await, Read::Page(_)));
    }
    assert_eq!(stream.times("read"), [0, 250, 500]);
    assert_eq!(stream.times("iterator"), [0]);
}
