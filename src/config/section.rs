//! Reads the keys of one section: what is understood becomes a value, what is not becomes a problem and the default.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use super::document::{Document, Given, Place};

/// One section: reads its keys, each with its default.
#[derive(Debug)]
pub(super) struct Section<'d, 'a> {
    pub(super) name: &'static str,
    pub(super) document: &'d mut Document<'a>,
}

impl Section<'_, '_> {
    fn take(&mut self, key: &str) -> Option<(Given, Place)> {
        self.document.take(format!("{}.{key}", self.name))
    }

    fn refuse(&mut self, key: &str, place: &Place, message: &str) {
        self.document
            .note(place, format!("{}.{key}: {message}", self.name));
    }

    /// A text, when it is given and not empty, and when `parse` takes it; the error says what was expected.
    pub(super) fn text<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (given, place) = self.take(key)?;
        let text = match given {
            Given::Text(text) => text,
            Given::Env(raw) => unquoted(raw),
            other => {
                self.refuse(
                    key,
                    &place,
                    &format!("expects a string, is {}", other.type_name()),
                );
                return None;
            }
        };
        if text.is_empty() {
            return None;
        }
        match parse(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.refuse(key, &place, &format!("expects {expected}, is {text:?}"));
                None
            }
        }
    }

    /// One of a few words, each with its value; the first is the default.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> T {
        let expected = || {
            let all: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("one of {}", all.join(", "))
        };
        let find = |text: &str| {
            words
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| *value)
        };
        self.text(key, |text| find(text).ok_or_else(expected))
            .unwrap_or(words[0].1)
    }

    /// A whole number in a range.
    pub(super) fn whole(&mut self, key: &str, default: i64, range: RangeInclusive<i64>) -> i64 {
        let Some((given, place)) = self.take(key) else {
            return default;
        };
        let found = match &given {
            Given::Whole(value) => Some(*value),
            Given::Env(raw) => raw.trim().replace('_', "").parse().ok(),
            _ => None,
        };
        match found {
            Some(value) if range.contains(&value) => return value,
            Some(value) => {
                let message = format!("expects {} to {}, is {value}", range.start(), range.end());
                self.refuse(key, &place, &message);
            }
            None => self.refuse(
                key,
                &place,
                &format!("expects a whole number, is {}", describe(&given)),
            ),
        }
        default
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        let Some((given, place)) = self.take(key) else {
            return default;
        };
        match &given {
            Given::Bool(value) => return *value,
            Given::Env(raw) if raw == "true" => return true,
            Given::Env(raw) if raw == "false" => return false,
            _ => self.refuse(
                key,
                &place,
                &format!("expects true or false, is {}", describe(&given)),
            ),
        }
        default
    }
}

fn describe(given: &Given) -> String {
    match given {
        Given::Env(raw) => format!("{raw:?}"),
        other => other.type_name().to_owned(),
    }
}

/// An environment value that is quoted as TOML is the string inside; any other is itself.
fn unquoted(raw: String) -> String {
    match DeValue::parse(&raw) {
        Ok(value) => value.get_ref().as_str().map(str::to_owned).unwrap_or(raw),
        Err(_) => raw,
    }
}
