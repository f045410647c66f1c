//! Makes a table that is missing.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        TableStatus,
    },
};

use crate::{
    aws::fault,
    ports::{Fault, FaultKind},
};

/// How often a table that is being made is looked at, and how many times: two minutes, ten times what it takes.
const LOOK: (Duration, u32) = (Duration::from_millis(500), 240);

/// Makes the table `name` with the one key `key`, unless it exists, and waits until it can be used.
pub async fn ensure(client: &Client, name: &str, key: &str) -> Result<(), Fault> {
    let (pause, looks) = LOOK;
    for _ in 0..looks {
        match client.describe_table().table_name(name).send().await {
            Ok(reply) => {
                let status = reply.table.and_then(|table| table.table_status);
                if matches!(status, Some(TableStatus::Active | TableStatus::Updating)) {
                    return Ok(());
                }
            }
            Err(error) => match fault("DescribeTable", &error) {
                missing if missing.kind == FaultKind::NotFound => create(client, name, key).await?,
                other => return Err(other),
            },
        }
        tokio::time::sleep(pause).await;
    }
    let message = format!("table {name} is not active after two minutes");
    Err(Fault {
        kind: FaultKind::Transient,
        operation: "DescribeTable",
        message,
    })
}

async fn create(client: &Client, name: &str, key: &str) -> Result<(), Fault> {
    const OPERATION: &str = "CreateTable";
    let refused = |error: aws_sdk_dynamodb::error::BuildError| Fault {
        kind: FaultKind::Refused,
        operation: OPERATION,
        message: error.to_string(),
    };
    let attribute = AttributeDefinition::builder()
        .attribute_name(key)
        .attribute_type(ScalarAttributeType::S);
    let schema = KeySchemaElement::builder()
        .attribute_name(key)
        .key_type(KeyType::Hash);
    let call = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute.build().map_err(refused)?)
        .key_schema(schema.build().map_err(refused)?);
    match call.send().await {
        Ok(_) => Ok(()),
        Err(error) => {
            let raced = error
                .as_service_error()
                .is_some_and(|error| error.is_resource_in_use_exception());
            if raced {
                Ok(())
            } else {
                Err(fault(OPERATION, &error))
            }
        }
    }
}
