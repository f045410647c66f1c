//! Anti-passback and occupancy: where a card is, outlives the worker that let it in.

use loadgen::item::{Item, Value};

use crate::fixture::{Decisions, Sent, Settings, World};

const IN: &str = "hall-in";
const OUT: &str = "hall-out";

/// The middle of the only shard's hash keys.
const MIDDLE: u128 = 1 << 127;

impl World {
    /// A hall behind a door of two access points, with these fields of its area.
    async fn build_hall(&self, fields: Vec<(&'static str, Value)>) {
        let config = |pk: String, fields| Item::config(pk, fields);
        let policy = Value::M(vec![("AccessPoints", Value::texts([IN, OUT]))]);
        for item in [
            config("AREA#hall".to_owned(), fields),
            config(
                format!("AP#{IN}"),
                vec![
                    ("SiteId", "site-1".into()),
                    ("Direction", "in".into()),
                    ("AreaTo", "hall".into()),
                ],
            ),
            config(
                format!("AP#{OUT}"),
                vec![
                    ("SiteId", "site-1".into()),
                    ("Direction", "out".into()),
                    ("AreaFrom", "hall".into()),
                ],
            ),
            config(
                "PROFILE#staff".to_owned(),
                vec![("Policies", Value::L(vec![policy]))],
            ),
        ] {
            self.write(item).await;
        }
    }

    async fn pass(&self, card: &str, door: &str) -> Sent {
        let swipe = self.swipe_at(door, card);
        let position = self.put(card, None, &swipe.json()).await;
        Sent {
            swipe,
            position: Some(position),
        }
    }

    /// Swipes one after the other without waiting, and the reasons of their answers.
    pub async fn reasons(&self, decisions: &mut Decisions, swipes: &[(&str, &str)]) -> Vec<String> {
        let mut sent = Vec::new();
        for (card, door) in swipes {
            sent.push(self.pass(card, door).await);
        }
        decisions.wait_for(&sent).await;
        let mut reasons = Vec::new();
        for sent in &sent {
            let event = decisions.of(sent).await.expect("it was waited for");
            reasons.push(event.reason.clone());
        }
        reasons
    }
}

fn hard() -> Vec<(&'static str, Value)> {
    vec![("PassbackMode", "hard".into())]
}

const SHORT: Settings = Settings {
    failover_ms: 3000,
    ..Settings::DEFAULT
};

#[tokio::test]
async fn anti_passback_outlives_a_worker_that_is_killed() {
    let world = World::new(1, 2).await;
    world.build_hall(hard()).await;
    let cards = world.cards();
    let (card, other) = (cards[0].as_str(), cards[1].as_str());
    let mut first = world.start_ready("first", &SHORT).await;
    let mut decisions = world.decisions().await;
    let within_a_second = [(card, IN), (card, IN), (card, OUT), (card, IN), (other, IN)];
    let reasons = world.reasons(&mut decisions, &within_a_second).await;
    let (granted, violation) = ("Granted", "AntiPassbackViolation");
    assert_eq!(reasons, [granted, violation, granted, granted, granted]);
    first.kill();

    let mut second = world.start_ready("second", &SHORT).await;
    let after = [
        (card, IN),
        (other, OUT),
        (other, IN),
        (card, OUT),
        (card, OUT),
    ];
    let reasons = world.reasons(&mut decisions, &after).await;
    assert_eq!(reasons, [violation, granted, granted, granted, violation]);
    second.stop().await;
}

#[tokio::test]
async fn anti_passback_outlives_a_hand_over_and_a_reshard() {
    let world = World::new(1, 8).await;
    world.build_hall(hard()).await;
    let cards = world.cards();
    let all = |door: &'static str| {
        cards
            .iter()
            .map(|card| (card.as_str(), door))
            .collect::<Vec<_>>()
    };
    let mut first = world.start_ready("first", &SHORT).await;
    let mut decisions = world.decisions().await;
    let reasons = world.reasons(&mut decisions, &all(IN)).await;
    assert!(
        reasons.iter().all(|reason| reason == "Granted"),
        "{reasons:?}"
    );

    let kinesis = &world.clients.kinesis;
    let split = kinesis.split_shard().stream_name("swipes");
    let split = split.shard_to_split("shardId-000000000000");
    let split = split.new_starting_hash_key(MIDDLE.to_string()).send().await;
    split.expect("the shard is split");
    let reasons = world.reasons(&mut decisions, &all(IN)).await;
    assert!(
        reasons
            .iter()
            .all(|reason| reason == "AntiPassbackViolation"),
        "behind the split: {reasons:?}"
    );

    let mut second = world.start_ready("second", &SHORT).await;
    first.stop().await;
    let reasons = world.reasons(&mut decisions, &all(IN)).await;
    assert!(
        reasons
            .iter()
            .all(|reason| reason == "AntiPassbackViolation"),
        "behind the hand-over: {reasons:?}"
    );
    let reasons = world.reasons(&mut decisions, &all(OUT)).await;
    assert!(
        reasons.iter().all(|reason| reason == "Granted"),
        "{reasons:?}"
    );
    second.stop().await;
}

#[tokio::test]
async fn a_hall_that_is_full_lets_nobody_in_until_somebody_leaves_also_after_a_restart() {
    let world = World::new(1, 3).await;
    world
        .build_hall(vec![("OccupancyUpper", Value::N(2))])
        .await;
    let cards = world.cards();
    let (one, two, three) = (cards[0].as_str(), cards[1].as_str(), cards[2].as_str());
    let mut first = world.start_ready("first", &SHORT).await;
    let mut decisions = world.decisions().await;
    let entries = [(one, IN), (two, IN), (three, IN)];
    let reasons = world.reasons(&mut decisions, &entries).await;
    assert_eq!(reasons, ["Granted", "Granted", "OccupancyLimit"]);
    first.stop().await;

    let mut second = world.start_ready("second", &SHORT).await;
    // It counts once a second.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let again = [(three, IN), (one, OUT), (three, IN), (one, IN)];
    let reasons = world.reasons(&mut decisions, &again).await;
    assert_eq!(
        reasons,
        ["OccupancyLimit", "Granted", "Granted", "OccupancyLimit"]
    );
    second.stop().await;
}
