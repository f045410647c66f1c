//! Why a card gets the answer it gets at a door: every rule in order, with what it looked at and which one settled it.
//!
//! The answer is that of the daemon's own code ([`decide`], then [`Presences::settle`]) over a cache of just these items; no
//! rule is written a second time here. What stands beside each rule are descriptions of the items (`facts`).
//!
//! Pure: whoever asks brings the items. [`wanted`] says which ones are still missing.

mod facts;
mod wanted;

use std::sync::Arc;

use crate::{
    access::{
        cache::{AccessCache, Snapshot, View},
        rulebook::Point,
    },
    model::{
        decision::{Reason, Verdict},
        door::Posture,
        item::{Item, Value},
        presence::{Place, Presence},
        swipe::{Direction, Swipe},
    },
    pipeline::{
        decide::{Policy, decide},
        occupancy::Occupancy,
        presence::Presences,
    },
};

pub use wanted::{Wanted, wanted};

/// What presence items' sort keys begin with; the group of areas follows.
pub const PRESENCE: &str = "PRESENCE#";

/// Every rule of the contract, and what it is about.
const RULES: [(u8, &str); 17] = [
    (2, "device"),
    (4, "time of the swipe"),
    (5, "access point"),
    (6, "way out that is always open"),
    (7, "posture and lockdown"),
    (8, "freshness of what is known"),
    (10, "card"),
    (12, "card at hand"),
    (13, "card in use"),
    (14, "holder"),
    (15, "validity"),
    (17, "rights"),
    (18, "schedule"),
    (19, "threat level"),
    (21, "anti-passback"),
    (24, "occupancy"),
    (29, "nothing against it"),
];

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The card.
    pub card: &'a str,
    /// The access point.
    pub door: &'a str,
    /// Who reports it; without one the device is not judged.
    pub device: Option<&'a str>,
    /// When it is swiped, and decided: Unix epoch milliseconds.
    pub at_ms: i64,
    /// What the operator sets.
    pub policy: &'a Policy,
    /// How many cards are in the area that the door leads to, where that is known.
    pub inside: Option<i64>,
}

/// What came of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It let the swipe go on.
    Passed,
    /// It gave the answer.
    Settled,
    /// It would have denied, had rule 6 not granted.
    WouldDeny,
    /// It set a flag.
    Flagged,
    /// An earlier one gave the answer.
    NotAsked,
}

impl Standing {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Settled => "settled",
            Self::WouldDeny => "would_deny",
            Self::Flagged => "flagged",
            Self::NotAsked => "not_asked",
        }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub rule: u8,
    /// What it is about.
    pub name: &'static str,
    /// What came of it.
    pub standing: Standing,
    /// What it looked at.
    pub facts: Vec<String>,
}

/// An answer with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The answer.
    pub verdict: Verdict,
    /// The access point's direction, when it is known.
    pub direction: Option<Direction>,
    /// Every rule, in order.
    pub steps: Vec<Step>,
}

/// What the daemon knows when these items are all that there is.
pub fn view(items: &[Item], at_ms: i64) -> View {
    let (cache, snapshot) = (AccessCache::new(), Snapshot::new());
    snapshot.scanned(items);
    cache.replace(snapshot);
    cache.mark_fresh(at_ms);
    cache.view()
}

/// The groups of areas in which it matters where the card is, of a door.
pub fn groups(view: &View, door: &str) -> Vec<Arc<str>> {
    let Some(point) = point(view, door) else {
        return Vec::new();
    };
    let passage = view.rulebook().passage(point);
    let areas = passage.areas();
    let mut groups: Vec<_> = areas.map(|area| Arc::clone(&area.group)).collect();
    groups.dedup();
    groups
}

/// The area that a door leads to, when it holds only so many.
pub fn limited(view: &View, door: &str) -> Option<Arc<str>> {
    let to = view.rulebook().passage(point(view, door)?).to?;
    (to.occupancy_upper > 0).then(|| Arc::clone(&to.id))
}

fn point<'a>(view: &'a View, door: &str) -> Option<&'a Point> {
    let book = view.rulebook();
    book.point_id(door).and_then(|id| book.point(id))
}

/// Explains the answer that the daemon gives when `items`, of the access table and of presence, are all that there is.
pub fn explain(items: &[Item], question: &Question<'_>) -> Explanation {
    let Question {
        card,
        door,
        at_ms,
        policy,
        ..
    } = *question;
    let view = view(items, at_ms);
    let swipe = Swipe {
        // No item has this name, so that nothing is known of it.
        device_id: question.device.unwrap_or("-").into(),
        device_seq: 0,
        access_point: door.into(),
        card_id: card.into(),
        swiped_at_ms: at_ms,
        direction: None,
        offline: false,
        trace_id: None,
    };
    let ruling = decide(&swipe, &view, policy, at_ms);
    let (mut presences, occupancy) = (Presences::default(), Occupancy::default());
    for group in groups(&view, door) {
        presences.learn(
            card,
            &group,
            find_presence(items, card, &group).map(|(presence, _)| presence),
        );
    }
    if let Some((area, count)) = limited(&view, door).zip(question.inside) {
        occupancy.counted(&area, occupancy.asked(&area), count);
    }
    let verdict = presences.settle(0, &swipe, &ruling, view.rulebook(), &occupancy);
    let unlocked = point(&view, door).is_some_and(|point| point.posture == Posture::Unlocked);
    let facts = facts::Facts::of(items, question, &view);
    let steps = RULES.into_iter().map(|(rule, name)| Step {
        rule,
        name,
        standing: standing(rule, verdict, unlocked),
        facts: facts.of_rule(rule),
    });
    Explanation {
        verdict,
        direction: ruling.direction,
        steps: steps.collect(),
    }
}

/// What came of a rule, by what the answer is. First match wins, so every rule before the one that settled it let it pass;
/// but rules 6 and 8 grant only when no later rule denies.
fn standing(rule: u8, verdict: Verdict, unlocked: bool) -> Standing {
    let settled = verdict.reason.rule();
    let last_asked = match verdict.reason {
        Reason::GrantedEgress => match verdict.would_deny {
            Some(denied) => denied.rule(),
            None if unlocked => Reason::GrantedDoorUnlocked.rule(),
            None => u8::MAX,
        },
        Reason::GrantedDegraded => u8::MAX,
        _ => settled,
    };
    if rule == settled {
        Standing::Settled
    } else if verdict
        .would_deny
        .is_some_and(|denied| denied.rule() == rule)
    {
        Standing::WouldDeny
    } else if rule > last_asked {
        Standing::NotAsked
    } else if rule == Reason::AntiPassbackViolation.rule() && verdict.soft_apb {
        Standing::Flagged
    } else {
        Standing::Passed
    }
}

/// Where a card is in a group of areas, and the door that it passed, by its presence item.
fn find_presence<'a>(items: &'a [Item], card: &str, group: &str) -> Option<(Presence, &'a str)> {
    let text =
        |item: &'a Item, name: &str| item.get(name).and_then(Value::as_text).unwrap_or_default();
    let (pk, sk) = (format!("CARD#{card}"), format!("{PRESENCE}{group}"));
    let item = items
        .iter()
        .find(|item| text(item, "PK") == pk && text(item, "SK") == sk)?;
    let place = match text(item, "ScannedStatus") {
        "scanned-in" => Place::Inside(Arc::from(item.get("Area")?.as_text()?)),
        "scanned-out" => Place::Outside,
        _ => return None,
    };
    let at_ms = item.get("ScannedAt")?.as_integer()?;
    Some((Presence { place, at_ms }, text(item, "LastAccessPoint")))
}

#[cfg(test)]
mod tests;
