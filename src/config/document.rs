//! A TOML file and its environment overrides as one flat set of keys, each with the place it was given.
//!
//! Why not serde's derive: it stops at the first error, and whoever edits a configuration wants all of them. So the
//! reader of a key ([`Section`]) takes what it understands, notes a [`Problem`] for what it does not and goes on with
//! the default; whatever nobody asked for is an unknown key. Asking is thereby the one list of keys, types, ranges
//! and defaults. Never panics on input; never logs a value's neighbours.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{problem::Problem, section::Section, spelling::closest};
use toml::de::{DeTable, DeValue};

/// Where a value was given.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// The byte of the file where it begins.
    File(usize),
    /// An environment variable.
    Env(String),
}

/// A value as given.
#[derive(Clone, Debug)]
pub(super) enum Given {
    Text(String),
    Whole(i64),
    Bool(bool),
    /// Some other TOML type, by its name.
    Other(&'static str),
    /// An environment variable: its key decides the type.
    Env(String),
}

impl Given {
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Env(_) => "a string",
            Self::Whole(_) => "a whole number",
            Self::Bool(_) => "true or false",
            Self::Other(name) => name,
        }
    }
}

/// The parsed file with its overrides, and every problem found so far.
#[derive(Debug)]
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    values: BTreeMap<String, (Given, Place)>,
    /// Tables by dotted name, with the byte where each begins.
    tables: BTreeMap<String, usize>,
    /// Sections and keys that were asked for.
    sections: BTreeSet<&'static str>,
    asked: BTreeSet<String>,
    /// Whether the file has syntax errors, and so may lack what it was meant to have.
    broken: bool,
    /// Where a broken table header begins: the parser takes what follows for something else.
    lost_at: usize,
    problems: Vec<Problem>,
}

/// The prefix of variables that override a key: `SWIPED_SECTION__KEY`.
const PREFIX: &str = "SWIPED_";

impl<'a> Document<'a> {
    /// Parses `text`, as far as it can be parsed, and lays the variables of the form `SWIPED_SECTION__KEY` over it.
    pub(super) fn parse(
        file: &'a str,
        text: &'a str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut document = Self {
            file,
            text,
            values: BTreeMap::new(),
            tables: BTreeMap::new(),
            sections: BTreeSet::new(),
            asked: BTreeSet::new(),
            broken: !errors.is_empty(),
            lost_at: usize::MAX,
            problems: Vec::new(),
        };
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.get(..at).and_then(|before| before.rsplit('\n').next());
            if line.is_some_and(|line| line.trim_start().starts_with('[')) {
                document.lost_at = document.lost_at.min(at);
            }
            document.note(&Place::File(at), format!("not TOML: {}", error.message()));
        }
        document.flatten("", root.get_ref());
        for (name, value) in env {
            let Some((section, key)) = name
                .strip_prefix(PREFIX)
                .and_then(|rest| rest.rsplit_once("__"))
            else {
                continue;
            };
            let dotted = format!("{}.{key}", section.replace("__", ".")).to_lowercase();
            document
                .values
                .insert(dotted, (Given::Env(value), Place::Env(name)));
        }
        document
    }

    fn flatten(&mut self, above: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let dotted = join(above, name.get_ref());
            let Range { start, .. } = name.span();
            let given = match value.get_ref() {
                DeValue::Table(below) => {
                    self.tables.insert(dotted.clone(), start);
                    self.flatten(&dotted, below);
                    continue;
                }
                other => given(other),
            };
            self.values
                .insert(dotted, (given, Place::File(value.span().start)));
        }
    }

    /// The section of that dotted name, absent or not.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'_, 'a> {
        self.sections.insert(name);
        Section {
            name,
            document: self,
        }
    }

    pub(super) fn note(&mut self, place: &Place, message: String) {
        let (place, order) = match place {
            Place::File(at) => (
                format!("{}:{}", self.file, line_and_column(self.text, *at)),
                *at,
            ),
            Place::Env(name) => (name.clone(), self.text.len() + 1),
        };
        self.problems.push(Problem {
            place,
            message,
            order,
        });
    }

    /// The value of a key, which is thereby known.
    pub(super) fn take(&mut self, key: String) -> Option<(Given, Place)> {
        let found = self.values.get(&key).cloned();
        self.asked.insert(key);
        found
    }

    /// Notes a problem of `key` where it was given, or else of the file as a whole.
    pub(super) fn blame(&mut self, key: &str, message: &str) {
        let message = format!("{key}: {message}");
        match self.values.get(key).map(|(_, place)| place.clone()) {
            Some(place) => self.note(&place, message),
            None => {
                let order = self.text.len() + 2;
                self.problems.push(Problem {
                    place: self.file.to_owned(),
                    message,
                    order,
                });
            }
        }
    }

    /// Notes that `key` is missing, unless the file is broken and might well have it.
    pub(super) fn missing(&mut self, key: &str, meaning: &str) {
        if !self.broken {
            self.blame(key, &format!("is required: {meaning}"));
        }
    }

    /// Whether the key has a value other than the empty string.
    pub(super) fn has(&self, key: &str) -> bool {
        match self.values.get(key) {
            Some((Given::Text(text) | Given::Env(text), _)) => !text.is_empty(),
            given => given.is_some(),
        }
    }

    /// Every problem, in the order of the file; what was never asked for is one.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.note_unknown_tables();
        let lost = |place: &Place| matches!(place, Place::File(at) if *at >= self.lost_at);
        let unknown: Vec<_> = self
            .values
            .iter()
            .filter(|(key, (_, place))| !self.asked.contains(*key) && !lost(place))
            .map(|(key, _)| key.clone())
            .collect();
        for key in unknown {
            let section = key.rsplit_once('.').map_or("", |(section, _)| section);
            if self.sections.contains(key.as_str()) {
                let found = self
                    .values
                    .get(&key)
                    .map_or("nothing", |(given, _)| given.type_name());
                self.blame(&key, &format!("expects a table, is {found}"));
            } else if !self.is_below_an_unknown_table(section) {
                let hint = self.hint(&key);
                self.blame(&key, &format!("unknown key{hint}"));
            }
        }
        self.problems.sort_by_key(|problem| problem.order);
        self.problems
    }

    /// Keys that the sections know and this document does not set.
    #[cfg(test)]
    pub(super) fn unset(&self) -> Vec<String> {
        let unset = |key: &&String| !self.values.contains_key(*key);
        self.asked.iter().filter(unset).cloned().collect()
    }

    fn note_unknown_tables(&mut self) {
        let unknown: Vec<_> = self
            .tables
            .iter()
            .filter(|(name, at)| !self.sections.contains(name.as_str()) && **at < self.lost_at)
            .map(|(name, at)| (name.clone(), *at))
            .collect();
        for (name, at) in unknown {
            let above = name.rsplit_once('.').map_or("", |(above, _)| above);
            if self.asked.contains(&name) {
                self.note(
                    &Place::File(at),
                    format!("{name}: expects a value, is a table"),
                );
            } else if !self.is_below_an_unknown_table(above) {
                let hint = closest(&name, self.sections.iter().copied());
                self.note(&Place::File(at), format!("{name}: unknown section{hint}"));
            }
        }
    }

    fn is_below_an_unknown_table(&self, section: &str) -> bool {
        self.tables.contains_key(section) && !self.sections.contains(section)
    }

    /// What an unknown key may have been meant to be: a key of another section by the same name, or a near one.
    fn hint(&self, key: &str) -> String {
        let leaf = key.rsplit('.').next().unwrap_or(key);
        let elsewhere = self
            .asked
            .iter()
            .find(|asked| asked.rsplit('.').next() == Some(leaf));
        let near = closest(key, self.asked.iter().map(String::as_str));
        match elsewhere {
            Some(asked) if near.is_empty() => format!(", did you mean {asked}?"),
            _ => near,
        }
    }
}

fn given(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::Text(text.to_string()),
        // An unquoted instant is as good as a quoted one.
        DeValue::Datetime(instant) => Given::Text(instant.to_string()),
        DeValue::Boolean(value) => Given::Bool(*value),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or(Given::Other("a number beyond 64 bits"), Given::Whole),
        DeValue::Float(_) => Given::Other("a fraction"),
        DeValue::Array(_) | DeValue::Table(_) => Given::Other("a list"),
    }
}

/// A name with a dot inside is quoted, so that it cannot pass for a path.
fn join(above: &str, name: &str) -> String {
    let name = if name.contains('.') {
        format!("{name:?}")
    } else {
        name.to_owned()
    };
    if above.is_empty() {
        name
    } else {
        format!("{above}.{name}")
    }
}

fn line_and_column(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!("{line}:{column}")
}
