//! The operations on plain tables: a request's text in, a reply's text out.

use std::{borrow::Cow, collections::HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::{
    Tables,
    condition::{Placeholders, parse},
    keys::{Index, Keys, PK, SK, of_item, of_key, of_start},
    name_of,
    refusal::Refusal,
    requests::{
        BatchGet, BatchWrite, DeleteItem, GetItem, KEYS_MAX, PutItem, Query, Scan, Select,
        WRITES_MAX, Write, limit,
    },
    table::{Asked, Page, Table},
};

const DUPLICATES: &str = "Provided list of item keys contains duplicates";

/// A reply that says nothing.
const DONE: &str = "{}";

/// A request out of its text.
///
/// # Errors
/// When it is none of that kind, or has a field that is not played.
pub fn read<'a, T: Deserialize<'a>>(request: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(request).map_err(|error| Refusal::unread(&error))
}

/// PutItem.
pub fn put_item(table: &mut Table, request: &str) -> Result<String, Refusal> {
    let request: PutItem<'_> = read(request)?;
    let text = request.item.get();
    let keys = of_item(text, table.indexes())?;
    if let Some(shown) = request.failed(table.get(&keys))? {
        return Err(Refusal::ConditionFailed(shown));
    }
    table.put(&keys, text);
    Ok(DONE.to_owned())
}

/// GetItem.
pub fn get_item(table: &Table, request: &str) -> Result<String, Refusal> {
    let request: GetItem<'_> = read(request)?;
    let found = table.get(&of_key(request.key.get())?);
    Ok(found.map_or_else(|| DONE.to_owned(), |item| format!(r#"{{"Item":{item}}}"#)))
}

/// DeleteItem.
pub fn delete_item(table: &mut Table, request: &str) -> Result<String, Refusal> {
    let request: DeleteItem<'_> = read(request)?;
    let keys = of_key(request.key.get())?;
    if let Some(shown) = request.failed(table.get(&keys))? {
        return Err(Refusal::ConditionFailed(shown));
    }
    table.delete(&keys);
    Ok(DONE.to_owned())
}

/// Query.
pub fn query(table: &Table, request: &str) -> Result<String, Refusal> {
    let request: Query<'_> = read(request)?;
    let name = request.index_name.as_deref();
    let (number, index) = name.map(|name| index(table, name)).transpose()?.unzip();
    let keys_only = index.is_some_and(|index| index.keys_only);
    if keys_only && request.select == Select::AllAttributes {
        return Err(Refusal::validation(
            "Select type ALL_ATTRIBUTES is not supported for an index whose projection type is not ALL",
        ));
    }
    if index.is_some() && request.consistent_read == Some(true) {
        return Err(Refusal::validation(
            "Consistent reads are not supported on global secondary indexes",
        ));
    }
    let placeholders = Placeholders {
        names: request.expression_attribute_names,
        values: request.expression_attribute_values,
    };
    let key = index.map_or((PK, SK), |index| (&index.hash, &index.range));
    let condition = parse(&request.key_condition_expression, &placeholders, key)?;
    let start = request.exclusive_start_key;
    let start = start
        .map(|start| of_start(start.get(), index))
        .transpose()?;
    let asked = Asked {
        forward: request.scan_index_forward.unwrap_or(true),
        limit: limit(request.limit)?,
        start: start.as_ref(),
    };
    let page = table.query(&condition, number, asked);
    let of_index = index.map(|index| (index, condition.partition.as_str()));
    Ok(paged(&page, request.select, of_index))
}

/// The index of that name, and its number.
fn index<'t>(table: &'t Table, name: &str) -> Result<(usize, &'t Index), Refusal> {
    let mut indexes = table.indexes().iter().enumerate();
    let found = indexes.find(|(_, index)| index.name == name);
    found.ok_or_else(|| {
        Refusal::validation(format!(
            "The table does not have the specified index: {name}"
        ))
    })
}

/// Scan.
pub fn scan(table: &Table, request: &str) -> Result<String, Refusal> {
    let request: Scan<'_> = read(request)?;
    let (segment, segments) = request.part()?;
    let limit = limit(request.limit)?;
    let start = request.exclusive_start_key;
    let start = start.map(|start| of_start(start.get(), None)).transpose()?;
    let page = table.scan(segment, segments, limit, start.as_ref());
    let page = page.ok_or_else(|| {
        Refusal::validation("The provided starting key is invalid: it is not in this segment")
    })?;
    Ok(paged(&page, request.select, None))
}

/// The reply with a page of the table, or of a partition of an index.
fn paged(page: &Page, select: Select, of_index: Option<(&Index, &str)>) -> String {
    let count = page.items.len();
    let mut reply = format!(r#"{{"Count":{count},"ScannedCount":{count}"#);
    if select != Select::Count {
        reply.push_str(r#","Items":["#);
        push_joined(&mut reply, page.items.iter().map(|item| &**item));
        reply.push(']');
    }
    if let Some(last) = &page.last {
        reply.push_str(r#","LastEvaluatedKey":"#);
        reply.push_str(&last.key(of_index));
    }
    reply.push('}');
    reply
}

fn push_joined<'a>(reply: &mut String, items: impl Iterator<Item = &'a str> + Clone) {
    reply.reserve(items.clone().map(|item| item.len() + 1).sum());
    for (number, item) in items.enumerate() {
        if number > 0 {
            reply.push(',');
        }
        reply.push_str(item);
    }
}

/// Keys of which none may stand twice.
#[derive(Default)]
struct Distinct<'a>(HashSet<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Distinct<'a> {
    fn add(&mut self, keys: &Keys<'a>) -> Result<(), Refusal> {
        if self.0.insert((keys.pk.clone(), keys.sk.clone())) {
            return Ok(());
        }
        Err(Refusal::validation(DUPLICATES))
    }
}

/// The writes to one table: an item's keys, and its text when it is put.
type Checked<'a> = (String, Vec<(Keys<'a>, Option<&'a str>)>);

/// A BatchWriteItem that may be written.
#[derive(Debug)]
pub struct Batch<'a>(Vec<Checked<'a>>);

impl Tables {
    /// Checks a BatchWriteItem; nothing when it names no plain table, or cannot be read.
    pub fn check_batch<'a>(&self, request: &'a str) -> Option<Result<Batch<'a>, Refusal>> {
        let request: BatchWrite<'_> = match serde_json::from_str(request) {
            Ok(request) => request,
            Err(error) => {
                // Whose it is decides who refuses it.
                let named: super::Named<'_> = serde_json::from_str(request).ok()?;
                let ours = named.any(|name| self.0.contains_key(name_of(name)));
                return ours.then(|| Err(Refusal::unread(&error)));
            }
        };
        let mut names = request.request_items.keys();
        names
            .any(|name| self.0.contains_key(name_of(name)))
            .then(|| self.checked(request))
    }

    /// All of a batch is checked before any of it is written.
    fn checked<'a>(&self, request: BatchWrite<'a>) -> Result<Batch<'a>, Refusal> {
        let count: usize = request.request_items.values().map(Vec::len).sum();
        if count == 0 || count > WRITES_MAX {
            return Err(Refusal::validation(format!(
                "a BatchWriteItem has 1 to {WRITES_MAX} puts and deletes, and this one has {count}"
            )));
        }
        let mut checked = Vec::with_capacity(request.request_items.len());
        for (name, writes) in request.request_items {
            let table = self.plain(&name)?;
            let (mut distinct, mut of_table) = (Distinct::default(), Vec::with_capacity(count));
            for write in writes {
                let (keys, text) = match write {
                    Write::PutRequest { item } => {
                        (of_item(item.get(), table.indexes())?, Some(item.get()))
                    }
                    Write::DeleteRequest { key } => (of_key(key.get())?, None),
                };
                distinct.add(&keys)?;
                of_table.push((keys, text));
            }
            checked.push((name, of_table));
        }
        Ok(Batch(checked))
    }

    /// Writes a batch that was checked, except to a table that is gone since. The body of the reply.
    pub fn write_batch(&mut self, batch: Batch<'_>) -> String {
        for (name, writes) in batch.0 {
            let Some(table) = self.0.get_mut(name_of(&name)) else {
                continue;
            };
            for (keys, text) in writes {
                match text {
                    Some(text) => table.put(&keys, text),
                    None => table.delete(&keys),
                }
            }
        }
        r#"{"UnprocessedItems":{}}"#.to_owned()
    }

    /// BatchGetItem of at least one plain table. DynamoDB ends a reply at 16 MB; here all is given.
    pub(super) fn batch_get(&self, request: &str) -> Result<String, Refusal> {
        let request: BatchGet<'_> = read(request)?;
        let count: usize = request
            .request_items
            .values()
            .map(|wanted| wanted.keys.len())
            .sum();
        if count == 0 || count > KEYS_MAX {
            return Err(Refusal::validation(format!(
                "a BatchGetItem has 1 to {KEYS_MAX} keys, and this one has {count}"
            )));
        }
        let mut reply = r#"{"Responses":{"#.to_owned();
        for (number, (name, wanted)) in request.request_items.iter().enumerate() {
            let (table, mut distinct) = (self.plain(name)?, Distinct::default());
            let mut found = Vec::with_capacity(wanted.keys.len());
            for key in &wanted.keys {
                let keys = of_key(key.get())?;
                distinct.add(&keys)?;
                found.extend(table.get(&keys).map(|item| &**item));
            }
            let comma = if number > 0 { "," } else { "" };
            reply.push_str(&format!("{comma}{}:[", Value::from(name.as_str())));
            push_joined(&mut reply, found.into_iter());
            reply.push(']');
        }
        reply.push_str(r#"},"UnprocessedKeys":{}}"#);
        Ok(reply)
    }

    pub(super) fn plain(&self, name: &str) -> Result<&Table, Refusal> {
        self.0.get(name_of(name)).ok_or_else(|| {
            Refusal::not_played(format_args!(
                "a request over plain tables and others; {name} is none of the plain ones, ask for it apart"
            ))
        })
    }
}
