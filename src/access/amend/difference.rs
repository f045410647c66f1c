//! What a row changes: it is laid over the item that is there, read as the daemon would read it, and compared.
//!
//! `Version` goes up by itself: to one more than it was, or to what the row says when that is more. A row that says less
//! is older than the table, and is refused. The write counts only if the item is still as it was read.

use super::{Row, cell, spell};
use crate::{
    access::{
        change::{Entity, entity_of},
        fields::ItemError,
        read,
    },
    model::item::{Item, ItemWrite, Seen, Value},
};

/// The attribute that grows with every write.
const VERSION: &str = "Version";

/// One attribute that changes: its name, what it was, what it will be.
pub type Changed = (String, Option<Value>, Option<Value>);

/// What a row comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// There is no such item yet.
    New(ItemWrite, Vec<Changed>),
    /// The item is otherwise.
    Changed(ItemWrite, Vec<Changed>),
    /// The item is so already.
    Same,
    /// Why it is not to be had.
    Refused(String),
}

/// What `row` changes of `live`.
pub fn difference(row: &Row, live: Option<&Item>) -> Difference {
    let nothing = Item::new();
    let before = live.unwrap_or(&nothing);
    let known = read::version(before).ok().flatten();
    let said = match row.said.get(VERSION) {
        Some(Some(version)) => match version.as_integer::<u64>() {
            Some(version) => Some(version),
            None => {
                return Difference::Refused("Version is not a whole number in range".to_owned());
            }
        },
        _ => None,
    };
    if let Some((said, known)) = said.zip(known).filter(|(said, known)| said < known) {
        return Difference::Refused(format!("Version {said} is older than the table's {known}"));
    }
    let others = row.said.iter().filter(|(name, _)| *name != VERSION);
    let mut changed: Vec<Changed> = others
        .map(|(name, value)| (name.clone(), before.get(name).cloned(), value.clone()))
        .filter(|(_, old, new)| !alike(old.as_ref(), new.as_ref()))
        .collect();
    if live.is_some() && changed.is_empty() {
        return Difference::Same;
    }
    let version = known.unwrap_or(0).saturating_add(1).max(said.unwrap_or(0));
    let version = Value::Number(version.to_string());
    changed.push((
        VERSION.to_owned(),
        before.get(VERSION).cloned(),
        Some(version),
    ));
    if let Err(why) = reads(&row.pk, &row.sk, &after(row, before, &changed)) {
        return Difference::Refused(why.to_string());
    }
    let seen = match (live, known) {
        (None, _) => Seen::Absent,
        (_, Some(version)) => Seen::Version(version),
        _ => Seen::Attributes(
            changed
                .iter()
                .map(|(name, old, _)| (name.clone(), old.clone()))
                .collect(),
        ),
    };
    let mut write = ItemWrite {
        key: (row.pk.clone(), row.sk.clone()),
        set: Vec::new(),
        remove: Vec::new(),
        seen,
    };
    for (name, _, new) in &changed {
        match new {
            Some(value) => write.set.push((name.clone(), value.clone())),
            None => write.remove.push(name.clone()),
        }
    }
    changed.retain(|(_, old, new)| old.is_some() || new.is_some());
    match live {
        None => Difference::New(write, changed),
        Some(_) => Difference::Changed(write, changed),
    }
}

fn after(row: &Row, before: &Item, changed: &[Changed]) -> Item {
    let mut after = before.clone();
    after.insert("PK".to_owned(), Value::Text(row.pk.clone()));
    after.insert("SK".to_owned(), Value::Text(row.sk.clone()));
    for (name, _, new) in changed {
        match new {
            Some(value) => drop(after.insert(name.clone(), value.clone())),
            None => drop(after.remove(name)),
        }
    }
    after
}

/// Whether the daemon can read an item of a key of its own.
///
/// # Errors
/// Why it would count as absent.
pub fn reads(pk: &str, sk: &str, item: &Item) -> Result<(), ItemError> {
    read::version(item)?;
    match entity_of(pk, sk) {
        Some(Entity::Card(id)) => read::card(id, item).map(drop),
        Some(entity) => read::rule(entity, item).map(drop),
        None => Err(ItemError::new(
            "PK",
            "and SK name nothing that the daemon reads",
        )),
    }
}

/// Whether two values are one: sets have no order.
fn alike(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(Value::TextSet(one)), Some(Value::TextSet(other))) => {
            one.len() == other.len() && one.iter().all(|word| other.contains(word))
        }
        (one, other) => one == other,
    }
}

/// A difference for people, on one line.
pub fn tell(row: &Row, difference: &Difference) -> String {
    let key = spell(&row.pk, &row.sk);
    let text = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), cell::tell);
    match difference {
        Difference::New(_, changed) => {
            let said: Vec<_> = changed
                .iter()
                .map(|(name, _, new)| format!("{name} {}", text(new)))
                .collect();
            format!("new      {key}: {}", said.join(", "))
        }
        Difference::Changed(_, changed) => {
            let said: Vec<_> = changed
                .iter()
                .map(|(name, old, new)| format!("{name} {} → {}", text(old), text(new)))
                .collect();
            format!("changed  {key}: {}", said.join(", "))
        }
        Difference::Same => format!("same     {key}"),
        Difference::Refused(why) => format!("REFUSED  {key}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::fixtures::{attributes, n, s};

    fn row<const N: usize>(said: [(&str, Option<Value>); N]) -> Row {
        let said = said.map(|(name, value)| (name.to_owned(), value)).into();
        Row {
            line: 2,
            pk: "CARD#7".to_owned(),
            sk: "CARD#STATUS".to_owned(),
            said,
        }
    }

    fn issued<const N: usize>(more: [(&str, Value); N]) -> Item {
        let mut item = attributes([
            ("PK", s("CARD#7")),
            ("SK", s("CARD#STATUS")),
            ("CardStatus", s("issued")),
        ]);
        item.extend(attributes(more));
        item
    }

    #[track_caller]
    fn check(row: &Row, live: Option<Item>, expected: &str) -> Difference {
        let difference = difference(row, live.as_ref());
        assert_eq!(tell(row, &difference), expected);
        difference
    }

    #[test]
    fn a_row_is_new_or_changes_what_it_names_and_nothing_else() {
        let revoked = row([("CardStatus", Some(s("revoked")))]);
        check(
            &revoked,
            None,
            "new      CARD#7: CardStatus revoked, Version 1",
        );
        let live = issued([("CardIssuedTo", s("Jo")), ("Version", n(4))]);
        let told = "changed  CARD#7: CardStatus issued → revoked, Version 4 → 5";
        let Difference::Changed(write, _) = check(&revoked, Some(live), told) else {
            panic!("changed")
        };
        let set = [("CardStatus", s("revoked")), ("Version", n(5))]
            .map(|(name, value)| (name.to_owned(), value));
        assert_eq!(
            (write.set, write.remove, write.seen),
            (set.into(), vec![], Seen::Version(4))
        );

        let cleared = row([("CardIssuedTo", None), ("ValidTo", None)]);
        let told = "changed  CARD#7: CardIssuedTo Jo → -, Version - → 1";
        let Difference::Changed(write, _) =
            check(&cleared, Some(issued([("CardIssuedTo", s("Jo"))])), told)
        else {
            panic!("changed")
        };
        assert_eq!(write.remove, ["CardIssuedTo"]);
        let seen = [
            ("CardIssuedTo".to_owned(), Some(s("Jo"))),
            ("Version".to_owned(), None),
        ];
        assert_eq!(write.seen, Seen::Attributes(seen.into()));
    }

    #[test]
    fn what_is_so_already_is_the_same_whatever_the_version() {
        let live = issued([
            ("Version", n(4)),
            ("Exemptions", Value::TextSet(vec!["b".into(), "a".into()])),
        ]);
        let exempt = Some(Value::TextSet(vec!["a".into(), "b".into()]));
        for version in [None, Some(n(4)), Some(n(9))] {
            let row = row([
                ("CardStatus", Some(s("issued"))),
                ("Exemptions", exempt.clone()),
                ("Version", version),
            ]);
            check(&row, Some(live.clone()), "same     CARD#7");
        }
    }

    #[test]
    fn the_version_is_one_more_or_what_the_row_says_and_never_less() {
        let live = || Some(issued([("Version", n(4))]));
        let lost = |version| row([("CardStatus", Some(s("lost"))), ("Version", version)]);
        for (version, expected) in [
            (
                None,
                "changed  CARD#7: CardStatus issued → lost, Version 4 → 5",
            ),
            (
                Some(n(4)),
                "changed  CARD#7: CardStatus issued → lost, Version 4 → 5",
            ),
            (
                Some(n(9)),
                "changed  CARD#7: CardStatus issued → lost, Version 4 → 9",
            ),
            (
                Some(n(3)),
                "REFUSED  CARD#7: Version 3 is older than the table's 4",
            ),
            (
                Some(n(-3)),
                "REFUSED  CARD#7: Version is not a whole number in range",
            ),
        ] {
            check(&lost(version), live(), expected);
        }
    }

    #[test]
    fn what_the_daemon_would_not_read_is_refused() {
        let word = row([("CardStatus", Some(s("issud")))]);
        check(
            &word,
            None,
            "REFUSED  CARD#7: CardStatus is not a known word",
        );
        let gone = row([("CardStatus", None)]);
        check(
            &gone,
            Some(issued([])),
            "REFUSED  CARD#7: CardStatus is missing",
        );
        // And what was unreadable is mended.
        let mended = row([("CardStatus", Some(s("lost"))), ("ValidTo", None)]);
        let live = issued([("ValidTo", s("never")), ("Version", s("x"))]);
        let told = "changed  CARD#7: CardStatus issued → lost, ValidTo never → -, Version x → 1";
        check(&mended, Some(live), told);
    }
}
