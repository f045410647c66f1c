//! An access table in memory whose shards roll, trim, expire and fail as a test says.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    model::{
        item::{Change, Item, Value},
        position::{ShardId, ShardIterator},
    },
    ports::{
        AccessTable, ChangePage, ChangeShard, ChangeStart, Clock, Fault, FaultKind, ScanCursor,
        ScanPage,
    },
};

/// Items of one page of a scan, and changes of one reply: small, so that everything is cut.
const PAGE: usize = 2;
/// A scan's page is read at once and arrives this much later.
pub(super) const SCAN_LATENCY: Duration = Duration::from_millis(400);
/// So is any other reply.
const LATENCY: Duration = Duration::from_millis(5);

type Key = (String, String);

struct ScriptedShard {
    id: ShardId,
    parent: Option<ShardId>,
    changes: Vec<Change>,
    closed: bool,
    listed: bool,
}

pub(super) struct World {
    items: BTreeMap<Key, Item>,
    shards: Vec<ScriptedShard>,
    /// Iterators of an earlier age fail as this says.
    age: u32,
    aged: FaultKind,
    /// Operations that fail, until the test says otherwise.
    pub(super) failing: BTreeMap<&'static str, FaultKind>,
    /// Every iterator that was opened: shard and where.
    pub(super) opened: Vec<String>,
    /// Times when a page of the shard was asked for, virtual milliseconds.
    pub(super) reads: Vec<(ShardId, i64)>,
    pub(super) scans: usize,
    sequence: u64,
}

/// Shared by the feed and the test.
#[derive(Clone)]
pub(super) struct Scripted {
    world: Arc<Mutex<World>>,
    clock: Clock,
}

impl Scripted {
    /// An empty table with one open shard, `a`.
    pub(super) fn new(clock: Clock) -> Self {
        let world = World {
            items: BTreeMap::new(),
            shards: Vec::new(),
            age: 0,
            aged: FaultKind::IteratorExpired,
            failing: BTreeMap::new(),
            opened: Vec::new(),
            reads: Vec::new(),
            scans: 0,
            sequence: 0,
        };
        let scripted = Self {
            world: Arc::new(Mutex::new(world)),
            clock,
        };
        scripted.shard("a", None);
        scripted
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world
            .lock()
            .expect("no test panics with the world in hand")
    }

    /// A new open shard, listed at once.
    pub(super) fn shard(&self, id: &str, parent: Option<&str>) {
        self.world().shards.push(ScriptedShard {
            id: ShardId::new(id),
            parent: parent.map(ShardId::new),
            changes: Vec::new(),
            closed: false,
            listed: true,
        });
    }

    /// Closes the shard: its readers end once they read all of it.
    pub(super) fn close(&self, id: &str) {
        self.with_shard(id, |shard| shard.closed = true);
    }

    pub(super) fn list(&self, id: &str, listed: bool) {
        self.with_shard(id, |shard| shard.listed = listed);
    }

    fn with_shard(&self, id: &str, change: impl FnOnce(&mut ScriptedShard)) {
        let mut world = self.world();
        let shard = world
            .shards
            .iter_mut()
            .find(|shard| shard.id.as_str() == id);
        change(shard.expect("the test names a shard that is there"));
    }

    /// Writes a card of that status to the table and the newest shard.
    pub(super) fn card(&self, id: &str, status: &str) {
        let item = card(id, status);
        self.write(key(id), Some(item));
    }

    pub(super) fn remove(&self, id: &str) {
        self.write(key(id), None);
    }

    fn write(&self, key: Key, image: Option<Item>) {
        let now_ms = self.clock.now_ms();
        let mut world = self.world();
        match &image {
            Some(item) => drop(world.items.insert(key.clone(), item.clone())),
            None => drop(world.items.remove(&key)),
        }
        world.sequence += 1;
        let sequence = world.sequence.to_string();
        let shard = world.shards.iter_mut().rfind(|shard| !shard.closed);
        shard.expect("an open shard").changes.push(Change {
            key,
            image,
            sequence,
            created_at_ms: now_ms / 1000 * 1000,
        });
    }

    /// Writes to the table alone: what a feed that lost its place cannot know.
    pub(super) fn card_unseen(&self, id: &str, status: &str) {
        self.world().items.insert(key(id), card(id, status));
    }

    /// Makes every iterator given out so far fail like this.
    pub(super) fn age_iterators(&self, fault: FaultKind) {
        let mut world = self.world();
        world.age += 1;
        world.aged = fault;
    }

    fn meets(&self, operation: &'static str) -> Result<(), Fault> {
        match self.world().failing.get(operation) {
            Some(&kind) => Err(fault(operation, kind)),
            None => Ok(()),
        }
    }
}

fn fault(operation: &'static str, kind: FaultKind) -> Fault {
    Fault {
        kind,
        operation,
        message: "as the test says".to_owned(),
    }
}

fn key(card: &str) -> Key {
    (format!("CARD#{card}"), "CARD#STATUS".to_owned())
}

fn card(id: &str, status: &str) -> Item {
    let (pk, sk) = key(id);
    let text = |name: &str, value: String| (name.to_owned(), Value::Text(value));
    Item::from([
        text("PK", pk),
        text("SK", sk),
        text("CardStatus", status.to_owned()),
    ])
}

impl AccessTable for Scripted {
    async fn scan(
        &self,
        segment: u32,
        segments: u32,
        from: Option<ScanCursor>,
    ) -> Result<ScanPage, Fault> {
        let page = {
            self.meets("Scan")?;
            let mut world = self.world();
            world.scans += 1;
            let after = from.map(|ScanCursor(item)| item["PK"].as_text().unwrap_or("").to_owned());
            let mine = |pk: &str| pk.bytes().map(u32::from).sum::<u32>() % segments == segment;
            let mut rest = world
                .items
                .iter()
                .filter(|((pk, _), _)| mine(pk) && after.as_ref().is_none_or(|after| pk > after))
                .map(|(_, item)| item.clone());
            let items: Vec<Item> = rest.by_ref().take(PAGE).collect();
            let next = rest.next().and(items.last().cloned()).map(ScanCursor);
            ScanPage { items, next }
        };
        sleep(SCAN_LATENCY).await;
        Ok(page)
    }

    async fn change_shards(&self) -> Result<Vec<ChangeShard>, Fault> {
        sleep(LATENCY).await;
        self.meets("DescribeStream")?;
        let world = self.world();
        let listed = world.shards.iter().filter(|shard| shard.listed);
        Ok(listed
            .map(|shard| ChangeShard {
                id: shard.id.clone(),
                parent: shard.parent.clone(),
            })
            .collect())
    }

    async fn change_iterator(
        &self,
        shard: &ShardId,
        from: &ChangeStart,
    ) -> Result<ShardIterator, Fault> {
        sleep(LATENCY).await;
        self.meets("GetShardIterator")?;
        let mut world = self.world();
        let Some(changes) = world
            .shards
            .iter()
            .find(|other| other.id == *shard)
            .map(|s| &s.changes)
        else {
            return Err(fault("GetShardIterator", FaultKind::NotFound));
        };
        let (offset, how) = match from {
            ChangeStart::Latest => (changes.len(), "latest".to_owned()),
            ChangeStart::TrimHorizon => (0, "trim_horizon".to_owned()),
            ChangeStart::After(last) => {
                let done = changes
                    .iter()
                    .take_while(|change| change.sequence != *last)
                    .count();
                (done + 1, format!("after {last}"))
            }
        };
        world.opened.push(format!("{shard} {how}"));
        Ok(ShardIterator(format!("{shard}/{offset}/{}", world.age)))
    }

    async fn changes(&self, iterator: ShardIterator) -> Result<ChangePage, Fault> {
        let now_ms = self.clock.now_ms();
        let mut parts = iterator.0.split('/');
        let mut part = || {
            parts
                .next()
                .expect("an iterator that was given out")
                .to_owned()
        };
        let (id, offset, age) = (ShardId::new(&part()), part(), part());
        let offset: usize = offset.parse().expect("an offset");
        let page = {
            let mut world = self.world();
            world.reads.push((id.clone(), now_ms));
            if let Some(&kind) = world.failing.get("GetRecords") {
                Err(fault("GetRecords", kind))
            } else if age != world.age.to_string() {
                Err(fault("GetRecords", world.aged))
            } else {
                let shard = world
                    .shards
                    .iter()
                    .find(|shard| shard.id == id)
                    .expect("a shard");
                let rest = shard.changes.get(offset..).unwrap_or_default();
                let changes: Vec<Change> = rest.iter().take(PAGE).cloned().collect();
                let more = rest.len() > PAGE;
                let next = (more || !shard.closed)
                    .then(|| ShardIterator(format!("{id}/{}/{age}", offset + changes.len())));
                Ok(ChangePage {
                    changes,
                    next,
                    more,
                })
            }
        };
        sleep(LATENCY).await;
        page
    }
}
