//! What each rule looks at, in words.

mod places;
mod rights;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Question;
use crate::{
    access::{
        amend::{cell, spell},
        cache::View,
        change::{CardItem, Entity, RuleItem, Site, entity_of},
        fields::ItemError,
        read,
    },
    model::{
        card::Exemptions,
        door::AccessPoint,
        item::{Item, Value},
    },
};

/// The items of a question, read.
pub(super) struct Facts<'a> {
    items: &'a [Item],
    question: &'a Question<'a>,
    view: &'a View,
    raw: BTreeMap<(&'a str, &'a str), &'a Item>,
    /// By their keys as people spell them.
    rules: BTreeMap<String, Result<RuleItem, ItemError>>,
    card: Option<Result<CardItem, ItemError>>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(items: &'a [Item], question: &'a Question<'a>, view: &'a View) -> Self {
        let (mut raw, mut rules, mut card) = (BTreeMap::new(), BTreeMap::new(), None);
        for item in items {
            let text = |name| item.get(name).and_then(Value::as_text).unwrap_or_default();
            let key = (text("PK"), text("SK"));
            raw.insert(key, item);
            let version = read::version(item);
            match entity_of(key.0, key.1) {
                Some(Entity::Card(id)) if id == question.card => {
                    card = Some(version.and_then(|_| read::card(id, item)));
                }
                None | Some(Entity::Card(_)) => {}
                Some(entity) => drop(rules.insert(
                    spell(key.0, key.1),
                    version.and_then(|_| read::rule(entity, item)),
                )),
            }
        }
        Self {
            items,
            question,
            view,
            raw,
            rules,
            card,
        }
    }

    pub(super) fn of_rule(&self, rule: u8) -> Vec<String> {
        match rule {
            2 => self.device(),
            4 => vec![format!(
                "swiped and decided at {}",
                instant(self.question.at_ms)
            )],
            5 => vec![self.door().map_or_else(
                |why| why,
                |item| match item {
                    RuleItem::AccessPoint(point) => self.tell_point(point),
                    _ => String::new(),
                },
            )],
            6 => self.of_point(|point| {
                vec![format!(
                    "Direction {}, Egress {}",
                    point.direction.as_str(),
                    self.said_of_door("Egress", "checked")
                )]
            }),
            7 => self.of_point(|point| self.posture(point)),
            8 => {
                let degraded = self.said_of_door("Degraded", "deny");
                vec![format!(
                    "what is known is fresh here; without that the door's Degraded ({degraded}) would decide"
                )]
            }
            10 => vec![self.card_item()],
            12 | 13 => self.of_card(|_| {
                vec![format!(
                    "CardStatus {}, IsAvailableForIssue {}",
                    self.said_of_card("CardStatus", "-"),
                    self.said_of_card("IsAvailableForIssue", "false")
                )]
            }),
            14 => self.of_card(|_| {
                vec![format!(
                    "HolderStatus {}",
                    self.said_of_card("HolderStatus", "not said, which is not active")
                )]
            }),
            15 => self.of_card(|card| {
                let words = ["ValidFrom", "ValidTo"].map(|name| self.seconds_of_card(name));
                let [from, to] = words;
                let covers = card.valid.covers(self.question.at_ms);
                vec![format!(
                    "ValidFrom {from}, ValidTo {to}: the swipe is {}",
                    if covers { "between" } else { "outside" }
                )]
            }),
            17 => self.of_card(|card| self.rights(card)),
            18 => self.of_card(|card| self.schedules(card)),
            19 => self.of_point(|point| {
                let authority = self.card.as_ref().and_then(|card| card.as_ref().ok());
                let authority = authority
                    .map_or_else(|| "-".to_owned(), |card| card.threat_authority.to_string());
                vec![format!(
                    "ThreatLevel of the door {}, ThreatAuthority of the card {authority}",
                    point.threat_level
                )]
            }),
            21 => self.passback(),
            24 => self.occupancy(),
            _ => Vec::new(),
        }
    }

    /// The item of that key, or why there is none.
    fn looked(&self, key: &str) -> Result<&RuleItem, String> {
        match self.rules.get(key) {
            None => Err(format!("there is no item {key}")),
            Some(Err(why)) => Err(format!("{key} is malformed and counts as absent: {why}")),
            Some(Ok(item)) => Ok(item),
        }
    }

    fn door(&self) -> Result<&RuleItem, String> {
        self.looked(&format!("AP#{}", self.question.door))
    }

    fn of_point(&self, tell: impl Fn(&AccessPoint) -> Vec<String>) -> Vec<String> {
        match self.door() {
            Ok(RuleItem::AccessPoint(point)) => tell(point),
            _ => Vec::new(),
        }
    }

    fn of_card(&self, tell: impl Fn(&CardItem) -> Vec<String>) -> Vec<String> {
        match &self.card {
            Some(Ok(card)) => tell(card),
            _ => Vec::new(),
        }
    }

    fn said(&self, (pk, sk): (&str, &str), name: &str, absent: &str) -> String {
        let value = self.raw.get(&(pk, sk)).and_then(|item| item.get(name));
        value.map_or_else(|| absent.to_owned(), cell::tell)
    }

    fn said_of_card(&self, name: &str, absent: &str) -> String {
        self.said(
            (&format!("CARD#{}", self.question.card), "CARD#STATUS"),
            name,
            absent,
        )
    }

    fn said_of_door(&self, name: &str, absent: &str) -> String {
        self.said(
            (&format!("AP#{}", self.question.door), "CONFIG"),
            name,
            absent,
        )
    }

    fn seconds_of_card(&self, name: &str) -> String {
        let said = self.said_of_card(name, "-");
        let seconds = said.parse::<i64>().ok();
        seconds.map_or(said, |seconds| instant(seconds.saturating_mul(1000)))
    }

    fn device(&self) -> Vec<String> {
        let known = self.question.policy.require_known_devices;
        let required = format!("policy.require_known_devices {known}");
        let Some(id) = self.question.device else {
            return vec!["no device was said, so none is judged".to_owned(), required];
        };
        let told = match self.looked(&format!("DEV#{id}")) {
            Ok(RuleItem::Device(device)) => {
                let lists = device
                    .access_points
                    .iter()
                    .any(|point| **point == *self.question.door);
                format!(
                    "DEV#{id}: Status {}, {} {}",
                    self.said(
                        (&format!("DEV#{id}"), "CONFIG"),
                        "Status",
                        "not said, which is disabled"
                    ),
                    if lists { "lists" } else { "does not list" },
                    self.question.door
                )
            }
            Ok(_) => String::new(),
            Err(why) => why,
        };
        vec![told, required]
    }

    fn tell_point(&self, point: &AccessPoint) -> String {
        let or_none = |id: &Option<Box<str>>| id.as_deref().unwrap_or("-").to_owned();
        format!(
            "AP#{}: Direction {}, SiteId {}, AreaFrom {}, AreaTo {}",
            self.question.door,
            point.direction.as_str(),
            or_none(&point.site),
            or_none(&point.area_from),
            or_none(&point.area_to)
        )
    }

    fn posture(&self, point: &AccessPoint) -> Vec<String> {
        let mut told = vec![format!(
            "Posture {}",
            self.said_of_door("Posture", "secure")
        )];
        match point.site.as_deref().map(|site| (site, self.site(site))) {
            None => told.push("the door has no site".to_owned()),
            Some((id, Ok(site))) => told.push(format!("SITE#{id}: Lockdown {}", site.lockdown)),
            Some((_, Err(why))) => told.push(why),
        }
        told.extend(self.of_card(|card| vec![exempt(card, Exemptions::LOCKDOWN, "lockdown")]));
        told
    }

    fn site(&self, id: &str) -> Result<&Site, String> {
        match self.looked(&format!("SITE#{id}"))? {
            RuleItem::Site(site) => Ok(site),
            _ => Err(String::new()),
        }
    }

    fn card_item(&self) -> String {
        let key = spell(&format!("CARD#{}", self.question.card), "CARD#STATUS");
        match &self.card {
            None => format!("there is no item {key}"),
            Some(Err(why)) => format!("{key} is malformed and counts as absent: {why}"),
            Some(Ok(_)) => format!("{key}: Version {}", self.said_of_card("Version", "-")),
        }
    }
}

fn exempt(card: &CardItem, what: Exemptions, word: &str) -> String {
    let is = if card.exemptions.contains(what) {
        "exempt"
    } else {
        "not exempt"
    };
    format!("the card is {is} from {word}")
}

fn instant(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}
