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
}

/// What an item, a key or a start key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys<'a> {
    /// The value of `PK`.
    pub pk: Cow<'a, str>,
    /// The value of `SK`.
    pub sk: Cow<'a, str>,
    /// The values of the index's two attributes, when the item has both.
    pub index: Option<(Cow<'a, str>, Cow<'a, str>)>,
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
/// When `PK` or `SK` is missing or empty, or a key attribute is no text.
pub fn of_item<'a>(item: &'a str, index: Option<&Index>) -> Result<Keys<'a>, Refusal> {
    read(item, index).map(|(keys, _)| keys)
}

/// The keys of what names one item: `PK` and `SK` and nothing else.
///
/// # Errors
/// When it does not.
pub fn of_key(key: &str) -> Result<Keys<'_>, Refusal> {
    exactly(read(key, None)?, false)
}

/// The keys of where a page starts: those of the table, and for a query of the index its own too.
///
/// # Errors
/// When anything is missing, or too much.
pub fn of_start<'a>(key: &'a str, index: Option<&Index>) -> Result<Keys<'a>, Refusal> {
    exactly(read(key, index)?, index.is_some())
}

fn exactly((keys, others): (Keys<'_>, usize), indexed: bool) -> Result<Keys<'_>, Refusal> {
    if others == 0 && keys.index.is_some() == indexed {
        return Ok(keys);
    }
    Err(Refusal::validation(
        "The provided key element does not match the schema",
    ))
}

/// The keys, and how many other attributes there are.
fn read<'a>(item: &'a str, index: Option<&Index>) -> Result<(Keys<'a>, usize), Refusal> {
    let names = [
        Some(PK),
        Some(SK),
        index.map(|index| index.hash.as_str()),
        index.map(|index| index.range.as_str()),
    ];
    let ([pk, sk, hash, range], others) = serde_json::Deserializer::from_str(item)
        .deserialize_map(Wanted(names))
        .map_err(|error| {
            Refusal::validation(format!("the item or key is not as expected: {error}"))
        })?;
    let keys = Keys {
        pk: given(pk, PK)?,
        sk: given(sk, SK)?,
        index: hash.zip(range),
    };
    Ok((keys, others))
}

fn given<'a>(value: Option<Cow<'a, str>>, name: &str) -> Result<Cow<'a, str>, Refusal> {
    let value = value.ok_or_else(|| {
        Refusal::validation(format!(
            "One or more parameter values were invalid: Missing the key {name} in the item"
        ))
    })?;
    if value.is_empty() {
        return Err(Refusal::validation(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
             empty string value. Key: {name}"
        )));
    }
    Ok(value)
}

/// Reads the attributes of these names and counts the others. Two names may be the same one.
struct Wanted<'n>([Option<&'n str>; 4]);

impl<'a> Visitor<'a> for Wanted<'_> {
    type Value = ([Option<Cow<'a, str>>; 4], usize);

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a map of attributes")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut found, mut others) = ([const { None }; 4], 0);
        while let Some(Name(name)) = map.next_key()? {
            if !self.0.contains(&Some(&name)) {
                map.next_value::<IgnoredAny>()?;
                others += 1;
                continue;
            }
            let Text { text } = map.next_value()?;
            for (wanted, slot) in self.0.iter().zip(&mut found) {
                if *wanted == Some(&name) {
                    *slot = Some(text.clone());
                }
            }
        }
        Ok((found, others))
    }
}

/// An attribute's name, not copied unless it holds an escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn doors() -> Index {
        Index {
            name: "ByDoor".to_owned(),
            hash: "door".to_owned(),
            range: SK.to_owned(),
        }
    }

    /// `PK`, `SK`, and both of the index.
    type Read<'a> = (&'a str, &'a str, Option<(&'a str, &'a str)>);

    #[track_caller]
    fn check(item: &str, expected: Option<Read<'_>>) {
        let keys = of_item(item, Some(&doors())).ok();
        let keys = keys.as_ref().map(|keys| {
            let index = keys.index.as_ref();
            (
                &*keys.pk,
                &*keys.sk,
                index.map(|(hash, range)| (&**hash, &**range)),
            )
        });
        assert_eq!(keys, expected, "{item}");
    }

    #[test]
    fn keys_are_found_wherever_they_stand() {
        let both = Some(("p", "s", Some(("d", "s"))));
        check(r#"{"PK":{"S":"p"},"SK":{"S":"s"},"door":{"S":"d"}}"#, both);
        check(
            r#"{"a":{"M":{"PK":{"N":"1"}}},"door":{"S":"d"},"SK":{"S":"s"},"b":{"NULL":true},"PK":{"S":"p"}}"#,
            both,
        );
        check(
            r#"{"\u0050K":{"S":"p"},"SK":{"S":"\u0073"},"x":{"S":"d"}}"#,
            Some(("p", "s", None)),
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
        assert!(of_key(plain).is_ok() && of_key(with_door).is_err());
        assert!(of_start(plain, None).is_ok() && of_start(with_door, Some(&doors())).is_ok());
        assert!(of_start(plain, Some(&doors())).is_err());
    }
}
