//! Plain tables: those of the DynamoDB stand-in whose every write nobody reads from a stream, held in memory.
//!
//! A table is plain when it has no stream, its key is `PK` and `SK` (texts), and its indexes are global ones of two texts
//! each, which hold whole items or their keys. dynoxide keeps each item in a transaction of SQLite, which costs a core at the rate of the
//! decision table; here it costs a copy of the item's text. dynoxide still knows the table and describes it; its data
//! is here alone, and whoever asks for what is not played here gets a refusal, never an answer from the empty twin.
//! Not acted upon: time to live, item counts and sizes, capacity, what is in an item beside its keys.

mod condition;
mod holds;
mod keys;
mod operations;
mod refusal;
mod requests;
mod table;
#[cfg(test)]
mod tests;
mod transaction;

use std::{borrow::Cow, collections::HashMap};

use serde::{Deserialize, de::IgnoredAny};

pub use refusal::Refusal;

use keys::{Index, PK, SK};
use table::Table;

/// All plain tables, by name.
#[derive(Debug, Default)]
pub struct Tables(HashMap<String, Table>);

/// A CreateTable request, as far as it says whether the table is plain.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    table_name: String,
    key_schema: Vec<KeyPart>,
    attribute_definitions: Vec<Definition>,
    #[serde(default)]
    global_secondary_indexes: Vec<Secondary>,
    local_secondary_indexes: Option<IgnoredAny>,
    stream_specification: Option<Stream>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyPart {
    attribute_name: String,
    key_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Secondary {
    index_name: String,
    key_schema: Vec<KeyPart>,
    projection: Projection,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Projection {
    projection_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stream {
    #[serde(default)]
    stream_enabled: bool,
}

impl Create {
    /// The indexes of the table; nothing when the table is not plain.
    fn plain(&self) -> Option<Vec<Index>> {
        let streams = self.stream_specification.as_ref();
        if streams.is_some_and(|stream| stream.stream_enabled)
            || self.local_secondary_indexes.is_some()
            || self.texts(&self.key_schema)? != (PK, SK)
        {
            return None;
        }
        let indexes = self.global_secondary_indexes.iter();
        let index = |index: &Secondary| {
            let (hash, range) = self.texts(&index.key_schema)?;
            let keys_only = match index.projection.projection_type.as_str() {
                "ALL" => false,
                "KEYS_ONLY" => true,
                _ => return None,
            };
            Some(Index {
                name: index.index_name.clone(),
                hash: hash.to_owned(),
                range: range.to_owned(),
                keys_only,
            })
        };
        indexes.map(index).collect()
    }

    /// Partition and sort key of a key of two texts.
    fn texts<'a>(&self, schema: &'a [KeyPart]) -> Option<(&'a str, &'a str)> {
        let [hash, range] = schema else { return None };
        let is_text = |part: &KeyPart| {
            let mut definitions = self.attribute_definitions.iter();
            definitions.any(|definition| {
                definition.attribute_name == part.attribute_name && definition.attribute_type == "S"
            })
        };
        let fits =
            hash.key_type == "HASH" && range.key_type == "RANGE" && is_text(hash) && is_text(range);
        fits.then_some((&hash.attribute_name, &range.attribute_name))
    }
}

/// Any request, as far as it names tables.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Named<'a> {
    #[serde(borrow)]
    table_name: Option<Cow<'a, str>>,
    request_items: HashMap<String, IgnoredAny>,
    transact_items: Vec<HashMap<String, Named<'a>>>,
}

impl Named<'_> {
    fn any(&self, is: impl Fn(&str) -> bool + Copy) -> bool {
        self.table_name.as_deref().is_some_and(is)
            || self.request_items.keys().any(|name| is(name))
            || self
                .transact_items
                .iter()
                .flat_map(HashMap::values)
                .any(|inner| inner.table_name.as_deref().is_some_and(is))
    }
}

/// A table may be named by its ARN.
fn name_of(name: &str) -> &str {
    name.rsplit_once(":table/").map_or(name, |(_, name)| name)
}

impl Tables {
    /// Takes note of a table that was just created by that request.
    pub fn created(&mut self, request: &str) {
        let Ok(create) = serde_json::from_str::<Create>(request) else {
            return;
        };
        if let Some(indexes) = create.plain() {
            self.0.insert(create.table_name, Table::new(indexes));
        }
    }

    /// Drops the data of a table that was just deleted by that request.
    pub fn deleted(&mut self, request: &str) {
        let named = serde_json::from_str::<Named<'_>>(request).unwrap_or_default();
        if let Some(name) = named.table_name {
            self.0.remove(name_of(&name));
        }
    }

    /// The body of the reply, when the request is about a plain table's data; else it is not for us.
    /// `operation` is empty when it is none on tables.
    pub fn answer(&mut self, operation: &str, request: &str) -> Option<Result<String, Refusal>> {
        match operation {
            // Of the table, not of its data; or of another service.
            "" | "CreateTable" | "DeleteTable" | "DescribeTable" | "ListTables"
            | "UpdateTimeToLive" | "DescribeTimeToLive" => return None,
            // Names its tables in statements; too seldom asked for to be read.
            "ExecuteStatement" | "BatchExecuteStatement" | "ExecuteTransaction" => {
                let named = self.0.keys().any(|name| request.contains(name.as_str()));
                return named.then(|| Err(Refusal::not_played(operation)));
            }
            "BatchWriteItem" => {
                let checked = self.check_batch(request)?;
                return Some(checked.map(|batch| self.write_batch(batch)));
            }
            _ => {}
        }
        // What cannot be read names no plain table; dynoxide says what is wrong with it.
        let named: Named<'_> = serde_json::from_str(request).ok()?;
        let is_plain = |name: &str| self.0.contains_key(name_of(name));
        named
            .any(is_plain)
            .then(|| self.on_plain(operation, request, &named))
    }

    fn on_plain(
        &mut self,
        operation: &str,
        request: &str,
        named: &Named<'_>,
    ) -> Result<String, Refusal> {
        match operation {
            "BatchGetItem" => return self.batch_get(request),
            "TransactWriteItems" => return self.transact(request),
            _ => {}
        }
        let name = named.table_name.as_deref().unwrap_or_default();
        let table = self
            .0
            .get_mut(name_of(name))
            .ok_or_else(|| Refusal::not_played(operation))?;
        match operation {
            "PutItem" => operations::put_item(table, request),
            "GetItem" => operations::get_item(table, request),
            "DeleteItem" => operations::delete_item(table, request),
            "Query" => operations::query(table, request),
            "Scan" => operations::scan(table, request),
            _ => Err(Refusal::not_played(operation)),
        }
    }
}
