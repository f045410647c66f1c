//! Reading the attributes of an item, strictly: an attribute is absent, or it is of the right kind, or the item
//! is malformed. `NULL` is of no right kind: a writer that means "absent" leaves the attribute out.

use std::{fmt, str::FromStr};

use crate::model::item::{Item, Value};

/// Why an item is malformed: the attribute, with its path, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemError {
    /// For example `Policies[2].Effect`.
    pub attribute: String,
    /// For example `is missing`.
    pub why: &'static str,
}

impl ItemError {
    /// The error `why` at `attribute`.
    pub fn new(attribute: &str, why: &'static str) -> Self {
        Self {
            attribute: attribute.to_owned(),
            why,
        }
    }

    /// The same error, seen from the item that holds this map at `list[index]`.
    pub fn within(self, list: &str, index: usize) -> Self {
        Self {
            attribute: format!("{list}[{index}].{}", self.attribute),
            why: self.why,
        }
    }
}

impl fmt::Display for ItemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.attribute, self.why)
    }
}

impl std::error::Error for ItemError {}

/// The text of an `S` attribute, not empty.
pub fn text<'a>(item: &'a Item, name: &str) -> Result<Option<&'a str>, ItemError> {
    match item.get(name) {
        None => Ok(None),
        Some(Value::Text(text)) if text.is_empty() => Err(ItemError::new(name, "is empty")),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(_) => Err(ItemError::new(name, "is not a string")),
    }
}

/// The text of an `S` attribute that must be there.
pub fn required_text<'a>(item: &'a Item, name: &str) -> Result<&'a str, ItemError> {
    text(item, name)?.ok_or_else(|| ItemError::new(name, "is missing"))
}

/// An id that the item may name.
pub fn id(item: &Item, name: &str) -> Result<Option<Box<str>>, ItemError> {
    Ok(text(item, name)?.map(Box::from))
}

/// One word of a closed set.
pub fn word<T>(
    item: &Item,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ItemError> {
    let Some(text) = text(item, name)? else {
        return Ok(None);
    };
    parse(text)
        .map(Some)
        .ok_or_else(|| ItemError::new(name, "is not a known word"))
}

/// One word of a closed set that must be there.
pub fn required_word<T>(
    item: &Item,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, ItemError> {
    word(item, name, parse)?.ok_or_else(|| ItemError::new(name, "is missing"))
}

/// A whole number in the range of `T`.
pub fn integer<T: FromStr>(item: &Item, name: &str) -> Result<Option<T>, ItemError> {
    match item.get(name) {
        None => Ok(None),
        Some(value @ Value::Number(_)) => match value.as_integer() {
            Some(number) => Ok(Some(number)),
            None => Err(ItemError::new(name, "is not a whole number in range")),
        },
        Some(_) => Err(ItemError::new(name, "is not a number")),
    }
}

/// A `BOOL`; false when absent.
pub fn flag(item: &Item, name: &str) -> Result<bool, ItemError> {
    match item.get(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(ItemError::new(name, "is not a boolean")),
    }
}

/// The entries of a list, when it is there.
pub fn list<'a>(item: &'a Item, name: &str) -> Result<Option<&'a [Value]>, ItemError> {
    match item.get(name) {
        None => Ok(None),
        Some(Value::List(entries)) => Ok(Some(entries)),
        Some(_) => Err(ItemError::new(name, "is not a list")),
    }
}

/// A list of ids, when it is there.
pub fn ids(item: &Item, name: &str) -> Result<Option<Box<[Box<str>]>>, ItemError> {
    let Some(entries) = list(item, name)? else {
        return Ok(None);
    };
    let each = entries.iter().map(|entry| match entry {
        Value::Text(text) if !text.is_empty() => Ok(Box::from(text.as_str())),
        _ => Err(ItemError::new(
            name,
            "has an entry that is not a string, or empty",
        )),
    });
    each.collect::<Result<_, _>>().map(Some)
}

/// A list of maps, each read by `read`; empty when absent. Errors name the place in the list.
pub fn maps<T>(
    item: &Item,
    name: &str,
    read: impl Fn(&Item) -> Result<T, ItemError>,
) -> Result<Box<[T]>, ItemError> {
    let entries = list(item, name)?.unwrap_or_default().iter().enumerate();
    let each = entries.map(|(index, entry)| match entry {
        Value::Map(inner) => read(inner).map_err(|error| error.within(name, index)),
        _ => Err(ItemError::new(name, "has an entry that is not a map")),
    });
    each.collect()
}
