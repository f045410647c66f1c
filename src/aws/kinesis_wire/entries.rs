//! What PutRecords sends: entries of a payload in base64 and its keys, written straight from the events into one buffer.

use base64_simd::STANDARD;
use serde_json::to_writer;

use crate::model::decision::Event;

const DATA: &str = r#"{"Data":""#;
const KEY: &str = r#"","PartitionKey":"#;
const HASH: &str = r#","ExplicitHashKey":""#;

/// Digits of the largest hash key, 2^128 − 1.
const HASH_DIGITS: usize = 39;

/// The body of a call that puts `events` on `stream`.
pub(in crate::aws) fn body(stream: &str, events: &[Event<'_>]) -> Vec<u8> {
    let mut body = Vec::with_capacity(size(stream, events));
    body.extend_from_slice(br#"{"Records":["#);
    let mut digits = itoa::Buffer::new();
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(DATA.as_bytes());
        STANDARD.encode_append(event.data, &mut body);
        body.extend_from_slice(KEY.as_bytes());
        text(event.key, &mut body);
        if let Some(hash) = event.hash {
            body.extend_from_slice(HASH.as_bytes());
            body.extend_from_slice(digits.format(hash).as_bytes());
            body.push(b'"');
        }
        body.push(b'}');
    }
    body.extend_from_slice(br#"],"StreamName":"#);
    text(stream, &mut body);
    body.push(b'}');
    body
}

/// As long as the body can be.
fn size(stream: &str, events: &[Event<'_>]) -> usize {
    let entry = |event: &Event<'_>| {
        let hash = event.hash.map_or(0, |_| HASH.len() + HASH_DIGITS + 1);
        let data = event.data.len().div_ceil(3) * 4;
        // The comma and the brace are the two.
        DATA.len() + data + KEY.len() + quoted(event.key) + hash + 2
    };
    let entries: usize = events.iter().map(entry).sum();
    r#"{"Records":[],"StreamName":}"#.len() + quoted(stream) + entries
}

/// As long as `word` can be between quotes.
fn quoted(word: &str) -> usize {
    let longest = |byte: u8| if is_plain(byte) { 1 } else { r"\u0000".len() };
    2 + word.bytes().map(longest).sum::<usize>()
}

const fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

fn text(word: &str, body: &mut Vec<u8>) {
    if word.bytes().all(is_plain) {
        body.push(b'"');
        body.extend_from_slice(word.as_bytes());
        body.push(b'"');
    } else {
        to_writer(body, word).expect("a string into memory");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_body_is_as_the_service_documents_it() {
        let events = [
            Event {
                key: "gate-1",
                data: b"{\"v\":1}",
                hash: None,
            },
            Event {
                key: "a\"b",
                data: b"",
                hash: Some(u128::MAX),
            },
        ];
        let written = body("decisions", &events);
        let golden = r#"{"Records":[{"Data":"eyJ2IjoxfQ==","PartitionKey":"gate-1"},{"Data":"","PartitionKey":"a\"b","ExplicitHashKey":"340282366920938463463374607431768211455"}],"StreamName":"decisions"}"#;
        assert_eq!(String::from_utf8(written).expect("text"), golden);
    }

    proptest! {
        #[test]
        fn whatever_is_put_is_what_is_parsed_back_and_the_buffer_never_grows(
            stream in ".{0,20}",
            events in proptest::collection::vec(
                (".{0,40}", proptest::collection::vec(any::<u8>(), 0..100), proptest::option::of(any::<u128>())),
                0..20,
            ),
        ) {
            let borrowed: Vec<_> = events
                .iter()
                .map(|(key, data, hash)| Event { key, data, hash: *hash })
                .collect();
            let written = body(&stream, &borrowed);
            prop_assert!(written.len() <= size(&stream, &borrowed));
            let parsed: Value = serde_json::from_slice(&written).expect("json");
            let entries = events.iter().map(|(key, data, hash)| {
                let mut entry = json!({"Data": STANDARD.encode_to_string(data), "PartitionKey": key});
                if let Some(hash) = hash {
                    entry["ExplicitHashKey"] = json!(hash.to_string());
                }
                entry
            });
            let entries: Vec<_> = entries.collect();
            prop_assert_eq!(parsed, json!({"Records": entries, "StreamName": stream}));
        }
    }
}
