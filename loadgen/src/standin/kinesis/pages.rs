//! GetRecords: a page of a shard. It is made of slices of what the puts rendered.

use std::{borrow::Cow, fmt::Write as _};

use bytes::Bytes;
use serde::Deserialize;

use super::{
    faults::Fault,
    iterator::Iterator as ShardIterator,
    operations::Reply,
    refusal::{Refusal, RefusalKind},
    requests::parse,
    shard::{PAGE_BYTES, PAGE_RECORDS, Shard, shard_id},
    store::Store,
};

/// A page of GetRecords.
#[derive(Debug)]
pub struct Page {
    /// Slices of rendered records; a comma belongs between two of them.
    pub parts: Vec<Bytes>,
    /// Records on the page.
    pub records: usize,
    /// Where to go on; nothing at the end of a closed shard.
    pub next: Option<String>,
    /// How long the first unread record has been there; 0 at the tip.
    pub millis_behind: u64,
    /// At the end of a closed shard: what came from it.
    pub children: Vec<Child>,
}

/// A shard that came from the one that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its name.
    pub id: String,
    /// The names of all its parents.
    pub parents: Vec<String>,
    /// Least and greatest hash key.
    pub hashes: (u128, u128),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetRecords<'a> {
    #[serde(borrow)]
    shard_iterator: Cow<'a, str>,
    limit: Option<usize>,
}

impl Store {
    /// The next page of up to `limit` records (at most [`PAGE_RECORDS`]). With `hides` the page is empty and the
    /// position stays, as the service does now and then.
    ///
    /// # Errors
    /// `InvalidArgument`, `ExpiredIterator`, `ResourceNotFound`, `ProvisionedThroughputExceeded`.
    pub fn get_records(
        &self,
        iterator: &str,
        limit: usize,
        hides: bool,
        now_ms: u64,
    ) -> Result<Page, Refusal> {
        let mut iterator = ShardIterator::decode(iterator)?;
        iterator.check_age(self.options.iterator_ttl_ms, now_ms)?;
        let name = iterator.stream.clone();
        self.with(&name, |stream| {
            if stream.incarnation != iterator.incarnation {
                return Err(Refusal::no_stream(&name));
            }
            let horizon_ms = now_ms.saturating_sub(self.retention_ms(stream));
            let throttled = stream.rate_exceeded(iterator.shard);
            let Some(shard) = stream.shard_at_mut(iterator.shard) else {
                return Err(Refusal::no_shard(&name, &shard_id(iterator.shard)));
            };
            if let Some(limit) = &self.options.read_limit
                && !shard.reads.admit(limit, now_ms)
            {
                return Err(Refusal::new(
                    RefusalKind::ProvisionedThroughputExceeded,
                    throttled,
                ));
            }
            shard.expire(horizon_ms);
            let found = shard.read(
                iterator.position,
                if hides { 0 } else { limit.min(PAGE_RECORDS) },
                PAGE_BYTES,
            );
            if let Some(limit) = &self.options.read_limit {
                shard.reads.charge(limit, found.payload, now_ms);
            }
            let is_end = !shard.is_open() && found.left_since_ms.is_none();
            let children = if is_end {
                shard.children.clone()
            } else {
                Vec::new()
            };
            iterator.position = found.next;
            iterator.issued_ms = now_ms;
            Ok(Page {
                parts: found.parts,
                records: found.records,
                next: (!is_end).then(|| iterator.encode()),
                millis_behind: found
                    .left_since_ms
                    .map_or(0, |since| now_ms.saturating_sub(since)),
                children: children
                    .iter()
                    .filter_map(|index| stream.shard_at(*index))
                    .map(child)
                    .collect(),
            })
        })
    }
}

pub(super) fn child(shard: &Shard) -> Child {
    Child {
        id: shard.id(),
        parents: shard.parents.iter().map(|index| shard_id(*index)).collect(),
        hashes: (shard.first_hash, shard.last_hash),
    }
}

/// Answers GetRecords.
///
/// # Errors
/// Those of [`Store::get_records`], and `Serialization`, `Validation` for the request.
pub fn get_records(
    store: &Store,
    body: &[u8],
    fault: Option<&Fault>,
    now_ms: u64,
) -> Result<Reply, Refusal> {
    let request: GetRecords<'_> = parse(body)?;
    let limit = request.limit.unwrap_or(PAGE_RECORDS);
    if limit == 0 || limit > PAGE_RECORDS {
        return Err(Refusal::validation(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value from 1 to \
             {}",
            PAGE_RECORDS
        )));
    }
    let hides = fault == Some(&Fault::EmptyPage);
    Ok(page_answer(store.get_records(
        &request.shard_iterator,
        limit,
        hides,
        now_ms,
    )?))
}

fn page_answer(page: Page) -> Reply {
    let mut frames = Vec::with_capacity(page.parts.len() * 2 + 2);
    frames.push(Bytes::from_static(br#"{"Records":["#));
    for (at, part) in page.parts.into_iter().enumerate() {
        if at > 0 {
            frames.push(Bytes::from_static(b","));
        }
        frames.push(part);
    }
    let mut tail = format!(r#"],"MillisBehindLatest":{}"#, page.millis_behind);
    if let Some(next) = &page.next {
        write!(tail, r#","NextShardIterator":"{next}""#).ok();
    } else {
        let children: Vec<String> = page.children.iter().map(child_json).collect();
        write!(
            tail,
            r#","NextShardIterator":null,"ChildShards":[{}]"#,
            children.join(",")
        )
        .ok();
    }
    tail.push('}');
    frames.push(Bytes::from(tail));
    Reply::frames(frames)
}

pub(super) fn child_json(child: &Child) -> String {
    format!(
        r#"{{"ShardId":"{}","ParentShards":["{}"],"HashKeyRange":{{"StartingHashKey":"{}","EndingHashKey":"{}"}}}}"#,
        child.id,
        child.parents.join(r#"",""#),
        child.hashes.0,
        child.hashes.1
    )
}
