//! The requests that write one item on a condition, and transactions of them.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::{
        holds::{Value, holds},
        refusal::Refusal,
    },
    Ignored,
};

/// A write of one item with a condition, of its own or in a transaction.
macro_rules! conditional {
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        request! {
            @whole $(#[$doc])* $name {
                $($fields)*
                /// Or its ARN.
                #[serde(borrow)]
                table_name: Cow<'a, str>,
                /// What must hold.
                #[serde(borrow, default)]
                condition_expression: Option<Cow<'a, str>>,
                /// Of the condition.
                #[serde(default)]
                expression_attribute_names: HashMap<String, String>,
                /// Of the condition.
                #[serde(borrow, default)]
                expression_attribute_values: HashMap<String, Value<'a>>,
                /// What a refusal shows.
                #[serde(default)]
                return_values_on_condition_check_failure: OnFailure,
                /// Nothing else is played.
                #[serde(default, rename = "ReturnValues")]
                _return_values: Nothing,
            }
        }

        impl $name<'_> {
            /// Nothing when the condition holds for the item that is there; else what a refusal shows of it.
            ///
            /// # Errors
            /// When the condition is not played.
            pub fn failed(&self, old: Option<&Arc<str>>) -> Result<Option<Option<Arc<str>>>, Refusal> {
                let placeholders = (&self.expression_attribute_names, &self.expression_attribute_values);
                let Some(expression) = &self.condition_expression else {
                    if placeholders.0.is_empty() && placeholders.1.is_empty() {
                        return Ok(None);
                    }
                    return Err(Refusal::validation(
                        "ExpressionAttributeNames and ExpressionAttributeValues can only be specified when using expressions",
                    ));
                };
                let holds = holds(expression, placeholders, old.map(|old| &**old))?;
                let shown = self.return_values_on_condition_check_failure == OnFailure::AllOld;
                Ok((!holds).then(|| old.filter(|_| shown).cloned()))
            }
        }
    };
}

conditional! {
    /// PutItem.
    PutItem {
        /// As text.
        #[serde(borrow)]
        item: &'a RawValue,
    }
}

conditional! {
    /// DeleteItem.
    DeleteItem {
        /// As text.
        #[serde(borrow)]
        key: &'a RawValue,
    }
}

request! {
    /// TransactWriteItems.
    TransactWrite {
        /// In their order.
        #[serde(borrow)]
        transact_items: Vec<Action<'a>>,
        /// Not kept.
        #[serde(default, rename = "ClientRequestToken")]
        _token: Ignored,
    }
}

/// One action of a transaction. Updates are not played.
#[derive(Debug, Deserialize)]
pub enum Action<'a> {
    /// An item.
    Put(#[serde(borrow)] PutItem<'a>),
    /// No item.
    Delete(#[serde(borrow)] DeleteItem<'a>),
    /// A condition alone.
    ConditionCheck(#[serde(borrow)] DeleteItem<'a>),
}

/// What a refused write shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnFailure {
    /// Nothing.
    #[default]
    None,
    /// The item that is there.
    AllOld,
}

/// What a write shows: nothing. Other values are not played.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Nothing {
    /// Nothing.
    #[default]
    None,
}
