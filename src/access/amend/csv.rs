//! A CSV file of items: a header row that names the columns, a row an item.
//!
//! Fields as RFC 4180 has them: separated by commas, quoted where they hold commas, quotes (doubled) or line ends. Lists
//! inside a field are separated by semicolons. The key is a column `Id` (days of calendars have `Date` beside it), or
//! `PK` and `SK`. Every other column is an attribute; what it is not known is refused, not guessed.

use std::collections::{BTreeMap, HashMap};

use super::{Refused, Row, Sheet, cell, kind::Kind, spell};

/// Reads a file; `kind` says what its rows are of when they have ids instead of keys.
///
/// # Errors
/// Why no row can be read: its header.
pub fn read(text: &str, kind: Option<Kind>) -> Result<Sheet, String> {
    let mut records = Records {
        left: text.strip_prefix('\u{feff}').unwrap_or(text),
        line: 1,
    };
    let Some(header) = records.next() else {
        return Err("is empty; the first row names the columns".to_owned());
    };
    let header = header.fields.map_err(|why| format!("line 1: {why}"))?;
    let names: Vec<&str> = header.iter().map(|name| name.trim()).collect();
    check_header(&names, kind)?;
    let (mut sheet, mut lines) = (Sheet::default(), HashMap::new());
    for record in records {
        // A line without anything on it, as editors leave at the end.
        if record
            .fields
            .as_ref()
            .is_ok_and(|fields| fields.iter().all(|field| field.trim().is_empty()))
        {
            continue;
        }
        sheet.take(row(record, &names, kind), &mut lines);
    }
    Ok(sheet)
}

fn check_header(names: &[&str], kind: Option<Kind>) -> Result<(), String> {
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(format!("line 1: the column {name:?} is there twice"));
        }
        let known = match kind {
            Some(kind) => kind.form(name).is_some(),
            None => Kind::ALL.iter().any(|(_, kind)| kind.form(name).is_some()),
        };
        if !known && !["Id", "Date", "PK", "SK"].contains(name) {
            let those = kind.map_or_else(
                || "say of what with --kind".to_owned(),
                |kind| format!("the attributes are {}", kind.attributes()),
            );
            return Err(format!(
                "line 1: the column {name:?} is no attribute; {those}"
            ));
        }
    }
    let has = |name: &str| names.contains(&name);
    match (has("Id"), has("PK") && has("SK"), kind) {
        (true, false, None) => Err("line 1: ids of what? say it with --kind".to_owned()),
        (true, false, Some(Kind::Calendars)) if !has("Date") => {
            Err("line 1: days of calendars need the columns Id and Date".to_owned())
        }
        (true, false, Some(_)) | (false, true, _) => Ok(()),
        _ => Err("line 1: either a column Id, or PK and SK".to_owned()),
    }
}

fn row(record: Record, names: &[&str], kind: Option<Kind>) -> Result<Row, Refused> {
    let line = record.line;
    let refused = |key: &str, why: String| Refused {
        line,
        key: key.to_owned(),
        why,
    };
    let fields = record.fields.map_err(|why| refused("", why))?;
    if fields.len() != names.len() {
        let (found, expected) = (fields.len(), names.len());
        return Err(refused(
            "",
            format!("has {found} fields, and the header {expected}"),
        ));
    }
    let field = |name: &str| {
        let index = names.iter().position(|known| *known == name)?;
        fields.get(index).map(|field| field.trim())
    };
    let (pk, sk) = match (field("Id"), kind) {
        (Some(""), _) => return Err(refused("", "has no Id".to_owned())),
        (Some(id), Some(kind)) => kind.key(id, field("Date").unwrap_or_default()),
        _ => (
            field("PK").unwrap_or_default().to_owned(),
            field("SK").unwrap_or_default().to_owned(),
        ),
    };
    let key = spell(&pk, &sk);
    let found = Kind::of(&pk, &sk).ok_or_else(|| {
        refused(
            &key,
            format!("{pk} / {sk} is not the key of an item that the daemon reads"),
        )
    })?;
    if let Some(kind) = kind.filter(|kind| *kind != found) {
        return Err(refused(
            &key,
            format!("is not of the {kind:?} that --kind says"),
        ));
    }
    let mut said = BTreeMap::new();
    for (name, text) in names.iter().zip(&fields) {
        if ["Id", "Date", "PK", "SK"].contains(name) {
            continue;
        }
        match found.form(name) {
            Some(form) => {
                let value = cell::read(text, form);
                let value = value.map_err(|why| refused(&key, format!("{name} {why}")))?;
                said.insert((*name).to_owned(), value);
            }
            // A file of several kinds has columns that are not for all.
            None if text.trim().is_empty() => {}
            None => return Err(refused(&key, format!("has no attribute {name}"))),
        }
    }
    Ok(Row { line, pk, sk, said })
}

/// One record, and the line where it begins.
struct Record {
    line: usize,
    fields: Result<Vec<String>, String>,
}

struct Records<'a> {
    left: &'a str,
    line: usize,
}

impl Records<'_> {
    /// Takes one field; whether another one follows in this record.
    fn field(&mut self) -> Result<(String, bool), String> {
        let mut field = String::new();
        if let Some(quoted) = self.left.strip_prefix('"') {
            self.left = quoted;
            loop {
                let Some(end) = self.left.find('"') else {
                    self.left = "";
                    return Err("has a quote that does not end".to_owned());
                };
                let (inside, rest) = self.left.split_at(end);
                field.push_str(inside);
                self.line += inside.matches('\n').count();
                self.left = &rest[1..];
                match self.left.strip_prefix('"') {
                    Some(rest) => {
                        field.push('"');
                        self.left = rest;
                    }
                    None => break,
                }
            }
            let end = self.left.find([',', '\n']).unwrap_or(self.left.len());
            if !self.left[..end].trim().is_empty() {
                self.skip_line();
                return Err("has something behind the end of a quote".to_owned());
            }
            self.left = &self.left[end..];
        } else {
            let end = self.left.find([',', '\n']).unwrap_or(self.left.len());
            field.push_str(self.left[..end].trim_end_matches('\r'));
            self.left = &self.left[end..];
        }
        let more = self.left.starts_with(',');
        if !more {
            self.line += 1;
        }
        self.left = self.left.get(1..).unwrap_or_default();
        Ok((field, more))
    }

    fn skip_line(&mut self) {
        let end = self.left.find('\n').map_or(self.left.len(), |end| end + 1);
        self.left = &self.left[end..];
        self.line += 1;
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.left.is_empty() {
            return None;
        }
        let (line, mut fields) = (self.line, Vec::new());
        loop {
            match self.field() {
                Ok((field, more)) => {
                    fields.push(field);
                    if !more {
                        let fields = Ok(fields);
                        return Some(Record { line, fields });
                    }
                }
                Err(why) => {
                    let fields = Err(why);
                    return Some(Record { line, fields });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::fixtures::{list, n, s},
        model::item::Value,
    };

    fn cards(text: &str) -> Sheet {
        read(text, Some(Kind::Cards)).expect("a header")
    }

    #[test]
    fn a_row_names_an_item_and_what_is_said_of_it() {
        let sheet = cards(
            "Id,CardStatus,AccessProfiles,ValidTo\r\n7,issued,staff;night,1970-01-02\r\n\r\n8,revoked,,\r\n",
        );
        assert!(sheet.refused.is_empty(), "{sheet:?}");
        let said = |row: &Row, name: &str| row.said.get(name).cloned();
        let [one, two] = &sheet.rows[..] else {
            panic!("{sheet:?}")
        };
        assert_eq!((one.line, &*one.pk, &*one.sk), (2, "CARD#7", "CARD#STATUS"));
        assert_eq!(said(one, "CardStatus"), Some(Some(s("issued"))));
        let profiles = list([s("staff"), s("night")]);
        assert_eq!(said(one, "AccessProfiles"), Some(Some(profiles)));
        assert_eq!(said(one, "ValidTo"), Some(Some(n(86_400))));
        assert_eq!(said(one, "HolderStatus"), None, "not named: stays");
        assert_eq!(
            (two.line, said(two, "ValidTo")),
            (4, Some(None)),
            "empty: goes"
        );
    }

    #[test]
    fn quotes_hold_commas_quotes_and_line_ends_and_lines_are_counted_through_them() {
        let sheet =
            cards("Id,CardIssuedTo\n1,\"Doe, \"\"Jo\"\"\nJane\"\n2,\"x\" y\n3,z\n4,\"open\n");
        let holder = sheet.rows[0].said["CardIssuedTo"].clone();
        assert_eq!(holder, Some(s("Doe, \"Jo\"\nJane")));
        let lines: Vec<_> = sheet.rows.iter().map(|row| (row.line, &*row.pk)).collect();
        assert_eq!(lines, [(2, "CARD#1"), (5, "CARD#3")]);
        let refused: Vec<_> = sheet.refused.iter().map(|refused| refused.line).collect();
        assert_eq!(refused, [4, 6]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_line() {
        for (text, line, why) in [
            ("Id,CardStatus\n1", 2, "has 1 fields, and the header 2"),
            (
                "Id,ThreatAuthority\n1,2\n2,x",
                3,
                "ThreatAuthority \"x\" is not a whole number",
            ),
            ("Id,CardStatus\n,issued", 2, "has no Id"),
            (
                "Id,CardStatus\n1,issued\n1,lost",
                3,
                "was said on line 2 already",
            ),
            (
                "PK,SK,CardStatus\nCARD#1,STATUS,issued",
                2,
                "is not the key of an item",
            ),
            ("PK,SK,Version\nAP#1,CONFIG,1", 2, "is not of the Cards"),
        ] {
            let sheet = cards(text);
            let [refused] = &sheet.refused[..] else {
                panic!("{text:?}: {sheet:?}")
            };
            assert_eq!(refused.line, line, "{text:?}");
            assert!(refused.why.contains(why), "{refused:?}");
        }
    }

    #[test]
    fn a_header_that_is_not_understood_refuses_the_file() {
        for (text, kind, why) in [
            ("", Some(Kind::Cards), "is empty"),
            (
                "CardStatus\nissued",
                Some(Kind::Cards),
                "either a column Id",
            ),
            ("Id,CardStatus\n", None, "ids of what"),
            (
                "Id,Status\n",
                Some(Kind::Cards),
                "\"Status\" is no attribute",
            ),
            (
                "Id,CardStatus,CardStatus\n",
                Some(Kind::Cards),
                "is there twice",
            ),
            (
                "Id,Recurring\n",
                Some(Kind::Calendars),
                "need the columns Id and Date",
            ),
        ] {
            let error = read(text, kind).expect_err(text);
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn rows_with_keys_may_be_of_several_kinds() {
        let text = "PK,SK,CardStatus,Direction\nCARD#1,CARD#STATUS,issued,\nAP#d,CONFIG,,in\n";
        let sheet = read(text, None).expect("a header");
        assert!(sheet.refused.is_empty(), "{sheet:?}");
        assert_eq!(sheet.rows[1].said.len(), 1);
        assert_eq!(
            sheet.rows[1].said["Direction"],
            Some(Value::Text("in".to_owned()))
        );
        let days = read(
            "Id,Date,Recurring\nxmas,2026-12-25,true",
            Some(Kind::Calendars),
        );
        assert_eq!(days.expect("a header").rows[0].sk, "DAY#2026-12-25");
    }
}
