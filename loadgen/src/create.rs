//! Creates the streams and tables of a target where they are missing.

use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
};
use aws_sdk_kinesis::types::StreamStatus;

use crate::{clients::Clients, target::Target};

/// How often and how many times a new stream or table is asked whether it is active: two minutes at most.
const ASK_EVERY: Duration = Duration::from_millis(200);
const ASK_TIMES: usize = 600;

/// Creates what is missing; streams get that many shards.
///
/// # Errors
/// When something can neither be found nor created, or does not become active.
pub async fn missing(clients: &Clients, target: &Target, shards: usize) -> anyhow::Result<()> {
    stream(clients, &target.swipes, shards).await?;
    for (name, shards) in [(&target.decisions, shards), (&target.rejects, 1)] {
        if let Some(name) = name {
            stream(clients, name, shards).await?;
        }
    }
    table(clients, &target.access, false).await?;
    if let Some(name) = &target.decision_table {
        table(clients, name, true).await?;
    }
    Ok(())
}

async fn stream(clients: &Clients, name: &str, shards: usize) -> anyhow::Result<()> {
    let created = clients
        .kinesis
        .create_stream()
        .stream_name(name)
        .shard_count(i32::try_from(shards)?)
        .send()
        .await;
    if let Err(error) = created {
        let error = error.into_service_error();
        if !error.is_resource_in_use_exception() {
            return Err(error).with_context(|| format!("cannot create the stream {name}"));
        }
    }
    for _ in 0..ASK_TIMES {
        let described = clients
            .kinesis
            .describe_stream_summary()
            .stream_name(name)
            .send()
            .await;
        let summary = described.with_context(|| format!("cannot describe the stream {name}"))?;
        if summary
            .stream_description_summary()
            .is_some_and(|summary| *summary.stream_status() == StreamStatus::Active)
        {
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    bail!("the stream {name} does not become active")
}

async fn table(clients: &Clients, name: &str, decisions: bool) -> anyhow::Result<()> {
    let text = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
    };
    let key = |name: &str, kind: KeyType| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
    };
    let mut request = clients
        .dynamodb
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(text("PK")?)
        .attribute_definitions(text("SK")?)
        .key_schema(key("PK", KeyType::Hash)?)
        .key_schema(key("SK", KeyType::Range)?);
    if decisions {
        let index = GlobalSecondaryIndex::builder()
            .index_name("ByAccessPoint")
            .key_schema(key("access_point", KeyType::Hash)?)
            .key_schema(key("SK", KeyType::Range)?)
            .projection(
                Projection::builder()
                    .projection_type(ProjectionType::All)
                    .build(),
            )
            .build()?;
        request = request
            .attribute_definitions(text("access_point")?)
            .global_secondary_indexes(index);
    } else {
        let view = StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(StreamViewType::NewAndOldImages);
        request = request.stream_specification(view.build()?);
    }
    if let Err(error) = request.send().await {
        let error = error.into_service_error();
        if !error.is_resource_in_use_exception() {
            return Err(error).with_context(|| format!("cannot create the table {name}"));
        }
    }
    for _ in 0..ASK_TIMES {
        let described = clients
            .dynamodb
            .describe_table()
            .table_name(name)
            .send()
            .await;
        let table = described.with_context(|| format!("cannot describe the table {name}"))?;
        if table.table().and_then(|table| table.table_status()) == Some(&TableStatus::Active) {
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    bail!("the table {name} does not become active")
}
