//! Cuts what a page yields into writes within the services' limits. Pure: an iterator over sizes in, ranges out.

use std::ops::Range;

use crate::model::decision::Event;

/// What one write may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Entries.
    pub entries: usize,
    /// Bytes, payloads and keys together.
    pub bytes: usize,
}

/// Cuts entries of these sizes into consecutive ranges within `limits`. An entry larger than the byte limit gets a range
/// of its own: the service's answer to it is the error to report.
pub fn cut(
    sizes: impl IntoIterator<Item = usize>,
    limits: BatchLimits,
) -> impl Iterator<Item = Range<usize>> {
    let mut sizes = sizes.into_iter().enumerate().peekable();
    std::iter::from_fn(move || {
        let (start, mut bytes) = sizes.next()?;
        let mut end = start + 1;
        while let Some(&(_, size)) = sizes.peek() {
            if end - start >= limits.entries || bytes + size > limits.bytes {
                break;
            }
            bytes += size;
            end += 1;
            sizes.next();
        }
        Some(start..end)
    })
}

/// Events of a page in one buffer, in order, each with its partition key in front of its payload.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// Of each event: where its key begins, where its payload begins, where it ends.
    marks: Vec<(u32, u32, u32)>,
    /// Of each event, its explicit hash key; empty when they have none.
    hashes: Vec<u128>,
}

impl Outbox {
    /// Adds an event; `write` appends its payload.
    pub fn push(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.offset();
        self.bytes.extend_from_slice(key.as_bytes());
        let data = self.offset();
        write(&mut self.bytes);
        let end = self.offset();
        self.marks.push((start, data, end));
    }

    /// Adds an event that goes to the shard of `hash`, whatever its key. Events of a page are all added so, or none.
    pub fn push_at(&mut self, key: &str, hash: u128, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert_eq!(self.hashes.len(), self.marks.len(), "all of them or none");
        self.hashes.push(hash);
        self.push(key, write);
    }

    /// The payloads, to be written over.
    pub fn payloads_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let (mut rest, mut at) = (&mut self.bytes[..], 0);
        self.marks.iter().map(move |(_, data, end)| {
            let (before, after) = std::mem::take(&mut rest).split_at_mut((end - at) as usize);
            let payload = &mut before[(data - at) as usize..];
            (rest, at) = (after, *end);
            payload
        })
    }

    /// A page has at most 10 MiB and 10 000 swipes a part, so that its events stay far below 4 GiB.
    fn offset(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("the events of one part of a page are below 4 GiB")
    }

    /// Forgets the events and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
        self.hashes.clear();
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// The event at `index`.
    pub fn event(&self, index: usize) -> Event<'_> {
        let (start, data, end) = self.marks[index];
        let key =
            std::str::from_utf8(&self.bytes[start as usize..data as usize]).unwrap_or_default();
        Event {
            key,
            data: &self.bytes[data as usize..end as usize],
            hash: self.hashes.get(index).copied(),
        }
    }

    /// The size of the event at `index`, its key included.
    pub fn size(&self, index: usize) -> usize {
        let (start, _, end) = self.marks[index];
        (end - start) as usize
    }

    /// The sizes of the events, keys included.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        self.marks
            .iter()
            .map(|(start, _, end)| (end - start) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn events_read_back_in_order() {
        let mut outbox = Outbox::default();
        outbox.push("gate-1", |out| out.extend_from_slice(b"one"));
        outbox.push("gate-2", |out| out.extend_from_slice(b""));
        assert_eq!(
            outbox.event(0),
            Event {
                key: "gate-1",
                data: b"one",
                hash: None,
            }
        );
        assert_eq!(
            outbox.event(1),
            Event {
                key: "gate-2",
                data: b"",
                hash: None,
            }
        );
        assert_eq!(outbox.sizes().collect::<Vec<_>>(), [9, 6]);
        let payloads: Vec<_> = outbox.payloads_mut().collect();
        assert_eq!(payloads, [&b"one"[..], b""]);
        outbox.clear();
        assert!(outbox.is_empty());
    }

    proptest! {
        #[test]
        fn ranges_join_to_the_whole_and_each_is_within_limits_and_full(
            sizes in proptest::collection::vec(0_usize..40, 0..100),
            entries in 1_usize..10,
            bytes in 1_usize..60,
        ) {
            let limits = BatchLimits { entries, bytes };
            let ranges: Vec<_> = cut(sizes.iter().copied(), limits).collect();
            let mut next = 0;
            for range in &ranges {
                prop_assert_eq!(range.start, next);
                next = range.end;
                let total: usize = sizes[range.clone()].iter().sum();
                prop_assert!(range.len() <= entries);
                prop_assert!(total <= bytes || range.len() == 1);
                if let Some(following) = sizes.get(range.end) {
                    prop_assert!(range.len() == entries || total + following > bytes, "cut too early");
                }
            }
            prop_assert_eq!(next, sizes.len());
        }
    }
}
