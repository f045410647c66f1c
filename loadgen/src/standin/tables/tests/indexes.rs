//! Indexes of plain tables, several on one.

use serde_json::{Value, json};

use super::super::{Refusal, Tables};
use super::{ask, create, done, item, key, names, pages};

/// A table with `ByDoor` (door, SK) and `ByArea` (area, PK), the second with that projection.
fn tables(projection: &str) -> Tables {
    let mut request = create("t");
    let area = json!({ "AttributeName": "area", "AttributeType": "S" });
    let definitions = request["AttributeDefinitions"].as_array_mut();
    definitions.expect("a list").push(area);
    let indexes = request["GlobalSecondaryIndexes"].as_array_mut();
    indexes.expect("a list").push(json!({
        "IndexName": "ByArea",
        "KeySchema": [
            { "AttributeName": "area", "KeyType": "HASH" },
            { "AttributeName": "PK", "KeyType": "RANGE" },
        ],
        "Projection": { "ProjectionType": projection },
    }));
    let mut tables = Tables::default();
    tables.created(&request.to_string());
    tables
}

fn put(item: &Value) -> Value {
    json!({ "TableName": "t", "Item": item })
}

/// An item with these of `door` and `area` that are not empty.
fn at(pk: &str, sk: &str, door: &str, area: &str) -> Value {
    let mut item = key(pk, sk);
    for (name, value) in [("door", door), ("area", area)] {
        if !value.is_empty() {
            item[name] = json!({ "S": value });
        }
    }
    item
}

fn query(index: &str, hash: &str, value: &str) -> Value {
    json!({
        "TableName": "t", "IndexName": index, "KeyConditionExpression": format!("{hash} = :v"),
        "ExpressionAttributeValues": { ":v": { "S": value } },
    })
}

/// What the query counts.
fn count(tables: &mut Tables, mut query: Value) -> Value {
    query["Select"] = "COUNT".into();
    let mut counted = done(tables, "Query", &query);
    assert_eq!(counted.get("Items"), None);
    counted["Count"].take()
}

#[test]
fn each_index_follows_an_item_that_moves_or_goes() {
    let mut tables = tables("ALL");
    // Door x, door y, area in, area out.
    let mut check = |operation: &str, request: &Value, expected: [&[&str]; 4]| {
        done(&mut tables, operation, request);
        let queries = [
            query("ByDoor", "door", "x"),
            query("ByDoor", "door", "y"),
            query("ByArea", "area", "in"),
            query("ByArea", "area", "out"),
        ];
        for (query, expected) in queries.into_iter().zip(expected) {
            let found = names(&done(&mut tables, "Query", &query));
            assert_eq!(found, expected, "{request} {query}");
            assert_eq!(count(&mut tables, query), expected.len());
        }
    };
    let put = |pk, door, area| put(&at(pk, "1", door, area));
    check("PutItem", &put("a", "x", ""), [&["a/1"], &[], &[], &[]]);
    check(
        "PutItem",
        &put("b", "x", "in"),
        [&["a/1", "b/1"], &[], &["b/1"], &[]],
    );
    check(
        "PutItem",
        &put("a", "y", "in"),
        [&["b/1"], &["a/1"], &["a/1", "b/1"], &[]],
    );
    check(
        "PutItem",
        &put("a", "y", "out"),
        [&["b/1"], &["a/1"], &["b/1"], &["a/1"]],
    );
    check(
        "PutItem",
        &put("b", "", "in"),
        [&[], &["a/1"], &["b/1"], &["a/1"]],
    );
    check("PutItem", &put("b", "", ""), [&[], &["a/1"], &[], &["a/1"]]);
    let delete = json!({ "TableName": "t", "Key": key("a", "1") });
    check("DeleteItem", &delete, [&[], &[], &[], &[]]);
}

#[test]
fn pages_of_an_index_by_the_partition_key_give_each_item_once_from_either_end() {
    let mut tables = tables("ALL");
    // Two items of one partition stand at the same sort key of the index.
    for (pk, sk) in [("b", "1"), ("a", "2"), ("a", "1"), ("c", "0"), ("d", "1")] {
        done(&mut tables, "PutItem", &put(&at(pk, sk, "x", "in")));
    }
    done(&mut tables, "PutItem", &put(&at("b", "2", "x", "")));
    let mut check = |range: &str, expected: &[&str]| {
        let mut query = query("ByArea", "area", "in");
        query["KeyConditionExpression"] = format!("area = :v{range}").into();
        query["ExpressionAttributeValues"][":b"] = json!({ "S": "b" });
        for limit in [1, 2, 100] {
            for forward in [true, false] {
                query["ScanIndexForward"] = forward.into();
                let (mut found, _) = pages(&mut tables, "Query", query.clone(), limit);
                if !forward {
                    found.reverse();
                }
                assert_eq!(found, expected, "{range} by {limit}, forward: {forward}");
            }
        }
    };
    check("", &["a/1", "a/2", "b/1", "c/0", "d/1"]);
    check(" AND PK > :b", &["c/0", "d/1"]);
    check(" AND PK <= :b", &["a/1", "a/2", "b/1"]);
}

#[test]
fn a_page_of_an_index_ends_with_its_keys_and_starts_from_them_alone() {
    let mut tables = tables("ALL");
    for pk in ["a", "b"] {
        done(&mut tables, "PutItem", &put(&at(pk, "1", "x", "in")));
    }
    for (index, hash, value, last) in [
        ("ByArea", "area", "in", at("a", "1", "", "in")),
        ("ByDoor", "door", "x", at("a", "1", "x", "")),
    ] {
        let mut query = query(index, hash, value);
        query["Limit"] = 1.into();
        for select in ["ALL_PROJECTED_ATTRIBUTES", "COUNT"] {
            query["Select"] = select.into();
            let page = done(&mut tables, "Query", &query);
            assert_eq!(page["LastEvaluatedKey"], last);
        }
        for wrong in [key("a", "1"), at("a", "1", "x", "in")] {
            query["ExclusiveStartKey"] = wrong;
            let reply = ask(&mut tables, "Query", &query);
            assert!(
                matches!(reply, Some(Err(Refusal::Validation(_)))),
                "{query}"
            );
        }
        query["ExclusiveStartKey"] = last;
        let rest = done(&mut tables, "Query", &query);
        assert_eq!(rest["Count"], 1);
    }
}

#[test]
fn an_index_gives_what_it_holds() {
    let mut whole = item("a", "1", "x");
    whole["area"] = json!({ "S": "in" });
    for (projection, held) in [
        ("ALL", whole.clone()),
        ("KEYS_ONLY", at("a", "1", "", "in")),
    ] {
        let mut tables = tables(projection);
        done(&mut tables, "PutItem", &put(&whole));
        let found = done(&mut tables, "Query", &query("ByArea", "area", "in"));
        assert_eq!(found["Items"], json!([held]));
        let found = done(&mut tables, "Query", &query("ByDoor", "door", "x"));
        assert_eq!(found["Items"], json!([whole]));
        let mut all = query("ByArea", "area", "in");
        all["Select"] = "ALL_ATTRIBUTES".into();
        let reply = ask(&mut tables, "Query", &all).expect("it is ours");
        assert_eq!(reply.is_ok(), projection == "ALL");
    }
}

#[test]
fn what_no_index_has_is_refused() {
    let mut tables = tables("ALL");
    let mut check = |operation: &str, request: Value, expected: &str| {
        let reply = ask(&mut tables, operation, &request);
        let Some(Err(Refusal::Validation(message))) = &reply else {
            panic!("{request}: {reply:?}");
        };
        assert!(message.contains(expected), "{message}");
    };
    check(
        "Query",
        query("ByCard", "area", "in"),
        "specified index: ByCard",
    );
    check("Query", query("ByArea", "door", "x"), "not played");
    let mut consistent = query("ByArea", "area", "in");
    consistent["ConsistentRead"] = true.into();
    check("Query", consistent, "Consistent reads");
    let mut empty = key("a", "1");
    empty["area"] = json!({ "S": "" });
    check("PutItem", put(&empty), "empty string value. Key: area");
    empty["area"] = json!({ "N": "1" });
    check("PutItem", put(&empty), "not as expected");
}
