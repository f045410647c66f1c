//! What is wrong with an access table as a whole: items that the daemon ignores, and ids that have no item.
//!
//! Items come in any order, one at a time; what is kept grows with the ids that are named, not with the cards.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    amend::{kind::Kind, spell},
    change::{Entity, entity_of},
    fields, read,
    references::{self, Reference},
};
use crate::model::item::Item;

/// Something that is not as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The item, by its key.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// Who names an id.
#[derive(Debug)]
struct Mentions {
    first: String,
    others: u64,
}

/// An audit under way.
#[derive(Debug, Default)]
pub struct Audit {
    /// How many items there are of each kind that the daemon can read.
    pub read: BTreeMap<Kind, u64>,
    /// How many items there are that are not the daemon's, by what their partition keys begin with.
    pub others: BTreeMap<String, u64>,
    there: BTreeSet<(Kind, Box<str>)>,
    named: BTreeMap<(Kind, Box<str>), Mentions>,
}

impl Audit {
    /// Takes an item; what is wrong with it, as far as it alone tells.
    pub fn take(&mut self, item: &Item) -> Option<Finding> {
        let text = |name| fields::required_text(item, name).unwrap_or_default();
        let (pk, sk) = (text("PK"), text("SK"));
        let finding = |why: String| {
            let key = format!("{pk} / {sk}");
            Some(Finding { key, why })
        };
        let Some(entity) = entity_of(pk, sk) else {
            let prefix = pk.split_once('#').map_or(pk, |(prefix, _)| prefix);
            if is_strange(prefix, sk) {
                return finding("no item of the daemon's has this key".to_owned());
            }
            *self.others.entry(prefix.to_owned()).or_default() += 1;
            return None;
        };
        let kind = Kind::of(pk, sk)?;
        if let Entity::AccessPoint(id)
        | Entity::Area(id)
        | Entity::Site(id)
        | Entity::Profile(id)
        | Entity::Schedule(id)
        | Entity::CalendarDay(id, _)
        | Entity::Device(id) = entity
        {
            self.there.insert((kind, Box::from(id)));
        }
        let read = read::version(item).and_then(|_| match entity {
            Entity::Card(id) => read::card(id, item).map(|card| references::of_card(&card)),
            entity => read::rule(entity, item).map(|item| references::of_rule(&item)),
        });
        match read {
            Err(why) => finding(format!("is ignored: {why}")),
            Ok(named) => {
                *self.read.entry(kind).or_default() += 1;
                named
                    .into_iter()
                    .for_each(|named| self.mention(named, &spell(pk, sk)));
                None
            }
        }
    }

    fn mention(
        &mut self,
        Reference {
            attribute,
            kind,
            id,
        }: Reference,
        by: &str,
    ) {
        let known = self.named.entry((kind, id));
        known
            .and_modify(|mentions| mentions.others += 1)
            .or_insert_with(|| Mentions {
                first: format!("{by} in {attribute}"),
                others: 0,
            });
    }

    /// Which ids are named and have no item. An item that is ignored is none that is missing.
    pub fn finish(self) -> impl Iterator<Item = Finding> {
        let Self { there, named, .. } = self;
        let missing = named.into_iter().filter(move |(id, _)| !there.contains(id));
        missing.map(|((kind, id), Mentions { first, others })| {
            let others = match others {
                0 => String::new(),
                others => format!(", and {others} times elsewhere"),
            };
            Finding {
                key: format!("{}{id}", kind.prefix()),
                why: format!("has no item; named by {first}{others}"),
            }
        })
    }
}

/// Whether a key that is not the daemon's looks as if it should be: cards may have more items than the daemon reads, but no
/// `CONFIG`; of the others there is one item each.
fn is_strange(prefix: &str, sk: &str) -> bool {
    let is_ours = Kind::ALL
        .iter()
        .any(|(_, kind)| kind.prefix().trim_end_matches('#') == prefix);
    is_ours && (prefix != "CARD" || sk == "CONFIG" || sk == "STATUS")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::fixtures::{item, list, map, s};

    #[track_caller]
    fn check<const N: usize>(items: [Item; N], expected: &[(&str, &str)]) {
        let mut audit = Audit::default();
        let mut found: Vec<_> = items.iter().filter_map(|item| audit.take(item)).collect();
        found.extend(audit.finish());
        let found: Vec<_> = found
            .iter()
            .map(|found| (&*found.key, &*found.why))
            .collect();
        assert_eq!(found, expected);
    }

    fn card(id: &str, profile: &str) -> Item {
        let said = [
            ("CardStatus", s("issued")),
            ("AccessProfiles", list([s(profile)])),
        ];
        item(&format!("CARD#{id}"), "CARD#STATUS", said)
    }

    #[test]
    fn a_table_in_which_all_is_named_and_there_has_no_findings() {
        let policy = map([
            ("AccessPoints", list([s("d")])),
            ("ScheduleId", s("office")),
        ]);
        let special = map([("CalendarId", s("xmas"))]);
        check(
            [
                card("1", "staff"),
                item("PROFILE#staff", "CONFIG", [("Policies", list([policy]))]),
                item("SCHED#office", "CONFIG", [("SpecialDays", list([special]))]),
                item("CAL#xmas", "DAY#2026-12-25", []),
                item(
                    "AP#d",
                    "CONFIG",
                    [("Direction", s("in")), ("SiteId", s("hq"))],
                ),
                item("SITE#hq", "CONFIG", [("TimeZone", s("UTC"))]),
                item("CARD#1", "PRESENCE#hq", []),
                item("EMP#1", "PERSON", []),
            ],
            &[],
        );
    }

    #[test]
    fn what_the_daemon_ignores_is_found_with_its_reason() {
        check(
            [
                item("CARD#1", "CARD#STATUS", [("CardStatus", s("issud"))]),
                item(
                    "CARD#2",
                    "CARD#STATUS",
                    [("CardStatus", s("issued")), ("Version", s("1"))],
                ),
                item("CARD#3", "CONFIG", []),
                item("AP#d", "STATUS", []),
                item("CAL#xmas", "DAY#25-12-2026", []),
            ],
            &[
                (
                    "CARD#1 / CARD#STATUS",
                    "is ignored: CardStatus is not a known word",
                ),
                (
                    "CARD#2 / CARD#STATUS",
                    "is ignored: Version is not a number",
                ),
                ("CARD#3 / CONFIG", "no item of the daemon's has this key"),
                ("AP#d / STATUS", "no item of the daemon's has this key"),
                (
                    "CAL#xmas / DAY#25-12-2026",
                    "is ignored: SK is not DAY# and a date YYYY-MM-DD",
                ),
            ],
        );
    }

    #[test]
    fn an_id_without_an_item_is_found_once_however_often_it_is_named() {
        check(
            [
                card("1", "night"),
                card("2", "night"),
                card("3", "day"),
                item("PROFILE#day", "CONFIG", [("Policies", s("none"))]),
            ],
            &[
                ("PROFILE#day / CONFIG", "is ignored: Policies is not a list"),
                (
                    "PROFILE#night",
                    "has no item; named by CARD#1 in AccessProfiles, and 1 times elsewhere",
                ),
            ],
        );
    }
}
