//! Records that are no swipes: each becomes one dead letter with its place and its bytes, and nothing stops.

use std::collections::BTreeMap;

use loadgen::aggregate::{self, MAGIC};

use crate::fixture::{Letter, Position, Settings, World};

/// The most that one record holds, key included.
const RECORD_BYTES: usize = 1 << 20;

/// The key of every bad record.
const KEY: &str = "garbage";

/// What a bad record must be called; nothing where several words would be right.
type Bad = (Vec<u8>, Option<&'static str>);

fn bad_records(swipe: &str) -> Vec<Bad> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut bad: Vec<Bad> = (0..20)
        .map(|_| {
            // Noise that is never a JSON object by chance.
            let noise =
                std::iter::once(b'\xff').chain((0..random.usize(0..200)).map(|_| random.u8(..)));
            (noise.collect(), Some("Malformed"))
        })
        .collect();
    for length in [1, 10, swipe.len() / 2, swipe.len() - 1] {
        bad.push((swipe.as_bytes()[..length].to_vec(), Some("Malformed")));
    }
    let valid = aggregate::pack([(KEY, swipe.as_bytes()), (KEY, swipe.as_bytes())]);
    let (mut flipped, mut short) = (valid.clone(), valid.clone());
    flipped[20] ^= 1;
    short.truncate(valid.len() - 1);
    bad.extend([
        (Vec::new(), Some("Malformed")),
        (b" ".to_vec(), Some("Malformed")),
        (b"[]".to_vec(), Some("Malformed")),
        (b"{}".to_vec(), Some("MissingField")),
        (
            swipe.replace(r#""v":1"#, r#""v":2"#).into_bytes(),
            Some("UnsupportedVersion"),
        ),
        (
            swipe.replace(r#""v":1,"#, r#""v":1,"v":1,"#).into_bytes(),
            Some("Malformed"),
        ),
        (
            swipe.replace("card_id", "cart_id").into_bytes(),
            Some("MissingField"),
        ),
        (
            swipe
                .replace(r#""direction":"in""#, r#""direction":7"#)
                .into_bytes(),
            Some("InvalidField"),
        ),
        (
            swipe
                .replace(r#""card_id":"#, r#""card_id":7,"x":"#)
                .into_bytes(),
            Some("InvalidField"),
        ),
        (
            swipe
                .replace(r#""device_seq":"#, r#""device_seq":-"#)
                .into_bytes(),
            None,
        ),
        (vec![b'x'; RECORD_BYTES - KEY.len()], Some("Oversize")),
        (
            format!("{swipe}{}", " ".repeat(4096)).into_bytes(),
            Some("Oversize"),
        ),
        (MAGIC.to_vec(), Some("BadAggregate")),
        (flipped, Some("BadAggregate")),
        (short, Some("BadAggregate")),
    ]);
    bad
}

#[tokio::test]
async fn every_record_that_is_no_swipe_is_one_dead_letter_and_the_swipes_between_are_decided() {
    let world = World::new(2, 10).await;
    let mut worker = world.start_ready("worker", &Settings::default()).await;
    let cards = world.cards();
    let sample = String::from_utf8(world.swipe(&cards[0]).json()).expect("a swipe is text");
    let (mut sent, mut bad) = (Vec::new(), BTreeMap::new());
    for (index, record) in bad_records(&sample).into_iter().enumerate() {
        let card = &cards[index % cards.len()];
        let place = world.put(KEY, None, &record.0).await;
        bad.insert(place, record);
        sent.push(world.send(card).await);
    }
    // A swipe that is none between two inside one aggregate.
    let swipes = [world.swipe(&cards[0]), world.swipe(&cards[1])];
    let payloads = [swipes[0].json(), b"no swipe".to_vec(), swipes[1].json()];
    let packed = aggregate::pack(payloads.iter().map(|data| (KEY, data.as_slice())));
    let place = world.put(KEY, None, &packed).await;
    let inside = Position {
        sub: 1,
        ..place.clone()
    };
    bad.insert(inside, (payloads[1].clone(), Some("Malformed")));
    for (sub, swipe) in [0, 2].into_iter().zip(swipes) {
        let position = Some(Position {
            sub,
            ..place.clone()
        });
        sent.push(crate::fixture::Sent { swipe, position });
    }

    let audit = world.audit(&sent).await;
    assert_eq!(audit.duplicates, 0);
    // A reject is stored before the shard goes on, so after the last decision all are there.
    let letters = world.letters().await;
    assert_eq!(letters.len(), bad.len(), "one dead letter each");
    for letter in &letters {
        let (data, error) = bad
            .remove(&letter.source)
            .expect("a bad record was put there, and told of once");
        check(letter, &data, error);
    }
    assert_eq!(
        worker.metric("swiped_rejects_total").await,
        letters.len() as f64
    );
    worker.stop().await;
}

#[track_caller]
fn check(letter: &Letter, data: &[u8], error: Option<&str>) {
    if let Some(error) = error {
        assert_eq!(letter.error, error, "{letter:?}");
    }
    let kept = letter.data();
    assert_eq!(
        letter.truncated,
        kept.len() < data.len(),
        "at {:?}",
        letter.source
    );
    assert!(
        data.starts_with(&kept),
        "other bytes at {:?}",
        letter.source
    );
    // A record of the largest size cannot be carried whole by one: base64 makes it a third larger.
    assert!(
        kept.len() >= data.len().min(RECORD_BYTES / 2),
        "too little of {:?}",
        letter.source
    );
}
