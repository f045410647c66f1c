//! KPL aggregates: many swipes in one record, each at a place of its own.

use aws_sdk_kinesis::types::RecordDistributionStrategy;
use loadgen::aggregate;

use crate::fixture::{Position, Sent, Settings, Swipe, World, until};

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

#[tokio::test]
async fn decisions_in_aggregates_are_all_found_in_the_shard_where_the_kcl_expects_them() {
    let world = World::new(3, 40).await;
    let settings = Settings {
        aggregate: true,
        ..Settings::default()
    };
    let mut worker = world.start_ready("worker", &settings).await;
    let cards = world.cards();
    let mut sent = Vec::new();
    for _ in 0..5 {
        let swipes = cards.iter().cycle().take(600).map(|card| world.swipe(card));
        sent.extend(world.send_aggregate(swipes.collect()).await);
        sent.push(world.send(&cards[7]).await);
    }
    let mut decisions = world.decisions().await;
    decisions.wait_for(&sent).await;
    assert!(decisions.aggregates > 0, "nothing was packed");
    // The decisions of a device are in one shard, and a page's stay in order.
    let of_device = decisions
        .events
        .iter()
        .filter(|event| event.card_id == cards[3]);
    let seqs: Vec<_> = of_device.map(|event| event.device_seq).collect();
    assert!(seqs.len() >= 75 && seqs.is_sorted(), "{seqs:?}");
    let audit = world.audit(&sent).await;
    assert_eq!(audit.duplicates, 0);
    worker.stop().await;
}

#[tokio::test]
async fn aggregated_decisions_are_refused_on_a_stream_that_distributes_by_itself() {
    let world = World::new(1, 1).await;
    let kinesis = &world.clients.kinesis;
    let deleted = kinesis.delete_stream().stream_name("swipe-decisions");
    deleted.send().await.expect("deleted");
    until("the stream is made again", async || {
        let create = kinesis.create_stream().stream_name("swipe-decisions");
        let create = create.record_distribution_strategy(RecordDistributionStrategy::Auto);
        create.shard_count(2).send().await.is_ok()
    })
    .await;
    let settings = Settings {
        aggregate: true,
        ..Settings::default()
    };
    let mut worker = world.start("worker", &settings);
    assert_eq!(worker.ended().await.code(), Some(1));
    assert!(worker.log().contains("RecordDistributionStrategy = AUTO"));
    assert!(worker.log().contains("decisions.aggregate = false"));
}
