//! Items and changes for tests, spelled short.

use crate::{
    model::item::Change,
    model::item::{Item, Value},
};

/// `S`
pub fn s(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// `N`
pub fn n(number: i64) -> Value {
    Value::Number(number.to_string())
}

/// `BOOL`
pub fn yes() -> Value {
    Value::Bool(true)
}

/// `L`
pub fn list<const N: usize>(entries: [Value; N]) -> Value {
    Value::List(entries.into())
}

/// `M`
pub fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(attributes(fields))
}

/// Attributes alone.
pub fn attributes<const N: usize>(fields: [(&str, Value); N]) -> Item {
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// An item with its key.
pub fn item<const N: usize>(pk: &str, sk: &str, fields: [(&str, Value); N]) -> Item {
    let mut item = attributes(fields);
    item.insert("PK".to_owned(), s(pk));
    item.insert("SK".to_owned(), s(sk));
    item
}

/// A change that put this item.
pub fn put(item: Item) -> Change {
    let key = |name: &str| {
        item.get(name)
            .and_then(Value::as_text)
            .unwrap_or_default()
            .to_owned()
    };
    Change {
        key: (key("PK"), key("SK")),
        image: Some(item),
        sequence: "1".to_owned(),
        created_at_ms: 0,
    }
}

/// A change that removed the item of this key.
pub fn removed(pk: &str, sk: &str) -> Change {
    Change {
        key: (pk.to_owned(), sk.to_owned()),
        image: None,
        sequence: "1".to_owned(),
        created_at_ms: 0,
    }
}

/// The window `from`–`until` on these days (Monday is 1).
pub fn window<const N: usize>(days: [i64; N], from: &str, until: &str) -> Value {
    map([
        ("Days", Value::List(days.map(n).into())),
        ("From", s(from)),
        ("Until", s(until)),
    ])
}
