//! Plain tables by their requests and replies.

mod indexes;
mod writes;

use serde_json::{Value, json};

use super::{Refusal, Tables};

fn create(name: &str) -> Value {
    json!({
        "TableName": name,
        "KeySchema": [
            { "AttributeName": "PK", "KeyType": "HASH" },
            { "AttributeName": "SK", "KeyType": "RANGE" },
        ],
        "AttributeDefinitions": [
            { "AttributeName": "SK", "AttributeType": "S" },
            { "AttributeName": "PK", "AttributeType": "S" },
            { "AttributeName": "door", "AttributeType": "S" },
        ],
        "GlobalSecondaryIndexes": [{
            "IndexName": "ByDoor",
            "KeySchema": [
                { "AttributeName": "door", "KeyType": "HASH" },
                { "AttributeName": "SK", "KeyType": "RANGE" },
            ],
            "Projection": { "ProjectionType": "ALL" },
        }],
        "BillingMode": "PAY_PER_REQUEST",
    })
}

fn tables() -> Tables {
    let mut tables = Tables::default();
    tables.created(&create("t").to_string());
    tables
}

/// The reply, when it is ours.
fn ask(tables: &mut Tables, operation: &str, request: &Value) -> Option<Result<Value, Refusal>> {
    let reply = tables.answer(operation, &request.to_string())?;
    Some(reply.map(|body| serde_json::from_str(&body).expect("a reply is JSON")))
}

#[track_caller]
fn done(tables: &mut Tables, operation: &str, request: &Value) -> Value {
    ask(tables, operation, request)
        .expect("it is ours")
        .expect("it is done")
}

fn key(pk: &str, sk: &str) -> Value {
    json!({ "PK": { "S": pk }, "SK": { "S": sk } })
}

fn item(pk: &str, sk: &str, door: &str) -> Value {
    json!({ "PK": { "S": pk }, "SK": { "S": sk }, "door": { "S": door }, "note": { "L": [{ "S": "\"\u{e9}\n" }] } })
}

fn puts(items: &[Value]) -> Value {
    let puts: Vec<Value> = items
        .iter()
        .map(|item| json!({ "PutRequest": { "Item": item } }))
        .collect();
    json!({ "RequestItems": { "t": puts } })
}

/// `pk/sk` of each item.
fn names(reply: &Value) -> Vec<String> {
    let text = |item: &Value, name: &str| item[name]["S"].as_str().expect("a text").to_owned();
    let items = reply["Items"].as_array().expect("items");
    items
        .iter()
        .map(|item| format!("{}/{}", text(item, "PK"), text(item, "SK")))
        .collect()
}

/// Everything that pages of `limit` give, joined, and how many pages there were.
fn pages(
    tables: &mut Tables,
    operation: &str,
    mut request: Value,
    limit: u32,
) -> (Vec<String>, usize) {
    let mut all = Vec::new();
    request["Limit"] = limit.into();
    for page in 1..100 {
        let reply = done(tables, operation, &request);
        all.extend(names(&reply));
        match reply.get("LastEvaluatedKey") {
            Some(last) => request["ExclusiveStartKey"] = last.clone(),
            None => return (all, page),
        }
    }
    panic!("the pages do not end");
}

#[test]
fn only_a_table_without_a_stream_and_with_the_usual_keys_is_plain() {
    let check = |expected: bool, change: &dyn Fn(&mut Value)| {
        let mut request = create("t");
        change(&mut request);
        let mut tables = Tables::default();
        tables.created(&request.to_string());
        let get = json!({ "TableName": "t", "Key": key("a", "b") });
        let ours = ask(&mut tables, "GetItem", &get).is_some();
        assert_eq!(ours, expected, "{request}");
    };
    check(true, &|_| {});
    check(true, &|request| {
        request["StreamSpecification"] = json!({ "StreamEnabled": false });
    });
    check(true, &|request| {
        request
            .as_object_mut()
            .map(|request| request.remove("GlobalSecondaryIndexes"));
    });
    check(false, &|request| {
        request["StreamSpecification"] =
            json!({ "StreamEnabled": true, "StreamViewType": "NEW_IMAGE" });
    });
    check(false, &|request| {
        request["KeySchema"].as_array_mut().map(Vec::pop);
    });
    check(false, &|request| {
        request["KeySchema"][1]["AttributeName"] = "door".into()
    });
    check(false, &|request| {
        request["AttributeDefinitions"][0]["AttributeType"] = "N".into()
    });
    check(true, &|request| {
        request["GlobalSecondaryIndexes"][0]["Projection"]["ProjectionType"] = "KEYS_ONLY".into();
    });
    check(true, &|request| {
        let mut second = request["GlobalSecondaryIndexes"][0].clone();
        second["IndexName"] = "Second".into();
        second["KeySchema"][1]["AttributeName"] = "PK".into();
        let indexes = request["GlobalSecondaryIndexes"].as_array_mut();
        indexes.expect("a list").push(second);
    });
    check(false, &|request| {
        request["GlobalSecondaryIndexes"][0]["Projection"]["ProjectionType"] = "INCLUDE".into();
    });
    check(false, &|request| {
        let mut second = request["GlobalSecondaryIndexes"][0].clone();
        second["KeySchema"].as_array_mut().map(Vec::pop);
        let indexes = request["GlobalSecondaryIndexes"].as_array_mut();
        indexes.expect("a list").push(second);
    });
}

#[test]
fn what_is_put_is_read_back_whole_until_it_is_deleted() {
    let mut tables = tables();
    let (one, two) = (item("a", "1", "x"), item("a", "2", "x"));
    let written = done(
        &mut tables,
        "BatchWriteItem",
        &puts(&[one.clone(), two.clone()]),
    );
    assert_eq!(written, json!({ "UnprocessedItems": {} }));
    let get =
        |sk: &str| json!({ "TableName": "arn:aws:dynamodb:r:0:table/t", "Key": key("a", sk) });
    assert_eq!(
        done(&mut tables, "GetItem", &get("1")),
        json!({ "Item": one })
    );
    assert_eq!(done(&mut tables, "GetItem", &get("3")), json!({}));
    let keys = json!({ "Keys": [key("a", "1"), key("a", "3"), key("a", "2")], "ProjectionExpression": "PK" });
    let batch = json!({ "RequestItems": { "t": keys } });
    assert_eq!(
        done(&mut tables, "BatchGetItem", &batch),
        json!({ "Responses": { "t": [one, two] }, "UnprocessedKeys": {} })
    );
    let delete = json!({ "RequestItems": { "t": [
        { "DeleteRequest": { "Key": key("a", "1") } },
        { "PutRequest": { "Item": item("b", "1", "y") } },
    ] } });
    done(&mut tables, "BatchWriteItem", &delete);
    done(&mut tables, "DeleteItem", &get("2"));
    let scan = json!({ "TableName": "t" });
    assert_eq!(names(&done(&mut tables, "Scan", &scan)), ["b/1"]);
    tables.deleted(&scan.to_string());
    assert_eq!(ask(&mut tables, "Scan", &scan), None);
}

#[test]
fn a_query_gives_a_range_in_order_from_either_end_page_by_page() {
    let mut tables = tables();
    let items: Vec<Value> = ["a", "ba", "bb", "c", "d"]
        .iter()
        .flat_map(|sk| [item("p", sk, "x"), item("q", sk, "x")])
        .collect();
    done(&mut tables, "BatchWriteItem", &puts(&items));
    let mut check = |index: bool, expression: &str, expected: &[&str]| {
        let mut request = json!({
            "TableName": "t", "KeyConditionExpression": expression,
            "ExpressionAttributeNames": { "#s": "SK" },
            "ExpressionAttributeValues": { ":p": { "S": if index { "x" } else { "p" } }, ":a": { "S": "b" }, ":c": { "S": "c" } },
        });
        if index {
            request["IndexName"] = "ByDoor".into();
        }
        for limit in [1, 2, 100] {
            request["ScanIndexForward"] = true.into();
            let (forward, count) = pages(&mut tables, "Query", request.clone(), limit);
            assert_eq!(forward, expected, "{expression}");
            assert!(
                count > expected.len() / limit as usize || limit > 2,
                "{expression}"
            );
            request["ScanIndexForward"] = false.into();
            let (mut backward, _) = pages(&mut tables, "Query", request.clone(), limit);
            backward.reverse();
            assert_eq!(backward, expected, "{expression} backward");
        }
    };
    check(false, "PK = :p", &["p/a", "p/ba", "p/bb", "p/c", "p/d"]);
    check(false, "PK = :p AND begins_with(#s, :a)", &["p/ba", "p/bb"]);
    check(false, "PK = :p AND SK >= :c", &["p/c", "p/d"]);
    check(false, "PK = :p AND SK > :c", &["p/d"]);
    check(false, "PK = :p AND SK < :c", &["p/a", "p/ba", "p/bb"]);
    check(
        false,
        "PK = :p AND SK BETWEEN :a AND :c",
        &["p/ba", "p/bb", "p/c"],
    );
    check(false, "PK = :p AND SK BETWEEN :c AND :a", &[]);
    check(
        true,
        "door = :p AND SK >= :c",
        &["p/c", "q/c", "p/d", "q/d"],
    );
    check(true, "door = :p AND SK = :c", &["p/c", "q/c"]);
}

#[test]
fn the_segments_of_a_scan_give_each_item_once() {
    let mut tables = tables();
    let mut expected = Vec::new();
    for batch in 0..8 {
        let items: Vec<Value> = (0..25)
            .map(|number| {
                item(
                    &format!("p{}", (batch * 25 + number) / 3),
                    &format!("{number}"),
                    "x",
                )
            })
            .collect();
        done(&mut tables, "BatchWriteItem", &puts(&items));
        expected.extend(names(&json!({ "Items": items })));
    }
    expected.sort();
    for segments in [1, 2, 3, 64] {
        for limit in [1, 7, 1000] {
            let mut seen = Vec::new();
            for segment in 0..segments {
                let scan =
                    json!({ "TableName": "t", "Segment": segment, "TotalSegments": segments });
                let mut from = Value::Null;
                for _ in 0..=expected.len() {
                    let mut scan = scan.clone();
                    scan["Limit"] = limit.into();
                    if !from.is_null() {
                        scan["ExclusiveStartKey"] = from;
                    }
                    let reply = done(&mut tables, "Scan", &scan);
                    seen.extend(names(&reply));
                    from = reply.get("LastEvaluatedKey").cloned().unwrap_or_default();
                    if from.is_null() {
                        break;
                    }
                }
            }
            seen.sort();
            assert_eq!(seen, expected, "{segments} segments by {limit}");
        }
    }
}

#[test]
fn a_page_ends_after_a_mebibyte_and_a_scan_goes_on_where_an_item_was() {
    let mut tables = tables();
    for sk in ["1", "2", "3"] {
        let mut large = item("a", sk, "x");
        large["body"] = json!({ "S": "x".repeat(600 << 10) });
        done(&mut tables, "BatchWriteItem", &puts(&[large]));
    }
    let scan = json!({ "TableName": "t" });
    let first = done(&mut tables, "Scan", &scan);
    assert_eq!(names(&first), ["a/1", "a/2"]);
    assert_eq!(first["LastEvaluatedKey"], key("a", "2"));
    done(
        &mut tables,
        "DeleteItem",
        &json!({ "TableName": "t", "Key": key("a", "2") }),
    );
    let rest = json!({ "TableName": "t", "ExclusiveStartKey": key("a", "2") });
    let rest = done(&mut tables, "Scan", &rest);
    assert_eq!(
        (names(&rest), rest.get("LastEvaluatedKey")),
        (vec!["a/3".to_owned()], None)
    );
    let count = json!({ "TableName": "t", "Select": "COUNT" });
    let count = done(&mut tables, "Scan", &count);
    assert_eq!((&count["Count"], count.get("Items")), (&2.into(), None));
}

#[test]
fn what_is_wrong_or_not_played_is_refused_and_changes_nothing() {
    let mut tables = tables();
    let mut check = |operation: &str, request: Value, expected: &str| {
        let reply = ask(&mut tables, operation, &request);
        let Some(Err(Refusal::Validation(message))) = &reply else {
            panic!("{operation} {request}: {reply:?}");
        };
        assert!(message.contains(expected), "{message}");
        let all = done(&mut tables, "Scan", &json!({ "TableName": "t" }));
        assert_eq!(all["Count"], 0);
    };
    let write = "BatchWriteItem";
    let one = item("a", "1", "x");
    check(write, puts(&[one.clone(), one.clone()]), "duplicates");
    check(
        write,
        puts(&[one.clone(), json!({ "PK": { "S": "a" } })]),
        "Missing the key SK",
    );
    let many: Vec<Value> = (0..26)
        .map(|number| item("a", &number.to_string(), "x"))
        .collect();
    check(write, puts(&many), "this one has 26");
    check(write, puts(&[]), "this one has 0");
    let mut mixed = puts(std::slice::from_ref(&one));
    mixed["RequestItems"]["other"] = mixed["RequestItems"]["t"].clone();
    check(write, mixed, "other is none of the plain ones");
    let mut unknown = puts(std::slice::from_ref(&one));
    unknown["Surprise"] = true.into();
    check(write, unknown, "not played by this stand-in: unknown field");
    let get = |keys: Value| json!({ "RequestItems": { "t": { "Keys": keys } } });
    check(
        "BatchGetItem",
        get(json!([key("a", "1"), key("a", "1")])),
        "duplicates",
    );
    check(
        "BatchGetItem",
        get(json!([one])),
        "does not match the schema",
    );
    for (operation, field, value) in [
        ("PutItem", "ConditionExpression", json!("size(PK) = :a")),
        ("PutItem", "ReturnValues", json!("ALL_OLD")),
        ("PutItem", "Expected", json!({})),
    ] {
        let mut request = json!({ "TableName": "t", "Item": one });
        request[field] = value;
        check(operation, request, "not played by this stand-in");
    }
    let name = json!({ "TableName": "t" });
    for operation in ["UpdateItem", "UpdateTable", "Surprise"] {
        check(operation, name.clone(), "not played by this stand-in");
    }
    let statement = json!({ "Statement": "SELECT * FROM \"t\"" });
    check("ExecuteStatement", statement, "not played by this stand-in");
    for (field, value, expected) in [
        (
            "FilterExpression",
            json!("a = :a"),
            "not played by this stand-in",
        ),
        ("Limit", json!(0), "greater than or equal to 1"),
        ("Segment", json!(1), "Segment and TotalSegments"),
    ] {
        let mut request = name.clone();
        request[field] = value;
        check("Scan", request, expected);
    }
    let elsewhere = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|pk| {
        let scan = json!({ "TableName": "t", "Segment": 0, "TotalSegments": 2, "ExclusiveStartKey": key(pk, "1") });
        ask(&mut tables, "Scan", &scan).is_some_and(|reply| reply.is_err())
    });
    assert!(elsewhere.contains(&true) && elsewhere.contains(&false));
}

#[test]
fn what_is_about_other_tables_is_not_ours() {
    let mut tables = tables();
    let mut other = puts(&[item("a", "1", "x")]);
    other["RequestItems"] = json!({ "u": other["RequestItems"]["t"] });
    for (operation, request) in [
        ("BatchWriteItem", other),
        ("BatchWriteItem", json!({ "RequestItems": 7 })),
        ("GetItem", json!({ "TableName": "u", "Key": key("a", "1") })),
        ("DescribeTable", json!({ "TableName": "t" })),
        ("ListTables", json!({})),
        ("", json!({ "TableName": "t" })),
        (
            "TransactWriteItems",
            json!({ "TransactItems": [{ "Put": { "TableName": "u" } }] }),
        ),
        ("ExecuteStatement", json!({ "Sql": "u" })),
    ] {
        assert_eq!(ask(&mut tables, operation, &request), None, "{operation}");
    }
}
