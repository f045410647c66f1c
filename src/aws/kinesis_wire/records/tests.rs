//! Pages as the service documents them, as it might write them, and as nobody should.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[track_caller]
fn page(body: &str) -> Page {
    read(body.as_bytes()).expect("a page")
}

fn plain(page: &Page) -> Vec<(String, Vec<u8>)> {
    let records = page.records.iter();
    records
        .map(|record| (record.sequence.to_string(), record.data.to_vec()))
        .collect()
}

#[test]
fn a_page_is_its_records_how_far_it_is_behind_and_where_to_go_on() {
    let page = page(
        r#"{"Records":[{"SequenceNumber":"49680427550845405794076313658409477259353495647127863298","ApproximateArrivalTimestamp":1.772438321123E9,
        "Data":"eyJ2IjoxfQ==","PartitionKey":"card \u00e9 \"1\"","EncryptionType":"KMS"},
        {"PartitionKey":"","Data":"","SequenceNumber":"0050"}],"MillisBehindLatest":1500,"NextShardIterator":"AAAA\/b+\u003d"}"#,
    );
    let number = "49680427550845405794076313658409477259353495647127863298".to_owned();
    let expected = [
        (number, b"{\"v\":1}".to_vec()),
        ("50".to_owned(), Vec::new()),
    ];
    assert_eq!(plain(&page), expected);
    assert_eq!(page.behind_latest_ms, 1500);
    let next = ShardIterator("AAAA/b+=".to_owned());
    assert_eq!(page.next, Next::Iterator(next));
}

#[test]
fn the_last_page_of_a_shard_names_its_children() {
    let last = page(
        r#"{"ChildShards":[{"ShardId":"b","ParentShards":["a","z"],"HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}],
        "NextShardIterator":null,"Records":[]}"#,
    );
    let child = ChildShard {
        id: ShardId::new("b"),
        parents: vec![ShardId::new("a"), ShardId::new("z")],
        hash_range: ("0".to_owned(), "9".to_owned()),
    };
    assert_eq!(last.next, Next::ShardEnd(vec![child]));
    assert_eq!(last.behind_latest_ms, 0);
}

#[test]
fn what_is_no_page_is_refused() {
    let record = |record: &str| format!(r#"{{"Records":[{record}]}}"#);
    for body in [
        "",
        "{}",
        "null",
        "<html>",
        r#"{"Records":{}}"#,
        r#"{"Records":[]"#,
        r#"{"Records":[]} x"#,
        r#"{"Records":[],"Records":[]}"#,
        r#"{"Records":[],"MillisBehindLatest":"x"}"#,
        r#"{"Records":[],"NextShardIterator":7}"#,
        // An end that no shard continues is none.
        r#"{"Records":[]}"#,
        r#"{"Records":[],"NextShardIterator":null,"ChildShards":[]}"#,
        r#"{"Records":[],"ChildShards":null,"MillisBehindLatest":null}"#,
        &record("7"),
        &record("{}"),
        &record(r#"{"Data":"","SequenceNumber":""}"#),
        &record(r#"{"Data":"","SequenceNumber":"x"}"#),
        &record(r#"{"Data":"","SequenceNumber":7}"#),
        &record(r#"{"Data":"eyJ2IjoxfQ=","SequenceNumber":"7"}"#),
        &record(r#"{"Data":"e!==","SequenceNumber":"7"}"#),
        &record(r#"{"Data":null,"SequenceNumber":"7"}"#),
        &record(r#"{"Data":[1],"SequenceNumber":"7"}"#),
        &record(r#"{"SequenceNumber":"7"}"#),
        &record(r#"{"Data":""}"#),
    ] {
        assert!(read(body.as_bytes()).is_err(), "{body}");
    }
}

/// One object of `fields` in some order, with some space, and with letters of strings written as escapes here and there.
fn written(mut fields: Vec<(String, Value)>, order: u64, space: &str, escape: usize) -> String {
    let places = fields.len();
    fields.rotate_left(order as usize % places);
    if order.is_multiple_of(3) {
        fields.reverse();
    }
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Value::String(text) => escaped(text, escape),
                Value::Array(list) if list.iter().all(Value::is_string) && !list.is_empty() => {
                    // Objects that are written already.
                    let list: Vec<_> = list.iter().filter_map(Value::as_str).collect();
                    format!("[{space}{}{space}]", list.join(&format!("{space},{space}")))
                }
                value => value.to_string(),
            };
            let name = escaped(name, escape);
            format!("{space}{name}{space}:{space}{value}{space}")
        })
        .collect();
    format!("{space}{{{}}}{space}", fields.join(","))
}

fn escaped(text: &str, every: usize) -> String {
    let mut out = "\"".to_owned();
    for (index, letter) in text.chars().enumerate() {
        let plain = serde_json::to_string(&letter.to_string()).expect("a string");
        if (index + 1) % every == 0 {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push_str(&plain[1..plain.len() - 1]);
        }
    }
    out.push('"');
    out
}

proptest! {
    #[test]
    fn however_a_page_is_written_what_is_read_is_what_serde_json_reads(
        records in proptest::collection::vec(
            ("[1-9][0-9]{0,70}", proptest::collection::vec(any::<u8>(), 0..80), "[ -~é𝄞]{0,12}", any::<u64>()),
            0..12,
        ),
        behind in 0_i64..1_000_000,
        next in proptest::option::of("[A-Za-z0-9+/=]{1,40}"),
        order in any::<u64>(),
        space in "[ \n\t\r]{0,3}",
        escape in 1_usize..60,
    ) {
        let bodies = records.iter().map(|(sequence, data, key, order)| {
            let fields = vec![
                ("SequenceNumber".to_owned(), json!(sequence)),
                ("Data".to_owned(), json!(STANDARD.encode_to_string(data))),
                ("PartitionKey".to_owned(), json!(format!("k{key}"))),
                ("New".to_owned(), json!({"Data": [1.5e300, null, {"SequenceNumber": "}]"}]})),
            ];
            Value::String(written(fields, *order, &space, escape))
        });
        let fields = vec![
            ("Records".to_owned(), Value::Array(bodies.collect())),
            ("MillisBehindLatest".to_owned(), json!(behind)),
            ("NextShardIterator".to_owned(), json!(next)),
            ("ChildShards".to_owned(), json!([{"ShardId": "b", "New": [1]}])),
            ("New".to_owned(), json!({"Records": 7})),
        ];
        let body = written(fields, order, &space, escape);
        // The page as it was made is what serde_json makes of the body, and so does the reader.
        let value: Value = serde_json::from_str(&body).expect("json");
        let read = read(body.as_bytes()).expect("a page");
        prop_assert_eq!(value["MillisBehindLatest"].as_i64(), Some(read.behind_latest_ms));
        match &read.next {
            Next::Iterator(iterator) => prop_assert_eq!(value["NextShardIterator"].as_str(), Some(&*iterator.0)),
            end => {
                let child = ChildShard {
                    id: ShardId::new("b"),
                    parents: Vec::new(),
                    hash_range: Default::default(),
                };
                prop_assert_eq!(end, &Next::ShardEnd(vec![child]));
                prop_assert!(value["NextShardIterator"].is_null());
            }
        }
        let listed = value["Records"].as_array().expect("a list").iter().map(|record| {
            let sequence = record["SequenceNumber"].as_str().expect("digits").to_owned();
            let data = record["Data"].as_str().expect("base64");
            (sequence, STANDARD.decode_to_vec(data).expect("base64"))
        });
        prop_assert_eq!(plain(&read), listed.collect::<Vec<_>>());
        let made: Vec<_> = records.into_iter().map(|(sequence, data, ..)| (sequence, data)).collect();
        prop_assert_eq!(plain(&read), made);
    }

    #[test]
    fn no_damage_to_a_page_is_a_panic(at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut body = br#"{"Records":[{"SequenceNumber":"50","Data":"eyJ2IjoxfQ=="}],"MillisBehindLatest":15,"NextShardIterator":"AAA"}"#.to_vec();
        let at = at.index(body.len());
        if cut {
            body.truncate(at);
            prop_assert!(read(&body).is_err());
        } else {
            body[at] = byte;
            read(&body).ok();
        }
    }
}
