//! Who is inside an area: for musters, and for whoever looks for somebody.

use std::process::ExitCode;

use anyhow::Context;

use super::{
    Form,
    row::{csv_line, instant, number, text},
};
use crate::{
    app::leases::{columns, out, patiently},
    aws::{
        dynamo_items::{ItemTable, Question},
        limits::BATCH_GET_ITEMS_MAX,
    },
    model::item::Item,
};

/// Index of the decision table: presence items by `Area`, `PK`.
const BY_AREA: &str = "ByArea";

/// A card inside.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Inside {
    since_ms: i64,
    card: String,
    door: String,
    decision: String,
}

/// Prints them, the longest inside first. The index follows the table within a second or so.
///
/// # Errors
/// The decision table cannot be read, or has no such index.
pub async fn inside(table: &ItemTable, area: &str, form: Form) -> anyhow::Result<ExitCode> {
    let (mut inside, mut start) = (Vec::new(), None);
    loop {
        let question = Question {
            index: Some(BY_AREA),
            partition: ("Area", area),
            between: None,
            descending: false,
            limit: BATCH_GET_ITEMS_MAX as u32,
        };
        let page = patiently(|| table.query(question, start.clone())).await;
        let page =
            page.context("cannot ask the index ByArea (keys Area and PK) of the decision table")?;
        let keys: Vec<_> = page
            .items
            .iter()
            .map(|key| (text(key, "PK").to_owned(), text(key, "SK").to_owned()))
            .collect();
        if !keys.is_empty() {
            let items = patiently(|| table.get(&keys)).await;
            let items = items.context("the decision table cannot be read")?;
            inside.extend(items.iter().filter_map(|item| present(item, area)));
        }
        start = page.next;
        if start.is_none() {
            break;
        }
    }
    inside.sort_by(|one, other| (one.since_ms, &one.card).cmp(&(other.since_ms, &other.card)));
    out(&tell(&inside, area, form))?;
    Ok(ExitCode::SUCCESS)
}

/// A presence item, unless the card went elsewhere since the index was written.
fn present(item: &Item, area: &str) -> Option<Inside> {
    let card = text(item, "PK").strip_prefix("CARD#")?;
    (text(item, "Area") == area).then(|| Inside {
        since_ms: number(item, "ScannedAt"),
        card: card.to_owned(),
        door: text(item, "LastAccessPoint").to_owned(),
        decision: text(item, "LastDecisionId").to_owned(),
    })
}

fn tell(inside: &[Inside], area: &str, form: Form) -> String {
    const HEADER: [&str; 4] = ["since", "card", "door", "decision"];
    let rows = inside.iter().map(|one| {
        let Inside {
            since_ms,
            card,
            door,
            decision,
        } = one.clone();
        [instant(since_ms), card, door, decision]
    });
    match form {
        Form::Table => {
            let mut all = vec![HEADER.map(str::to_uppercase)];
            all.extend(rows);
            format!("{}{} inside {area}\n", columns(&all), inside.len())
        }
        Form::Csv => {
            let rows = rows.map(|row| csv_line(row.iter().map(String::as_str)));
            csv_line(HEADER.into_iter()) + &rows.collect::<String>()
        }
        Form::Json => {
            let rows = inside.iter().map(|one| {
                serde_json::json!({
                    "card_id": one.card, "area": area, "since_ms": one.since_ms,
                    "access_point": one.door, "decision_id": one.decision,
                })
            });
            format!("{:#}\n", rows.collect::<serde_json::Value>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::fixtures::{item, n, s};

    #[test]
    fn who_is_inside_is_told_with_since_when_and_through_which_door() {
        let presence = |area: &str| {
            let said = [
                ("Area", s(area)),
                ("ScannedAt", n(1_772_438_321_123)),
                ("LastAccessPoint", s("lobby-in")),
                ("LastDecisionId", s("gate#7")),
            ];
            item("CARD#42", "PRESENCE#hq", said)
        };
        assert_eq!(present(&presence("lab"), "lobby"), None, "went on since");
        let inside = [present(&presence("lobby"), "lobby").expect("inside")];
        assert_eq!(
            tell(&inside, "lobby", Form::Table),
            "SINCE                     CARD  DOOR      DECISION\n\
             2026-03-02T07:58:41.123Z  42    lobby-in  gate#7\n1 inside lobby\n"
        );
        let csv = "since,card,door,decision\r\n2026-03-02T07:58:41.123Z,42,lobby-in,gate#7\r\n";
        assert_eq!(tell(&inside, "lobby", Form::Csv), csv);
        assert!(tell(&inside, "lobby", Form::Json).contains("\"since_ms\": 1772438321123"));
    }
}
