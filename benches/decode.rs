//! What it costs to read a swipe: as devices send it, from a KPL aggregate, and when it is none.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use md5::{Digest, Md5};
use swiped::{
    model::position::{Record, SequenceNumber},
    pipeline::{aggregate::MAGIC, decode::decode, judge::unpack},
};

use estate::{Page, SWIPES};

mod estate;

/// Swipes of one aggregate: some ten kilobytes, of which a producer fills three with every put.
const AGGREGATED: usize = 50;

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// The same swipes as a producer library packs them.
fn aggregated(records: &[Record]) -> Vec<Record> {
    let pack = |(index, swipes): (usize, &[Record])| {
        let mut message = b"\x0a\x01k".to_vec();
        for swipe in swipes {
            let mut user = vec![8, 0];
            field(&mut user, 0x1a, &swipe.data);
            field(&mut message, 0x1a, &user);
        }
        let digest = Md5::digest(&message);
        Record {
            sequence: SequenceNumber::parse(&index.to_string()).expect("digits"),
            data: [&MAGIC[..], &message, &digest].concat().into(),
        }
    };
    records.chunks(AGGREGATED).enumerate().map(pack).collect()
}

/// The same swipes, each cut before its last byte.
fn malformed(records: &[Record]) -> Vec<Record> {
    let mut records = records.to_vec();
    for record in &mut records {
        let (_, kept) = record.data.split_last().expect("a swipe");
        record.data = kept.to_vec().into();
    }
    records
}

/// Reads a page and says how many of its user records are swipes.
fn read(records: &[Record]) -> usize {
    let users = unpack(records, None);
    let swipes = users.iter().filter(|user| match &user.data {
        Ok(data) => black_box(decode(data)).is_ok(),
        Err(_) => false,
    });
    swipes.count()
}

fn bench(criterion: &mut Criterion) {
    let plain = Page::new(&estate::doors()).records;
    let rows = [
        ("aggregated", aggregated(&plain), SWIPES),
        ("malformed", malformed(&plain), 0),
        ("plain", plain, SWIPES),
    ];
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(SWIPES as u64));
    for (name, records, swipes) in rows {
        assert_eq!(read(&records), swipes, "{name} measures what it says");
        group.bench_function(name, |bencher| bencher.iter(|| read(black_box(&records))));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
