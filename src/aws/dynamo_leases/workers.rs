//! The workers table: one row a worker, written by one process.

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::AttributeValue,
};

use super::item::{Item, get_number, get_text, number, text};
use crate::{
    aws::fault,
    model::lease::{WorkerId, WorkerRow},
    ports::Fault,
};

/// The heartbeat in an item of the workers table; nothing when it is none.
pub(super) fn worker(item: &Item) -> Option<WorkerRow> {
    Some(WorkerRow {
        id: WorkerId::new(get_text(item, "workerId")?),
        process: get_number(item, "processId").unwrap_or(0),
        heartbeat: get_number(item, "heartbeat")?,
        leaving: item
            .get("leaving")
            .is_some_and(|leaving| leaving.as_bool() == Ok(&true)),
        bell: get_number(item, "bell").unwrap_or(0),
    })
}

/// Stores a heartbeat where there is none or one of the same process, or else exactly the one it is in place of.
pub(super) async fn heartbeat(
    client: &Client,
    table: &str,
    row: &WorkerRow,
    in_place_of: Option<&WorkerRow>,
) -> Result<bool, Fault> {
    let call = client
        .put_item()
        .table_name(table)
        .item("workerId", text(row.id.as_str()))
        .item("processId", number(row.process))
        .item("heartbeat", number(row.heartbeat))
        .item("leaving", AttributeValue::Bool(row.leaving))
        .item("bell", number(row.bell))
        .expression_attribute_values(":process", number(row.process));
    let call = match in_place_of {
        None => call.condition_expression("attribute_not_exists(workerId) OR processId = :process"),
        Some(dead) => call
            .condition_expression(
                "processId = :process OR (processId = :dead AND heartbeat = :last)",
            )
            .expression_attribute_values(":dead", number(dead.process))
            .expression_attribute_values(":last", number(dead.heartbeat)),
    };
    done("PutItem", call.send().await)
}

/// Removes a heartbeat of the same process.
pub(super) async fn forget(client: &Client, table: &str, row: &WorkerRow) -> Result<(), Fault> {
    let call = client.delete_item().table_name(table);
    let call = call.key("workerId", text(row.id.as_str()));
    let call = call.condition_expression("processId = :process");
    let call = call.expression_attribute_values(":process", number(row.process));
    done("DeleteItem", call.send().await).map(|_| ())
}

/// Whether a conditional call was carried out: not when its condition failed.
pub(super) fn done<T, E>(
    operation: &'static str,
    reply: Result<T, SdkError<E>>,
) -> Result<bool, Fault>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match reply {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
        Err(error) => Err(fault(operation, &error)),
    }
}
