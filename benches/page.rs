//! A page without its I/O, from the bytes that were read to the bytes to write, on one core: what `swiped` does, what a plain
//! loop does, and the four parts of the former alone: `decode` with the opening of records, `lookup` of the cards, `decide`
//! with the memory of answers given, `encode`. All iterate over the same page ([`estate`]) with a million cards.
//!
//! The numbers of the swipes change from round to round, so that the memory of answers is as full and as busy as it is
//! in a daemon that has run for a minute, and a page is no repeat of itself. Before anything is measured both loops
//! answer the page, and their answers are the same bytes.

use std::{cell::RefCell, collections::BTreeMap, hint::black_box};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use swiped::{
    access::cache::{AccessCache, RUN_MAX, View},
    model::{card::Card, decision::Answer, position::ShardId, swipe::Swipe},
    pipeline::{
        batch::Outbox,
        decide::{Policy, decide_card},
        decode::decode,
        desk::PART_MAX,
        encode,
        hearing::Hearing,
        judge::{Judged, judge, undecided, unpack},
        occupancy::Occupancy,
        presence::Presences,
        recent::Recent,
    },
};

use estate::{NOW_MS, Page, SWIPES};
use plain::Plain;

/// As the daemon's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod estate;
mod plain;

const SHARD: &str = "shardId-000000000003";

/// What the desk of a shard keeps from page to page.
struct Desk {
    shard: ShardId,
    cache: AccessCache,
    recent: Recent,
    presences: Presences,
    occupancy: Occupancy,
    events: Outbox,
    letters: Outbox,
    /// Cards that the last page moved.
    moved: usize,
}

impl Desk {
    /// As `pipeline::desk` does it between reading a page and storing what it yields; `store` stands for that.
    fn page(&mut self, page: &Page, mut store: impl FnMut(&Outbox, &Outbox)) {
        let users = unpack(&page.records, None);
        self.moved = 0;
        for part in users.chunks(PART_MAX) {
            let memory = (&mut self.presences, &self.occupancy);
            let view = self.cache.view();
            let judged = judge_all(part, &self.shard, &mut self.recent, memory, view);
            encode::outboxes(&judged, false, &mut self.events, &mut self.letters);
            let moves = self.presences.moves(&judged.decisions);
            self.moved += moves.map(black_box).count();
            store(&self.events, &self.letters);
            self.presences.end_part(&self.occupancy);
        }
    }
}

/// Where nothing is stored.
fn unstored(events: &Outbox, letters: &Outbox) {
    black_box((events.len(), letters.len()));
}

fn judge_all<'a>(
    users: &[swiped::pipeline::judge::UserRecord<'a>],
    shard: &'a ShardId,
    recent: &mut Recent,
    (presences, occupancy): (&mut Presences, &Occupancy),
    view: View,
) -> Judged<'a> {
    let policy = Policy::default();
    let mut judged = Judged::default();
    judged.decisions.reserve(users.len());
    let mut rules = Hearing {
        view,
        policy: &policy,
        now_ms: NOW_MS,
        presences,
        occupancy,
    };
    judge(
        users,
        shard,
        recent,
        NOW_MS,
        &policy,
        &mut rules,
        &mut judged,
    );
    judged
}

/// Both loops answer the page, alike, and the mix of answers is an estate's.
fn assert_alike(desk: &mut Desk, plain: &mut Plain, page: &Page) {
    let mut mine = Vec::new();
    desk.page(page, |events, letters| {
        if !letters.is_empty() {
            panic!(
                "no swipe: {}",
                String::from_utf8_lossy(letters.event(0).data)
            );
        }
        let owned = |index| {
            let event = events.event(index);
            (event.key.to_owned(), event.data.to_owned())
        };
        mine.extend((0..events.len()).map(owned));
    });
    let theirs = plain.page(&page.records, SHARD, NOW_MS);
    assert_eq!((mine.len(), theirs.len()), (SWIPES, SWIPES));
    let mut reasons = BTreeMap::new();
    for ((my_key, my_data), (key, data)) in mine.iter().zip(&theirs) {
        let text = String::from_utf8_lossy(data);
        assert_eq!(
            (my_key, String::from_utf8_lossy(my_data)),
            (key, text.clone())
        );
        let reason = text
            .split("\"reason\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        *reasons
            .entry(reason.unwrap_or_default().to_owned())
            .or_insert(0) += 1;
    }
    println!("the page's answers: {reasons:?}");
    let granted: usize = reasons
        .iter()
        .filter(|(reason, _)| reason.starts_with("Granted"))
        .map(|(_, count)| count)
        .sum();
    assert!(
        (80..90).contains(&(granted * 100 / SWIPES)),
        "{granted} of {SWIPES} are granted"
    );
}

fn bench(criterion: &mut Criterion) {
    let doors = estate::doors();
    let mut desk = Desk {
        shard: ShardId::new(SHARD),
        cache: estate::cache(&doors),
        recent: Recent::default(),
        presences: Presences::default(),
        occupancy: Occupancy::default(),
        events: Outbox::default(),
        letters: Outbox::default(),
        moved: 0,
    };
    let mut plain = Plain::new(&doors);
    let page = Page::new(&doors);
    assert_alike(&mut desk, &mut plain, &page);
    let page = RefCell::new(page);
    let next = || page.borrow_mut().renumber();

    let mut group = criterion.benchmark_group("page");
    group.throughput(Throughput::Elements(SWIPES as u64));
    group.bench_function("swiped", |bencher| {
        bencher.iter_batched(
            next,
            |()| desk.page(&page.borrow(), unstored),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("plain", |bencher| {
        let page_of = |()| plain.page(&page.borrow().records, SHARD, NOW_MS);
        bencher.iter_batched(next, page_of, BatchSize::PerIteration);
    });
    group.finish();
    drop(plain);
    parts(criterion, &mut desk, &page);
    remembering(criterion, desk, &doors, &page);
}

/// The same page when all the rules are on: every grant moves its card into its site or out of it. What is known of each card,
/// nothing, is remembered already, as of cards that a shard has seen before.
fn remembering(
    criterion: &mut Criterion,
    desk: Desk,
    doors: &[estate::Door],
    page: &RefCell<Page>,
) {
    estate::remember(&desk.cache, doors);
    // Each card, and the group of areas of the door that it comes to, as the desk asks the table about them.
    let cards = {
        let (page, view) = (page.borrow(), desk.cache.view());
        let users = unpack(&page.records, None);
        let decisions = undecided(&users, &desk.shard, NOW_MS);
        Presences::default().unknown(&decisions, view.rulebook())
    };
    let desk = RefCell::new(desk);
    let next = || {
        page.borrow_mut().renumber();
        let presences = &mut desk.borrow_mut().presences;
        for (card, group) in &cards {
            presences.learn(card, group, None);
        }
    };
    let mut group = criterion.benchmark_group("page");
    group.throughput(Throughput::Elements(SWIPES as u64));
    group.bench_function("remembering", |bencher| {
        bencher.iter_batched(
            next,
            |()| desk.borrow_mut().page(&page.borrow(), unstored),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    let moves = desk.borrow().moved;
    assert!(moves > SWIPES / 2, "{moves} cards moved in the last page");
}

fn parts(criterion: &mut Criterion, desk: &mut Desk, page: &RefCell<Page>) {
    let mut group = criterion.benchmark_group("part");
    group.throughput(Throughput::Elements(SWIPES as u64));
    let (view, policy) = (desk.cache.view(), Policy::default());
    let page = page.borrow();
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for user in unpack(black_box(&page.records), None) {
                let data = user.data.expect("no aggregate");
                black_box(decode(data).expect("a swipe"));
            }
        });
    });
    let users = unpack(&page.records, None);
    let (mut presences, occupancy) = (Presences::default(), Occupancy::default());
    let memory = (&mut presences, &occupancy);
    let judged = judge_all(
        &users,
        &desk.shard,
        &mut Recent::default(),
        memory,
        desk.cache.view(),
    );
    let decisions = judged.decisions.iter();
    let swipes: Vec<Swipe<'_>> = decisions.map(|decision| decision.swipe.clone()).collect();
    let cards_of = |run: &[Swipe<'_>]| view.cards(run.iter().map(|swipe| &*swipe.card_id));
    group.bench_function("lookup", |bencher| {
        bencher.iter(|| {
            for run in swipes.chunks(RUN_MAX) {
                black_box(cards_of(black_box(run)));
            }
        });
    });
    let cards: Vec<Option<Card>> = swipes.chunks(RUN_MAX).flat_map(cards_of).collect();
    let (swipes, mut recent) = (RefCell::new(swipes), Recent::default());
    // As from the renumbered page; far from its own numbers.
    let next = || {
        swipes
            .borrow_mut()
            .iter_mut()
            .for_each(|swipe| swipe.device_seq += 1 << 32)
    };
    let mut decide_all = |()| {
        for (swipe, card) in swipes.borrow().iter().zip(&cards) {
            let ruling = decide_card(black_box(swipe), *card, &view, &policy, NOW_MS);
            black_box(recent.answer(swipe, || Answer {
                verdict: ruling.verdict,
                decided_at_ms: NOW_MS,
            }));
        }
    };
    group.bench_function("decide", |bencher| {
        bencher.iter_batched(next, &mut decide_all, BatchSize::PerIteration);
    });
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            encode::outboxes(
                black_box(&judged),
                false,
                &mut desk.events,
                &mut desk.letters,
            )
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
