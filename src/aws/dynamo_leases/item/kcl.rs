//! KCL's rows, field by field: how each is read; and in [`writes`] what our writes leave of it. Rows of 3.1.3 are copied from its
//! tables; those of 3.5 follow its sources (`DynamoDBLeaseSerializer`, `EntityType`, the coordinator's and metrics' items).

mod writes;

use serde_json::Value;

use super::*;

const SEQUENCE: &str = "49680427550845405794076313658409477259353495647127863298";

/// An item as the service spells it.
#[track_caller]
fn item(json: &str) -> Item {
    let Value::Object(fields) = serde_json::from_str(json).expect("json") else {
        panic!("no item: {json}");
    };
    let fields = fields.into_iter();
    fields.map(|(name, field)| (name, value(&field))).collect()
}

fn value(field: &Value) -> AttributeValue {
    let (kind, value) = field
        .as_object()
        .and_then(|field| field.iter().next())
        .expect("one type");
    let owned = |value: &Value| value.as_str().expect("a text").to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(owned(value)),
        "N" => AttributeValue::N(owned(value)),
        "SS" => AttributeValue::Ss(value.as_array().expect("a set").iter().map(owned).collect()),
        "B" => AttributeValue::B(owned(value).into_bytes().into()),
        "L" => AttributeValue::L(
            value
                .as_array()
                .expect("a list")
                .iter()
                .map(self::value)
                .collect(),
        ),
        "M" => AttributeValue::M(item(&value.to_string())),
        other => panic!("no such type: {other}"),
    }
}

const NEW: &str = r#"{"leaseKey":{"S":"shardId-000000000000"},"leaseCounter":{"N":"0"},"checkpoint":{"S":"TRIM_HORIZON"},
    "checkpointSubSequenceNumber":{"N":"0"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"startingHashKey":{"S":"0"},
    "endingHashKey":{"S":"170141183460469231731687303715884105727"}}"#;

const OWNED: &str = r#"{"leaseKey":{"S":"shardId-000000000000"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"22"},
    "checkpoint":{"S":"49680427550845405794076313658409477259353495647127863298"},"checkpointSubSequenceNumber":{"N":"3"},
    "ownerSwitchesSinceCheckpoint":{"N":"0"},"throughputKBps":{"N":"0.000082"},"startingHashKey":{"S":"0"},
    "endingHashKey":{"S":"170141183460469231731687303715884105727"}}"#;

/// The leader has named w2; w1 still reads and checkpoints.
const HANDING_OVER: &str = r#"{"leaseKey":{"S":"shardId-000000000001"},"leaseOwner":{"S":"w2"},"checkpointOwner":{"S":"w1"},
    "leaseCounter":{"N":"30"},"checkpoint":{"S":"49680427550845405794076313658409477259353495647127863298"},
    "checkpointSubSequenceNumber":{"N":"0"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"throughputKBps":{"N":"1.5"}}"#;

const CHILD_OF_MERGE: &str = r#"{"leaseKey":{"S":"shardId-000000000006"},"leaseCounter":{"N":"0"},"checkpoint":{"S":"TRIM_HORIZON"},
    "checkpointSubSequenceNumber":{"N":"0"},"ownerSwitchesSinceCheckpoint":{"N":"0"},
    "parentShardId":{"SS":["shardId-000000000002","shardId-000000000003"]},"startingHashKey":{"S":"5"},"endingHashKey":{"S":"9"}}"#;

const ENDED: &str = r#"{"leaseKey":{"S":"shardId-000000000000"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"40"},
    "checkpoint":{"S":"SHARD_END"},"checkpointSubSequenceNumber":{"N":"0"},"ownerSwitchesSinceCheckpoint":{"N":"1"},
    "childShardIds":{"SS":["shardId-000000000002","shardId-000000000003"]},"throughputKBps":{"N":"0"}}"#;

/// KCL 3.5: a prepared checkpoint, of which only the first half was made.
const PREPARED: &str = r#"{"leaseKey":{"S":"shardId-000000000000"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"41"},
    "checkpoint":{"S":"49680427550845405794076313658409477259353495647127863298"},"checkpointSubSequenceNumber":{"N":"7"},
    "pendingCheckpoint":{"S":"49680427550845405794076313658409477259353495647127863299"},
    "pendingCheckpointSubSequenceNumber":{"N":"2"},"pendingCheckpointState":{"B":"state"},
    "ownerSwitchesSinceCheckpoint":{"N":"2"},"entityType":{"S":"LEASE"}}"#;

const AT_AN_INSTANT: &str = r#"{"leaseKey":{"S":"shardId-000000000000"},"leaseCounter":{"N":"0"},"checkpoint":{"S":"AT_TIMESTAMP"},
    "checkpointSubSequenceNumber":{"N":"0"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"entityType":{"S":"LEASE"}}"#;

const AT_THE_TIP: &str = r#"{"leaseKey":{"S":"shardId-000000000000"},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"9"},
    "checkpoint":{"S":"LATEST"},"checkpointSubSequenceNumber":{"N":"0"},"ownerSwitchesSinceCheckpoint":{"N":"0"}}"#;

/// Every shape of a lease.
const LEASES: [&str; 8] = [
    NEW,
    OWNED,
    HANDING_OVER,
    CHILD_OF_MERGE,
    ENDED,
    PREPARED,
    AT_AN_INSTANT,
    AT_THE_TIP,
];

fn at(digits: &str, sub: u64) -> Checkpoint {
    let sequence = SequenceNumber::parse(digits).expect("digits");
    Checkpoint::At(Position { sequence, sub })
}

fn shards(names: &[&str]) -> Vec<ShardId> {
    names.iter().map(|name| ShardId::new(name)).collect()
}

#[test]
fn every_lease_that_kcl_wrote_is_read_field_by_field() {
    #[track_caller]
    fn check(
        json: &str,
        owner: Option<&str>,
        counter: u64,
        checkpoint: Checkpoint,
        parents: &[&str],
    ) {
        let item = item(json);
        assert!(is_lease(&item));
        let row = row(&item).expect("a lease");
        assert_eq!(Some(row.shard.as_str()), get_text(&item, "leaseKey"));
        assert_eq!(row.owner, owner.map(WorkerId::new));
        assert_eq!((row.counter, row.checkpoint), (counter, checkpoint));
        assert_eq!(row.parents, shards(parents));
        let range = row.hash_range.as_ref().map(|range| range.0.as_str());
        assert_eq!(range, get_text(&item, "startingHashKey"));
    }
    let horizon = Checkpoint::TrimHorizon;
    check(NEW, None, 0, horizon.clone(), &[]);
    check(OWNED, Some("w1"), 22, at(SEQUENCE, 3), &[]);
    check(HANDING_OVER, Some("w1"), 30, at(SEQUENCE, 0), &[]);
    let parents = ["shardId-000000000002", "shardId-000000000003"];
    check(CHILD_OF_MERGE, None, 0, horizon.clone(), &parents);
    check(ENDED, Some("w1"), 40, Checkpoint::ShardEnd, &[]);
    // What was only prepared is not done.
    check(PREPARED, Some("w1"), 41, at(SEQUENCE, 7), &[]);
    // The instant is in the configuration of the KCL application, not here.
    check(AT_AN_INSTANT, None, 0, horizon, &[]);
    check(AT_THE_TIP, Some("w1"), 9, Checkpoint::Latest, &[]);
}

#[test]
fn what_kcl_keeps_beside_its_leases_is_no_lease() {
    for json in [
        r#"{"leaseKey":{"S":"Leader"},"entityType":{"S":"LEADER"},"ownerName":{"S":"w1"},"leaseDuration":{"S":"120000"},
            "recordVersionNumber":{"S":"c1cc24d1-0000-0000-0000-000000000000"}}"#,
        r#"{"leaseKey":{"S":"w1"},"entityType":{"S":"WORKER_METRIC_STATS"},"lut":{"N":"1795260270"},"sup":{"N":"1"},
            "sts":{"M":{"C":{"L":[{"N":"1.0"},{"N":"-1"}]}}},"opr":{"M":{"C":{"L":[{"N":"80"}]}}}}"#,
        r#"{"leaseKey":{"S":"Migration3.0"},"entityType":{"S":"CLIENT_VERSION_MIGRATION"},"cv":{"S":"CLIENT_VERSION_3X"},
            "mb":{"S":"w1"},"mts":{"N":"1795260238777"},"h":{"L":[{"M":{"cv":{"S":"CLIENT_VERSION_INIT"}}}]}}"#,
        r#"{"leaseKey":{"S":"TableMigration3.5"},"entityType":{"S":"TABLE_MIGRATION"},
            "tm":{"S":"TABLE_MIGRATION_STATUS_COMPLETE"},"mb":{"S":"w1"},"mts":{"N":"1795260238777"}}"#,
        r#"{"leaseKey":{"S":"swipes"},"entityType":{"S":"STREAM"},"streamId":{"S":"123456789012:swipes:1"}}"#,
        r#"{"leaseKey":{"S":"x"},"entityType":{"S":"WHAT_KCL_4_MAY_BRING"}}"#,
    ] {
        assert!(!is_lease(&item(json)), "{json}");
    }
}

#[test]
fn a_lease_of_an_application_of_several_streams_is_refused_by_name() {
    let several = item(
        r#"{"leaseKey":{"S":"123456789012:swipes:1700000000:shardId-000000000000"},"leaseCounter":{"N":"1"},
            "streamName":{"S":"123456789012:swipes:1700000000"},"shardId":{"S":"shardId-000000000000"},
            "checkpoint":{"S":"TRIM_HORIZON"},"checkpointSubSequenceNumber":{"N":"0"},"ownerSwitchesSinceCheckpoint":{"N":"0"}}"#,
    );
    let why = row(&several).expect_err("refused");
    assert!(
        why.contains("several streams") && why.contains("1700000000:shardId"),
        "{why}"
    );
}
