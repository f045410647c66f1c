//! Where the stream was begun, stored once: a first start that is cut short goes on as it began, and a shard that needs a
//! row later begins where the application did.
//!
//! The item is in the workers table, since every item of the lease table has to be a lease to KCL. Its key names the lease
//! table's creation: whoever deletes that table begins anew.

use aws_sdk_dynamodb::{Client, types::AttributeValue};

use super::{
    item::{Item, get_number, get_text, text},
    refused, workers,
};
use crate::{aws::fault, model::position::Checkpoint, ports::Fault};

const OLDEST: &str = "TRIM_HORIZON";
const INSTANT: &str = "AT_TIMESTAMP";

/// Stores `proposed` unless something is stored, and returns what is stored.
pub(super) async fn start(
    client: &Client,
    leases: &str,
    workers: &str,
    proposed: &Checkpoint,
) -> Result<Checkpoint, Fault> {
    let reply = client.describe_table().table_name(leases).send().await;
    let reply = reply.map_err(|error| fault("DescribeTable", &error))?;
    let created = reply.table.and_then(|table| table.creation_date_time);
    let created = created.map_or(0, |at| at.secs());
    let key = text(&format!("start of {leases}, made at {created}"));

    let (name, at_ms) = match proposed {
        Checkpoint::AtTimestamp(ms) => (INSTANT, *ms),
        Checkpoint::TrimHorizon => (OLDEST, 0),
        other => {
            let message = format!("a stream cannot be begun at {other:?}");
            return Err(refused("PutItem", message));
        }
    };
    let put = client
        .put_item()
        .table_name(workers)
        .item("workerId", key.clone())
        .item("position", text(name))
        .item("startMs", AttributeValue::N(at_ms.to_string()))
        .condition_expression("attribute_not_exists(workerId)");
    if workers::done("PutItem", put.send().await)? {
        return Ok(proposed.clone());
    }
    let get = client.get_item().table_name(workers).consistent_read(true);
    let reply = get.key("workerId", key).send().await;
    let item = reply.map_err(|error| fault("GetItem", &error))?.item;
    let stored = item.as_ref().and_then(stored);
    stored.ok_or_else(|| {
        refused(
            "GetItem",
            format!("the stored start in {workers} is unreadable; delete it"),
        )
    })
}

fn stored(item: &Item) -> Option<Checkpoint> {
    match get_text(item, "position")? {
        OLDEST => Some(Checkpoint::TrimHorizon),
        INSTANT => {
            let ms = i64::try_from(get_number(item, "startMs")?).ok()?;
            Some(Checkpoint::AtTimestamp(ms))
        }
        _ => None,
    }
}
