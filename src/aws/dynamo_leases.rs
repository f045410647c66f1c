//! The lease table in DynamoDB: KCL 3's rows, attribute by attribute, and the conditional writes on them.
//!
//! Facts of the format are from the KCL 3.5.1 sources (`DynamoDBLeaseSerializer`, `DynamoDBLeaseRefresher`). Kept to: every write
//! raises `leaseCounter` and is an UpdateItem, so that attributes that are not ours survive; `parentShardId` is a string
//! set in spite of its name and absent when empty; rows with another `entityType` than `LEASE` are not leases.
//!
//! Heartbeats are in a table of their own, `<lease table>-workers`, one row a worker; so is where the stream was begun.

mod generations;
mod item;
mod start;
mod tables;
mod workers;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{transact_write_items::TransactWriteItemsError, update_item::UpdateItemError},
    types::{
        AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure,
        TransactWriteItem, Update,
    },
};

use crate::{
    aws::fault,
    model::{
        lease::{LeaseRow, LeaseWrite, WorkerRow, Written},
        position::Checkpoint,
    },
    ports::{Fault, FaultKind, LeaseTable},
};

use generations::generations;
use item::{Change, Item};

/// The condition code of a transaction's cancelled action.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";

/// The lease table of that name, and the workers table beside it.
#[derive(Clone, Debug)]
pub struct DynamoLeases {
    client: Client,
    leases: String,
    workers: String,
}

impl DynamoLeases {
    /// The lease table `name`, through a client of its own.
    pub fn new(client: Client, name: &str) -> Self {
        Self {
            client,
            leases: name.to_owned(),
            workers: format!("{name}-workers"),
        }
    }

    /// Makes the tables that do not exist, and waits until both can be used.
    pub async fn prepare(&self) -> Result<(), Fault> {
        tables::ensure(&self.client, &self.leases, "leaseKey").await?;
        tables::ensure(&self.client, &self.workers, "workerId").await
    }

    async fn scan(&self, table: &str) -> Result<Vec<Item>, Fault> {
        let mut items = Vec::new();
        let mut from: Option<Item> = None;
        loop {
            // Consistent: a plan from old rows would be made again a moment later, differently.
            let call = self.client.scan().table_name(table).consistent_read(true);
            let call = call.set_exclusive_start_key(from);
            let reply = call.send().await.map_err(|error| fault("Scan", &error))?;
            items.extend(reply.items.unwrap_or_default());
            match reply.last_evaluated_key.filter(|key| !key.is_empty()) {
                Some(key) => from = Some(key),
                None => return Ok(items),
            }
        }
    }

    /// The row where a condition failed: what the failure returned, else a consistent read.
    async fn conflict(&self, write: &LeaseWrite, old: Option<Item>) -> Result<Written, Fault> {
        let old = match old.filter(|item| !item.is_empty()) {
            Some(item) => Some(item),
            None => {
                let call = self
                    .client
                    .get_item()
                    .table_name(&self.leases)
                    .consistent_read(true);
                let call = call.key("leaseKey", item::text(write.shard.as_str()));
                let reply = call
                    .send()
                    .await
                    .map_err(|error| fault("GetItem", &error))?;
                reply.item
            }
        };
        let row = old
            .as_ref()
            .map(item::row)
            .transpose()
            .map_err(unreadable)?;
        match row {
            Some(row) if write.made(&row) => Ok(Written::Applied),
            row => Ok(Written::Conflict(row)),
        }
    }

    fn put(&self, row: &LeaseRow) -> Result<TransactWriteItem, Fault> {
        let put = Put::builder()
            .table_name(&self.leases)
            .set_item(Some(item::new(row)))
            .condition_expression("attribute_not_exists(leaseKey)")
            .build()
            .map_err(|error| refused("TransactWriteItems", error.to_string()))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn update(&self, change: Change) -> Result<TransactWriteItem, Fault> {
        let update = Update::builder()
            .table_name(&self.leases)
            .set_key(Some(change.key))
            .update_expression(change.update)
            .condition_expression(change.condition)
            .set_expression_attribute_values(Some(change.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| refused("TransactWriteItems", error.to_string()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

impl LeaseTable for DynamoLeases {
    async fn leases(&self) -> Result<Vec<LeaseRow>, Fault> {
        let items = self.scan(&self.leases).await?;
        let leases = items.iter().filter(|item| item::is_lease(item));
        leases
            .map(item::row)
            .collect::<Result<_, _>>()
            .map_err(unreadable)
    }

    async fn create(&self, rows: &[LeaseRow]) -> Result<(), Fault> {
        for chunk in generations(rows) {
            let puts = chunk.iter().map(|row| {
                let call = self.client.put_item().table_name(&self.leases);
                let call = call.set_item(Some(item::new(row)));
                call.condition_expression("attribute_not_exists(leaseKey)")
                    .send()
            });
            let results = futures::future::join_all(puts).await;
            for error in results.into_iter().filter_map(Result::err) {
                let exists = error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception());
                if !exists {
                    return Err(fault("PutItem", &error));
                }
            }
        }
        Ok(())
    }

    async fn write(&self, write: &LeaseWrite) -> Result<Written, Fault> {
        let change = Change::of(write);
        let call = self
            .client
            .update_item()
            .table_name(&self.leases)
            .set_key(Some(change.key))
            .update_expression(change.update)
            .condition_expression(change.condition)
            .set_expression_attribute_values(Some(change.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match call.send().await {
            Ok(_) => Ok(Written::Applied),
            Err(SdkError::ServiceError(error)) if is_condition(error.err()) => {
                let old = match error.into_err() {
                    UpdateItemError::ConditionalCheckFailedException(failed) => failed.item,
                    _ => None,
                };
                self.conflict(write, old).await
            }
            Err(error) => Err(fault("UpdateItem", &error)),
        }
    }

    async fn end_shard(&self, write: &LeaseWrite, children: &[LeaseRow]) -> Result<Written, Fault> {
        // A child's row may exist: both parents of a merge name it. It is then left as it is.
        let mut missing: Vec<&LeaseRow> = children.iter().collect();
        loop {
            let mut actions = vec![self.update(Change::of(write))?];
            for child in &missing {
                actions.push(self.put(child)?);
            }
            let call = self
                .client
                .transact_write_items()
                .set_transact_items(Some(actions));
            let error = match call.send().await {
                Ok(_) => return Ok(Written::Applied),
                Err(error) => error,
            };
            let Some(reasons) = cancelled(&error) else {
                return Err(fault("TransactWriteItems", &error));
            };
            let failed = |at: usize| {
                reasons.get(at).and_then(|reason| reason.code()) == Some(CONDITION_FAILED)
            };
            if failed(0) {
                let old = reasons.first().and_then(|reason| reason.item.clone());
                return self.conflict(write, old).await;
            }
            let before = missing.len();
            missing = missing
                .into_iter()
                .enumerate()
                .filter(|(at, _)| !failed(at + 1))
                .map(|(_, child)| child)
                .collect();
            if missing.len() == before {
                let message = format!("transaction cancelled: {reasons:?}");
                return Err(Fault {
                    kind: FaultKind::Transient,
                    operation: "TransactWriteItems",
                    message,
                });
            }
        }
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, Fault> {
        let items = self.scan(&self.workers).await?;
        Ok(items.iter().filter_map(workers::worker).collect())
    }

    async fn heartbeat(
        &self,
        row: &WorkerRow,
        in_place_of: Option<&WorkerRow>,
    ) -> Result<bool, Fault> {
        workers::heartbeat(&self.client, &self.workers, row, in_place_of).await
    }

    async fn forget(&self, row: &WorkerRow) -> Result<(), Fault> {
        workers::forget(&self.client, &self.workers, row).await
    }

    async fn remove(&self, row: &LeaseRow) -> Result<(), Fault> {
        let call = self.client.delete_item().table_name(&self.leases);
        let call = call.key("leaseKey", item::text(row.shard.as_str()));
        let call = call.condition_expression("leaseCounter = :was AND checkpoint = :end");
        let call =
            call.expression_attribute_values(":was", AttributeValue::N(row.counter.to_string()));
        let call = call.expression_attribute_values(":end", item::text("SHARD_END"));
        workers::done("DeleteItem", call.send().await).map(|_| ())
    }

    async fn start(&self, proposed: &Checkpoint) -> Result<Checkpoint, Fault> {
        start::start(&self.client, &self.leases, &self.workers, proposed).await
    }
}

fn is_condition(error: &UpdateItemError) -> bool {
    error.is_conditional_check_failed_exception()
}

/// Why a transaction was cancelled, action by action.
fn cancelled<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<Vec<CancellationReason>> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            cancelled.cancellation_reasons.clone()
        }
        _ => None,
    }
}

fn refused(operation: &'static str, message: String) -> Fault {
    Fault {
        kind: FaultKind::Refused,
        operation,
        message,
    }
}

/// A row that cannot be read must not look like a missing one: it would be made anew.
fn unreadable(why: String) -> Fault {
    refused("Scan", format!("unreadable lease row: {why}"))
}
