//! An item of a DynamoDB table, in our own words, so that pure code can read items without the SDK.

use std::collections::BTreeMap;

/// The attributes of an item by name.
pub type Item = BTreeMap<String, Value>;

/// One attribute. Numbers stay the text they are on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `S`
    Text(String),
    /// `N`, as decimal text.
    Number(String),
    /// `BOOL`
    Bool(bool),
    /// `SS`
    TextSet(Vec<String>),
    /// `L`
    List(Vec<Value>),
    /// `M`
    Map(Item),
    /// `NULL`
    Null,
    /// A kind that no item of ours uses (binary, number set, binary set).
    Other,
}

impl Value {
    /// The text of an `S`.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of an `N` that is a whole number in range.
    pub fn as_integer<T: std::str::FromStr>(&self) -> Option<T> {
        match self {
            Self::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }
}

/// One change of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `PK` and `SK`.
    pub key: (String, String),
    /// The item as it is now, or nothing when it was removed.
    pub image: Option<Item>,
    /// Its sequence number in the shard.
    pub sequence: String,
    /// When the service says it happened: Unix epoch milliseconds, coarse (seconds).
    pub created_at_ms: i64,
}

/// What must still hold of an item for a write to count: what was read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There was none.
    Absent,
    /// It had this `Version`.
    Version(u64),
    /// It had no `Version`, and these attributes, each with its value or without one.
    Attributes(Vec<(String, Option<Value>)>),
}

/// A conditional write of some attributes of one item; all others stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemWrite {
    /// `PK` and `SK`.
    pub key: (String, String),
    /// What these attributes are afterwards.
    pub set: Vec<(String, Value)>,
    /// These are gone afterwards.
    pub remove: Vec<String>,
    /// What must hold.
    pub seen: Seen,
}
