//! KPL aggregates: many swipes in one record, each at a place of its own.

use loadgen::aggregate;

use crate::fixture::{Position, Sent, Settings, Swipe, World};

impl World {
    /// Puts these swipes as one aggregate, under the key of the first.
    async fn send_aggregate(&self, swipes: Vec<Swipe>) -> Vec<Sent> {
        let payloads: Vec<(String, Vec<u8>)> = swipes
            .iter()
            .map(|swipe| (swipe.card.clone(), swipe.json()))
            .collect();
        let packed = payloads
            .iter()
            .map(|(key, data)| (key.as_str(), data.as_slice()));
        let place = self
            .put(&swipes[0].card, None, &aggregate::pack(packed))
            .await;
        let sent = (0..).zip(swipes).map(|(sub, swipe)| Sent {
            swipe,
            position: Some(Position {
                sub,
                ..place.clone()
            }),
        });
        sent.collect()
    }
}

#[tokio::test]
async fn every_user_record_of_a_mixed_stream_is_decided_once_at_its_own_place() {
    let world = World::new(2, 10).await;
    let mut worker = world.start_ready("worker", &Settings::default()).await;
    let cards = world.cards();
    let mut sent = Vec::new();
    for round in 0..30 {
        let card = &cards[round % cards.len()];
        sent.push(world.send(card).await);
        let swipes = (0..=round % 7).map(|_| world.swipe(card)).collect();
        sent.extend(world.send_aggregate(swipes).await);
    }
    // One with more swipes than a batch of writes holds.
    let swipes = cards
        .iter()
        .cycle()
        .take(700)
        .map(|card| world.swipe(card))
        .collect();
    sent.extend(world.send_aggregate(swipes).await);

    let audit = world.audit(&sent).await;
    assert_eq!(audit.duplicates, 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_restart_inside_an_aggregate_goes_on_at_the_next_user_record() {
    let world = World::new(1, 10).await;
    let cards = world.cards();
    // It makes the tables and the row, and leaves the row free.
    let mut first = world.start_ready("first", &Settings::default()).await;
    world.wait_for_owners(&[("first", 1)]).await;
    first.stop().await;

    world.send(&cards[0]).await;
    let aggregate = world
        .send_aggregate(cards.iter().map(|card| world.swipe(card)).collect())
        .await;
    let after = world.send(&cards[1]).await;
    let done = aggregate[3].position.clone().expect("it is known");
    assert_eq!(done.sub, 3);
    world.set_checkpoint(&done).await;

    let mut second = world.start_ready("second", &Settings::default()).await;
    let expected = [&aggregate[4..], &[after]].concat();
    let audit = world.audit(&expected).await;
    assert_eq!(audit.duplicates, 0);
    second.stop().await;

    // What a worker itself writes down is as good.
    let _third = world.start_ready("third", &Settings::default()).await;
    let later = world.send(&cards[2]).await;
    let audit = world.audit(&[expected, vec![later]].concat()).await;
    assert_eq!(audit.duplicates, 0);
}
