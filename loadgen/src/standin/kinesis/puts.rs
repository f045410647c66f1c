//! PutRecords and PutRecord. Records are borrowed from the request, and payloads stay base64.

use std::{borrow::Cow, fmt::Write as _};

use serde::Deserialize;

use super::{
    faults::Fault,
    operations::Reply,
    refusal::{Refusal, RefusalKind},
    requests::{Target, parse},
    store::Store,
    stream::{Entry, Outcome, hash_key},
};

/// Most entries of a PutRecords (API reference).
pub const MAX_ENTRIES: usize = 500;
/// Most bytes of a PutRecords, payloads and partition keys (API reference: 10 MiB).
pub const MAX_REQUEST_BYTES: u64 = 10 << 20;
const MAX_KEY_CHARS: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecords<'a> {
    #[serde(borrow)]
    records: Vec<RawEntry<'a>>,
    // Not flattened: serde would buffer what it does not know.
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawEntry<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    /// Empty when there is none, which only a stream that spreads its records by itself allows.
    #[serde(borrow, default)]
    partition_key: Cow<'a, str>,
    explicit_hash_key: Option<String>,
}

/// Answers PutRecords.
///
/// # Errors
/// Those of [`Store::put`], and `Serialization`, `Validation`, `InvalidArgument` for the request.
pub fn put_records(
    store: &Store,
    body: &[u8],
    fault: Option<&Fault>,
    now_ms: u64,
) -> Result<Reply, Refusal> {
    let request: PutRecords<'_> = parse(body)?;
    if request.records.is_empty() || request.records.len() > MAX_ENTRIES {
        return Err(Refusal::validation(format!(
            "1 validation error detected: Value at 'records' failed to satisfy constraint: Member must have length from 1 to \
             {MAX_ENTRIES}"
        )));
    }
    let entries: Vec<Entry<'_>> = request
        .records
        .iter()
        .map(entry)
        .collect::<Result<_, _>>()?;
    if entries
        .iter()
        .map(|entry| u64::from(entry.size))
        .sum::<u64>()
        > MAX_REQUEST_BYTES
    {
        return Err(Refusal::invalid("Records size exceeds 10 MB limit"));
    }
    let target = Target {
        name: request.stream_name,
        arn: request.stream_arn,
    };
    let name = target.stream()?;
    let refuses = |at: usize, shard: u32| match fault? {
        Fault::FailEntries { every } if at.is_multiple_of((*every).max(1)) => Some(Outcome::Failed),
        Fault::ThrottleEntries { every } if at.is_multiple_of((*every).max(1)) => {
            Some(Outcome::Throttled(shard))
        }
        _ => None,
    };
    let outcomes = store.put(name, &entries, refuses, now_ms)?;
    Ok(Reply::one(put_answer(name, &outcomes)))
}

/// Answers PutRecord.
///
/// # Errors
/// As [`put_records`], and `ProvisionedThroughputExceeded`, `InternalFailure`.
pub fn put_record(store: &Store, body: &[u8], now_ms: u64) -> Result<Reply, Refusal> {
    let request: RawEntry<'_> = parse(body)?;
    let target: Target = parse(body)?;
    let name = target.stream()?;
    match store
        .put(name, &[entry(&request)?], |_, _| None, now_ms)?
        .first()
    {
        Some(Outcome::Stored(shard, sequence)) => Ok(Reply::one(format!(
            r#"{{"ShardId":"shardId-{shard:012}","SequenceNumber":"{}","EncryptionType":"NONE"}}"#,
            sequence.as_str()
        ))),
        Some(Outcome::Throttled(shard)) => Err(Refusal::new(
            RefusalKind::ProvisionedThroughputExceeded,
            store.with(name, |stream| Ok(stream.rate_exceeded(*shard)))?,
        )),
        _ => Err(Refusal::new(
            RefusalKind::InternalFailure,
            "Internal service failure.",
        )),
    }
}

fn entry<'a>(raw: &'a RawEntry<'a>) -> Result<Entry<'a>, Refusal> {
    let key = raw.partition_key.as_ref();
    if key.len() > MAX_KEY_CHARS && key.chars().count() > MAX_KEY_CHARS {
        return Err(Refusal::validation(format!(
            "Value at 'partitionKey' failed to satisfy constraint: Member must have length from 1 to {MAX_KEY_CHARS}"
        )));
    }
    let payload = decoded_len(&raw.data).ok_or_else(|| {
        Refusal::new(
            RefusalKind::Serialization,
            "Data is not base64 with padding.",
        )
    })?;
    let hash = match &raw.explicit_hash_key {
        None => hash_key(key),
        Some(text) => parse_hash(text)?,
    };
    Ok(Entry {
        data: &raw.data,
        key,
        hash,
        size: u32::try_from(payload + key.len()).unwrap_or(u32::MAX),
    })
}

/// The 128-bit number that a decimal hash key spells.
///
/// # Errors
/// `InvalidArgument` when it spells none.
pub fn parse_hash(text: &str) -> Result<u128, Refusal> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { text.parse().ok() } else { None };
    number.ok_or_else(|| {
        Refusal::invalid(format!(
            "Invalid hash key {text}: it must be a decimal number below 2^128."
        ))
    })
}

/// How many bytes `text` decodes to, or nothing when it is no base64 with padding. This is all the decoding there is:
/// the text is handed out as it came.
pub fn decoded_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let padding = bytes
        .iter()
        .rev()
        .take(2)
        .take_while(|byte| **byte == b'=')
        .count();
    let is_alphabet = bytes[..bytes.len() - padding]
        .iter()
        .all(|byte| ALPHABET[usize::from(*byte)]);
    (bytes.len().is_multiple_of(4) && is_alphabet).then(|| bytes.len() / 4 * 3 - padding)
}

const ALPHABET: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] =
            (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'+' || byte as u8 == b'/';
        byte += 1;
    }
    table
};

fn put_answer(name: &str, outcomes: &[Outcome]) -> String {
    let failed = outcomes
        .iter()
        .filter(|outcome| !matches!(outcome, Outcome::Stored(..)))
        .count();
    let mut json = String::with_capacity(64 + outcomes.len() * 128);
    // Writing to a string does not fail.
    write!(
        json,
        r#"{{"FailedRecordCount":{failed},"EncryptionType":"NONE","Records":["#
    )
    .ok();
    for (at, outcome) in outcomes.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        match outcome {
            Outcome::Stored(shard, sequence) => {
                json.push_str(r#"{"SequenceNumber":""#);
                json.push_str(sequence.as_str());
                write!(json, r#"","ShardId":"shardId-{shard:012}"}}"#).ok();
            }
            Outcome::Throttled(shard) => {
                write!(
                    json,
                    r#"{{"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"Rate exceeded for shard shardId-{shard:012} in stream {name} under account {}."}}"#,
                    super::stream::ACCOUNT
                )
                .ok();
            }
            Outcome::Failed => json.push_str(
                r#"{"ErrorCode":"InternalFailure","ErrorMessage":"Internal service failure."}"#,
            ),
        }
    }
    json.push_str("]}");
    json
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    #[test]
    fn the_decoded_length_is_known_without_decoding() {
        for length in 0..50 {
            assert_eq!(
                decoded_len(&STANDARD.encode(vec![251; length])),
                Some(length)
            );
        }
        for text in ["a", "abc", "ab=c", "a===", "====", "ab\"=", "ab-_", "ab c"] {
            assert_eq!(decoded_len(text), None, "{text}");
        }
    }

    #[test]
    fn a_hash_key_is_a_decimal_number_below_2_to_the_128() {
        assert_eq!(parse_hash("0"), Ok(0));
        assert_eq!(parse_hash(&u128::MAX.to_string()), Ok(u128::MAX));
        for text in [
            "",
            "-1",
            "+1",
            "x",
            "340282366920938463463374607431768211456",
        ] {
            assert!(parse_hash(text).is_err(), "{text}");
        }
    }
}
