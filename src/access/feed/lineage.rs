//! Which change shards may be read, from where, and up to which instant the stream is known.
//!
//! The shards of a table's stream roll every few hours and split with the table: a shard is read from its beginning
//! once its parent was followed to its end, so that the changes of one item stay in order. A shard that appears and
//! continues nothing that was followed is a [`Gap`]: changes may have passed unseen.
//!
//! What must hold: freshness ([`Lineage::known_up_to_ms`]) never covers a shard that is not being read, nor the
//! time after a shard's end while no child of it is listed.
//!
//! Pure: the loop reads, this says what next. Never closes a shard by its listing; only a page without a
//! next iterator does (a stand-in reports an ending sequence number for an open shard).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::position::ShardId,
    ports::{ChangePage, ChangeShard, ChangeStart},
};

/// Why reading cannot go on without losing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// The service no longer keeps what comes next.
    #[error("the stream no longer keeps the next change")]
    Trimmed,
    /// An iterator expired before any change was read, so nothing says where to go on.
    #[error("an iterator expired before a change was read")]
    Unresumable,
    /// A shard that was being read is gone, or one appeared that continues none that was read.
    #[error("a shard is gone, or continues none that was read")]
    LostShard,
    /// The service refuses to read on with the iterator it gave out.
    #[error("the service refuses to read on")]
    Refused,
}

/// How far one shard is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// Every change up to this instant was read. Nothing before the first reply.
    known_up_to_ms: Option<i64>,
    /// When the request of the newest reply that was not cut was sent.
    at_tip_ms: Option<i64>,
    /// The last change read.
    last_sequence: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It had a child before loading began: the scan saw what it held.
    Past,
    /// Its parent is not read to its end.
    Waiting,
    /// It is being read.
    Followed(Progress),
    /// It was read to its end.
    Ended {
        known_up_to_ms: Option<i64>,
        continued: bool,
    },
}

#[derive(Clone, Debug)]
struct Shard {
    parent: Option<ShardId>,
    state: State,
}

/// The shards of a change stream, as far as they are known and read.
#[derive(Clone, Debug)]
pub struct Lineage {
    shards: BTreeMap<ShardId, Shard>,
}

impl Lineage {
    /// Begins with what is listed before the scan. Every shard without a child is to be opened at the tip; the
    /// second value names them. None means that the stream is not usable yet.
    pub fn begin(listed: &[ChangeShard]) -> (Self, Vec<ShardId>) {
        let parents: BTreeSet<&ShardId> = listed
            .iter()
            .filter(|shard| shard.parent.as_ref() != Some(&shard.id))
            .filter_map(|shard| shard.parent.as_ref())
            .collect();
        let mut leaves = Vec::new();
        let mut shards = BTreeMap::new();
        for ChangeShard { id, parent } in listed {
            let state = if parents.contains(id) {
                State::Past
            } else {
                leaves.push(id.clone());
                State::Followed(Progress::default())
            };
            let parent = parent.clone();
            shards.insert(id.clone(), Shard { parent, state });
        }
        (Self { shards }, leaves)
    }

    /// Takes a later listing and names the shards that are to be opened now, at their beginning.
    ///
    /// # Errors
    ///
    /// [`Gap::LostShard`] when a shard appeared whose parent was not followed.
    pub fn listed(&mut self, listed: &[ChangeShard]) -> Result<Vec<ShardId>, Gap> {
        self.forget_past(listed);
        let mut fresh: Vec<&ChangeShard> = listed
            .iter()
            .filter(|shard| !self.shards.contains_key(&shard.id))
            .collect();
        let mut ready = Vec::new();
        // A listing may name a grandchild before its parent: go round until nothing more finds its place.
        while !fresh.is_empty() {
            let before = fresh.len();
            fresh.retain(|shard| !self.adopt(shard, &mut ready));
            if fresh.len() == before {
                return Err(Gap::LostShard);
            }
        }
        Ok(ready)
    }

    /// Takes in a shard whose parent is known; false when it is not, or was never followed.
    fn adopt(&mut self, shard: &ChangeShard, ready: &mut Vec<ShardId>) -> bool {
        let Some(parent) = shard.parent.as_ref().and_then(|id| self.shards.get_mut(id)) else {
            return false;
        };
        let state = match &mut parent.state {
            State::Past => return false,
            State::Waiting | State::Followed(_) => State::Waiting,
            State::Ended {
                known_up_to_ms,
                continued,
            } => {
                *continued = true;
                ready.push(shard.id.clone());
                State::Followed(Progress {
                    known_up_to_ms: *known_up_to_ms,
                    ..Progress::default()
                })
            }
        };
        let parent = shard.parent.clone();
        self.shards
            .insert(shard.id.clone(), Shard { parent, state });
        true
    }

    /// Drops what the service dropped, so that the lineage is never longer than a listing plus what is being read.
    fn forget_past(&mut self, listed: &[ChangeShard]) {
        let listed: BTreeSet<&ShardId> = listed.iter().map(|shard| &shard.id).collect();
        self.shards.retain(|id, shard| match shard.state {
            State::Past
            | State::Ended {
                continued: true, ..
            } => listed.contains(id),
            _ => true,
        });
    }

    /// Takes a reply whose request was sent at `sent_ms`, and names the shards that are to be opened now, at
    /// their beginning: children that waited for the end of this one.
    pub fn read(&mut self, id: &ShardId, sent_ms: i64, page: &ChangePage) -> Vec<ShardId> {
        let Some(Shard { state, .. }) = self.shards.get_mut(id) else {
            return Vec::new();
        };
        let State::Followed(progress) = state else {
            return Vec::new();
        };
        progress.take(sent_ms, page);
        if page.next.is_some() {
            return Vec::new();
        }
        let known_up_to_ms = progress.known_up_to_ms;
        let children = self.release(id, known_up_to_ms);
        if let Some(shard) = self.shards.get_mut(id) {
            shard.state = State::Ended {
                known_up_to_ms,
                continued: !children.is_empty(),
            };
        }
        children
    }

    /// Lets the children that waited for `parent` go on from where its knowledge ends.
    fn release(&mut self, parent: &ShardId, known_up_to_ms: Option<i64>) -> Vec<ShardId> {
        let mut children = Vec::new();
        for (id, shard) in &mut self.shards {
            if shard.state == State::Waiting && shard.parent.as_ref() == Some(parent) {
                shard.state = State::Followed(Progress {
                    known_up_to_ms,
                    ..Progress::default()
                });
                children.push(id.clone());
            }
        }
        children
    }

    /// Where to go on in a shard whose iterator expired.
    ///
    /// # Errors
    ///
    /// [`Gap::Unresumable`] when no change of it was read.
    pub fn resume(&self, id: &ShardId) -> Result<ChangeStart, Gap> {
        match self.shards.get(id).map(|shard| &shard.state) {
            Some(State::Followed(Progress {
                last_sequence: Some(last),
                ..
            })) => Ok(ChangeStart::After(last.clone())),
            _ => Err(Gap::Unresumable),
        }
    }

    /// The instant up to which every change is known: the earliest of all shards that count. Nothing while one
    /// of them has not answered.
    pub fn known_up_to_ms(&self) -> Option<i64> {
        let mut known = self.shards.values().filter_map(|shard| match &shard.state {
            State::Followed(progress) => Some(progress.known_up_to_ms),
            State::Ended {
                known_up_to_ms,
                continued: false,
            } => Some(*known_up_to_ms),
            _ => None,
        });
        // Nothing sorts before every instant, so one shard that has not answered settles it.
        known.try_fold(None, |earliest: Option<i64>, this| {
            let this = this?;
            Some(Some(earliest.map_or(this, |earliest| earliest.min(this))))
        })?
    }

    /// Whether every shard that counts answered a request sent at `since_ms` or later with a page that is not cut.
    pub fn caught_up(&self, since_ms: i64) -> bool {
        self.shards.values().all(|shard| match &shard.state {
            State::Past
            | State::Waiting
            | State::Ended {
                continued: true, ..
            } => true,
            State::Followed(progress) => progress.at_tip_ms.is_some_and(|sent| sent >= since_ms),
            State::Ended {
                continued: false, ..
            } => false,
        })
    }

    /// Whether a shard ended whose children are not listed yet.
    pub fn awaits_children(&self) -> bool {
        self.shards.values().any(|shard| {
            matches!(
                shard.state,
                State::Ended {
                    continued: false,
                    ..
                }
            )
        })
    }
}

impl Progress {
    fn take(&mut self, sent_ms: i64, page: &ChangePage) {
        let last = page.changes.last();
        if let Some(last) = last {
            self.last_sequence = Some(last.sequence.clone());
        }
        if page.next.is_some() && !page.more {
            self.known_up_to_ms = Some(sent_ms);
            self.at_tip_ms = Some(sent_ms);
        } else if let Some(last) = last {
            // A cut or last page says nothing of the time after its last change. The service's clock may run
            // ahead of ours: nothing is known of the time after the request.
            let reached = self
                .known_up_to_ms
                .unwrap_or(i64::MIN)
                .max(last.created_at_ms);
            self.known_up_to_ms = Some(reached.min(sent_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{item::Change, position::ShardIterator};

    fn id(name: &str) -> ShardId {
        ShardId::new(name)
    }

    /// `child<parent`, or a root.
    fn listing(text: &str) -> Vec<ChangeShard> {
        text.split_whitespace()
            .map(|word| match word.split_once('<') {
                Some((child, parent)) => ChangeShard {
                    id: id(child),
                    parent: Some(id(parent)),
                },
                None => ChangeShard {
                    id: id(word),
                    parent: None,
                },
            })
            .collect()
    }

    fn names(shards: &[ShardId]) -> String {
        shards
            .iter()
            .map(ShardId::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn changes(created_at_ms: &[i64]) -> Vec<Change> {
        let change = |&created_at_ms: &i64| Change {
            key: ("CARD#1".to_owned(), "CARD#STATUS".to_owned()),
            image: None,
            sequence: created_at_ms.to_string(),
            created_at_ms,
        };
        created_at_ms.iter().map(change).collect()
    }

    fn tip() -> ChangePage {
        ChangePage {
            changes: Vec::new(),
            next: Some(ShardIterator("n".to_owned())),
            more: false,
        }
    }

    fn cut(created_at_ms: &[i64]) -> ChangePage {
        ChangePage {
            changes: changes(created_at_ms),
            more: true,
            ..tip()
        }
    }

    fn end(created_at_ms: &[i64]) -> ChangePage {
        ChangePage {
            changes: changes(created_at_ms),
            next: None,
            more: false,
        }
    }

    #[test]
    fn loading_opens_every_shard_that_has_no_child() {
        #[track_caller]
        fn check(listed: &str, expected: &str) {
            assert_eq!(
                names(&Lineage::begin(&listing(listed)).1),
                expected,
                "{listed}"
            );
        }
        check("", "");
        check("a", "a");
        check("a b", "a b");
        check("a b<a", "b");
        check("b<a", "b");
        check("a b<a c<a d<b", "c d");
        check("a<a", "a");
    }

    /// Begins with one listing, then takes pages (`x.` ends shard x) and listings (`=b<a`); what is to be opened
    /// after each step, `gap` for a gap.
    #[track_caller]
    fn check_steps(begin: &str, steps: &[(&str, &str)]) {
        let (mut lineage, _) = Lineage::begin(&listing(begin));
        for (step, expected) in steps {
            let opened = match (step.strip_suffix('.'), step.strip_prefix('=')) {
                (Some(ended), _) => Ok(lineage.read(&id(ended), 1, &end(&[]))),
                (_, Some(listed)) => lineage.listed(&listing(listed)),
                _ => panic!("no step: {step}"),
            };
            let opened = opened.map_or_else(|_| "gap".to_owned(), |shards| names(&shards));
            assert_eq!(opened, *expected, "{begin}: {step}");
        }
    }

    #[test]
    fn a_child_is_opened_once_after_its_parent_ended_whichever_is_learnt_first() {
        check_steps(
            "a",
            &[("=a b<a", ""), ("=a b<a", ""), ("a.", "b"), ("=a b<a", "")],
        );
        check_steps(
            "a",
            &[("a.", ""), ("=a", ""), ("=a b<a", "b"), ("=a b<a", "")],
        );
        check_steps("a", &[("a.", ""), ("=b<a", "b")]);
    }

    #[test]
    fn a_split_opens_both_children_and_a_chain_opens_one_by_one() {
        check_steps("a", &[("=a b<a c<a", ""), ("a.", "b c")]);
        check_steps("a", &[("a.", ""), ("=a b<a", "b"), ("=a b<a c<a", "c")]);
        check_steps(
            "a",
            &[
                ("=a d<c c<b b<a", ""),
                ("a.", "b"),
                ("b.", "c"),
                ("c.", "d"),
            ],
        );
        check_steps(
            "a",
            &[("a.", ""), ("=d<c c<b b<a", "b"), ("b.", "c"), ("c.", "d")],
        );
    }

    #[test]
    fn a_shard_that_continues_nothing_that_was_followed_is_a_gap() {
        check_steps("a", &[("=a b", "gap")]);
        check_steps("a", &[("=a c<b", "gap")]);
        check_steps("a b<a", &[("=a b<a c<a", "gap")]);
    }

    #[test]
    fn shards_that_the_service_dropped_are_forgotten_but_not_those_being_read() {
        let (mut lineage, _) = Lineage::begin(&listing("a b<a"));
        assert_eq!(lineage.listed(&listing("c<b")), Ok(vec![]));
        assert_eq!(names(&lineage.read(&id("b"), 1, &end(&[]))), "c");
        assert_eq!(lineage.listed(&listing("c<b")), Ok(vec![]));
        assert_eq!(
            lineage
                .shards
                .keys()
                .map(ShardId::as_str)
                .collect::<String>(),
            "c"
        );
    }

    #[test]
    fn what_one_reply_says_of_freshness() {
        #[track_caller]
        fn check(pages: &[(i64, ChangePage)], expected: Option<i64>) {
            let (mut lineage, _) = Lineage::begin(&listing("a"));
            for (sent_ms, page) in pages {
                lineage.read(&id("a"), *sent_ms, page);
            }
            assert_eq!(lineage.known_up_to_ms(), expected, "{pages:?}");
        }
        check(&[], None);
        check(&[(5000, tip())], Some(5000));
        check(&[(5000, cut(&[1000, 2000]))], Some(2000));
        check(&[(5000, cut(&[9000]))], Some(5000));
        check(&[(5000, tip()), (5600, cut(&[5000]))], Some(5000));
        check(&[(5900, tip()), (6100, cut(&[5000]))], Some(5900));
        check(&[(5000, tip()), (6000, end(&[]))], Some(5000));
        check(&[(5000, tip()), (7000, end(&[6000]))], Some(6000));
        check(&[(5000, end(&[]))], None);
    }

    #[test]
    fn freshness_is_the_earliest_of_all_shards_and_stands_still_until_children_answer() {
        let (mut lineage, _) = Lineage::begin(&listing("a b"));
        lineage.read(&id("a"), 10, &tip());
        assert_eq!(lineage.known_up_to_ms(), None);
        lineage.read(&id("b"), 20, &tip());
        assert_eq!(lineage.known_up_to_ms(), Some(10));
        lineage.read(&id("a"), 30, &end(&[]));
        lineage.read(&id("b"), 40, &tip());
        assert_eq!(
            (lineage.known_up_to_ms(), lineage.awaits_children()),
            (Some(10), true)
        );
        assert_eq!(
            lineage
                .listed(&listing("a b c<a"))
                .map(|shards| names(&shards)),
            Ok("c".to_owned())
        );
        assert_eq!(
            (lineage.known_up_to_ms(), lineage.awaits_children()),
            (Some(10), false)
        );
        lineage.read(&id("c"), 50, &tip());
        assert_eq!(lineage.known_up_to_ms(), Some(40));
    }

    #[test]
    fn caught_up_means_that_every_shard_answered_to_the_tip_after_the_instant() {
        let (mut lineage, _) = Lineage::begin(&listing("a b"));
        lineage.read(&id("a"), 100, &tip());
        lineage.read(&id("b"), 99, &tip());
        assert!(!lineage.caught_up(100));
        lineage.read(&id("b"), 101, &cut(&[100]));
        assert!(!lineage.caught_up(100));
        lineage.read(&id("b"), 102, &tip());
        assert!(lineage.caught_up(100));
        lineage.read(&id("b"), 103, &end(&[]));
        assert!(!lineage.caught_up(100));
    }

    #[test]
    fn an_expired_iterator_goes_on_after_the_last_change_and_is_a_gap_without_one() {
        let (mut lineage, _) = Lineage::begin(&listing("a"));
        assert_eq!(lineage.resume(&id("a")), Err(Gap::Unresumable));
        lineage.read(&id("a"), 1, &cut(&[7, 8]));
        lineage.read(&id("a"), 2, &tip());
        assert_eq!(
            lineage.resume(&id("a")),
            Ok(ChangeStart::After("8".to_owned()))
        );
    }
}
