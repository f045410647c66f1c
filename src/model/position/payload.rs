//! A payload: its bytes lie in the one buffer of its page, so that a page of ten thousand records is two allocations.

use std::{fmt, ops::Deref, sync::Arc};

/// Bytes of a page that all its records share. Whoever keeps one keeps the page.
#[derive(Clone)]
pub struct Payload {
    page: Arc<Vec<u8>>,
    start: u32,
    end: u32,
}

impl Payload {
    /// The bytes from `start` up to `end` of `page`, or nothing when they are not all there.
    pub fn of(page: &Arc<Vec<u8>>, start: u32, end: u32) -> Option<Self> {
        page.get(start as usize..end as usize)?;
        Some(Self {
            page: Arc::clone(page),
            start,
            end,
        })
    }
}

impl From<Vec<u8>> for Payload {
    /// A page of its own, of which the first 4 GiB count.
    fn from(data: Vec<u8>) -> Self {
        let end = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Self {
            page: Arc::new(data),
            start: 0,
            end,
        }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.page[self.start as usize..self.end as usize]
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
    fn a_payload_is_a_part_of_its_page() {
        let page = Arc::new(b"onetwo".to_vec());
        assert_eq!(&*Payload::of(&page, 3, 6).expect("inside"), b"two");
        assert_eq!(&*Payload::of(&page, 6, 6).expect("inside"), b"");
        assert_eq!(Payload::of(&page, 3, 7), None);
        assert_eq!(Payload::of(&page, 3, 2), None);
        assert_eq!(&*Payload::from(b"one".to_vec()), b"one");
    }
}
