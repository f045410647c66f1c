//! What a card costs: the memory of 3.5 million cards that were read from the table, and the time that reading a page of
//! them takes once its bytes are items.
//!
//! The memory is what the process grew by, from /proc, with the table's free slots and whatever the allocator keeps;
//! more than [`BYTES_MAX`] a card ends the bench with an error.

use std::{fs, hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use swiped::{
    access::cache::{AccessCache, Snapshot},
    model::item::Item,
};
use tokio::time::Instant;

/// As the daemon's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod estate;

/// Cards of a large estate.
const CARDS: u64 = 3_500_000;

/// What a card may cost, in bytes.
const BYTES_MAX: u64 = 128;

/// Cards of one page of a scan: 1 MiB of items of some 400 bytes.
const PAGE: u64 = 2_500;

/// The resident memory of this process.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kib.and_then(|kib| kib.parse::<u64>().ok()).expect("VmRSS")
}

fn page(first: u64) -> Vec<Item> {
    (first..CARDS.min(first + PAGE))
        .map(|number| estate::card_item(&estate::card(number)))
        .collect()
}

fn memory() {
    let before = resident_bytes();
    let snapshot = Snapshot::new();
    let mut loading = Duration::ZERO;
    let mut first = 0;
    while first < CARDS {
        let items = page(first);
        let began = Instant::now();
        assert!(snapshot.scanned(&items).malformed.is_empty());
        loading += began.elapsed();
        first += PAGE;
    }
    let cache = AccessCache::new();
    cache.replace(snapshot);
    let grown = resident_bytes() - before;
    assert_eq!(cache.cards() as u64, CARDS);
    println!(
        "{CARDS} cards: {} MiB, {} bytes a card; taken in in {:.2} s",
        grown >> 20,
        grown / CARDS,
        loading.as_secs_f64()
    );
    assert!(
        grown / CARDS <= BYTES_MAX,
        "more than {BYTES_MAX} bytes a card"
    );
}

fn bench(criterion: &mut Criterion) {
    memory();
    let mut group = criterion.benchmark_group("cards");
    group.throughput(Throughput::Elements(PAGE));
    let mut first = 0;
    let snapshot = Snapshot::new();
    let mut next = || {
        first = (first + PAGE) % CARDS;
        page(first)
    };
    let take = |items: Vec<Item>| {
        black_box(snapshot.scanned(&items));
        items
    };
    group.bench_function("take", |bencher| {
        bencher.iter_batched(&mut next, take, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
