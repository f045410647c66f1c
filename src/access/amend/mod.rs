//! Changing the access table by hand: what a person says of an item, in a file or on the command line, and what that
//! changes.
//!
//! `kind` knows the kinds of items and the form of each attribute, `cell` reads one value, `csv` and `json` read files into
//! [`Row`]s, `difference` lays a row over the item that is there and says what to write. What a row does not
//! name stays as it is; what it names as empty goes. Every result is read by the daemon's own reader
//! ([`crate::access::read`]) before it is written: what the daemon would ignore is refused.

pub mod cell;
pub mod csv;
pub mod difference;
pub mod json;
pub mod kind;

use std::collections::{BTreeMap, HashMap};

use crate::model::item::Value;

/// What is said of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it is said; 0 for the command line.
    pub line: usize,
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
    /// Attributes; nothing where one is to go.
    pub said: BTreeMap<String, Option<Value>>,
}

/// A row that is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where it is said; 0 for the command line.
    pub line: usize,
    /// `PK` and `SK`, as far as known.
    pub key: String,
    /// Why.
    pub why: String,
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Rows that can be read, each of another item.
    pub rows: Vec<Row>,
    /// The others.
    pub refused: Vec<Refused>,
}

impl Sheet {
    /// Takes a row, or why it is none. Of two rows of one item the second is refused: which one was meant?
    fn take(&mut self, row: Result<Row, Refused>, lines: &mut HashMap<(String, String), usize>) {
        match row {
            Err(refused) => self.refused.push(refused),
            Ok(row) => {
                let key = (row.pk.clone(), row.sk.clone());
                match lines.get(&key) {
                    Some(first) => self.refused.push(Refused {
                        line: row.line,
                        key: spell(&row.pk, &row.sk),
                        why: format!("was said on line {first} already"),
                    }),
                    None => {
                        lines.insert(key, row.line);
                        self.rows.push(row);
                    }
                }
            }
        }
    }
}

/// An item's key for people: of the kinds that have one sort key, the partition key alone.
pub fn spell(pk: &str, sk: &str) -> String {
    match sk {
        "CONFIG" | "CARD#STATUS" | "" => pk.to_owned(),
        _ => format!("{pk}/{sk}"),
    }
}
