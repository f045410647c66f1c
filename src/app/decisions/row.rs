//! Stored decisions put into words: columns, CSV, JSON.

use jiff::Timestamp;

use super::Form;
use crate::{
    access::amend::{cell, json},
    app::leases::columns,
    model::item::{Item, Value},
};

/// What the sort keys of decisions begin with; an instant in thirteen digits follows.
pub const SCAN: &str = "CARD#EVENT#SCAN#";

/// Attributes that are the table's, not the event's.
const OF_THE_TABLE: [&str; 3] = ["PK", "SK", "expires_at"];

/// The columns of a CSV file.
const COLUMNS: [&str; 17] = [
    "decision_id",
    "decision",
    "reason",
    "rule",
    "card_id",
    "access_point",
    "direction",
    "device_id",
    "device_seq",
    "swiped_at_ms",
    "decided_at_ms",
    "actuate",
    "flags",
    "shard",
    "sequence",
    "sub",
    "trace_id",
];

/// The columns for people.
const HEADER: [&str; 8] = [
    "SWIPED AT",
    "CARD",
    "DOOR",
    "",
    "DECISION",
    "REASON",
    "RULE",
    "NOTES",
];

/// Whether this is a decision of a swipe.
pub fn is_decision(item: &Item) -> bool {
    text(item, "SK").starts_with(SCAN)
}

/// The text of an attribute; empty when there is none.
pub fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_text).unwrap_or_default()
}

/// A whole number; 0 when there is none.
pub fn number(item: &Item, name: &str) -> i64 {
    item.get(name).and_then(Value::as_integer).unwrap_or(0)
}

/// An instant for people.
pub fn instant(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms);
    at.map_or_else(|_| ms.to_string(), |at| format!("{at:.3}"))
}

/// Decisions, as asked for.
pub fn tell(items: &[Item], form: Form) -> String {
    match form {
        Form::Table => {
            let mut rows = vec![HEADER.map(str::to_owned)];
            rows.extend(items.iter().map(cells));
            columns(&rows)
        }
        Form::Csv => {
            let mut lines = csv_line(COLUMNS.iter().copied());
            for item in items {
                let cells = COLUMNS.map(|name| csv_cell(item, name));
                lines.push_str(&csv_line(cells.iter().map(String::as_str)));
            }
            lines
        }
        Form::Json => {
            let events = items.iter().map(|item| {
                let mut event = item.clone();
                event.retain(|name, _| !OF_THE_TABLE.contains(&name.as_str()));
                json::spell(&Value::Map(event))
            });
            format!("{:#}\n", events.collect::<serde_json::Value>())
        }
    }
}

fn cells(item: &Item) -> [String; 8] {
    let mut notes = Vec::new();
    let took = number(item, "decided_at_ms") - number(item, "swiped_at_ms");
    match item.get("flags").map(cell::tell) {
        Some(flags) if !flags.is_empty() => notes.push(flags),
        _ => {}
    }
    if item.get("actuate") == Some(&Value::Bool(false)) {
        notes.push(format!("not acted upon ({took} ms late)"));
    }
    let said = |name: &str| text(item, name).to_owned();
    [
        instant(number(item, "swiped_at_ms")),
        said("card_id"),
        said("access_point"),
        said("direction"),
        said("decision"),
        said("reason"),
        number(item, "rule").to_string(),
        notes.join(", "),
    ]
}

fn csv_cell(item: &Item, name: &str) -> String {
    let source = match item.get("source") {
        Some(Value::Map(source)) => source.get(name),
        _ => None,
    };
    item.get(name)
        .or(source)
        .map(cell::tell)
        .unwrap_or_default()
}

/// One line of a CSV file, as RFC 4180 has it.
pub fn csv_line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let quoted = cells.map(|cell| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    });
    format!("{}\r\n", quoted.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::fixtures::{item, list, map, n, s};

    fn decision() -> Item {
        item(
            "CARD#42",
            "CARD#EVENT#SCAN#1772438321123#gate-1#7",
            [
                ("v", n(1)),
                ("decision_id", s("gate-1#7")),
                ("decision", s("grant")),
                ("reason", s("GrantedEgress")),
                ("rule", n(6)),
                ("card_id", s("42")),
                ("access_point", s("lobby-out")),
                ("direction", s("out")),
                ("device_id", s("gate-1")),
                ("device_seq", n(7)),
                ("swiped_at_ms", n(1_772_438_321_123)),
                ("decided_at_ms", n(1_772_438_331_123)),
                ("actuate", Value::Bool(false)),
                ("flags", list([s("CredentialLost"), s("soft_apb")])),
                (
                    "source",
                    map([
                        ("shard", s("shard-1")),
                        ("sequence", s("49")),
                        ("sub", n(2)),
                    ]),
                ),
                ("expires_at", n(1_780_214_322)),
                ("trace_id", s("a,\"b\"")),
            ],
        )
    }

    #[track_caller]
    fn check(form: Form, expected: &str) {
        assert_eq!(tell(&[decision()], form), expected);
    }

    #[test]
    fn a_decision_is_a_line_for_people() {
        check(
            Form::Table,
            "SWIPED AT                 CARD  DOOR            DECISION  REASON         RULE  NOTES\n\
             2026-03-02T07:58:41.123Z  42    lobby-out  out  grant     GrantedEgress  6     CredentialLost;soft_apb, not acted upon (10000 ms late)\n",
        );
    }

    #[test]
    fn a_decision_is_a_line_of_csv() {
        let header = COLUMNS.join(",");
        check(
            Form::Csv,
            &format!(
                "{header}\r\ngate-1#7,grant,GrantedEgress,6,42,lobby-out,out,gate-1,7,1772438321123,1772438331123,false,\
                 CredentialLost;soft_apb,shard-1,49,2,\"a,\"\"b\"\"\"\r\n"
            ),
        );
    }

    #[test]
    fn a_decision_is_the_events_json() {
        let json: serde_json::Value =
            serde_json::from_str(&tell(&[decision()], Form::Json)).expect("JSON");
        let event = &json[0];
        assert_eq!(
            (&event["rule"], &event["actuate"]),
            (&6.into(), &false.into())
        );
        assert_eq!(event["flags"][1], "soft_apb");
        assert_eq!(event["source"]["sub"], 2);
        assert!(OF_THE_TABLE.iter().all(|name| event.get(name).is_none()));
        assert_eq!(tell(&[], Form::Json), "[]\n");
    }
}
