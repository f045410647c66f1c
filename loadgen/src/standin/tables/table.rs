//! One plain table: items as the texts they came in, ordered for scans and queries, and indexes over them.
//!
//! Partitions are ordered by a hash of their key, as DynamoDB's are, so that a segment of a scan is a range of hashes
//! and a scan goes on from any key, stored or not. Whoever calls has checked the keys; nothing here can fail.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher as _},
    sync::Arc,
};

use super::{
    condition::{Condition, Range, after},
    keys::{Index, Keys, PK, SK, of_item},
};

/// Bytes of item text after which a page ends (service limit; the text is somewhat longer than what DynamoDB counts).
pub const PAGE_BYTES: usize = 1 << 20;

/// An item in a partition: by its sort key there, then by its own keys, since sort keys of an index repeat.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    sort: Arc<str>,
    /// The item's `PK`.
    pub pk: Arc<str>,
    /// The item's `SK`.
    pub sk: Arc<str>,
}

impl Place {
    /// Its key as an item's text: in the table, or in that partition of an index.
    pub fn key(&self, of_index: Option<(&Index, &str)>) -> String {
        let text = |text: &str| serde_json::json!({ "S": text });
        let mut key = serde_json::Map::new();
        if let Some((index, partition)) = of_index {
            key.insert(index.hash.clone(), text(partition));
            key.insert(index.range.clone(), text(&self.sort));
        }
        key.insert(PK.to_owned(), text(&self.pk));
        key.insert(SK.to_owned(), text(&self.sk));
        serde_json::Value::Object(key).to_string()
    }
}

type Partition = BTreeMap<Place, Arc<str>>;

/// A table. It holds what was put until it is deleted.
#[derive(Debug)]
pub struct Table {
    indexes: Vec<Index>,
    items: BTreeMap<(u64, Arc<str>), Partition>,
    /// Of each index, its partitions: what it gives of the items that have both of its attributes.
    indexed: Vec<BTreeMap<Arc<str>, Partition>>,
}

/// Items that one call gives, and the last of them when there may be more.
#[derive(Debug, Default)]
pub struct Page {
    /// The texts of the items.
    pub items: Vec<Arc<str>>,
    /// Where the next page starts after.
    pub last: Option<Place>,
    bytes: usize,
}

impl Page {
    /// Takes one; whether the page is full with it.
    fn take(&mut self, place: &Place, item: &Arc<str>, limit: usize) -> bool {
        self.bytes += item.len();
        self.items.push(item.clone());
        let full = self.items.len() >= limit || self.bytes >= PAGE_BYTES;
        if full {
            self.last = Some(place.clone());
        }
        full
    }
}

/// What a query asks beside its condition.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// From the smallest sort key on, else from the greatest.
    pub forward: bool,
    /// Most items of the page, at least 1.
    pub limit: usize,
    /// The last item of the page before; its only index is the one that is asked.
    pub start: Option<&'a Keys<'a>>,
}

impl Table {
    /// An empty table.
    pub fn new(indexes: Vec<Index>) -> Self {
        Self {
            indexed: vec![BTreeMap::new(); indexes.len()],
            indexes,
            items: BTreeMap::new(),
        }
    }

    /// Its indexes, in the order of their creation.
    pub fn indexes(&self) -> &[Index] {
        &self.indexes
    }

    /// Stores an item in place of the one of its key. Its keys are those of the table's indexes.
    pub fn put(&mut self, keys: &Keys<'_>, text: &str) {
        let (place, text) = (place(&keys.pk, &keys.sk), Arc::<str>::from(text));
        let partition = self.items.entry(partition(place.pk.clone())).or_default();
        if let Some(old) = partition.insert(place.clone(), text.clone()) {
            self.unindex(&place, &old);
        }
        let indexes = self.indexes.iter().zip(&mut self.indexed);
        for ((index, indexed), at) in indexes.zip(&keys.indexed) {
            let Some((hash, range)) = at else { continue };
            let place = place_in_index(&place, range);
            let given = if index.keys_only {
                place.key(Some((index, hash))).into()
            } else {
                text.clone()
            };
            match indexed.get_mut(&**hash) {
                Some(partition) => drop(partition.insert(place, given)),
                None => {
                    let partition = Partition::from([(place, given)]);
                    indexed.insert(hash.as_ref().into(), partition);
                }
            }
        }
    }

    /// The item of that key.
    pub fn get(&self, keys: &Keys<'_>) -> Option<&Arc<str>> {
        let place = place(&keys.pk, &keys.sk);
        self.items.get(&partition(place.pk.clone()))?.get(&place)
    }

    /// Removes the item of that key, if there is one.
    pub fn delete(&mut self, keys: &Keys<'_>) {
        let place = place(&keys.pk, &keys.sk);
        let key = partition(place.pk.clone());
        let Some(partition) = self.items.get_mut(&key) else {
            return;
        };
        if let Some(old) = partition.remove(&place) {
            if partition.is_empty() {
                self.items.remove(&key);
            }
            self.unindex(&place, &old);
        }
    }

    /// Items of one partition of the table, or of the index of that number.
    pub fn query(&self, condition: &Condition, index: Option<usize>, asked: Asked<'_>) -> Page {
        let mut page = Page::default();
        let key = condition.partition.as_str();
        let found = match index {
            Some(index) => self.indexed.get(index).and_then(|indexed| indexed.get(key)),
            None => self.items.get(&partition(key.into())),
        };
        let start = asked.start.map(|keys| {
            let place = place(&keys.pk, &keys.sk);
            match keys.indexed.first() {
                Some(Some((_, range))) => place_in_index(&place, range),
                _ => place,
            }
        });
        let Some((from, until)) = bounds(&condition.sort, start, asked.forward) else {
            return page;
        };
        let Some(found) = found else { return page };
        let mut found: Box<dyn DoubleEndedIterator<Item = (&Place, &Arc<str>)>> = match until {
            Some(until) => Box::new(found.range(from..until)),
            None => Box::new(found.range(from..)),
        };
        while let Some((place, item)) = if asked.forward {
            found.next()
        } else {
            found.next_back()
        } {
            if page.take(place, item, asked.limit) {
                break;
            }
        }
        page
    }

    /// Items of a segment of the whole table; nothing when `start` is not in it.
    pub fn scan(
        &self,
        segment: u32,
        segments: u32,
        limit: usize,
        start: Option<&Keys<'_>>,
    ) -> Option<Page> {
        let first_of = |segment: u32| (u128::from(segment) << 64) / u128::from(segments);
        let (first, end) = (first_of(segment), first_of(segment + 1));
        let in_segment = |hash: u64| (first..end).contains(&u128::from(hash));
        let (from, mut after_place) = match start {
            Some(keys) => {
                let place = place(&keys.pk, &keys.sk);
                (partition(place.pk.clone()), Some(next(place)))
            }
            // Below 2^64: the segment is less than the number of segments.
            None => ((first as u64, "".into()), None),
        };
        if !in_segment(from.0) {
            return None;
        }
        let mut page = Page::default();
        let start_pk = start.map(|keys| &*keys.pk);
        for ((hash, pk), partition) in self.items.range(from..) {
            if !in_segment(*hash) {
                break;
            }
            // The start may be in a partition that is gone by now.
            let place = after_place.take().filter(|_| start_pk == Some(pk));
            let place = place.unwrap_or_else(lowest);
            for (place, item) in partition.range(place..) {
                if page.take(place, item, limit) {
                    return Some(page);
                }
            }
        }
        Some(page)
    }

    /// Takes an item that is gone from the table out of the indexes.
    fn unindex(&mut self, place: &Place, old: &str) {
        // It was read when it was put, so it can be read again.
        let keys = of_item(old, &self.indexes).map(|keys| keys.indexed);
        for (indexed, at) in self.indexed.iter_mut().zip(keys.iter().flatten()) {
            let Some((hash, range)) = at else { continue };
            if let Some(partition) = indexed.get_mut(&**hash) {
                partition.remove(&place_in_index(place, range));
                if partition.is_empty() {
                    indexed.remove(&**hash);
                }
            }
        }
    }
}

fn partition(pk: Arc<str>) -> (u64, Arc<str>) {
    let mut hasher = DefaultHasher::new();
    hasher.write(pk.as_bytes());
    (hasher.finish(), pk)
}

fn place(pk: &str, sk: &str) -> Place {
    let sk: Arc<str> = sk.into();
    Place {
        sort: sk.clone(),
        pk: pk.into(),
        sk,
    }
}

/// The place in the index of an item of the table.
fn place_in_index(place: &Place, range: &str) -> Place {
    let mut place = place.clone();
    if *place.sort != *range {
        place.sort = range.into();
    }
    place
}

fn lowest() -> Place {
    first_of("")
}

/// Before every place of that sort key.
fn first_of(sort: &str) -> Place {
    let nothing = Arc::<str>::default();
    Place {
        sort: sort.into(),
        pk: nothing.clone(),
        sk: nothing,
    }
}

/// The place right after this one.
fn next(place: Place) -> Place {
    Place {
        sk: after(&place.sk).into(),
        ..place
    }
}

/// The first place asked for and the first one after, or nothing when there are none between.
fn bounds(range: &Range, start: Option<Place>, forward: bool) -> Option<(Place, Option<Place>)> {
    let (mut from, mut until) = (first_of(&range.from), range.until.as_deref().map(first_of));
    match start {
        Some(start) if forward => from = from.max(next(start)),
        Some(start) => until = Some(until.map_or(start.clone(), |until| until.min(start))),
        None => {}
    }
    // A range that ends before it begins would panic.
    (until.as_ref().is_none_or(|until| from < *until)).then_some((from, until))
}
