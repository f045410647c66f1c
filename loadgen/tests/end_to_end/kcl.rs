//! A lease table that KCL 3 wrote.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use loadgen::aggregate;

use crate::fixture::{LEASES, Position, Sent, Settings, World};

type Item = HashMap<String, AttributeValue>;

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn ss(texts: &[&str]) -> AttributeValue {
    AttributeValue::Ss(texts.iter().map(|text| (*text).to_owned()).collect())
}

/// A row as KCL 3.1.3 writes it.
fn row(shard: &str, checkpoint: &str, sub: u64, more: &[(&str, AttributeValue)]) -> Item {
    let fields = [
        ("leaseKey", s(shard)),
        ("leaseCounter", n(22)),
        ("checkpoint", s(checkpoint)),
        ("checkpointSubSequenceNumber", n(sub)),
        ("ownerSwitchesSinceCheckpoint", n(1)),
        ("throughputKBps", AttributeValue::N("0.000082".to_owned())),
    ];
    let fields = fields.iter().chain(more);
    fields
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

impl World {
    async fn make_lease_table(&self, rows: &[Item]) {
        let name = "leaseKey";
        let attribute = AttributeDefinition::builder().attribute_name(name);
        let attribute = attribute.attribute_type(ScalarAttributeType::S).build();
        let key = KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(KeyType::Hash)
            .build();
        let call = self.clients.dynamodb.create_table().table_name(LEASES);
        let call = call.attribute_definitions(attribute.expect("complete"));
        let call = call
            .key_schema(key.expect("complete"))
            .billing_mode(BillingMode::PayPerRequest);
        call.send().await.expect("the lease table is made");
        for row in rows {
            let call = self.clients.dynamodb.put_item().table_name(LEASES);
            call.set_item(Some(row.clone()))
                .send()
                .await
                .expect("a row is written");
        }
    }

    async fn raw_row(&self, key: &str) -> Option<Item> {
        let call = self.clients.dynamodb.get_item().table_name(LEASES);
        let call = call.key("leaseKey", s(key)).consistent_read(true);
        call.send().await.expect("a row is read").item
    }
}

#[tokio::test]
async fn a_lease_table_of_kcl_is_taken_over_at_its_checkpoints() {
    let world = World::new(2, 8).await;
    let cards = world.cards();
    const SHARDS: [&str; 4] = [
        "shardId-000000000000",
        "shardId-000000000001",
        "shardId-000000000002",
        "shardId-000000000003",
    ];
    let (first, second, third) = (
        "0",
        (1_u128 << 126).to_string(),
        (1_u128 << 127).to_string(),
    );

    // The first shard was read to its end and split; KCL is done with what is sent here.
    world.send_to(&cards[0], Some(first)).await;
    let split = world
        .clients
        .kinesis
        .split_shard()
        .stream_name("swipes")
        .shard_to_split(SHARDS[0]);
    let split = split.new_starting_hash_key(&second).send().await;
    split.expect("the first shard is split");
    let plain = world.send_to(&cards[1], Some(first)).await;
    let mut expected = vec![world.send_to(&cards[2], Some(first)).await];
    let swipes: Vec<_> = cards.iter().map(|card| world.swipe(card)).collect();
    let payloads: Vec<_> = swipes.iter().map(|swipe| swipe.json()).collect();
    let packed = aggregate::pack(payloads.iter().map(|data| ("k", data.as_slice())));
    let place = world.put("k", Some(&second), &packed).await;
    expected.extend((0..).zip(swipes).skip(3).map(|(sub, swipe)| Sent {
        swipe,
        position: Some(Position {
            sub,
            ..place.clone()
        }),
    }));
    expected.push(world.send_to(&cards[3], Some(&third)).await);

    let plain = plain.position.expect("it is known").sequence;
    let children = ss(&[SHARDS[2], SHARDS[3]]);
    let owner = ("leaseOwner", s("kcl-worker"));
    let parent = ("parentShardId", ss(&[SHARDS[0]]));
    let leader = Item::from([
        ("leaseKey".to_owned(), s("Leader")),
        ("entityType".to_owned(), s("LEADER")),
        ("ownerName".to_owned(), s("kcl-worker")),
    ]);
    let metrics = Item::from([
        ("leaseKey".to_owned(), s("kcl-worker")),
        ("entityType".to_owned(), s("WORKER_METRICS")),
        ("lut".to_owned(), n(1_795_260_270)),
    ]);
    world
        .make_lease_table(&[
            row(
                SHARDS[0],
                "SHARD_END",
                0,
                &[owner.clone(), ("childShardIds", children)],
            ),
            row(SHARDS[1], "TRIM_HORIZON", 0, std::slice::from_ref(&owner)),
            row(SHARDS[2], &plain, 0, &[owner.clone(), parent.clone()]),
            row(
                SHARDS[3],
                &place.sequence,
                2,
                &[owner, parent, ("entityType", s("LEASE"))],
            ),
            leader.clone(),
            metrics.clone(),
        ])
        .await;

    let mut worker = world.start_ready("worker", &Settings::default()).await;
    let audit = world.audit(&expected).await;
    assert_eq!(audit.duplicates, 0);
    worker.stop().await;
    assert_eq!(
        world.raw_row("Leader").await,
        Some(leader),
        "a row that is no lease is left alone"
    );
    assert_eq!(world.raw_row("kcl-worker").await, Some(metrics));
    let parent = world.lease(SHARDS[0]).await;
    assert_eq!(parent.checkpoint, "SHARD_END");
    assert_eq!(parent.set("childShardIds"), [SHARDS[2], SHARDS[3]]);
    for shard in &SHARDS[1..] {
        let lease = world.lease(shard).await;
        assert_eq!(lease.owner, None, "it was given away at the end");
        let kept = lease.item.get("throughputKBps").cloned();
        assert_eq!(
            kept,
            Some(AttributeValue::N("0.000082".to_owned())),
            "an attribute of KCL's is gone"
        );
    }
}
