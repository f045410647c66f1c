//! What came back: decisions and rejects as the streams show them.

use std::borrow::Cow;

use aws_sdk_kinesis::types::Record;
use serde::Deserialize;

use crate::{
    aggregate,
    answer::Reason,
    ledger::{Place, Seen},
    traffic,
};

/// A decision event, as far as it is checked.
#[derive(Deserialize)]
#[allow(missing_docs)] // the contract explains each field
pub struct Event<'a> {
    #[serde(borrow)]
    pub decision_id: Cow<'a, str>,
    #[serde(borrow)]
    pub decision: Cow<'a, str>,
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    pub rule: u64,
    #[serde(borrow)]
    pub device_id: Cow<'a, str>,
    pub device_seq: u64,
    #[serde(borrow)]
    pub access_point: Cow<'a, str>,
    #[serde(borrow)]
    pub card_id: Cow<'a, str>,
    pub swiped_at_ms: i64,
    pub decided_at_ms: i64,
    #[serde(borrow, default)]
    pub source: Option<Origin<'a>>,
}

/// Where the swipe of a decision was read.
#[derive(Deserialize)]
pub struct Origin<'a> {
    #[serde(borrow)]
    shard: Cow<'a, str>,
}

impl Origin<'_> {
    /// The number of the shard: 3 of `shardId-000000000003`.
    fn number(&self) -> Option<u32> {
        self.shard.rsplit_once('-')?.1.parse().ok()
    }
}

#[derive(Deserialize)]
struct DeadLetter {
    error: String,
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    shard: String,
    sequence: String,
    #[serde(default)]
    sub: u64,
}

/// The decisions of a page, and how many records were none.
pub fn decisions(records: &[Record]) -> (Vec<Seen>, u64) {
    let (mut seen, mut unreadable) = (Vec::with_capacity(records.len()), 0);
    for record in records {
        let data = record.data.as_ref();
        for payload in aggregate::open(data).unwrap_or_else(|| vec![data]) {
            match serde_json::from_slice::<Event<'_>>(payload) {
                Ok(event) => seen.push(look(&event)),
                Err(_) => unreadable += 1,
            }
        }
    }
    (seen, unreadable)
}

/// The rejects of a page, and how many records were none.
pub fn rejects(records: &[Record]) -> (Vec<(Place, String)>, u64) {
    let (mut seen, mut unreadable) = (Vec::new(), 0);
    for record in records {
        match serde_json::from_slice::<DeadLetter>(record.data.as_ref()) {
            Ok(DeadLetter { error, source }) => {
                seen.push(((source.shard, source.sequence, source.sub), error))
            }
            Err(_) => unreadable += 1,
        }
    }
    (seen, unreadable)
}

/// What the ledger needs of an event; its reason only when decision, rule and id are those of the contract.
pub fn look(event: &Event<'_>) -> Seen {
    let id = event
        .decision_id
        .strip_suffix(&format!("#{}", event.device_seq));
    let reason = Reason::parse(&event.reason)
        .filter(|reason| reason.decision() == event.decision && reason.rule() == event.rule)
        .filter(|_| id == Some(&*event.device_id));
    Seen {
        seq: event.device_seq,
        fingerprint: traffic::fingerprint(
            &event.device_id,
            &event.access_point,
            &event.card_id,
            event.swiped_at_ms,
        ),
        reason,
        decided_at_ms: event.decided_at_ms,
        shard: event.source.as_ref().and_then(Origin::number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_kinesis::primitives::Blob;

    const EVENT: &str = r#"{"v":1,"decision_id":"gate-hq-17#918273","decision":"deny","reason":"CredentialExpired","rule":15,
        "device_id":"gate-hq-17","device_seq":918273,"access_point":"hq-lobby-in-3","card_id":"100000000189","direction":"in",
        "swiped_at_ms":1772438321123,"decided_at_ms":1772438321160,"actuate":true,"flags":[],
        "source":{"shard":"shardId-000000000003","sequence":"4965","sub":0},"trace_id":"1-67a"}"#;

    fn record(data: &[u8]) -> Record {
        Record::builder()
            .sequence_number("1")
            .partition_key("k")
            .data(Blob::new(data))
            .build()
            .expect("complete")
    }

    #[track_caller]
    fn check(event: &str, reason: Option<Reason>) {
        let (seen, unreadable) = decisions(&[record(event.as_bytes())]);
        assert_eq!((seen.len(), unreadable), (1, 0));
        assert_eq!(seen[0].reason, reason);
        assert_eq!(
            (seen[0].seq, seen[0].decided_at_ms),
            (918_273, 1_772_438_321_160)
        );
        assert_eq!(seen[0].shard, Some(3));
    }

    #[test]
    fn a_decision_counts_only_when_its_reason_rule_outcome_and_id_agree() {
        check(EVENT, Some(Reason::CredentialExpired));
        check(&EVENT.replace("\"rule\":15", "\"rule\":14"), None);
        check(&EVENT.replace("\"deny\"", "\"grant\""), None);
        check(&EVENT.replace("CredentialExpired", "Expired"), None);
        check(&EVENT.replace("gate-hq-17#", "gate-hq-18#"), None);
    }

    #[test]
    fn decisions_are_found_in_aggregates_too_and_anything_else_is_counted() {
        let packed = aggregate::pack([("a", EVENT.as_bytes()), ("b", EVENT.as_bytes())]);
        let (seen, unreadable) = decisions(&[record(&packed), record(b"hello")]);
        assert_eq!((seen.len(), unreadable), (2, 1));
    }

    #[test]
    fn a_dead_letter_tells_its_error_and_its_place() {
        let letter = br#"{"v":1,"error":"MissingField","detail":"device_seq","source":{"shard":"s","sequence":"49","sub":2},"data_base64":""}"#;
        let (seen, unreadable) = rejects(&[record(letter), record(b"{}")]);
        assert_eq!(
            seen,
            [(
                ("s".to_owned(), "49".to_owned(), 2),
                "MissingField".to_owned()
            )]
        );
        assert_eq!(unreadable, 1);
    }
}
