//! Writes with conditions, one by one and in transactions.

use serde_json::{Value, json};

use super::super::{Refusal, Tables};
use super::{ask, done, item, key, tables};

#[test]
fn a_conditional_put_leaves_what_is_there_and_shows_it() {
    let mut tables = tables();
    let put = |door: &str, shown: &str| {
        json!({
            "TableName": "t", "Item": item("a", "1", door), "ConditionExpression": "attribute_not_exists(#p)",
            "ExpressionAttributeNames": { "#p": "PK" }, "ReturnValuesOnConditionCheckFailure": shown,
        })
    };
    assert_eq!(done(&mut tables, "PutItem", &put("x", "NONE")), json!({}));
    for (shown, expected) in [("NONE", None), ("ALL_OLD", Some(item("a", "1", "x")))] {
        let refusal = ask(&mut tables, "PutItem", &put("y", shown))
            .and_then(Result::err)
            .expect("refused");
        let body: Value = serde_json::from_str(&refusal.body()).expect("JSON");
        assert!(
            body["__type"]
                .as_str()
                .is_some_and(|code| code.ends_with("#ConditionalCheckFailedException"))
        );
        assert_eq!(body.get("Item"), expected.as_ref());
    }
}

#[test]
fn a_conditional_delete_leaves_what_is_there_and_shows_it() {
    let mut tables = tables();
    done(
        &mut tables,
        "PutItem",
        &json!({ "TableName": "t", "Item": at("a", 7) }),
    );
    let delete = |until: u32| {
        json!({
            "TableName": "t", "Key": key("a", "1"), "ConditionExpression": "ScannedAt <= :at",
            "ExpressionAttributeValues": { ":at": { "N": until.to_string() } },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        })
    };
    let reply = ask(&mut tables, "DeleteItem", &delete(6)).and_then(Result::err);
    let Some(Refusal::ConditionFailed(Some(shown))) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(*shown, *at("a", 7).to_string());
    done(&mut tables, "DeleteItem", &delete(7));
    assert_eq!(stored(&mut tables), []);
}

/// An item of that partition, with that number.
fn at(pk: &str, at: u32) -> Value {
    let mut item = key(pk, "1");
    item["ScannedAt"] = json!({ "N": at.to_string() });
    item
}

/// Puts the item unless a newer one is there.
fn newer(pk: &str, scanned: u32) -> Value {
    json!({ "Put": {
        "TableName": "t", "Item": at(pk, scanned),
        "ConditionExpression": "attribute_not_exists(ScannedAt) OR ScannedAt <= :at",
        "ExpressionAttributeValues": { ":at": { "N": scanned.to_string() } },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    } })
}

fn transaction(actions: &[Value]) -> Value {
    json!({ "TransactItems": actions, "ClientRequestToken": "once" })
}

/// `PK` and `ScannedAt` of all items.
fn stored(tables: &mut Tables) -> Vec<(String, String)> {
    let all = done(tables, "Scan", &json!({ "TableName": "t" }));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = all["Items"].as_array().expect("items").iter();
    let mut items: Vec<_> = items
        .map(|item| (text(&item["PK"]["S"]), text(&item["ScannedAt"]["N"])))
        .collect();
    items.sort();
    items
}

/// The codes of a cancelled transaction's reasons; none when it was done.
fn reasons(tables: &mut Tables, actions: &[Value]) -> Vec<Value> {
    match ask(tables, "TransactWriteItems", &transaction(actions)).expect("it is ours") {
        Ok(reply) => {
            assert_eq!(reply, json!({}));
            Vec::new()
        }
        Err(refusal) => {
            let body: Value = serde_json::from_str(&refusal.body()).expect("JSON");
            let code = body["__type"].as_str().unwrap_or_default();
            assert!(code.ends_with("#TransactionCanceledException"), "{body}");
            body["CancellationReasons"]
                .as_array()
                .expect("reasons")
                .clone()
        }
    }
}

#[test]
fn a_transaction_does_all_or_nothing_and_says_why() {
    let mut tables = tables();
    let mut check = |actions: &[Value], codes: &[&str], left: &[(&str, &str)]| {
        let reasons = reasons(&mut tables, actions);
        let given: Vec<&str> = reasons
            .iter()
            .map(|reason| reason["Code"].as_str().unwrap_or_default())
            .collect();
        assert_eq!(given, codes, "{actions:?}");
        let left = left
            .iter()
            .map(|(pk, at)| ((*pk).to_owned(), (*at).to_owned()));
        assert_eq!(stored(&mut tables), left.collect::<Vec<_>>(), "{actions:?}");
    };
    let (failed, none) = ("ConditionalCheckFailed", "None");
    let on = |pk: &str, expression: &str| json!({ "TableName": "t", "Key": key(pk, "1"), "ConditionExpression": expression });
    check(
        &[newer("a", 9), newer("b", 9)],
        &[],
        &[("a", "9"), ("b", "9")],
    );
    // As texts, 10 would be before 9.
    check(
        &[newer("a", 10), newer("b", 9)],
        &[],
        &[("a", "10"), ("b", "9")],
    );
    check(
        &[newer("c", 1), newer("a", 9), newer("b", 11)],
        &[none, failed, none],
        &[("a", "10"), ("b", "9")],
    );
    check(
        &[newer("b", 8), newer("a", 2)],
        &[failed, failed],
        &[("a", "10"), ("b", "9")],
    );
    check(
        &[
            json!({ "Delete": on("a", "attribute_exists(PK)") }),
            json!({ "ConditionCheck": on("b", "attribute_not_exists(PK)") }),
        ],
        &[none, failed],
        &[("a", "10"), ("b", "9")],
    );
    check(
        &[
            json!({ "Delete": { "TableName": "arn:aws:dynamodb:r:0:table/t", "Key": key("a", "1") } }),
            json!({ "ConditionCheck": on("b", "attribute_exists(PK)") }),
            json!({ "Put": { "TableName": "t", "Item": at("c", 1) } }),
        ],
        &[],
        &[("b", "9"), ("c", "1")],
    );
}

#[test]
fn a_failed_condition_shows_the_old_item_when_asked() {
    let mut tables = tables();
    assert_eq!(reasons(&mut tables, &[newer("a", 9)]), [] as [Value; 0]);
    let mut hidden = newer("a", 8);
    for (shown, expected) in [("ALL_OLD", Some(at("a", 9))), ("NONE", None)] {
        hidden["Put"]["ReturnValuesOnConditionCheckFailure"] = shown.into();
        let reasons = reasons(&mut tables, &[newer("b", 1), hidden.clone()]);
        assert_eq!(reasons[0], json!({ "Code": "None" }));
        assert_eq!(reasons[1].get("Item"), expected.as_ref());
        assert_eq!(reasons[1]["Message"], "The conditional request failed");
    }
}

#[test]
fn a_transaction_that_is_wrong_or_not_played_changes_nothing() {
    let mut tables = tables();
    let mut check = |actions: &[Value], expected: &str| {
        let reply = ask(&mut tables, "TransactWriteItems", &transaction(actions));
        let Some(Err(Refusal::Validation(message))) = &reply else {
            panic!("{actions:?}: {reply:?}");
        };
        assert!(message.contains(expected), "{message}");
        assert_eq!(stored(&mut tables), []);
    };
    let new = newer("a", 1);
    check(
        &[newer("a", 2), new.clone()],
        "multiple operations on one item",
    );
    let delete = json!({ "Delete": { "TableName": "t", "Key": key("a", "1") } });
    check(&[new.clone(), delete], "multiple operations on one item");
    let many: Vec<Value> = (0..101)
        .map(|number| newer(&number.to_string(), 1))
        .collect();
    check(&many, "this one has 101");
    let mut elsewhere = newer("b", 1);
    elsewhere["Put"]["TableName"] = "other".into();
    check(&[new.clone(), elsewhere], "other is none of the plain ones");
    let on = json!({ "TableName": "t", "Key": key("b", "1") });
    check(
        &[new.clone(), json!({ "ConditionCheck": on })],
        "needs a ConditionExpression",
    );
    check(
        &[new.clone(), json!({ "Update": on })],
        "not played by this stand-in",
    );
    let mut change = |field: &str, value: Value, expected: &str| {
        let mut other = newer("b", 1);
        other["Put"][field] = value;
        check(&[new.clone(), other], expected);
    };
    change(
        "ConditionExpression",
        json!("size(PK) = :at"),
        "the condition size(PK) = :at",
    );
    change(
        "ConditionExpression",
        json!("attribute_not_exists(PK)"),
        "unused in expressions: keys: {:at}",
    );
    change(
        "ConditionExpression",
        Value::Null,
        "only be specified when using expressions",
    );
    change(
        "ExpressionAttributeValues",
        json!({ ":at": { "BOOL": true } }),
        "not played",
    );
    change("Item", json!({ "PK": { "S": "b" } }), "Missing the key SK");
    change("Surprise", json!(1), "not played by this stand-in");
}

#[test]
fn a_transaction_of_a_hundred_moves_items_between_partitions_of_an_index() {
    let mut tables = tables();
    let actions = |door: &str| -> Vec<Value> {
        let items = (0..100).map(|number| item(&number.to_string(), "1", door));
        items
            .map(|item| json!({ "Put": { "TableName": "t", "Item": item } }))
            .collect()
    };
    let mut check = |door: &str, expected: [u32; 2]| {
        assert_eq!(reasons(&mut tables, &actions(door)), [] as [Value; 0]);
        let count = |door: &&str| {
            let query = json!({
                "TableName": "t", "IndexName": "ByDoor", "KeyConditionExpression": "door = :d",
                "ExpressionAttributeValues": { ":d": { "S": door } }, "Select": "COUNT",
            });
            done(&mut tables, "Query", &query)["Count"].clone()
        };
        let counts: Vec<Value> = ["x", "y"].iter().map(count).collect();
        assert_eq!(counts, expected);
    };
    check("x", [100, 0]);
    check("y", [0, 100]);
}
