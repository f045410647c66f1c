//! Key conditions of a query: a partition, and a half-open range of sort keys.
//!
//! Every comparison of texts is such a range, because the text next after `v` is `v` with a zero byte behind it, and
//! texts compare by their bytes as DynamoDB compares them.

use std::collections::HashMap;

use super::{keys::Text, refusal::Refusal};

/// Sort keys from `from` on, and before `until` when there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first one that belongs to it.
    pub from: String,
    /// The first one after it.
    pub until: Option<String>,
}

/// One partition and a range in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Value of the partition key.
    pub partition: String,
    /// Its sort keys.
    pub sort: Range,
}

/// What the placeholders of an expression stand for.
#[derive(Debug)]
pub struct Placeholders<'a> {
    /// `#name` to attribute.
    pub names: HashMap<String, String>,
    /// `:name` to value.
    pub values: HashMap<String, Text<'a>>,
}

impl Placeholders<'_> {
    fn name<'t>(&'t self, token: &'t str) -> Result<&'t str, Refusal> {
        if !token.starts_with('#') {
            return Ok(token);
        }
        self.names.get(token).map(String::as_str).ok_or_else(|| {
            Refusal::validation(format!("An expression attribute name used in the document path is not defined; attribute name: {token}"))
        })
    }

    fn value(&self, token: &str) -> Result<&str, Refusal> {
        let value = self.values.get(token).map(|value| &*value.text);
        value.ok_or_else(|| {
            Refusal::validation(format!(
                "An expression attribute value used in expression is not defined; attribute value: {token}"
            ))
        })
    }
}

/// Reads `hash = :p`, alone or with one of `=`, `<`, `<=`, `>`, `>=`, `BETWEEN`, `begins_with` on `range` beside it.
///
/// # Errors
/// When it is anything else.
pub fn parse(
    expression: &str,
    placeholders: &Placeholders<'_>,
    (hash, range): (&str, &str),
) -> Result<Condition, Refusal> {
    let refused = || Refusal::not_played(format_args!("the key condition {expression}"));
    let tokens = tokens(expression).ok_or_else(refused)?;
    let mut left: &[&str] = &tokens;
    let (mut partition, mut sort) = (None, None);
    loop {
        let (name, asked, rest) = term(left, placeholders)?.ok_or_else(refused)?;
        match asked {
            Asked::Equal(value) if name == hash && partition.is_none() => {
                partition = Some(value.to_owned());
            }
            asked if name == range && sort.is_none() => sort = Some(asked.range()),
            _ => return Err(refused()),
        }
        match rest {
            [] => break,
            [and, rest @ ..] if and.eq_ignore_ascii_case("AND") => left = rest,
            _ => return Err(refused()),
        }
    }
    Ok(Condition {
        partition: partition.ok_or_else(refused)?,
        sort: sort.unwrap_or_default(),
    })
}

/// The text next after this one.
pub fn after(text: &str) -> String {
    [text, "\0"].concat()
}

/// The first text after all that begin with this one, if there is any.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // A range of `char` knows the gap of the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[derive(Clone, Copy, Debug)]
enum Asked<'a> {
    Equal(&'a str),
    Below(&'a str),
    AtMost(&'a str),
    Above(&'a str),
    AtLeast(&'a str),
    Between(&'a str, &'a str),
    BeginsWith(&'a str),
}

impl Asked<'_> {
    fn range(self) -> Range {
        let (from, until) = match self {
            Self::Equal(value) => (value.to_owned(), Some(after(value))),
            Self::Below(value) => (String::new(), Some(value.to_owned())),
            Self::AtMost(value) => (String::new(), Some(after(value))),
            Self::Above(value) => (after(value), None),
            Self::AtLeast(value) => (value.to_owned(), None),
            Self::Between(low, high) => (low.to_owned(), Some(after(high))),
            Self::BeginsWith(prefix) => (prefix.to_owned(), after_prefix(prefix)),
        };
        Range { from, until }
    }
}

/// The first term: its attribute, what is asked of it, and what follows.
type Term<'a> = (&'a str, Asked<'a>, &'a [&'a str]);

fn term<'a>(
    tokens: &'a [&'a str],
    placeholders: &'a Placeholders<'_>,
) -> Result<Option<Term<'a>>, Refusal> {
    let value = |token| placeholders.value(token);
    let (name, asked, rest) = match tokens {
        ["begins_with", "(", name, ",", prefix, ")", rest @ ..] => {
            (name, Asked::BeginsWith(value(prefix)?), rest)
        }
        [name, between, low, and, high, rest @ ..]
            if between.eq_ignore_ascii_case("BETWEEN") && and.eq_ignore_ascii_case("AND") =>
        {
            (name, Asked::Between(value(low)?, value(high)?), rest)
        }
        [name, "=", equal, rest @ ..] => (name, Asked::Equal(value(equal)?), rest),
        [name, "<", bound, rest @ ..] => (name, Asked::Below(value(bound)?), rest),
        [name, "<=", bound, rest @ ..] => (name, Asked::AtMost(value(bound)?), rest),
        [name, ">", bound, rest @ ..] => (name, Asked::Above(value(bound)?), rest),
        [name, ">=", bound, rest @ ..] => (name, Asked::AtLeast(value(bound)?), rest),
        _ => return Ok(None),
    };
    Ok(Some((placeholders.name(name)?, asked, rest)))
}

/// Words, operators, brackets and commas; nothing when there is any other character.
pub fn tokens(expression: &str) -> Option<Vec<&str>> {
    let in_word = |c: char| c.is_ascii_alphanumeric() || "_-.#:".contains(c);
    let (mut tokens, mut left) = (Vec::new(), expression.trim_start());
    while let Some(first) = left.chars().next() {
        let length = match first {
            '(' | ')' | ',' => 1,
            '<' | '>' | '=' => left.find(|c| !"<>=".contains(c)).unwrap_or(left.len()),
            first if in_word(first) => left.find(|c| !in_word(c)).unwrap_or(left.len()),
            _ => return None,
        };
        let (token, rest) = left.split_at(length);
        tokens.push(token);
        left = rest.trim_start();
    }
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders() -> Placeholders<'static> {
        let names = [("#p", "PK"), ("#s", "SK")];
        let values = [(":p", "card"), (":a", "b"), (":b", "c"), (":empty", "")];
        let text = |value: &'static str| Text { text: value.into() };
        Placeholders {
            names: names
                .map(|(token, name)| (token.to_owned(), name.to_owned()))
                .into(),
            values: values
                .map(|(token, value)| (token.to_owned(), text(value)))
                .into(),
        }
    }

    #[track_caller]
    fn check(expression: &str, expected: Option<(&str, Option<&str>)>) {
        let condition = parse(expression, &placeholders(), ("PK", "SK")).ok();
        let expected = expected.map(|(from, until)| Condition {
            partition: "card".to_owned(),
            sort: Range {
                from: from.to_owned(),
                until: until.map(str::to_owned),
            },
        });
        assert_eq!(condition, expected, "{expression}");
    }

    #[test]
    fn a_condition_is_a_partition_and_a_range() {
        check("PK = :p", Some(("", None)));
        check("#p=:p", Some(("", None)));
        check("PK = :p AND SK = :a", Some(("b", Some("b\0"))));
        check("PK = :p and SK < :a", Some(("", Some("b"))));
        check("PK = :p AND #s<=:a", Some(("", Some("b\0"))));
        check("PK = :p AND SK > :a", Some(("b\0", None)));
        check("SK >= :a AND PK = :p", Some(("b", None)));
        check("PK = :p AND SK BETWEEN :a AND :b", Some(("b", Some("c\0"))));
        check("PK = :p AND begins_with(SK, :a)", Some(("b", Some("c"))));
        check("#p = :p AND begins_with ( #s ,:empty )", Some(("", None)));
    }

    #[test]
    fn any_other_condition_is_refused() {
        for expression in [
            "",
            "SK = :a",
            "PK > :p",
            "PK = :unknown",
            "#unknown = :p",
            "PK = :p AND",
            "PK = :p OR SK = :a",
            "PK = :p AND SK <> :a",
            "PK = :p AND card = :a",
            "PK = :p AND SK > :a AND SK < :b",
            "PK = :p AND contains(SK, :a)",
            "(PK = :p)",
            "PK = :p;",
        ] {
            check(expression, None);
        }
    }

    #[test]
    fn what_comes_after_a_prefix_is_the_next_text_that_does_not_begin_with_it() {
        for (prefix, expected) in [
            ("a", Some("b")),
            ("a\u{10ffff}", Some("b")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("\u{10ffff}", None),
            ("", None),
        ] {
            assert_eq!(after_prefix(prefix).as_deref(), expected, "{prefix:?}");
        }
    }
}
