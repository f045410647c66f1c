//! Decisions and rejects to the bytes of the contract, appended to one buffer a page.
//!
//! Written by hand because every field's shape is known: ids have an alphabet that JSON never escapes, so only the
//! trace id is looked at. The golden tests below and a property test against serde_json hold it to valid JSON.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    model::{
        decision::{Decision, Reason, Source},
        standards,
    },
    pipeline::{batch::Outbox, decode::Reject, judge::Judged},
};

/// Bytes of a rejected record that its dead letter carries: with base64 and the other fields below the 1 MiB that a
/// Kinesis record has by default. Of a larger record the dead letter holds the beginning and says so; the rest stays
/// in the swipe stream at the position given, for as long as that is kept.
pub const DEAD_LETTER_DATA_MAX: usize = 720 * 1024;

/// Puts what was judged in place of what `events` and `letters` hold: decisions by their device, rejects by their sequence
/// number.
/// With `standards`, a decision also carries what ONVIF and BACnet call its reason.
pub fn outboxes(judged: &Judged<'_>, standards: bool, events: &mut Outbox, letters: &mut Outbox) {
    events.clear();
    letters.clear();
    for decision in &judged.decisions {
        events.push(&decision.swipe.device_id, |out| {
            event(out, decision, standards)
        });
    }
    for rejected in &judged.rejects {
        letters.push(rejected.source.sequence, |out| {
            dead_letter(out, &rejected.reject, &rejected.source, rejected.data);
        });
    }
}

/// Appends the decision event; with `standards`, also what ONVIF and BACnet call its reason.
pub fn event(out: &mut Vec<u8>, decision: &Decision<'_>, standards: bool) {
    let Decision {
        swipe,
        answer,
        direction,
        actuate,
        source,
        repeat: _,
    } = decision;
    let verdict = &answer.verdict;
    let (device, seq) = (swipe.device_id.as_bytes(), swipe.device_seq);
    out.extend_from_slice(b"{\"v\":1,\"decision_id\":\"");
    out.extend_from_slice(device);
    out.push(b'#');
    integer(out, seq);
    field(
        out,
        b"\",\"decision\":\"",
        verdict.reason.outcome().as_str().as_bytes(),
    );
    field(out, b"\",\"reason\":\"", verdict.reason.as_str().as_bytes());
    out.extend_from_slice(b"\",\"rule\":");
    integer(out, verdict.reason.rule());
    field(out, b",\"device_id\":\"", device);
    out.extend_from_slice(b"\",\"device_seq\":");
    integer(out, seq);
    field(out, b",\"access_point\":\"", swipe.access_point.as_bytes());
    field(out, b"\",\"card_id\":\"", swipe.card_id.as_bytes());
    if let Some(direction) = direction {
        field(out, b"\",\"direction\":\"", direction.as_str().as_bytes());
    }
    out.extend_from_slice(b"\",\"swiped_at_ms\":");
    integer(out, swipe.swiped_at_ms);
    out.extend_from_slice(b",\"decided_at_ms\":");
    integer(out, answer.decided_at_ms);
    field(
        out,
        b",\"actuate\":",
        if *actuate { b"true" } else { b"false" },
    );
    out.extend_from_slice(b",\"flags\":[");
    for (index, flag) in verdict.flags().enumerate() {
        field(
            out,
            if index == 0 { b"\"" } else { b",\"" },
            flag.as_bytes(),
        );
        out.push(b'"');
    }
    out.push(b']');
    position(out, source);
    if standards {
        words(out, verdict.reason);
    }
    if let Some(trace_id) = &swipe.trace_id {
        out.extend_from_slice(b",\"trace_id\":");
        string(out, trace_id);
    }
    out.push(b'}');
}

fn words(out: &mut Vec<u8>, reason: Reason) {
    let words = standards::standards(reason);
    field(out, b",\"onvif_topic\":\"", words.onvif_topic.as_bytes());
    if let Some(reason) = words.onvif_reason {
        field(out, b"\",\"onvif_reason\":\"", reason.as_bytes());
    }
    field(
        out,
        b"\",\"bacnet_event\":\"",
        words.bacnet_event.as_bytes(),
    );
    out.extend_from_slice(b"\",\"bacnet_number\":");
    integer(out, words.bacnet_number);
}

/// Appends the dead letter of a rejected record.
pub fn dead_letter(out: &mut Vec<u8>, reject: &Reject, source: &Source<'_>, data: &[u8]) {
    field(
        out,
        b"{\"v\":1,\"error\":\"",
        reject.kind.as_str().as_bytes(),
    );
    out.extend_from_slice(b"\",\"detail\":");
    string(out, &reject.detail);
    position(out, source);
    let kept = &data[..data.len().min(DEAD_LETTER_DATA_MAX)];
    if kept.len() < data.len() {
        out.extend_from_slice(b",\"truncated\":true");
    }
    out.extend_from_slice(b",\"data_bytes\":");
    integer(out, data.len());
    out.extend_from_slice(b",\"data_base64\":\"");
    let start = out.len();
    out.resize(start + kept.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(kept, &mut out[start..]).unwrap_or(0);
    debug_assert_eq!(
        start + written,
        out.len(),
        "base64 has four characters for every three bytes begun"
    );
    out.extend_from_slice(b"\"}");
}

fn field(out: &mut Vec<u8>, before: &[u8], value: &[u8]) {
    out.extend_from_slice(before);
    out.extend_from_slice(value);
}

fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn position(out: &mut Vec<u8>, source: &Source<'_>) {
    field(out, b",\"source\":{\"shard\":\"", source.shard.as_bytes());
    field(out, b"\",\"sequence\":\"", source.sequence.as_bytes());
    out.extend_from_slice(b"\",\"sub\":");
    integer(out, source.sub);
    out.push(b'}');
}

/// A JSON string of any text.
fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        decision::{Answer, Reason, Verdict},
        reject::RejectKind,
        swipe::{Direction, Swipe},
    };
    use std::borrow::Cow;

    const SOURCE: Source<'static> = Source {
        shard: "shardId-000000000003",
        sequence: "4965",
        sub: 0,
    };

    fn denied() -> Decision<'static> {
        Decision {
            swipe: Swipe {
                device_id: "gate-hq-17".into(),
                device_seq: 918_273,
                access_point: "hq-lobby-in-3".into(),
                card_id: "100000000189".into(),
                swiped_at_ms: 1_772_438_321_123,
                direction: Some(Direction::In),
                offline: false,
                trace_id: Some("1-67a".into()),
            },
            answer: Answer {
                verdict: Verdict::of(Reason::CredentialExpired),
                decided_at_ms: 1_772_438_321_160,
            },
            direction: Some(Direction::In),
            actuate: true,
            repeat: false,
            source: SOURCE,
        }
    }

    fn text(decision: &Decision<'_>) -> String {
        let mut out = Vec::new();
        event(&mut out, decision, false);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn the_contracts_decision_is_written_byte_for_byte() {
        assert_eq!(
            text(&denied()),
            concat!(
                r#"{"v":1,"decision_id":"gate-hq-17#918273","decision":"deny","reason":"CredentialExpired","rule":15,"#,
                r#""device_id":"gate-hq-17","device_seq":918273,"access_point":"hq-lobby-in-3","#,
                r#""card_id":"100000000189","direction":"in","swiped_at_ms":1772438321123,"#,
                r#""decided_at_ms":1772438321160,"actuate":true,"flags":[],"#,
                r#""source":{"shard":"shardId-000000000003","sequence":"4965","sub":0},"trace_id":"1-67a"}"#
            )
        );
    }

    #[test]
    fn the_words_of_the_standards_stand_behind_the_source_when_they_are_asked_for() {
        let mut out = Vec::new();
        event(&mut out, &denied(), true);
        let text = String::from_utf8(out).expect("UTF-8");
        let words = concat!(
            r#""sub":0},"onvif_topic":"Denied/Credential","onvif_reason":"CredentialExpired","#,
            r#""bacnet_event":"denied-credential-expired","bacnet_number":152,"trace_id""#
        );
        assert!(text.contains(words), "{text}");
        let mut granted = denied();
        granted.answer.verdict = Verdict::of(Reason::Granted);
        let mut out = Vec::new();
        event(&mut out, &granted, true);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value["onvif_topic"], "AccessGranted/Credential");
        assert!(value.get("onvif_reason").is_none());
    }

    #[test]
    fn flags_are_listed_and_what_is_unknown_is_left_out() {
        let mut decision = denied();
        decision.direction = None;
        decision.swipe.trace_id = None;
        decision.answer.verdict = Verdict {
            reason: Reason::GrantedEgress,
            would_deny: Some(Reason::CredentialStolen),
            soft_apb: true,
        };
        let text = text(&decision);
        assert!(
            text.contains(r#""flags":["CredentialStolen","soft_apb"]"#),
            "{text}"
        );
        assert!(
            !text.contains("direction") && !text.contains("trace_id"),
            "{text}"
        );
        assert!(
            text.contains(r#""decision":"grant","reason":"GrantedEgress","rule":6"#),
            "{text}"
        );
    }

    #[test]
    fn keys_of_the_decision_table_sort_by_time() {
        let mut decision = denied();
        assert_eq!(decision.partition_key(), "CARD#100000000189");
        assert_eq!(
            decision.sort_key(),
            "CARD#EVENT#SCAN#1772438321123#gate-hq-17#918273"
        );
        decision.swipe.swiped_at_ms = 5;
        assert_eq!(
            decision.sort_key(),
            "CARD#EVENT#SCAN#0000000000005#gate-hq-17#918273"
        );
    }

    #[test]
    fn a_dead_letter_holds_the_position_and_the_bytes() {
        let mut out = Vec::new();
        let reject = Reject {
            kind: RejectKind::MissingField,
            detail: Cow::Borrowed("device_seq"),
        };
        dead_letter(&mut out, &reject, &SOURCE, b"{}");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            concat!(
                r#"{"v":1,"error":"MissingField","detail":"device_seq","#,
                r#""source":{"shard":"shardId-000000000003","sequence":"4965","sub":0},"#,
                r#""data_bytes":2,"data_base64":"e30="}"#
            )
        );
    }

    #[test]
    fn the_dead_letter_of_the_largest_record_still_fits_a_record() {
        let mut out = Vec::new();
        let reject = Reject {
            kind: RejectKind::Oversize,
            detail: Cow::Borrowed("10485760 bytes"),
        };
        dead_letter(&mut out, &reject, &SOURCE, &vec![0; 10 << 20]);
        assert!(out.len() < (1 << 20) - 1024, "{}", out.len());
        let letter: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(
            (&letter["truncated"], &letter["data_bytes"]),
            (&true.into(), &(10 << 20).into())
        );
    }

    proptest::proptest! {
        #[test]
        fn any_trace_id_survives(trace_id in ".{0,40}") {
            let mut decision = denied();
            decision.swipe.trace_id = Some(trace_id.as_str().into());
            let event: serde_json::Value = serde_json::from_str(&text(&decision)).expect("JSON");
            proptest::prop_assert_eq!(event["trace_id"].as_str(), Some(trace_id.as_str()));
        }
    }
}
