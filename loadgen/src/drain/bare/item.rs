//! An item as large as a decision's, with the same attributes, and nothing decided.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// The `number`-th item of a shard, made for the record with that sequence number: no two have one key.
pub(super) fn item(sequence: &str, number: u64) -> HashMap<String, AttributeValue> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let numeric = |text: &str| AttributeValue::N(text.to_owned());
    let source = HashMap::from([
        ("shard".to_owned(), text("shardId-000000000003")),
        ("sequence".to_owned(), text(sequence)),
        ("sub".to_owned(), numeric("0")),
    ]);
    // The daemon's item, attribute by attribute (contract, the decision table).
    let mut item = HashMap::with_capacity(20);
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("PK", AttributeValue::S(format!("CARD#{number:012}")));
    set(
        "SK",
        AttributeValue::S(format!("CARD#EVENT#SCAN#{}", &sequence[10..])),
    );
    set("v", numeric("1"));
    set("decision_id", text("gate-berlin-3#1772438321123456"));
    set("decision", text("grant"));
    set("reason", text("Granted"));
    set("rule", numeric("29"));
    set("device_id", text("gate-berlin-3"));
    set("device_seq", numeric("1772438321123456"));
    set("access_point", text("berlin-door-3-in"));
    set("card_id", text("100000000189"));
    set("swiped_at_ms", numeric("1772438321123"));
    set("decided_at_ms", numeric("1772438321160"));
    set("actuate", AttributeValue::Bool(false));
    set("flags", AttributeValue::L(Vec::new()));
    set("source", AttributeValue::M(source));
    set("expires_at", numeric("1780214321"));
    if number.is_multiple_of(2) {
        set("direction", text("in"));
    }
    if number.is_multiple_of(4) {
        set("trace_id", text("1-0000d3a1-67a0b1c2d3e4f506"));
    }
    item
}
