//! What GetRecords replies: a page. Payloads are decoded into one buffer that all records of the page share, sequence numbers
//! are copied into their records, and nothing else is kept of what a record says.

use std::fmt;

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_smithy_runtime_api::{box_error::BoxError, client::interceptors::context::Output};
use base64_simd::STANDARD;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::aws::exchange::Reading;
use crate::{
    aws::limits::GET_RECORDS_MAX,
    model::position::{
        ChildShard, Next, Page, Payloads, Record, SequenceNumber, ShardId, ShardIterator,
    },
};

/// How a reply of GetRecords is read.
pub(in crate::aws) const READING: Reading<Page> = Reading {
    read,
    output: || {
        let output = GetRecordsOutput::builder().set_records(Some(Vec::new()));
        Output::erase(output.build().expect("records are all it needs"))
    },
};

fn read(body: &[u8]) -> Result<Page, BoxError> {
    let (records, mut tail) = parse(body)?;
    Ok(Page {
        records,
        behind_latest_ms: tail.behind_latest_ms,
        next: match tail.next.take() {
            Some(next) => Next::Iterator(ShardIterator(next)),
            None => tail.end()?,
        },
    })
}

/// The records of a reply or an event, and what it says beside them.
pub(super) fn parse(body: &[u8]) -> Result<(Vec<Record>, Tail), BoxError> {
    // Payloads are three bytes for four letters, and most of the body.
    let mut records = Records {
        list: Vec::with_capacity((body.len() / RECORD_BYTES).min(GET_RECORDS_MAX as usize)),
        payloads: Payloads::with_capacity(body.len() / 4 * 3),
    };
    let mut from = serde_json::Deserializer::from_slice(body);
    let tail = from.deserialize_map(Reply(&mut records))?;
    from.end()?;
    records.payloads.close();
    Ok((records.list, tail))
}

/// What a record takes in a reply: a hundred bytes of names, a sequence number, and a payload of fifty.
const RECORD_BYTES: usize = 220;

/// The records read so far.
struct Records {
    list: Vec<Record>,
    payloads: Payloads,
}

/// What a reply says beside its records.
#[derive(Default)]
pub(super) struct Tail {
    /// The next iterator; of an event, the sequence number after which to go on.
    pub(super) next: Option<String>,
    pub(super) behind_latest_ms: i64,
    pub(super) children: Vec<Child>,
}

impl Tail {
    /// The end of the shard, if shards are named that continue it. What names none, and no place to go on either, ends no shard:
    /// what would still be in it was never read again. KCL refuses it, too, and asks again.
    pub(super) fn end(self) -> Result<Next, BoxError> {
        if self.children.is_empty() {
            return Err("neither a place to go on nor shards that continue".into());
        }
        let children = self.children.into_iter().map(ChildShard::from);
        Ok(Next::ShardEnd(children.collect()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Child {
    shard_id: String,
    #[serde(default)]
    parent_shards: Option<Vec<String>>,
    #[serde(default)]
    hash_key_range: Option<HashKeyRange>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HashKeyRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

impl From<Child> for ChildShard {
    fn from(child: Child) -> Self {
        let parents = child.parent_shards.unwrap_or_default();
        let range = child.hash_key_range;
        Self {
            id: ShardId::new(&child.shard_id),
            parents: parents.iter().map(|parent| ShardId::new(parent)).collect(),
            hash_range: range
                .map(|range| (range.starting_hash_key, range.ending_hash_key))
                .unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum ReplyField {
    Records,
    #[serde(alias = "ContinuationSequenceNumber")]
    NextShardIterator,
    MillisBehindLatest,
    ChildShards,
    #[serde(other)]
    Other,
}

/// The reply as a whole.
struct Reply<'a>(&'a mut Records);

impl<'de> Visitor<'de> for Reply<'_> {
    type Value = Tail;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reply of GetRecords")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tail, A::Error> {
        let mut tail = Tail::default();
        let mut listed = false;
        while let Some(field) = map.next_key()? {
            match field {
                ReplyField::Records if listed => return Err(A::Error::custom("records twice")),
                ReplyField::Records => {
                    map.next_value_seed(List(self.0))?;
                    listed = true;
                }
                ReplyField::NextShardIterator => tail.next = map.next_value()?,
                ReplyField::MillisBehindLatest => {
                    let behind: Option<i64> = map.next_value()?;
                    tail.behind_latest_ms = behind.unwrap_or(0);
                }
                ReplyField::ChildShards => {
                    let children: Option<Vec<Child>> = map.next_value()?;
                    tail.children = children.unwrap_or_default();
                }
                ReplyField::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !listed {
            return Err(A::Error::missing_field("Records"));
        }
        Ok(tail)
    }
}

/// The list of records.
struct List<'a>(&'a mut Records);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(One(self.0))?.is_some() {}
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum RecordField {
    SequenceNumber,
    Data,
    #[serde(other)]
    Other,
}

/// One record, appended to those before.
struct One<'a>(&'a mut Records);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut sequence, mut data) = (None, None);
        while let Some(field) = map.next_key()? {
            match field {
                RecordField::SequenceNumber => {
                    let number = map.next_value_seed(Text(SequenceNumber::from_ascii))?;
                    sequence = Some(number.ok_or_else(|| A::Error::custom("no sequence number"))?);
                }
                RecordField::Data => {
                    let payloads = &mut self.0.payloads;
                    let append = |text: &[u8]| {
                        payloads.push(|bytes: &mut Vec<u8>| STANDARD.decode_append(text, bytes))
                    };
                    let pushed = map.next_value_seed(Text(append))?;
                    let pushed = pushed.map_err(|_| A::Error::custom("data that is no base64"))?;
                    data = Some(pushed.ok_or_else(|| A::Error::custom("4 GiB and more"))?);
                }
                RecordField::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let sequence = sequence.ok_or_else(|| A::Error::missing_field("SequenceNumber"))?;
        let data = data.ok_or_else(|| A::Error::missing_field("Data"))?;
        self.0.list.push(Record { sequence, data });
        Ok(())
    }
}

/// A string as the bytes between its quotes, with escapes undone, and what is made of them.
struct Text<F>(F);

impl<'de, T, F: FnOnce(&[u8]) -> T> DeserializeSeed<'de> for Text<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_bytes(self)
    }
}

impl<T, F: FnOnce(&[u8]) -> T> Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<T, E> {
        Ok((self.0)(text))
    }
}

#[cfg(test)]
mod tests;
