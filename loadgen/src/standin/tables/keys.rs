//! The key attributes of an item, read from its text without building the item.
//!
//! What else is in an item is not looked at: it is JSON, and is given back as it came.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer as _,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::refusal::Refusal;

/// Partition key of every plain table.
pub const PK: &str = "PK";
/// Sort key of every plain table.
pub const SK: &str = "SK";

/// A global secondary index with two text attributes as its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// What a query calls it.
    pub name: String,
    /// Attribute that is its partition key.
    pub hash: String,
    /// Attribute that is its sort key.
    pub range: String,
    /// Whether it gives the keys of an item alone, else the whole item.
    pub keys_only: bool,
}

/// What an item, a key or a start key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys<'a> {
    /// The value of `PK`.
    pub pk: Cow<'a, str>,
    /// The value of `SK`.
    pub sk: Cow<'a, str>,
    /// Of each index that was asked about: the values of its two attributes, when both are there.
    pub indexed: Vec<Option<(Cow<'a, str>, Cow<'a, str>)>>,
}

/// A text attribute.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text<'a> {
    /// Its value.
    #[serde(rename = "S", borrow)]
    pub text: Cow<'a, str>,
}

/// The keys of a whole item.
///
/// # Errors
/// When `PK` or `SK` is missing, or a key attribute is empty or no text.
pub fn of_item<'a>(item: &'a str, indexes: &[Index]) -> Result<Keys<'a>, Refusal> {
    read(item, indexes).map(|(keys, _)| keys)
}

/// The keys of what names one item: `PK` and `SK` and nothing else.
///
/// # Errors
/// When it does not.
pub fn of_key(key: &str) -> Result<Keys<'_>, Refusal> {
    of_start(key, None)
}

/// The keys of where a page starts: those of the table, and for a query of an index its own too.
///
/// # Errors
/// When anything is missing, or too much.
pub fn of_start<'a>(key: &'a str, index: Option<&Index>) -> Result<Keys<'a>, Refusal> {
    let (keys, others) = read(key, index.map_or(&[], std::slice::from_ref))?;
    if others == 0 && keys.indexed.iter().all(Option::is_some) {
        return Ok(keys);
    }
    Err(Refusal::validation(
        "The provided key element does not match the schema",
    ))
}

/// The keys, and how many other attributes there are.
fn read<'a>(item: &'a str, indexes: &[Index]) -> Result<(Keys<'a>, usize), Refusal> {
    let found = serde_json::Deserializer::from_str(item)
        .deserialize_map(Wanted(indexes))
        .map_err(|error| {
            Refusal::validation(format!("the item or key is not as expected: {error}"))
        })?;
    for (index, (hash, range)) in indexes.iter().zip(&found.indexed) {
        for (name, value) in [(&index.hash, hash), (&index.range, range)] {
            if value.as_ref().is_some_and(|value| value.is_empty()) {
                return Err(empty(name));
            }
        }
    }
    let indexed = found.indexed.into_iter();
    let keys = Keys {
        pk: given(found.pk, PK)?,
        sk: given(found.sk, SK)?,
        indexed: indexed.map(|(hash, range)| hash.zip(range)).collect(),
    };
    Ok((keys, found.others))
}

fn given<'a>(value: Option<Cow<'a, str>>, name: &str) -> Result<Cow<'a, str>, Refusal> {
    let value = value.ok_or_else(|| {
        Refusal::validation(format!(
            "One or more parameter values were invalid: Missing the key {name} in the item"
        ))
    })?;
    if value.is_empty() {
        return Err(empty(name));
    }
    Ok(value)
}

fn empty(name: &str) -> Refusal {
    Refusal::validation(format!(
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty \
         string value. Key: {name}"
    ))
}

/// Reads the key attributes of the table and of these indexes, and counts the others.
struct Wanted<'n>(&'n [Index]);

type Value<'a> = Option<Cow<'a, str>>;

/// What was read; an attribute may be a key of several.
#[derive(Default)]
struct Found<'a> {
    pk: Value<'a>,
    sk: Value<'a>,
    indexed: Vec<(Value<'a>, Value<'a>)>,
    others: usize,
}

impl<'a> Visitor<'a> for Wanted<'_> {
    type Value = Found<'a>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a map of attributes")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = Found {
            indexed: vec![(None, None); self.0.len()],
            ..Found::default()
        };
        while let Some(Name(name)) = map.next_key()? {
            let of_index = |index: &Index| index.hash == name || index.range == name;
            if name != PK && name != SK && !self.0.iter().any(of_index) {
                map.next_value::<IgnoredAny>()?;
                found.others += 1;
                continue;
            }
            let Text { text } = map.next_value()?;
            for (index, (hash, range)) in self.0.iter().zip(&mut found.indexed) {
                if index.hash == name {
                    *hash = Some(text.clone());
                }
                if index.range == name {
                    *range = Some(text.clone());
                }
            }
            match &*name {
                PK => found.pk = Some(text),
                SK => found.sk = Some(text),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// An attribute's name, not copied unless it holds an escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str, hash: &str, range: &str) -> Index {
        Index {
            name: name.to_owned(),
            hash: hash.to_owned(),
            range: range.to_owned(),
            keys_only: false,
        }
    }

    fn indexes() -> [Index; 2] {
        [index("ByDoor", "door", SK), index("ByArea", "area", PK)]
    }

    /// `PK`, `SK`, and both of each index.
    type Read<'a> = (&'a str, &'a str, [Option<(&'a str, &'a str)>; 2]);

    #[track_caller]
    fn check(item: &str, expected: Option<Read<'_>>) {
        let keys = of_item(item, &indexes()).ok();
        let keys = keys.as_ref().map(|keys| {
            let indexed = keys.indexed.iter();
            let indexed: Vec<_> = indexed
                .map(|both| both.as_ref().map(|(hash, range)| (&**hash, &**range)))
                .collect();
            (&*keys.pk, &*keys.sk, [indexed[0], indexed[1]])
        });
        assert_eq!(keys, expected, "{item}");
    }

    #[test]
    fn keys_are_found_wherever_they_stand() {
        let both = Some(("p", "s", [Some(("d", "s")), None]));
        check(r#"{"PK":{"S":"p"},"SK":{"S":"s"},"door":{"S":"d"}}"#, both);
        check(
            r#"{"a":{"M":{"PK":{"N":"1"}}},"door":{"S":"d"},"SK":{"S":"s"},"b":{"NULL":true},"PK":{"S":"p"}}"#,
            both,
        );
        check(
            r#"{"\u0050K":{"S":"p"},"SK":{"S":"\u0073"},"x":{"S":"d"}}"#,
            Some(("p", "s", [None, None])),
        );
        check(
            r#"{"area":{"S":"a"},"PK":{"S":"p"},"SK":{"S":"s"},"door":{"S":"d"}}"#,
            Some(("p", "s", [Some(("d", "s")), Some(("a", "p"))])),
        );
    }

    #[test]
    fn an_item_without_a_whole_key_is_refused() {
        for item in [
            r#"{"PK":{"S":"p"}}"#,
            r#"{"SK":{"S":"s"}}"#,
            r#"{"PK":{"S":""},"SK":{"S":"s"}}"#,
            r#"{"PK":{"N":"1"},"SK":{"S":"s"}}"#,
            r#"{"PK":{"S":"p"},"SK":{"S":"s"},"door":{"N":"1"}}"#,
            r#"{"PK":{"S":"p"},"SK":{"S":"s"},"area":{"S":""}}"#,
            "[]",
        ] {
            check(item, None);
        }
    }

    #[test]
    fn a_key_names_one_item_and_nothing_else() {
        let (plain, with_door) = (
            r#"{"PK":{"S":"p"},"SK":{"S":"s"}}"#,
            r#"{"PK":{"S":"p"},"SK":{"S":"s"},"door":{"S":"d"}}"#,
        );
        let [by_door, by_area] = &indexes();
        assert!(of_key(plain).is_ok() && of_key(with_door).is_err());
        assert!(of_start(plain, None).is_ok() && of_start(with_door, Some(by_door)).is_ok());
        assert!(of_start(plain, Some(by_door)).is_err());
        assert!(of_start(with_door, Some(by_area)).is_err());
    }
}
