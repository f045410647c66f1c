//! TransactWriteItems on plain tables: all of its writes, or none.
//!
//! The token that makes a transaction happen once is taken and not kept: one that is sent again is played again, with
//! its conditions. Nothing comes between its conditions and its writes, so it never conflicts with another.

use std::collections::HashSet;

use super::{
    Tables,
    keys::{Keys, of_item, of_key},
    name_of,
    operations::read,
    refusal::{Reason, Refusal},
    requests::{Action, TransactWrite},
};

/// Most actions of a transaction (service limit).
const ACTIONS_MAX: usize = 100;

/// What is written to an item when all conditions hold.
enum Effect<'a> {
    Put(&'a str),
    Delete,
    Nothing,
}

impl Tables {
    /// TransactWriteItems, of at least one plain table.
    pub(super) fn transact(&mut self, request: &str) -> Result<String, Refusal> {
        let request: TransactWrite<'_> = read(request)?;
        let actions = &request.transact_items;
        if actions.is_empty() || actions.len() > ACTIONS_MAX {
            return Err(Refusal::validation(format!(
                "a TransactWriteItems has 1 to {ACTIONS_MAX} actions, and this one has {}",
                actions.len()
            )));
        }
        let mut distinct = HashSet::with_capacity(actions.len());
        let mut effects = Vec::with_capacity(actions.len());
        let mut reasons = Vec::with_capacity(actions.len());
        for action in actions {
            let (name, keys, effect, reason) = self.judged(action)?;
            if !distinct.insert((name, keys.pk.clone(), keys.sk.clone())) {
                return Err(Refusal::validation(
                    "Transaction request cannot include multiple operations on one item",
                ));
            }
            effects.push((name, keys, effect));
            reasons.push(reason);
        }
        if reasons.iter().any(|reason| *reason != Reason::None) {
            return Err(Refusal::Cancelled(reasons));
        }
        for (name, keys, effect) in effects {
            let Some(table) = self.0.get_mut(name) else {
                continue;
            };
            match effect {
                Effect::Put(text) => table.put(&keys, text),
                Effect::Delete => table.delete(&keys),
                Effect::Nothing => {}
            }
        }
        Ok("{}".to_owned())
    }

    /// The table and item of an action, what it does, and whether its condition lets it.
    fn judged<'a>(
        &self,
        action: &'a Action<'_>,
    ) -> Result<(&'a str, Keys<'a>, Effect<'a>, Reason), Refusal> {
        let name = name_of(match action {
            Action::Put(put) => &put.table_name,
            Action::Delete(on) | Action::ConditionCheck(on) => &on.table_name,
        });
        let table = self.plain(name)?;
        let (keys, effect, failed) = match action {
            Action::Put(put) => {
                let text = put.item.get();
                let keys = of_item(text, table.indexes())?;
                let failed = put.failed(table.get(&keys))?;
                (keys, Effect::Put(text), failed)
            }
            Action::Delete(on) | Action::ConditionCheck(on) => {
                let keys = of_key(on.key.get())?;
                let failed = on.failed(table.get(&keys))?;
                let effect = match action {
                    Action::ConditionCheck(_) if on.condition_expression.is_none() => {
                        return Err(Refusal::validation(
                            "a ConditionCheck needs a ConditionExpression",
                        ));
                    }
                    Action::ConditionCheck(_) => Effect::Nothing,
                    _ => Effect::Delete,
                };
                (keys, effect, failed)
            }
        };
        Ok((
            name,
            keys,
            effect,
            failed.map_or(Reason::None, Reason::ConditionFailed),
        ))
    }
}
