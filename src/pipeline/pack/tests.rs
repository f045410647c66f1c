use md5::{Digest, Md5};

use super::*;
use crate::{model::decision::Event, pipeline::aggregate};
use proptest::prelude::*;

/// Made by the aggregator of PyPI `aws-kinesis-agg` 1.2.3 from the user records `("gate-8", "first")`, `("gate-12", "")` and
/// `("gate-8", "dritté")`, each with the explicit hash key 2^126 + 2^125.
const GOLDEN: &str = "f3899ac20a06676174652d380a07676174652d313212273132373630353838373539353335313932333739383736353437373738363931333037393239361a0b080010001a0566697273741a06080110001a001a0d080010001a076472697474c3a914f62d5660e745ced3a8e7cccc03fde3";

fn outbox<'a>(events: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Outbox {
    let mut outbox = Outbox::default();
    for (key, data) in events {
        outbox.push(key, |out| out.extend_from_slice(data));
    }
    outbox
}

fn all(outbox: &Outbox) -> Vec<Event<'_>> {
    (0..outbox.len()).map(|index| outbox.event(index)).collect()
}

#[test]
fn an_aggregate_has_the_bytes_that_another_implementation_writes() {
    let groups = Groups::for_shards(1);
    assert_eq!(groups.count(), 4);
    let events = outbox([
        ("gate-8", &b"first"[..]),
        ("gate-12", b""),
        ("gate-8", "dritté".as_bytes()),
    ]);
    let mut packer = Packer::new(groups);
    for _ in 0..2 {
        let packed = all(packer.pack(&events));
        let hex: String = packed[0]
            .data
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            (packed.len(), packed[0].key, hex.as_str()),
            (1, "a", GOLDEN)
        );
        assert_eq!(packed[0].hash, Some(3 << 125));
    }
}

#[test]
fn an_event_alone_in_its_group_is_sent_plain_by_the_hash_key_of_its_group() {
    let groups = Groups::for_shards(1);
    let events = outbox([("gate-8", &b"one"[..]), ("gate-0", b"two")]);
    assert_ne!(groups.of("gate-8"), groups.of("gate-0"));
    let mut packer = Packer::new(groups);
    let mut packed = all(packer.pack(&events));
    packed.sort_by_key(|event| event.data);
    for (event, (key, data)) in packed.iter().zip([("gate-8", b"one"), ("gate-0", b"two")]) {
        assert_eq!((event.key, event.data), (key, &data[..]));
        assert_eq!(event.hash, Some(groups.hash_key(groups.of(key))));
    }
}

#[test]
fn groups_are_a_power_of_two_and_about_four_a_shard() {
    for (shards, expected) in [(0, 4), (1, 4), (3, 16), (8, 32), (9, 64), (1_000_000, 4096)] {
        assert_eq!(
            Groups::for_shards(shards).count(),
            expected,
            "{shards} shards"
        );
    }
}

#[test]
fn with_equal_shards_a_key_stays_in_the_shard_that_its_own_md5_says() {
    let groups = Groups::for_shards(8);
    for gate in 0..1000 {
        let key = format!("gate-{gate}");
        let packed = groups.hash_key(groups.of(&key));
        assert_eq!(packed >> 125, hash_key(&key) >> 125, "{key}");
    }
}

#[test]
fn a_large_group_becomes_several_aggregates_within_the_bound() {
    let data = vec![b'x'; 1000];
    let events = outbox((0..2000).map(|_| ("gate-8", &data[..])));
    let mut packer = Packer::new(Groups::for_shards(1));
    let packed = packer.pack(&events);
    assert!((8..=9).contains(&packed.len()), "{}", packed.len());
    assert!(packed.sizes().all(|size| size <= AGGREGATE_BYTES_MAX + 64));
}

#[test]
fn a_varint_is_as_long_as_it_is_said_to_be() {
    for value in [0, 1, 127, 128, 16_383, 16_384, 1 << 20, usize::MAX] {
        let mut out = Vec::new();
        varint(&mut out, value);
        assert_eq!(out.len(), varint_len(value), "{value}");
    }
}

proptest! {
    #[test]
    fn every_event_is_packed_once_and_those_of_a_key_are_in_order_and_at_one_place(
        events in proptest::collection::vec((0_u8..30, proptest::collection::vec(any::<u8>(), 0..200)), 0..300),
        shards in 1_u32..20,
    ) {
        let groups = Groups::for_shards(shards);
        let named: Vec<_> = events.iter().enumerate().map(|(index, (key, data))| {
            (format!("gate-{key}"), [&(index as u32).to_be_bytes()[..], data].concat())
        }).collect();
        let plain = outbox(named.iter().map(|(key, data)| (key.as_str(), &data[..])));
        let mut packer = Packer::new(groups);
        packer.pack(&outbox([("something", &b"else"[..])]));
        let packed = packer.pack(&plain);
        let mut seen = Vec::new();
        for event in all(packed) {
            let mut users = Vec::new();
            prop_assert!(aggregate::open(event.data, |message| Md5::digest(message).into(), &mut users).is_ok());
            prop_assert_eq!(users.len() == 1, event.key != "a", "one alone is plain");
            for user in users {
                let index = u32::from_be_bytes([user[0], user[1], user[2], user[3]]) as usize;
                let (key, data) = &named[index];
                prop_assert_eq!(&data[..], user);
                prop_assert_eq!(event.hash, Some(groups.hash_key(groups.of(key))));
                seen.push((key.clone(), index));
            }
        }
        prop_assert_eq!(seen.len(), named.len());
        for key in named.iter().map(|(key, _)| key) {
            let of_key = || seen.iter().filter(|(other, _)| other == key).map(|(_, index)| *index);
            prop_assert!(of_key().is_sorted(), "in order");
        }
    }
}
