//! `swiped leases`, as an operator types it.

use serde_json::Value;

use crate::fixture::{FAILOVER_MS, Sent, Settings, Told, World, until};

impl World {
    /// Runs `swiped leases` with these words and the configuration of a worker that was started.
    async fn leases_by_hand(&self, worker: &str, words: &[&str]) -> Told {
        self.swiped(worker, &[&["leases"], words].concat()).await
    }

    async fn listed(&self, worker: &str) -> Vec<Value> {
        let told = self.leases_by_hand(worker, &["list", "--json"]).await;
        assert_eq!(told.code, Some(0), "{told:?}");
        let rows: Value = serde_json::from_str(&told.out).expect("one JSON document");
        rows.as_array().expect("an array").clone()
    }

    async fn send_all(&self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for card in self.cards() {
            sent.push(self.send(&card).await);
        }
        sent
    }
}

fn quick() -> Settings {
    Settings {
        checkpoint_ms: 1000,
        ..Settings::default()
    }
}

#[tokio::test]
async fn everything_is_read_again_after_a_rewind_and_keeps_its_answers() {
    let world = World::new(2, 20).await;
    let mut first = world.start_ready("first", &quick()).await;
    world.wait_for_owners(&[("first", 2)]).await;
    let sent = world.send_all().await;
    world.decisions().await.wait_for(&sent).await;
    until("checkpoints are written", async || {
        let leases = world.leases().await;
        leases.iter().all(|lease| lease.checkpoint.starts_with('4'))
    })
    .await;

    // While it runs.
    until("its numbers are told", async || {
        let told = ["swiped_leases_planned", "swiped_leases_held"];
        let [planned, held] = told.map(|name| first.metric(name));
        (planned.await, held.await) == (2.0, 2.0)
    })
    .await;
    assert_eq!(first.metric("swiped_lease_orphan_age_seconds").await, 0.0);
    for row in world.listed("first").await {
        assert_eq!(row["state"], "held", "{row}");
        assert_eq!(
            (&row["owner"], &row["alive"]),
            (&"first".into(), &true.into())
        );
        let age = row["heartbeat_age_ms"].as_u64();
        assert!(age.is_some_and(|age| age < 15_000), "{row}");
        assert_eq!(row["behind_ms"], 0, "all is read: {row}");
    }
    let told = world.leases_by_hand("first", &["list"]).await.done("held");
    assert!(
        told.out.starts_with("SHARD ") && told.out.contains(" <"),
        "{told:?}"
    );
    let shard = "shardId-000000000000";
    let rewind_all = ["rewind", "--all", "--to", "trim_horizon"];
    world
        .leases_by_hand("first", &rewind_all)
        .await
        .refused("first lives");
    let release = ["release", shard];
    world
        .leases_by_hand("first", &release)
        .await
        .refused("first lives");
    let insisted = ["release", shard, "--force"];
    world
        .leases_by_hand("first", &insisted)
        .await
        .done("released by first");
    world.wait_for_owners(&[("first", 2)]).await;
    first.stop().await;

    // After it left, a second lot waits to be decided.
    for card in world.cards() {
        world.set_card(&card, "revoked").await;
    }
    let mut all = sent.clone();
    all.extend(world.send_all().await);
    for row in world.listed("first").await {
        assert_eq!(
            (&row["state"], &row["owner"]),
            (&"orphaned".into(), &Value::Null)
        );
        assert!(row["behind_ms"].as_u64().is_some_and(|ms| ms > 0), "{row}");
    }
    let last = all
        .last()
        .and_then(|sent| sent.position.clone())
        .expect("known");
    let (to, other) = (
        last.sequence.as_str(),
        sent.iter().find_map(|sent| {
            sent.position
                .clone()
                .filter(|position| position.shard != last.shard)
        }),
    );
    for (words, why) in [
        (["rewind", last.shard.as_str(), "--to", to], "skips records"),
        (["rewind", "--all", "--to", "latest"], "skips records"),
        (
            ["rewind", "--all", "--to", "2999-01-01T00:00:00Z"],
            "in the future",
        ),
        (
            ["rewind", "shardId-000000000009", "--to", "trim_horizon"],
            "no such row",
        ),
        (
            ["rewind", &other.expect("two shards").shard, "--to", to],
            "cannot be read from there",
        ),
    ] {
        world.leases_by_hand("first", &words).await.refused(why);
    }
    let before = world.leases().await;
    let ago = [
        "rewind",
        "--all",
        "--to",
        "2020-01-01T00:00:00Z",
        "--dry-run",
    ];
    world
        .leases_by_hand("first", &ago)
        .await
        .done("to AT_TIMESTAMP 2020-01-01T00:00:00Z");
    let dry = ["rewind", "--all", "--to", "trim_horizon", "--dry-run"];
    world
        .leases_by_hand("first", &dry)
        .await
        .done("would go from 4");
    let checkpoints = |leases: &[crate::fixture::Lease]| {
        let leases = leases.iter();
        leases
            .map(|lease| lease.checkpoint.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(checkpoints(&world.leases().await), checkpoints(&before));
    world
        .leases_by_hand("first", &rewind_all)
        .await
        .done("to TRIM_HORIZON");
    world
        .leases_by_hand("first", &rewind_all)
        .await
        .done("already");
    assert_eq!(checkpoints(&world.leases().await), ["TRIM_HORIZON"; 2]);

    let second = world.start_ready("second", &quick()).await;
    let audit = world.audit(&all).await;
    until("all of it is read again", async || {
        second.metric("swiped_swipes_total").await >= all.len() as f64
    })
    .await;
    let recovered = second.metric("swiped_recovered_decisions_total").await;
    assert!(
        recovered >= sent.len() as f64,
        "{recovered} answers were found"
    );
    assert!(
        audit
            .events
            .iter()
            .any(|event| event.reason == "CredentialRevoked")
    );
}

#[tokio::test]
async fn the_lease_of_a_dead_owner_is_silent_and_may_be_released_and_moved_past_what_is_lost() {
    let world = World::new(1, 10).await;
    let settings = Settings {
        failover_ms: FAILOVER_MS,
        ..quick()
    };
    let mut victim = world.start_ready("victim", &settings).await;
    world.wait_for_owners(&[("victim", 1)]).await;
    victim.kill();
    let skipped = world.send_all().await;

    let rows = world.listed("victim").await;
    assert_eq!(
        (&rows[0]["state"], &rows[0]["alive"]),
        (&"silent".into(), &false.into())
    );
    let age = rows[0]["heartbeat_age_ms"].as_u64();
    assert!(age.is_some_and(|age| age >= FAILOVER_MS), "{rows:?}");
    let release = ["release", "--owner", "victim"];
    world
        .leases_by_hand("victim", &release)
        .await
        .done("released by victim");
    world
        .leases_by_hand("victim", &release)
        .await
        .done("no lease is owned by victim");
    let latest = ["rewind", "--all", "--to", "latest", "--skip-records"];
    world
        .leases_by_hand("victim", &latest)
        .await
        .done("AT_TIMESTAMP");

    let next = world.start_ready("next", &settings).await;
    let sent = world.send_all().await;
    let audit = world.audit(&sent).await;
    assert_eq!(audit.events.len(), sent.len(), "and none of {skipped:?}");
    drop(next);
}

#[tokio::test]
async fn a_shard_that_ended_goes_back_with_what_continues_it() {
    let world = World::new(1, 10).await;
    let mut first = world.start_ready("first", &quick()).await;
    world.wait_for_owners(&[("first", 1)]).await;
    let mut sent = world.send_all().await;
    let parent = "shardId-000000000000";
    let split = world.clients.kinesis.split_shard().stream_name("swipes");
    let split = split
        .shard_to_split(parent)
        .new_starting_hash_key((1_u128 << 127).to_string());
    split.send().await.expect("the shard is split");
    sent.extend(world.send_all().await);
    world.decisions().await.wait_for(&sent).await;
    first.stop().await;

    let alone = ["rewind", parent, "--to", "trim_horizon"];
    let told = world.leases_by_hand("first", &alone).await;
    let told = told.refused("what continues it is being read: shardId-000000000001");
    assert!(told.err.contains("or say --force"), "{told:?}");
    let with_children = ["rewind", "--all", "--to", "trim_horizon"];
    let told = world.leases_by_hand("first", &with_children).await;
    told.done("moved from SHARD_END to TRIM_HORIZON");
    let states: Vec<_> = world.listed("first").await;
    let states: Vec<_> = states.iter().map(|row| row["state"].as_str()).collect();
    assert_eq!(states, [Some("orphaned"), Some("waiting"), Some("waiting")]);

    let second = world.start_ready("second", &quick()).await;
    until("all of it is read again", async || {
        second.metric("swiped_swipes_total").await >= sent.len() as f64
    })
    .await;
    let audit = world.audit(&sent).await;
    assert!(audit.duplicates > 0, "nothing was decided twice");
}
