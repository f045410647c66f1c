//! The requests that plain tables take. A field that is not named here is refused: who asks for what is not played
//! shall hear so. Fields that are named and not kept change nothing that a caller could be misled by.

use std::{borrow::Cow, collections::HashMap};

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny},
};
use serde_json::value::RawValue;

use super::{keys::Text, refusal::Refusal};

/// Most puts and deletes of a BatchWriteItem (service limit).
pub const WRITES_MAX: usize = 25;
/// Most keys of a BatchGetItem (service limit).
pub const KEYS_MAX: usize = 100;
/// Most segments of a scan (service limit).
const SEGMENTS_MAX: u32 = 1_000_000;

/// A field that is taken and changes nothing.
#[derive(Debug, Default)]
pub struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(from).map(|_| Self)
    }
}

macro_rules! request {
    (@whole $(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "PascalCase")]
        pub struct $name<'a> {
            $($(#[$field_doc])* pub $field: $kind,)*
            #[serde(default, rename = "ReturnConsumedCapacity")]
            _capacity: Ignored,
            #[serde(default, rename = "ReturnItemCollectionMetrics")]
            _metrics: Ignored,
        }
    };
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        request! {
            @whole $(#[$doc])* $name {
                $($fields)*
                /// Read before.
                #[serde(default, rename = "TableName")]
                _table_name: Ignored,
            }
        }
    };
}

// Here, where the macro is known.
mod conditional;

pub use conditional::{Action, DeleteItem, PutItem, TransactWrite};

request! {
    /// BatchWriteItem.
    BatchWrite {
        /// By table.
        #[serde(borrow)]
        request_items: HashMap<String, Vec<Write<'a>>>,
    }
}

/// One put or delete.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Write<'a> {
    /// An item.
    PutRequest {
        /// As text.
        #[serde(rename = "Item", borrow)]
        item: &'a RawValue,
    },
    /// No item.
    DeleteRequest {
        /// As text.
        #[serde(rename = "Key", borrow)]
        key: &'a RawValue,
    },
}

request! {
    /// BatchGetItem.
    BatchGet {
        /// By table.
        #[serde(borrow)]
        request_items: HashMap<String, Wanted<'a>>,
    }
}

request! {
    /// The keys asked of one table. The projection is taken and not acted upon: whole items are given, which hold
    /// what was asked for.
    Wanted {
        /// As texts.
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
        // All reads are consistent.
        #[serde(default, rename = "ConsistentRead")]
        _consistent: Ignored,
        #[serde(default, rename = "ProjectionExpression")]
        _projection: Ignored,
        #[serde(default, rename = "ExpressionAttributeNames")]
        _names: Ignored,
    }
}

request! {
    /// GetItem.
    GetItem {
        /// As text.
        #[serde(borrow)]
        key: &'a RawValue,
        // All reads are consistent.
        #[serde(default, rename = "ConsistentRead")]
        _consistent: Ignored,
    }
}

request! {
    /// Query.
    Query {
        /// None: the table itself.
        #[serde(borrow, default)]
        index_name: Option<Cow<'a, str>>,
        /// What is asked for.
        #[serde(borrow)]
        key_condition_expression: Cow<'a, str>,
        /// Of the condition.
        #[serde(default)]
        expression_attribute_names: HashMap<String, String>,
        /// Of the condition.
        #[serde(borrow, default)]
        expression_attribute_values: HashMap<String, Text<'a>>,
        /// Always so of the table, never of an index.
        #[serde(default)]
        consistent_read: Option<bool>,
        /// None: forward.
        #[serde(default)]
        scan_index_forward: Option<bool>,
        /// Most items.
        #[serde(default)]
        limit: Option<u32>,
        /// The last item of the page before.
        #[serde(borrow, default)]
        exclusive_start_key: Option<&'a RawValue>,
        /// What is given.
        #[serde(default)]
        select: Select,
    }
}

request! {
    /// Scan.
    Scan {
        // All reads are consistent.
        #[serde(default, rename = "ConsistentRead")]
        _consistent: Ignored,
        /// Most items.
        #[serde(default)]
        limit: Option<u32>,
        /// The last item of the page before.
        #[serde(borrow, default)]
        exclusive_start_key: Option<&'a RawValue>,
        /// Which part; none: all.
        #[serde(default)]
        segment: Option<u32>,
        /// Of how many.
        #[serde(default)]
        total_segments: Option<u32>,
        /// What is given.
        #[serde(default)]
        select: Select,
    }
}

impl Scan<'_> {
    /// The segment, and of how many.
    ///
    /// # Errors
    /// When there is no such segment.
    pub fn part(&self) -> Result<(u32, u32), Refusal> {
        match (self.segment, self.total_segments) {
            (None, None) => Ok((0, 1)),
            (Some(segment), Some(total)) if segment < total && total <= SEGMENTS_MAX => {
                Ok((segment, total))
            }
            given => Err(Refusal::validation(format!(
                "Segment and TotalSegments must be given together, the first less than the second, and that at most \
                 {SEGMENTS_MAX}; given: {given:?}"
            ))),
        }
    }
}

/// The most items of a page that a request asks for.
///
/// # Errors
/// When it asks for none.
pub fn limit(given: Option<u32>) -> Result<usize, Refusal> {
    match given {
        Some(0) => Err(Refusal::validation(
            "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value \
             greater than or equal to 1",
        )),
        given => Ok(given.map_or(usize::MAX, |limit| limit as usize)),
    }
}

/// What a page holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Select {
    /// Whole items.
    AllAttributes,
    /// What the table or index holds of the items.
    #[default]
    AllProjectedAttributes,
    /// How many there are.
    Count,
}
