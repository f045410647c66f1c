//! A TOML file and its environment overrides as one flat set of keys, each with the place it was given.
//!
//! Why not serde's derive: it stops at the first error, and whoever edits a configuration wants all of them. So the
//! reader of a key ([`Section`]) takes what it understands, notes a [`Problem`] for what it does not and goes on with
//! the default; whatever nobody asked for is an unknown key. Asking is thereby the one list of keys, types, ranges
//! and defaults. Never panics on input; never logs a value's neighbours.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::{Range, RangeInclusive},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One thing wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `file:line:column`, the name of an environment variable, or the file where a key is missing.
    pub place: String,
    /// The dotted key and what is wrong with it, or the syntax error.
    pub message: String,
    /// Where it stands in the list: byte in the file, then what the file does not show.
    order: usize,
}

impl Problem {
    /// A problem with the file as a whole.
    pub fn with_file(file: &str, message: String) -> Self {
        Self {
            place: file.to_owned(),
            message,
            order: 0,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Where a value was given.
#[derive(Clone, Debug)]
enum Place {
    /// The byte of the file where it begins.
    File(usize),
    /// An environment variable.
    Env(String),
}

/// A value as given.
#[derive(Clone, Debug)]
enum Given {
    Text(String),
    Whole(i64),
    Bool(bool),
    /// Some other TOML type, by its name.
    Other(&'static str),
    /// An environment variable: its key decides the type.
    Env(String),
}

impl Given {
    fn type_name(&self) -> &'static str {
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
    broken: bool,
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
            problems: Vec::new(),
        };
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
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
                .insert(dotted, (given, Place::File(start_of(value))));
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

    fn note(&mut self, place: &Place, message: String) {
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
        let unknown: Vec<_> = self
            .values
            .keys()
            .filter(|key| !self.asked.contains(*key))
            .cloned()
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

    fn note_unknown_tables(&mut self) {
        let unknown: Vec<_> = self
            .tables
            .iter()
            .filter(|(name, _)| !self.sections.contains(name.as_str()))
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

/// One section: reads its keys, each with its default.
#[derive(Debug)]
pub(super) struct Section<'d, 'a> {
    name: &'static str,
    document: &'d mut Document<'a>,
}

impl Section<'_, '_> {
    fn take(&mut self, key: &str) -> Option<(Given, Place)> {
        let dotted = format!("{}.{key}", self.name);
        let found = self.document.values.get(&dotted).cloned();
        self.document.asked.insert(dotted);
        found
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

fn start_of(value: &Spanned<DeValue<'_>>) -> usize {
    value.span().start
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

/// The nearest known name, as the end of a sentence; nothing when none is within two letters.
fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    known
        .map(|known| (distance(name, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map_or_else(String::new, |(_, known)| format!(", did you mean {known}?"))
}

/// Letters to insert, remove or replace to get from one name to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..to.len() {
            let replaced = diagonal + usize::from(letter != to[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}
