//! Conditions of a write, held against the item that is there.
//!
//! Played: `attribute_exists`, `attribute_not_exists`, the six comparisons of texts and of whole numbers, `AND`, `OR`,
//! `NOT` and parentheses; all else is refused by name. As in DynamoDB, values of two kinds are not equal and neither is
//! the smaller one, and the same goes for an attribute that is not there.

use std::{borrow::Cow, cmp::Ordering, collections::HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{condition::tokens, refusal::Refusal};

/// Most bytes of an expression (service limit).
const EXPRESSION_BYTES_MAX: usize = 4096;
/// Most parentheses and `NOT`s of an expression: it may nest that deep. (The service's limit of operators.)
const NESTED_MAX: usize = 300;

/// A value that can be compared.
#[derive(Clone, Debug, Deserialize)]
pub enum Value<'a> {
    /// A text.
    S(#[serde(borrow)] Cow<'a, str>),
    /// A number, as it is written.
    N(#[serde(borrow)] Cow<'a, str>),
}

impl Value<'_> {
    /// How it compares with another of its kind; nothing when that is of another kind.
    fn compared(&self, other: &Self) -> Result<Option<Ordering>, Refusal> {
        Ok(match (self, other) {
            (Self::S(one), Self::S(other)) => Some(one.cmp(other)),
            (Self::N(one), Self::N(other)) => Some(number(one)?.cmp(&number(other)?)),
            _ => None,
        })
    }
}

/// A number of DynamoDB has at most 38 digits, which fit.
fn number(text: &str) -> Result<i128, Refusal> {
    text.parse().map_err(|_| {
        Refusal::not_played(format_args!("comparing {text}, which is no whole number"))
    })
}

/// What the placeholders of a write stand for.
pub type Placeholders<'p, 'a> = (&'p HashMap<String, String>, &'p HashMap<String, Value<'a>>);

/// Whether the condition holds for the item of that text, or for none.
///
/// # Errors
/// When it is no condition, has a placeholder too few or too many, or asks for what is not played.
pub fn holds(
    expression: &str,
    (names, values): Placeholders<'_, '_>,
    item: Option<&str>,
) -> Result<bool, Refusal> {
    let refused = || Refusal::not_played(format_args!("the condition {expression}"));
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(Refusal::validation(format!(
            "Invalid ConditionExpression: Expression size has exceeded the maximum allowed size; expression size: {}",
            expression.len()
        )));
    }
    let tokens = tokens(expression).ok_or_else(refused)?;
    let nests = |token: &&&str| **token == "(" || token.eq_ignore_ascii_case("NOT");
    if tokens.iter().filter(nests).count() > NESTED_MAX {
        return Err(Refusal::validation(format!(
            "Invalid ConditionExpression: it has more than {NESTED_MAX} parentheses and NOTs"
        )));
    }
    if let Some(unused) = (names.keys().chain(values.keys())).find(|key| !tokens.contains(&&***key))
    {
        return Err(Refusal::validation(format!(
            "Value provided in ExpressionAttributeNames or ExpressionAttributeValues unused in expressions: keys: {{{unused}}}"
        )));
    }
    let item = item.map(serde_json::from_str).transpose();
    let mut reader = Reader {
        left: &tokens,
        names,
        values,
        item: item.map_err(|error| Refusal::unread(&error))?,
        refused: &refused,
    };
    let holds = reader.any()?;
    if reader.left.is_empty() {
        Ok(holds)
    } else {
        Err(refused())
    }
}

/// Reads a condition and says at once whether it holds. All of it is read, whatever its beginning says.
struct Reader<'r, 'a> {
    left: &'r [&'r str],
    names: &'r HashMap<String, String>,
    values: &'r HashMap<String, Value<'a>>,
    item: Option<HashMap<String, &'r RawValue>>,
    refused: &'r dyn Fn() -> Refusal,
}

impl<'r, 'a: 'r> Reader<'r, 'a> {
    fn next(&mut self) -> Result<&'r str, Refusal> {
        let (first, rest) = self.left.split_first().ok_or_else(self.refused)?;
        self.left = rest;
        Ok(first)
    }

    /// Goes past that word, if it is next.
    fn word(&mut self, word: &str) -> bool {
        let found = (self.left.first()).is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.left = &self.left[usize::from(found)..];
        found
    }

    fn bracket(&mut self, bracket: &str) -> Result<(), Refusal> {
        if self.word(bracket) {
            Ok(())
        } else {
            Err((self.refused)())
        }
    }

    fn any(&mut self) -> Result<bool, Refusal> {
        let mut holds = self.all()?;
        while self.word("OR") {
            holds |= self.all()?;
        }
        Ok(holds)
    }

    fn all(&mut self) -> Result<bool, Refusal> {
        let mut holds = self.one()?;
        while self.word("AND") {
            holds &= self.one()?;
        }
        Ok(holds)
    }

    fn one(&mut self) -> Result<bool, Refusal> {
        if self.word("NOT") {
            return Ok(!self.one()?);
        }
        if self.word("(") {
            let holds = self.any()?;
            self.bracket(")")?;
            return Ok(holds);
        }
        match self.next()? {
            "attribute_exists" => self.exists(),
            "attribute_not_exists" => Ok(!self.exists()?),
            left => self.comparison(left),
        }
    }

    fn exists(&mut self) -> Result<bool, Refusal> {
        self.bracket("(")?;
        let token = self.next()?;
        let name = self.name(token)?;
        self.bracket(")")?;
        Ok(self.attribute(name).is_some())
    }

    fn comparison(&mut self, left: &'r str) -> Result<bool, Refusal> {
        let left = self.operand(left)?;
        let operator = self.next()?;
        let right = self.next()?;
        let right = self.operand(right)?;
        let ordering = match (left, right) {
            (Some(left), Some(right)) => left.compared(&right)?,
            _ => None,
        };
        Ok(match operator {
            "=" => ordering == Some(Ordering::Equal),
            "<>" => ordering != Some(Ordering::Equal),
            "<" => ordering.is_some_and(Ordering::is_lt),
            "<=" => ordering.is_some_and(Ordering::is_le),
            ">" => ordering.is_some_and(Ordering::is_gt),
            ">=" => ordering.is_some_and(Ordering::is_ge),
            _ => return Err((self.refused)()),
        })
    }

    /// A value that was given, or that of an attribute when it is there.
    fn operand(&self, token: &'r str) -> Result<Option<Value<'r>>, Refusal> {
        if token.starts_with(':') {
            let value = self.values.get(token).ok_or_else(|| {
                Refusal::validation(format!(
                    "An expression attribute value used in expression is not defined; attribute value: {token}"
                ))
            })?;
            return Ok(Some(value.clone()));
        }
        let Some(value) = self.attribute(self.name(token)?) else {
            return Ok(None);
        };
        let value = serde_json::from_str(value.get());
        value.map(Some).map_err(|error| Refusal::unread(&error))
    }

    fn attribute(&self, name: &str) -> Option<&'r RawValue> {
        self.item.as_ref()?.get(name).copied()
    }

    /// The attribute that the token names: one of the item itself, not of what is in it.
    fn name(&self, token: &'r str) -> Result<&'r str, Refusal> {
        if token.starts_with('#') && !token.contains('.') {
            return self.names.get(token).map(String::as_str).ok_or_else(|| {
                Refusal::validation(format!(
                    "An expression attribute name used in the document path is not defined; attribute name: {token}"
                ))
            });
        }
        let is_keyword = ["AND", "OR", "NOT", "BETWEEN", "IN"]
            .iter()
            .any(|word| token.eq_ignore_ascii_case(word));
        let is_name = token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && token.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_name && !is_keyword {
            Ok(token)
        } else {
            Err((self.refused)())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: &str = r#"{"PK":{"S":"p"},"at":{"N":"9"},"low":{"N":"-12"},"far":{"N":"99999999999999999999999999999999999999"},
        "half":{"N":"0.5"},"name":{"S":"9"},"list":{"L":[]},"a b":{"S":"x"}}"#;

    /// With as many placeholders as the expression names.
    fn asked(expression: &str, item: Option<&str>) -> Result<bool, Refusal> {
        let used = |token: &&str| expression.contains(token);
        let names = [("#at", "at"), ("#spaced", "a b"), ("#gone", "gone")];
        let names = names.into_iter().filter(|(token, _)| used(token));
        let names = names.map(|(token, name)| (token.to_owned(), name.to_owned()));
        let values = [
            (":nine", "N", "9"),
            (":ten", "N", "10"),
            (":text", "S", "9"),
        ];
        let values = values.into_iter().filter(|(token, ..)| used(token));
        let values = values.map(|(token, kind, value)| {
            let value = Cow::Borrowed(value);
            let value = if kind == "N" {
                Value::N(value)
            } else {
                Value::S(value)
            };
            (token.to_owned(), value)
        });
        holds(expression, (&names.collect(), &values.collect()), item)
    }

    #[track_caller]
    fn check(expression: &str, with_item: bool, without: bool) {
        assert_eq!(asked(expression, Some(ITEM)), Ok(with_item), "{expression}");
        assert_eq!(
            asked(expression, None),
            Ok(without),
            "{expression}, no item"
        );
    }

    #[test]
    fn an_attribute_is_there_or_not() {
        check("attribute_exists(PK)", true, false);
        check("attribute_not_exists ( PK )", false, true);
        check("attribute_exists(gone)", false, false);
        check("attribute_not_exists(#gone)", true, true);
        check("attribute_exists(list)", true, false);
        check("attribute_exists(#spaced)", true, false);
    }

    #[test]
    fn numbers_compare_as_numbers_and_texts_as_texts() {
        for (operator, below, same, above) in [
            ("<", true, false, false),
            ("<=", true, true, false),
            ("=", false, true, false),
            (">=", false, true, true),
            (">", false, false, true),
        ] {
            check(&format!("at {operator} :ten"), below, false);
            check(&format!("at{operator}:nine"), same, false);
            check(&format!(":ten {operator} #at"), above, false);
            check(&format!("low {operator} :nine"), below, false);
            check(&format!("far {operator} :ten"), above, false);
            check(&format!("name {operator} :text"), same, false);
            // Of two kinds, or with one that is not there: never.
            check(&format!("name {operator} :nine"), false, false);
            check(&format!("gone {operator} :nine"), false, false);
        }
        check("at <> :nine", false, true);
        check("at <> :ten", true, true);
        check("at <> :text", true, true);
    }

    #[test]
    fn not_binds_closer_than_and_and_that_closer_than_or() {
        check("attribute_not_exists(at) OR at <= :nine", true, true);
        check("attribute_not_exists(at) OR at <= low", false, true);
        check("at = :nine OR at = :nine AND at = :ten", true, false);
        check("(at = :nine OR at = :nine) AND at = :ten", false, false);
        check("NOT at = :ten and attribute_exists(PK)", true, false);
        check("NOT (at = :nine OR at = :ten)", false, true);
        check("NOT NOT at = :nine", true, false);
    }

    #[test]
    fn anything_else_is_refused_with_and_without_an_item() {
        for expression in [
            "",
            "at",
            "at =",
            "at = :nine OR",
            "at = :nine at",
            "(at = :nine",
            "at = :nine)",
            "at == :nine",
            "at = 9",
            "at = NOT",
            "at = :unknown",
            "#unknown = :nine",
            "a.b = :nine",
            "#at.b = :nine",
            "list[0] = :nine",
            "attribute_exists(:nine)",
            "attribute_exists at",
            "ATTRIBUTE_EXISTS(at)",
            "at BETWEEN :nine AND :ten",
            "at IN (:nine)",
            "begins_with(name, :text)",
            "size(name) > :nine",
            "at = :nine OR size(name) > :nine",
        ] {
            assert!(asked(expression, Some(ITEM)).is_err(), "{expression}");
            assert!(asked(expression, None).is_err(), "{expression}, no item");
        }
        // What the item holds cannot be compared.
        for expression in ["half < :nine", "list = :nine"] {
            assert!(asked(expression, Some(ITEM)).is_err(), "{expression}");
        }
    }

    #[test]
    fn an_expression_is_not_too_long_and_not_too_deep() {
        let check = |opening: &str, count: usize, closing: &str, expected: bool| {
            let (opening, closing) = (opening.repeat(count), closing.repeat(count));
            let held = asked(&format!("{opening}at = :nine{closing}"), Some(ITEM));
            assert_eq!(held.is_ok(), expected, "{opening}");
        };
        check("(", NESTED_MAX, ")", true);
        check("(", NESTED_MAX + 1, ")", false);
        check("NOT ", NESTED_MAX, "", true);
        check("NOT ", NESTED_MAX + 1, "", false);
        check(" ", EXPRESSION_BYTES_MAX - "at = :nine".len(), "", true);
        check(" ", EXPRESSION_BYTES_MAX, "", false);
    }

    #[test]
    fn a_placeholder_that_is_not_used_is_refused() {
        let (none, unused) = (HashMap::new(), HashMap::from([("#a", "PK")]));
        let unused = unused
            .into_iter()
            .map(|(a, b)| (a.to_owned(), b.to_owned()));
        let unused = unused.collect();
        let check = |names, expected| {
            let held = holds("attribute_not_exists(PK)", (names, &HashMap::new()), None);
            assert_eq!(held.is_ok(), expected);
        };
        check(&none, true);
        check(&unused, false);
    }
}
