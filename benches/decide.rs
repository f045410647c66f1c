//! What one decision costs: a known card that is granted by a schedule, and a card that is not known, with ten
//! thousand cards (the table fits the processor's caches) and with a million (it does not).

use std::{collections::BTreeMap, hint::black_box};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use swiped::{
    access::cache::{AccessCache, Snapshot},
    model::{
        item::{Item, Value},
        swipe::Swipe,
    },
    pipeline::decide::{Policy, decide},
};

/// Monday 2 March 2026, 08:58:41 in Amsterdam.
const NOW_MS: i64 = 1_772_438_321_123;

/// Decisions an iteration: a full page of GetRecords.
const SWIPES: usize = 10_000;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Item {
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn item<const N: usize>(pk: &str, sk: &str, fields: [(&str, Value); N]) -> Item {
    let mut item = map(fields);
    item.extend(map([("PK", text(pk)), ("SK", text(sk))]));
    item
}

fn card_id(number: usize) -> String {
    format!("1000{number:08}")
}

/// One site of a hundred doors, one profile that opens them by the working day, and so many cards.
fn cache(cards: usize) -> AccessCache {
    let snapshot = Snapshot::new();
    let points: Vec<String> = (0..100)
        .map(|number| format!("hq-lobby-in-{number}"))
        .collect();
    let days = Value::List(
        (1..=7)
            .map(|day: u8| Value::Number(day.to_string()))
            .collect(),
    );
    let window = map([
        ("Days", days),
        ("From", text("06:00")),
        ("Until", text("20:00")),
    ]);
    let listed = Value::List(points.iter().map(|id| text(id)).collect());
    let policy = map([
        ("AccessPoints", listed.clone()),
        ("ScheduleId", text("day")),
    ]);
    let mut rules = vec![
        item(
            "SITE#hq",
            "CONFIG",
            [("TimeZone", text("Europe/Amsterdam"))],
        ),
        item(
            "SCHED#day",
            "CONFIG",
            [("Windows", Value::List(vec![Value::Map(window)]))],
        ),
        item(
            "PROFILE#staff",
            "CONFIG",
            [("Policies", Value::List(vec![Value::Map(policy)]))],
        ),
        item(
            "DEV#gate-hq-17",
            "CONFIG",
            [("Status", text("active")), ("AccessPoints", listed)],
        ),
    ];
    rules.extend(points.iter().map(|id| {
        item(
            &format!("AP#{id}"),
            "CONFIG",
            [("SiteId", text("hq")), ("Direction", text("in"))],
        )
    }));
    snapshot.scanned(&rules);
    for number in 0..cards {
        let profiles = Value::List(vec![text("staff")]);
        let fields = [
            ("CardStatus", text("issued")),
            ("HolderStatus", text("active")),
            ("AccessProfiles", profiles),
        ];
        snapshot.scanned(&[item(
            &format!("CARD#{}", card_id(number)),
            "CARD#STATUS",
            fields,
        )]);
    }
    let cache = AccessCache::new();
    cache.replace(snapshot);
    cache.mark_fresh(NOW_MS);
    cache
}

/// Swipes of cards spread over all numbers from `first`, by a stride that shares no factor with them.
fn swipes(cards: usize, first: usize) -> Vec<Swipe<'static>> {
    let swipe = |index: usize| Swipe {
        device_id: "gate-hq-17".into(),
        device_seq: 918_273,
        access_point: format!("hq-lobby-in-{}", index % 100).into(),
        card_id: card_id(first + index * 7_919 % cards).into(),
        swiped_at_ms: NOW_MS - 100,
        direction: None,
        offline: false,
        trace_id: None,
    };
    (0..SWIPES).map(swipe).collect()
}

fn bench(criterion: &mut Criterion) {
    let policy = Policy::default();
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(SWIPES as u64));
    for (name, cards) in [("10k", 10_000), ("1m", 1_000_000)] {
        let cache = cache(cards);
        for (kind, first, reason) in [("hit", 0, "Granted"), ("miss", cards, "CredentialNotFound")]
        {
            let swipes = swipes(cards, first);
            let mut reasons = BTreeMap::new();
            for swipe in &swipes {
                let reason = decide(swipe, &cache.view(), &policy, NOW_MS).verdict.reason;
                *reasons.entry(reason.as_str()).or_insert(0) += 1;
            }
            assert_eq!(
                reasons,
                BTreeMap::from([(reason, SWIPES)]),
                "{kind} measures what it says"
            );
            group.bench_function(BenchmarkId::new(kind, name), |bencher| {
                bencher.iter(|| {
                    let view = cache.view();
                    for swipe in &swipes {
                        black_box(decide(black_box(swipe), &view, &policy, NOW_MS));
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
