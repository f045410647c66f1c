//! What it costs to bring the events of a page into writes: filling the outbox, and cutting it by the limits of PutRecords.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use swiped::{
    model::{
        decision::{Answer, Decision, Reason, Verdict},
        position::ShardId,
        swipe::Swipe,
    },
    pipeline::{
        batch::{BatchLimits, Outbox, cut},
        decide::{Policy, Ruling},
        encode,
        judge::{Judged, Rules, judge, unpack},
        pack::{Groups, Packer},
        recent::Recent,
    },
};

use estate::{NOW_MS, Page, SWIPES};

mod estate;

/// Of one PutRecords: 500 records, 5 MiB (service limits).
const PUT_RECORDS: BatchLimits = BatchLimits {
    entries: 500,
    bytes: 5 << 20,
};

/// Whoever comes is let in.
struct Granted;

impl Rules for Granted {
    fn rule(&mut self, _: usize, decisions: &[Decision<'_>], rulings: &mut Vec<Ruling>) -> bool {
        rulings.extend(decisions.iter().map(|_| Ruling {
            verdict: Verdict::of(Reason::Granted),
            direction: None,
            memory: None,
        }));
        true
    }

    fn settle(&mut self, _: usize, _: &Swipe<'_>, ruling: &Ruling) -> Verdict {
        ruling.verdict
    }

    fn learnt(&mut self, _: usize, _: &Swipe<'_>, _: &Answer, _: &Ruling) {}
}

fn bench(criterion: &mut Criterion) {
    let (page, shard) = (
        Page::new(&estate::doors()),
        ShardId::new("shardId-000000000003"),
    );
    let users = unpack(&page.records, None);
    let mut judged = Judged::default();
    judge(
        &users,
        &shard,
        &mut Recent::default(),
        NOW_MS,
        &Policy::default(),
        &mut Granted,
        &mut judged,
    );
    let (mut events, mut letters) = (Outbox::default(), Outbox::default());
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(SWIPES as u64));
    group.bench_function("fill", |bencher| {
        bencher.iter(|| encode::outboxes(black_box(&judged), false, &mut events, &mut letters));
    });
    assert_eq!(
        cut(events.sizes(), PUT_RECORDS).count(),
        SWIPES / PUT_RECORDS.entries
    );
    let mut packer = Packer::new(Groups::for_shards(8));
    group.bench_function("pack", |bencher| {
        bencher.iter(|| packer.pack(black_box(&events)).len());
    });
    group.bench_function("cut", |bencher| {
        bencher.iter(|| {
            for batch in cut(events.sizes(), PUT_RECORDS) {
                for index in batch {
                    black_box(events.event(index));
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
