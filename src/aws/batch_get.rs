//! BatchGetItem until all keys are read: one reply may leave some.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, KeysAndAttributes},
};

use super::fault;
use crate::ports::{Fault, FaultKind};

type Item = HashMap<String, AttributeValue>;

/// The items of these keys that there are, in no order; at most [`super::limits::BATCH_GET_ITEMS_MAX`] keys, no two alike, and
/// of each item these attributes, or all. Reads consistently, because another worker may have written a moment ago.
///
/// # Errors
/// What BatchGetItem met; throttled also when a reply brought nothing and left keys unread.
pub(super) async fn batch_get(
    client: &Client,
    table: &str,
    mut keys: Vec<Item>,
    attributes: Option<&str>,
) -> Result<Vec<Item>, Fault> {
    const OPERATION: &str = "BatchGetItem";
    let failed = |kind, message| Fault {
        kind,
        operation: OPERATION,
        message,
    };
    let mut found = Vec::with_capacity(keys.len());
    while !keys.is_empty() {
        let question = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .set_projection_expression(attributes.map(str::to_owned))
            .consistent_read(true)
            .build()
            .map_err(|error| failed(FaultKind::Refused, error.to_string()))?;
        let call = client.batch_get_item().request_items(table, question);
        let reply = call
            .send()
            .await
            .map_err(|error| fault(OPERATION, &error))?;
        let items = reply.responses.unwrap_or_default().remove(table);
        let items = items.unwrap_or_default();
        let left = reply.unprocessed_keys.unwrap_or_default().remove(table);
        keys = left.map(|left| left.keys).unwrap_or_default();
        if items.is_empty() && !keys.is_empty() {
            let message = format!("{} keys were not read", keys.len());
            return Err(failed(FaultKind::Throttled, message));
        }
        found.extend(items);
    }
    Ok(found)
}
