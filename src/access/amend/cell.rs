//! One value as a person writes it, in a cell or after an equals sign; and as it is told.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::kind::Form;
use crate::model::item::Value;

/// Reads a cell; an empty one says that there is no such attribute.
///
/// # Errors
/// Why it is no value of that form.
pub fn read(text: &str, form: Form) -> Result<Option<Value>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let value = match form {
        Form::Text => Value::Text(text.to_owned()),
        Form::Number => match text.parse::<i64>() {
            Ok(number) => Value::Number(number.to_string()),
            Err(_) => return Err(format!("{text:?} is not a whole number")),
        },
        Form::Instant => Value::Number(seconds(text)?.to_string()),
        Form::Flag => match text.to_ascii_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(format!("{text:?} is neither true nor false")),
        },
        // Lists of maps have no shorter spelling.
        Form::List if text.starts_with('[') => {
            let json =
                serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
            super::json::value(&json, Some(form))?
        }
        Form::List => Value::List(parts(text).map(Value::Text).collect()),
        Form::Set => {
            let mut words: Vec<_> = parts(text).collect();
            words.sort();
            words.dedup();
            Value::TextSet(words)
        }
    };
    Ok(Some(value))
}

fn parts(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(';').map(|part| part.trim().to_owned());
    parts.filter(|part| !part.is_empty())
}

/// Epoch seconds: as a number, an RFC 3339 instant, or a date, which begins at midnight UTC.
///
/// # Errors
/// Why it is none of them.
pub fn seconds(text: &str) -> Result<i64, String> {
    // Of a date with a time and without a zone the parser would take the date and drop the time.
    let date = |text: &str| {
        let date = text.parse::<Date>().ok().filter(|_| text.len() == 10)?;
        let midnight = date.to_zoned(TimeZone::UTC).ok()?;
        Some(midnight.timestamp())
    };
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let instant = text.parse::<Timestamp>().ok().or_else(|| date(text));
    instant.map(Timestamp::as_second).ok_or_else(|| {
        format!("{text:?} is not an instant: expected epoch seconds, 2026-03-01T06:00:00Z or 2026-03-01 (midnight UTC)")
    })
}

/// A value for people: as a cell spells it.
pub fn tell(value: &Value) -> String {
    let texts = |values: &[Value]| {
        let texts = values.iter().map(Value::as_text);
        texts
            .collect::<Option<Vec<_>>>()
            .map(|texts| texts.join(";"))
    };
    match value {
        Value::Text(text) => text.clone(),
        Value::Number(digits) => digits.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::TextSet(words) => words.join(";"),
        Value::List(values) => {
            texts(values).unwrap_or_else(|| super::json::spell(value).to_string())
        }
        Value::Map(_) => super::json::spell(value).to_string(),
        Value::Null => "null".to_owned(),
        Value::Other => "(binary or a set of numbers)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::fixtures::{list, map, n, s, yes};

    #[track_caller]
    fn check(text: &str, form: Form, expected: Option<Value>) {
        assert_eq!(read(text, form).ok().flatten(), expected, "{text:?}");
    }

    #[test]
    fn a_cell_is_read_by_the_form_of_its_column() {
        check("issued", Form::Text, Some(s("issued")));
        check(" 007 ", Form::Text, Some(s("007")));
        check("007", Form::Number, Some(n(7)));
        check("1.5", Form::Number, None);
        check("TRUE", Form::Flag, Some(yes()));
        check("yes", Form::Flag, None);
        check("a; b;", Form::List, Some(list([s("a"), s("b")])));
        check("", Form::List, None);
        let link = map([("Id", s("night")), ("ValidTo", n(5))]);
        check(
            r#"["a",{"Id":"night","ValidTo":5}]"#,
            Form::List,
            Some(list([s("a"), link])),
        );
        check("[1,", Form::List, None);
        let set = Value::TextSet(vec!["a".to_owned(), "b".to_owned()]);
        check("b;a;b", Form::Set, Some(set));
    }

    #[test]
    fn an_instant_is_said_in_seconds_or_as_people_do() {
        for (text, expected) in [
            ("1772438321", Some(1_772_438_321)),
            ("2026-03-02T07:58:41Z", Some(1_772_438_321)),
            ("2026-03-02T08:58:41+01:00", Some(1_772_438_321)),
            ("1970-01-02", Some(86_400)),
            ("tomorrow", None),
            ("2026-03-02 07:58", None),
            ("2026-13-02", None),
        ] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_told_of_a_flat_value_reads_back() {
        for (value, form) in [
            (s("staff"), Form::Text),
            (n(-5), Form::Number),
            (yes(), Form::Flag),
            (list([s("a"), s("b")]), Form::List),
            (list([map([("Id", s("a"))])]), Form::List),
        ] {
            assert_eq!(read(&tell(&value), form), Ok(Some(value)));
        }
    }
}
