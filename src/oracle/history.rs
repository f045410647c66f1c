//! A history played by the oracle, where two plays of it differ, and a world as text.

use std::fmt;

use crate::model::item::{Item, Value};

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
    /// Whether the first answer to a swipe stands.
    pub first_stands: bool,
    /// What the operator set, as it is understood.
    pub limits: fn(&mut Limits),
}

/// What is known of places after an answer.
pub type After = fn(&Case<'_>, &Answer) -> Known;

/// The answer to a swipe that is answered already.
pub type Again = fn(&Answer) -> Answer;

pub const SOUND: Oracle<'static> = Oracle {
    rules: &rules::RULES,
    after: places::after,
    again: rules::again,
    first_stands: true,
    limits: |_| {},
};

impl Oracle<'_> {
    /// The answers to all swipes of a world, in order.
    pub fn play(&self, world: &World) -> Vec<Answer> {
        let mut limits = world.limits.clone();
        (self.limits)(&mut limits);
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
                limits: &limits,
                swipe: &step.swipe,
                now_ms: step.now_ms,
                fresh_ms,
                known: &known,
                door: items::door(&table, &step.swipe.door),
                card: items::card(&table, &step.swipe.card),
            };
            let first = given.iter().find(|(swipe, _)| **swipe == step.swipe);
            let answer = if let Some((_, first)) = first.filter(|_| self.first_stands) {
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
        if self.take_over {
            f.write_str("taken over; ")?;
        }
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
