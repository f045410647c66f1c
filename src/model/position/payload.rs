//! A payload: its bytes lie in the one buffer of its page, so that a page of ten thousand records is two allocations.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// Bytes of a page that all its records share. Whoever keeps one keeps the page.
#[derive(Clone)]
pub struct Payload {
    page: Arc<OnceLock<Vec<u8>>>,
    start: u32,
    end: u32,
}

/// The payloads of a page while it is read. They are empty until [`Self::close`].
#[derive(Debug, Default)]
pub struct Payloads {
    page: Arc<OnceLock<Vec<u8>>>,
    bytes: Vec<u8>,
}

impl Payloads {
    /// None yet, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            page: Arc::default(),
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// One more, of what `append` appends; nothing when the page has 4 GiB and more.
    ///
    /// # Errors
    /// That of `append`.
    pub fn push<E>(
        &mut self,
        append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Option<Payload>, E> {
        let start = self.bytes.len();
        append(&mut self.bytes)?;
        let bounds = u32::try_from(start).ok();
        let bounds = bounds.zip(u32::try_from(self.bytes.len()).ok());
        Ok(bounds.map(|(start, end)| Payload {
            page: Arc::clone(&self.page),
            start,
            end,
        }))
    }

    /// The page is whole: its payloads are what was appended.
    pub fn close(self) {
        // Nobody else has a place to set it.
        _ = self.page.set(self.bytes);
    }
}

impl From<Vec<u8>> for Payload {
    /// A page of its own, of which the first 4 GiB count.
    fn from(data: Vec<u8>) -> Self {
        let end = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Self {
            page: Arc::new(OnceLock::from(data)),
            start: 0,
            end,
        }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let page = self.page.get();
        page.and_then(|page| page.get(self.start as usize..self.end as usize))
            .unwrap_or_default()
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload {}

// Without the bytes: they hold card numbers.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_parts_of_their_page_once_it_is_whole() {
        let mut payloads = Payloads::with_capacity(0);
        let mut push = |data: &[u8]| {
            let append = |bytes: &mut Vec<u8>| {
                bytes.extend_from_slice(data);
                Ok::<_, ()>(())
            };
            payloads.push(append).expect("appended").expect("a place")
        };
        let three = [push(b"one"), push(b""), push(b"three")];
        assert_eq!(three.each_ref().map(|one| one.len()), [0, 0, 0]);
        payloads.close();
        assert_eq!(
            three.each_ref().map(|one| &**one),
            [&b"one"[..], b"", b"three"]
        );
        assert_eq!(three[0], Payload::from(b"one".to_vec()));
        let mut refused = Payloads::default();
        assert_eq!(refused.push(|_| Err("why")).expect_err("as said"), "why");
    }
}
