//! A page without its I/O, from the bytes that were read to the bytes to write, on one core: what `swiped` does, what a plain
//! loop does, and the four [`parts`] of the former alone: `decode` with the opening of records, `lookup` of the cards, `decide`
//! with the memory of answers given, `encode`. All iterate over the same page ([`estate`]) with a million cards.
//!
//! The numbers of the swipes change from round to round, so that the memory of answers is as full and as busy as it is
//! in a daemon that has run for a minute, and a page is no repeat of itself. Before anything is measured both loops
//! answer the page, and their answers are the same bytes.
//!
//! Criterion measures each for seconds on end: how fast it can be. Then all of them take turns, page by page ([`rounds`]): how they
//! compare, on a machine whose speed changes, and where no part finds its cards and tables as warm as it left them.

use std::{cell::RefCell, collections::BTreeMap, hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use swiped::{
    access::cache::{AccessCache, View},
    model::position::ShardId,
    pipeline::{
        batch::Outbox,
        decide::Policy,
        desk::PART_MAX,
        encode,
        hearing::Hearing,
        judge::{Judged, UserRecord, judge, undecided, unpack},
        occupancy::Occupancy,
        presence::Presences,
        recent::Recent,
    },
};

use estate::{NOW_MS, Page, SWIPES};
use parts::Parts;
use plain::Plain;
use rounds::Rounds;

/// As the daemon's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod estate;
mod parts;
mod plain;
mod rounds;

const SHARD: &str = "shardId-000000000003";

/// What the desk of a shard keeps from page to page.
struct Desk {
    shard: ShardId,
    view: View,
    recent: Recent,
    presences: Presences,
    occupancy: Occupancy,
    events: Outbox,
    letters: Outbox,
    /// Cards that the last page moved.
    moved: usize,
}

impl Desk {
    fn new(cache: &AccessCache) -> Self {
        Self {
            shard: ShardId::new(SHARD),
            view: cache.view(),
            recent: Recent::default(),
            presences: Presences::default(),
            occupancy: Occupancy::default(),
            events: Outbox::default(),
            letters: Outbox::default(),
            moved: 0,
        }
    }

    /// As `pipeline::desk` does it between reading a page and storing what it yields; `store` stands for that.
    fn page(&mut self, page: &Page, mut store: impl FnMut(&Outbox, &Outbox)) {
        let users = unpack(&page.records, None);
        self.moved = 0;
        for part in users.chunks(PART_MAX) {
            let memory = (&mut self.presences, &self.occupancy);
            let view = self.view.clone();
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
    users: &[UserRecord<'a>],
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
    let cache = estate::cache(&doors);
    let (mut desk, mut plain) = (Desk::new(&cache), Plain::new(&doors));
    let mut page = Page::new(&doors);
    assert_alike(&mut desk, &mut plain, &page);
    estate::remember(&cache, &doors);
    let mut remembering = Remembering::new(&cache, &page);
    // The parts' own page stays as it is, so that they may hold on to what is made of it.
    let still = Page::new(&doors);
    let users = unpack(&still.records, None);
    let mut parts = Parts::new(&still, &users, desk.view.clone());

    let mut group = criterion.benchmark_group("page");
    group.throughput(Throughput::Elements(SWIPES as u64));
    {
        let page = RefCell::new(&mut page);
        let next = || page.borrow_mut().renumber();
        group.bench_function("swiped", |bencher| {
            let answer = |()| desk.page(&page.borrow(), unstored);
            bencher.iter_batched(next, answer, BatchSize::PerIteration);
        });
        group.bench_function("plain", |bencher| {
            let answer = |()| plain.page(&page.borrow().records, SHARD, NOW_MS);
            bencher.iter_batched(next, answer, BatchSize::PerIteration);
        });
        let remembering = RefCell::new(&mut remembering);
        let next = || {
            page.borrow_mut().renumber();
            remembering.borrow_mut().forget();
        };
        group.bench_function("remembering", |bencher| {
            let answer = |()| remembering.borrow_mut().page(&page.borrow());
            bencher.iter_batched(next, answer, BatchSize::PerIteration);
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("part");
    group.throughput(Throughput::Elements(SWIPES as u64));
    group.bench_function("decode", |bencher| bencher.iter(|| parts.decode()));
    group.bench_function("lookup", |bencher| bencher.iter(|| parts.look_up()));
    {
        let parts = RefCell::new(&mut parts);
        group.bench_function("decide", |bencher| {
            let next = || parts.borrow_mut().renumber();
            let decide = |()| parts.borrow_mut().decide();
            bencher.iter_batched(next, decide, BatchSize::PerIteration);
        });
    }
    group.bench_function("encode", |bencher| bencher.iter(|| parts.encode()));
    group.finish();

    let mut rounds = Rounds::default();
    for _ in 0..rounds::WARM_UP + rounds::ROUNDS {
        page.renumber();
        rounds.time("page/swiped", || desk.page(&page, unstored));
        page.renumber();
        remembering.forget();
        rounds.time("page/remembering", || remembering.page(&page));
        page.renumber();
        rounds.time("page/plain", || {
            plain.page(&page.records, SHARD, NOW_MS);
        });
        rounds.time("part/decode", || parts.decode());
        rounds.time("part/lookup", || parts.look_up());
        parts.renumber();
        rounds.time("part/decide", || parts.decide());
        rounds.time("part/encode", || parts.encode());
    }
    rounds.print();
}

/// The same page when all the rules are on: every grant moves its card into its site or out of it. What is known of each card,
/// nothing, is remembered already, as of cards that a shard has seen before.
struct Remembering {
    desk: Desk,
    /// Each card, and the group of areas of the door that it comes to, as the desk asks the table about them.
    cards: Vec<(Box<str>, Arc<str>)>,
}

impl Remembering {
    fn new(cache: &AccessCache, page: &Page) -> Self {
        let desk = Desk::new(cache);
        let users = unpack(&page.records, None);
        let decisions = undecided(&users, &desk.shard, NOW_MS);
        let cards = Presences::default().unknown(&decisions, desk.view.rulebook());
        Self { desk, cards }
    }

    /// Nobody was ever anywhere.
    fn forget(&mut self) {
        for (card, group) in &self.cards {
            self.desk.presences.learn(card, group, None);
        }
    }

    fn page(&mut self, page: &Page) {
        self.desk.page(page, unstored);
        let moved = self.desk.moved;
        assert!(moved > SWIPES / 2, "only {moved} cards moved");
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
