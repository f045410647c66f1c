//! A history played twice: by the daemon's own code, and by the rules as written here; and where the two differ.

use std::{borrow::Cow, fmt};

use crate::{
    access::{cache::AccessCache, fixtures::put},
    model::{
        decision,
        item::{Item, Value},
        swipe::{self, Direction},
    },
    pipeline::{
        decide::{Policy, decide},
        recent::Recent,
    },
};

use super::{
    items::{self, Table},
    places::{self, Known},
    rules::{self, Answer, Case, Limits, Rule, Swipe},
    world::{Step, World},
};

/// An oracle: rules, and what a settled swipe changes. The sound one is [`SOUND`]; tests plant errors in it.
#[derive(Clone, Copy)]
pub struct Oracle<'r> {
    pub rules: &'r [(u8, Rule)],
    pub after: After,
    pub again: Again,
}

/// What is known of places after an answer.
pub type After = fn(&Case<'_>, &Answer) -> Known;

/// The answer to a swipe that is answered already.
pub type Again = fn(&Answer) -> Answer;

pub const SOUND: Oracle<'static> = Oracle {
    rules: &rules::RULES,
    after: places::after,
    again: rules::again,
};

impl Oracle<'_> {
    /// The answers to all swipes of a world, in order.
    pub fn play(&self, world: &World) -> Vec<Answer> {
        let mut table = Table::new();
        for item in &world.items {
            learn(&mut table, item);
        }
        let mut known = Known::new();
        let mut given: Vec<(&Swipe, Answer)> = Vec::new();
        let mut fresh_ms = None;
        for step in &world.steps {
            fresh_ms = fresh_ms.max(step.fresh_ms);
            if let Some(item) = &step.change {
                learn(&mut table, item);
            }
            let case = Case {
                table: &table,
                limits: &world.limits,
                swipe: &step.swipe,
                now_ms: step.now_ms,
                fresh_ms,
                known: &known,
                door: items::door(&table, &step.swipe.door),
                card: items::card(&table, &step.swipe.card),
            };
            let first = given.iter().find(|(swipe, _)| **swipe == step.swipe);
            let answer = if let Some((_, first)) = first {
                (self.again)(first)
            } else {
                let answer = rules::settle(self.rules, &case);
                known = (self.after)(&case, &answer);
                answer
            };
            given.push((&step.swipe, answer));
        }
        given.into_iter().map(|(_, answer)| answer).collect()
    }
}

/// Takes an image, unless its version is below that of the image before.
fn learn(table: &mut Table, item: &Item) {
    let text = |name: &str| item[name].as_text().expect("a key is text").to_owned();
    let key = (text("PK"), text("SK"));
    let version = |item: &Item| item.get("Version").and_then(Value::as_integer::<u64>);
    let known = table.get(&key).and_then(version);
    if known
        .zip(version(item))
        .is_none_or(|(known, new)| new >= known)
    {
        table.insert(key, item.clone());
    }
}

/// The answers of the daemon's own code to all swipes of a world, in order.
pub fn play_daemon(world: &World) -> Vec<Answer> {
    let cache = AccessCache::new();
    let changes: Vec<_> = world.items.iter().cloned().map(put).collect();
    cache.apply(&changes);
    let policy = policy(&world.limits);
    let mut recent = Recent::default();
    let mut answers = Vec::new();
    for step in &world.steps {
        if let Some(fresh_ms) = step.fresh_ms {
            cache.mark_fresh(fresh_ms);
        }
        if let Some(item) = &step.change {
            cache.apply(&[put(item.clone())]);
        }
        let swipe = as_read(&step.swipe);
        let view = cache.view();
        let (answer, repeat) = recent.answer(&swipe, || decision::Answer {
            verdict: decide(&swipe, &view, &policy, step.now_ms).verdict,
            decided_at_ms: step.now_ms,
        });
        let reason = answer.verdict.reason;
        let mut flags: Vec<_> = answer.verdict.flags().collect();
        flags.sort_unstable();
        answers.push(Answer {
            decision: reason.outcome().as_str(),
            reason: reason.as_str(),
            rule: reason.rule(),
            flags,
            actuate: !repeat && policy.actuates(swipe.swiped_at_ms, step.now_ms),
        });
    }
    answers
}

pub fn policy(limits: &Limits) -> Policy {
    Policy {
        max_card_staleness_ms: limits.staleness_ms,
        max_clock_skew_ms: limits.skew_ms,
        max_swipe_age_ms: limits.age_ms,
        actuate_within_ms: limits.actuate_ms,
        require_known_devices: limits.known_devices,
    }
}

pub fn as_read(swipe: &Swipe) -> swipe::Swipe<'_> {
    swipe::Swipe {
        device_id: Cow::from(&swipe.device),
        device_seq: swipe.seq,
        access_point: Cow::from(&swipe.door),
        card_id: Cow::from(&swipe.card),
        swiped_at_ms: swipe.at_ms,
        direction: swipe.direction.and_then(Direction::parse),
        offline: swipe.offline,
        trace_id: None,
    }
}

/// The first swipe that is answered differently.
pub struct Difference {
    pub step: usize,
    pub daemon: Answer,
    pub oracle: Answer,
}

pub fn difference(daemon: &[Answer], oracle: &[Answer]) -> Option<Difference> {
    let step = daemon
        .iter()
        .zip(oracle)
        .position(|(one, other)| one != other)?;
    Some(Difference {
        step,
        daemon: daemon[step].clone(),
        oracle: oracle[step].clone(),
    })
}

/// The smallest world that is still `wrong`: whatever can be left out, is. At most `tries` worlds are looked at.
pub fn reduced(world: &World, mut tries: usize, wrong: impl Fn(&World) -> bool) -> World {
    let mut smallest = world.clone();
    loop {
        let candidates = smaller(&smallest);
        let found = candidates.into_iter().take(tries).find(|world| {
            tries -= 1;
            wrong(world)
        });
        match found {
            Some(world) => smallest = world,
            None => return smallest,
        }
    }
}

/// Worlds with one thing less, the greatest things first.
fn smaller(world: &World) -> Vec<World> {
    let mut worlds = Vec::new();
    let mut less = |change: &dyn Fn(&mut World) -> bool| {
        let mut one = world.clone();
        if change(&mut one) {
            worlds.push(one);
        }
    };
    let steps = world.steps.len();
    for length in [steps / 2, steps / 4, 1] {
        for start in (0..steps).step_by(length.max(1)).filter(|_| length > 0) {
            less(&|world| {
                world.steps.drain(start..(start + length).min(steps));
                true
            });
        }
    }
    for index in 0..world.items.len() {
        less(&|world| {
            world.items.remove(index);
            true
        });
    }
    for index in 0..steps {
        less(&|world| world.steps[index].change.take().is_some());
        less(&|world| world.steps[index].swipe.direction.take().is_some());
        less(&|world| std::mem::take(&mut world.steps[index].swipe.offline));
    }
    for index in 0..world.items.len() {
        let parts = parts(&world.items[index]);
        for part in 0..parts {
            less(&|world| {
                drop_part(&mut world.items[index], &mut { part });
                true
            });
        }
    }
    worlds
}

/// How many things an item has that can be left out: attributes, entries of lists, whatever is in them.
fn parts(item: &Item) -> usize {
    let values = item.iter().filter(|(name, _)| !is_key(name));
    values.map(|(_, value)| 1 + parts_within(value)).sum()
}

fn is_key(name: &str) -> bool {
    ["PK", "SK"].contains(&name)
}

fn parts_within(value: &Value) -> usize {
    match value {
        Value::List(entries) => entries.iter().map(|entry| 1 + parts_within(entry)).sum(),
        Value::Map(map) => parts(map),
        _ => 0,
    }
}

/// Leaves out the `left`-th thing; counts down until it is met.
fn drop_part(item: &mut Item, left: &mut usize) -> bool {
    for name in item.keys().cloned().collect::<Vec<_>>() {
        if is_key(&name) {
            continue;
        }
        if *left == 0 {
            item.remove(&name);
            return true;
        }
        *left -= 1;
        if item
            .get_mut(&name)
            .is_some_and(|value| drop_within(value, left))
        {
            return true;
        }
    }
    false
}

fn drop_within(value: &mut Value, left: &mut usize) -> bool {
    match value {
        Value::List(entries) => {
            for index in 0..entries.len() {
                if *left == 0 {
                    entries.remove(index);
                    return true;
                }
                *left -= 1;
                if drop_within(&mut entries[index], left) {
                    return true;
                }
            }
            false
        }
        Value::Map(map) => drop_part(map, left),
        _ => false,
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.limits)?;
        for item in &self.items {
            writeln!(f, "{}", Written(&Value::Map(item.clone())))?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "{index}: {step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Swipe {
            device,
            seq,
            door,
            card,
            at_ms,
            direction,
            offline,
        } = &self.swipe;
        write!(f, "now {} fresh {:?}: ", self.now_ms, self.fresh_ms)?;
        if let Some(item) = &self.change {
            write!(f, "put {} then ", Written(&Value::Map(item.clone())))?;
        }
        write!(f, "{card} at {door} at {at_ms}, {device}#{seq}")?;
        if let Some(direction) = direction {
            write!(f, ", {direction}")?;
        }
        f.write_str(if *offline { ", offline" } else { "" })
    }
}

/// A value as one would write it down.
struct Written<'v>(&'v Value);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Number(digits) => f.write_str(digits),
            Value::Bool(flag) => write!(f, "{flag}"),
            Value::TextSet(words) => write!(f, "{{{}}}", words.join(", ")),
            Value::List(entries) => {
                f.write_str("[")?;
                for entry in entries {
                    write!(f, "{}, ", Written(entry))?;
                }
                f.write_str("]")
            }
            Value::Map(map) => {
                f.write_str("{")?;
                for (name, value) in map {
                    write!(f, "{name}: {}, ", Written(value))?;
                }
                f.write_str("}")
            }
            Value::Null => f.write_str("null"),
            Value::Other => f.write_str("other"),
        }
    }
}
