//! Items as plain JSON: texts, numbers, flags, lists and maps as JSON has them. `Exemptions`, and every other attribute
//! that is a set, is a list of texts.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;

use super::{
    Refused, Row, Sheet,
    kind::{Form, Kind},
    spell as spell_key,
};
use crate::model::item::{Item, Value};

/// Reads an array of items. A `null` says that there is no such attribute.
///
/// # Errors
/// Why no item can be read.
pub fn read(text: &str, kind: Option<Kind>) -> Result<Sheet, String> {
    let items: Vec<Json> = serde_json::from_str(text)
        .map_err(|error| format!("is not a JSON array of items: {error}"))?;
    let (mut sheet, mut lines) = (Sheet::default(), HashMap::new());
    for (item, line) in items.iter().zip(starts(text)) {
        sheet.take(row(item, line, kind), &mut lines);
    }
    Ok(sheet)
}

/// The line on which each entry of the outermost array begins. The text is JSON.
fn starts(text: &str) -> Vec<usize> {
    let (mut starts, mut line, mut depth, mut quoted, mut expected) =
        (Vec::new(), 1, 0_u32, false, false);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'\n' {
            line += 1;
        }
        if quoted {
            match byte {
                b'\\' => drop(bytes.next()),
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        if depth == 1 && expected && !byte.is_ascii_whitespace() && byte != b']' {
            starts.push(line);
            expected = false;
        }
        match byte {
            b'"' => quoted = true,
            b'[' | b'{' => {
                depth += 1;
                expected |= depth == 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => expected = true,
            _ => {}
        }
    }
    starts
}

fn row(item: &Json, line: usize, kind: Option<Kind>) -> Result<Row, Refused> {
    let refused = |key: &str, why: String| Refused {
        line,
        key: key.to_owned(),
        why,
    };
    let Json::Object(fields) = item else {
        return Err(refused("", "is not an object".to_owned()));
    };
    let text = |name: &str| fields.get(name).and_then(Json::as_str).unwrap_or_default();
    let (pk, sk) = match (kind, text("Id")) {
        (_, "") => (text("PK").to_owned(), text("SK").to_owned()),
        (Some(kind), id) => kind.key(id, text("Date")),
        (None, _) => return Err(refused("", "an id of what? say it with --kind".to_owned())),
    };
    let key = spell_key(&pk, &sk);
    let Some(found) = Kind::of(&pk, &sk) else {
        let why = format!("{pk:?} / {sk:?} is not the key of an item that the daemon reads");
        return Err(refused(&key, why));
    };
    if let Some(kind) = kind.filter(|kind| *kind != found) {
        return Err(refused(
            &key,
            format!("is not of the {kind:?} that --kind says"),
        ));
    }
    let mut said = BTreeMap::new();
    for (name, json) in fields {
        if ["Id", "Date", "PK", "SK"].contains(&name.as_str()) {
            continue;
        }
        let value = match json {
            Json::Null => None,
            json => Some(
                value(json, found.form(name))
                    .map_err(|why| refused(&key, format!("{name} {why}")))?,
            ),
        };
        said.insert(name.clone(), value);
    }
    Ok(Row { line, pk, sk, said })
}

/// Whole items of an array, whatever their keys: those of the access table, and of presence.
///
/// # Errors
/// What is wrong, and with which of them.
pub fn items(text: &str) -> Result<Vec<Item>, String> {
    let items: Vec<BTreeMap<String, Json>> = serde_json::from_str(text)
        .map_err(|error| format!("is not a JSON array of items: {error}"))?;
    let each = items.into_iter().zip(starts(text)).map(|(fields, line)| {
        let key = |name: &str| fields.get(name).and_then(Json::as_str).unwrap_or_default();
        let kind = Kind::of(key("PK"), key("SK"));
        let read = fields.iter().map(|(name, json)| {
            let value = value(json, kind.and_then(|kind| kind.form(name)));
            let value = value.map_err(|why| format!("line {line}: {name} {why}"))?;
            Ok((name.clone(), value))
        });
        read.collect()
    });
    each.collect()
}

/// A value; `form` tells sets from lists.
///
/// # Errors
/// Why no item can hold it.
pub fn value(json: &Json, form: Option<Form>) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Number(number.to_string()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(values) if form == Some(Form::Set) => {
            let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
            let mut texts: Vec<String> = texts
                .collect::<Option<_>>()
                .filter(|texts: &Vec<_>| !texts.is_empty())
                .ok_or("is a set: a list of at least one text")?;
            texts.sort();
            texts.dedup();
            Value::TextSet(texts)
        }
        Json::Array(values) => {
            let values = values.iter().map(|json| value(json, None));
            Value::List(values.collect::<Result<_, _>>()?)
        }
        Json::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, json)| Ok((name.clone(), value(json, None)?)));
            Value::Map(fields.collect::<Result<_, String>>()?)
        }
    })
}

/// A value as plain JSON; what JSON has no word for is null.
pub fn spell(value: &Value) -> Json {
    match value {
        Value::Text(text) => Json::from(text.as_str()),
        Value::Number(digits) => serde_json::from_str(digits).unwrap_or(Json::Null),
        Value::Bool(flag) => Json::from(*flag),
        Value::TextSet(words) => Json::from(words.as_slice()),
        Value::List(values) => values.iter().map(spell).collect(),
        Value::Map(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), spell(value)))
            .collect(),
        Value::Null | Value::Other => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::fixtures::{list, map, n, s, yes};

    #[test]
    fn an_item_is_plain_json_with_its_key_or_its_id() {
        let text = r#"[
            {"PK": "CARD#1", "SK": "CARD#STATUS", "CardStatus": "issued", "ValidTo": null,
             "AccessProfiles": ["staff", {"Id": "night", "ValidTo": 5}],
             "Exemptions": ["passback", "lockdown"], "IsAvailableForIssue": true, "Badge": {"Colour": "red"}},
            {"Id": "2", "CardStatus": "lost"}
        ]"#;
        let sheet = read(text, Some(Kind::Cards)).expect("an array");
        assert!(sheet.refused.is_empty(), "{sheet:?}");
        let link = map([("Id", s("night")), ("ValidTo", n(5))]);
        let set = Value::TextSet(["lockdown", "passback"].map(str::to_owned).into());
        let expected = [
            ("AccessProfiles", Some(list([s("staff"), link]))),
            ("Badge", Some(map([("Colour", s("red"))]))),
            ("CardStatus", Some(s("issued"))),
            ("Exemptions", Some(set)),
            ("IsAvailableForIssue", Some(yes())),
            ("ValidTo", None),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(sheet.rows[0].said, BTreeMap::from(expected));
        assert_eq!((sheet.rows[1].line, &*sheet.rows[1].pk), (5, "CARD#2"));
    }

    #[test]
    fn an_item_that_cannot_be_read_is_refused_with_its_line() {
        let text = "[{\"Id\": \"1\", \"Exemptions\": [1]},\n\n 7,\n{\"PK\": \"EMP#1\", \"SK\": \"x,\\\"[\"}, {\"Id\": \"2\"}]";
        let sheet = read(text, Some(Kind::Cards)).expect("an array");
        let refused: Vec<_> = sheet.refused.iter().map(|refused| refused.line).collect();
        assert_eq!(refused, [1, 3, 4]);
        assert_eq!(sheet.rows[0].line, 4);
        assert!(read("{}", None).is_err() && read("[", None).is_err());
        assert!(
            read(r#"[{"Id":"1"}]"#, None).expect("an array").refused[0]
                .why
                .contains("--kind")
        );
    }
}
