//! The bodies of the decision table's two calls, BatchWriteItem and BatchGetItem, for an
//! [`Exchange`](super::exchange::Exchange) of them, and DynamoDB's JSON of a value: a string or a number by its type.

pub(super) mod gets;
pub(super) mod puts;

use std::{borrow::Cow, collections::BTreeMap};

use itoa::Integer;
use serde::{Deserialize, Serialize, Serializer};

/// One table of a call that names several.
type Tables<T> = BTreeMap<String, T>;

/// A string, `{"S":"…"}`.
#[derive(Serialize)]
struct S<T> {
    #[serde(rename = "S")]
    text: T,
}

/// A number, `{"N":"…"}`.
#[derive(Serialize)]
struct N<T: Integer> {
    #[serde(rename = "N", serialize_with = "digits")]
    number: T,
}

fn digits<T: Integer, To: Serializer>(number: &T, to: To) -> Result<To::Ok, To::Error> {
    to.serialize_str(itoa::Buffer::new().format(*number))
}

/// Text that is read where it stands, unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value, read: a string, a number, or neither of them.
#[derive(Default, Deserialize)]
struct Scalar<'a> {
    #[serde(borrow, rename = "S")]
    text: Option<Text<'a>>,
    #[serde(borrow, rename = "N")]
    number: Option<Text<'a>>,
}

impl Scalar<'_> {
    fn text(&self) -> Option<&str> {
        self.text.as_ref().map(|text| &*text.0)
    }

    fn number(&self) -> Option<&str> {
        self.number.as_ref().map(|number| &*number.0)
    }
}

/// Partition and sort key of an item, read; nothing when they are not both strings.
fn key(partition: &Scalar<'_>, sort: &Scalar<'_>) -> Option<(String, String)> {
    Some((partition.text()?.to_owned(), sort.text()?.to_owned()))
}

/// The key of an item.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default, rename = "PK")]
    partition: Scalar<'a>,
    #[serde(borrow, default, rename = "SK")]
    sort: Scalar<'a>,
}

impl Named<'_> {
    fn key(&self) -> Option<(String, String)> {
        key(&self.partition, &self.sort)
    }
}
