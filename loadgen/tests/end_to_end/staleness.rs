//! What the daemon does when it knows nothing of cards yet, and when it knows nothing new any more.

use std::time::Duration;

use crate::fixture::{DEGRADED_DOOR, Decisions, Gate, Sent, Settings, World, throughout, until};

/// Long enough for a daemon that would take leases too early.
const WATCHED: Duration = Duration::from_millis(2500);

impl World {
    /// Swipes at a door again and again until one is decided for that reason. All of them are added to `sent`.
    async fn swipe_until(
        &self,
        door: &str,
        reason: &str,
        decisions: &mut Decisions,
        sent: &mut Vec<Sent>,
    ) {
        let card = self.cards().remove(0);
        until(&format!("{reason} at {door}"), async || {
            let swipe = self.swipe_at(door, &card);
            let position = Some(self.put(&card, None, &swipe.json()).await);
            let one = Sent { swipe, position };
            decisions.wait_for(std::slice::from_ref(&one)).await;
            let decided = decisions.of(&one).await.expect("it was waited for");
            sent.push(one);
            decided.reason == reason
        })
        .await;
    }
}

#[tokio::test]
async fn no_lease_is_taken_before_the_cards_are_known_and_rule_8_speaks_when_the_feed_is_cut() {
    let world = World::new(1, 1).await;
    let card = world.cards().remove(0);
    let gate = Gate::shut_before(&world.endpoints.dynamodb).await;
    let settings = Settings {
        dynamodbstreams: Some(gate.url()),
        max_card_staleness_ms: 1500,
        ..Settings::default()
    };
    let mut sent = vec![world.send(&card).await];
    let mut decisions = world.decisions().await;
    let mut worker = world.start("worker", &settings);
    until("it listens", async || worker.readyz().await.is_some()).await;
    throughout(WATCHED, "it is not ready and takes no lease", async || {
        let reply = worker.readyz().await;
        let loading =
            reply.is_some_and(|(status, body)| status == 503 && body.contains("access_loaded"));
        loading && world.leases().await.is_empty() && decisions.of(&sent[0]).await.is_none()
    })
    .await;

    gate.set_open(true);
    worker.ready().await;
    world
        .swipe_until("door-1", "Granted", &mut decisions, &mut sent)
        .await;

    gate.set_open(false);
    world
        .swipe_until(
            "door-1",
            "AuthorizationUnavailable",
            &mut decisions,
            &mut sent,
        )
        .await;
    let last = decisions.events.last().expect("some");
    assert_eq!((last.decision.as_str(), last.rule), ("deny", 8));
    world
        .swipe_until(DEGRADED_DOOR, "GrantedDegraded", &mut decisions, &mut sent)
        .await;
    until("it is not ready", async || {
        let reply = worker.readyz().await;
        reply.is_some_and(|(status, body)| status == 503 && body.contains("access_fresh"))
    })
    .await;

    gate.set_open(true);
    world
        .swipe_until("door-1", "Granted", &mut decisions, &mut sent)
        .await;
    worker.ready().await;
    world.audit(&sent).await;
    worker.stop().await;
}
