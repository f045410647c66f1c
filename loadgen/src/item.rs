//! Items of the access table, as plain data.

use aws_sdk_dynamodb::types::AttributeValue;

/// A value of an attribute; the kinds that the access table uses.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    S(String),
    /// A number.
    N(i64),
    /// True or false.
    Bool(bool),
    /// A set of texts, not empty.
    Ss(Vec<String>),
    /// A list.
    L(Vec<Value>),
    /// A map.
    M(Vec<(&'static str, Value)>),
}

impl Value {
    /// A list of texts.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::L(texts.into_iter().map(Self::from).collect())
    }
}

impl<T: Into<String>> From<T> for Value {
    fn from(text: T) -> Self {
        Self::S(text.into())
    }
}

impl From<Value> for AttributeValue {
    fn from(value: Value) -> Self {
        match value {
            Value::S(text) => Self::S(text),
            Value::N(number) => Self::N(number.to_string()),
            Value::Bool(yes) => Self::Bool(yes),
            Value::Ss(texts) => Self::Ss(texts),
            Value::L(values) => Self::L(values.into_iter().map(Self::from).collect()),
            Value::M(fields) => Self::M(
                fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.into()))
                    .collect(),
            ),
        }
    }
}

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
    /// The other attributes.
    pub fields: Vec<(&'static str, Value)>,
}

impl Item {
    /// An item with sort key `CONFIG`.
    pub fn config(pk: String, fields: Vec<(&'static str, Value)>) -> Self {
        Self {
            pk,
            sk: "CONFIG".to_owned(),
            fields,
        }
    }

    /// The item as the SDK wants it.
    pub fn into_attributes(self) -> std::collections::HashMap<String, AttributeValue> {
        let keys = [("PK", Value::S(self.pk)), ("SK", Value::S(self.sk))];
        keys.into_iter()
            .chain(self.fields)
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
    }
}
