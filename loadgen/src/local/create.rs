//! Streams and tables, created when they are missing.

use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
    TimeToLiveSpecification,
};
use aws_sdk_kinesis::types::{StreamMode, StreamModeDetails, StreamStatus};

/// Index of the decision table: who passed this door.
pub const BY_ACCESS_POINT: &str = "ByAccessPoint";
/// Index of the decision table: which cards are in this area. Decisions have no area and are not in it.
pub const BY_AREA: &str = "ByArea";
/// Attribute of a decision that says when it may go (epoch seconds).
const EXPIRES_AT: &str = "expires_at";
/// A new stream or table must be active after that many looks, [`LOOK_EVERY`] apart: one minute.
const LOOKS: u32 = 120;
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The streams and tables, by the part they play, and the shards of each stream.
#[derive(Clone, Debug)]
pub struct Names {
    /// The swipe stream.
    pub swipes: String,
    /// The decision stream; none: decisions go to the table alone.
    pub decisions: Option<String>,
    /// The dead-letter stream.
    pub rejects: Option<String>,
    /// The access table.
    pub access_table: String,
    /// The decision table.
    pub decision_table: Option<String>,
    /// Shards of the swipe stream, and of the decision stream.
    pub shards: u32,
}

impl Names {
    /// The names of the default configuration, with that many shards.
    pub fn with_shards(shards: u32) -> Self {
        Self {
            swipes: "swipes".to_owned(),
            decisions: Some("swipe-decisions".to_owned()),
            rejects: Some("swipe-rejects".to_owned()),
            access_table: "access".to_owned(),
            decision_table: Some("swipe-decisions".to_owned()),
            shards,
        }
    }
}

/// Creates the streams and tables that are missing, and waits until all are active.
///
/// # Errors
/// When something cannot be created, or is not active within a minute.
pub async fn create_all(
    kinesis: &aws_sdk_kinesis::Client,
    dynamodb: &aws_sdk_dynamodb::Client,
    names: &Names,
) -> anyhow::Result<()> {
    let streams = [
        Some(&names.swipes),
        names.decisions.as_ref(),
        names.rejects.as_ref(),
    ];
    for (stream, shards) in streams.into_iter().zip([names.shards, names.shards, 1]) {
        if let Some(stream) = stream {
            create_stream(kinesis, stream, shards).await?;
        }
    }
    create_access_table(dynamodb, &names.access_table).await?;
    if let Some(table) = &names.decision_table {
        create_decision_table(dynamodb, table).await?;
    }
    Ok(())
}

async fn create_stream(
    kinesis: &aws_sdk_kinesis::Client,
    name: &str,
    shards: u32,
) -> anyhow::Result<()> {
    let created = kinesis
        .create_stream()
        .stream_name(name)
        .shard_count(i32::try_from(shards)?)
        .stream_mode_details(
            StreamModeDetails::builder()
                .stream_mode(StreamMode::Provisioned)
                .build()?,
        )
        .send()
        .await;
    if let Err(error) = created
        && !error
            .as_service_error()
            .is_some_and(|error| error.is_resource_in_use_exception())
    {
        return Err(error).with_context(|| format!("cannot create the stream {name}"));
    }
    for _ in 0..LOOKS {
        let described = kinesis
            .describe_stream_summary()
            .stream_name(name)
            .send()
            .await;
        let described = described.with_context(|| format!("cannot describe the stream {name}"))?;
        let status = described
            .stream_description_summary()
            .map(|summary| summary.stream_status().clone());
        if matches!(status, Some(StreamStatus::Active | StreamStatus::Updating)) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("the stream {name} is not active after a minute; look at it and start again")
}

async fn create_access_table(
    dynamodb: &aws_sdk_dynamodb::Client,
    name: &str,
) -> anyhow::Result<()> {
    let stream = StreamSpecification::builder()
        .stream_enabled(true)
        .stream_view_type(StreamViewType::NewAndOldImages)
        .build()?;
    let request = table(dynamodb, name)?.stream_specification(stream);
    created(dynamodb, name, request).await?;
    Ok(())
}

async fn create_decision_table(
    dynamodb: &aws_sdk_dynamodb::Client,
    name: &str,
) -> anyhow::Result<()> {
    let request = table(dynamodb, name)?
        .attribute_definitions(text("access_point")?)
        .attribute_definitions(text("Area")?)
        .global_secondary_indexes(index(BY_ACCESS_POINT, "access_point", "SK")?)
        .global_secondary_indexes(index(BY_AREA, "Area", "PK")?);
    if created(dynamodb, name, request).await? {
        let expiry = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(EXPIRES_AT)
            .build()?;
        let expires = dynamodb
            .update_time_to_live()
            .table_name(name)
            .time_to_live_specification(expiry);
        expires
            .send()
            .await
            .with_context(|| format!("cannot switch on the expiry of the table {name}"))?;
    }
    Ok(())
}

type CreateTable = aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;

/// A table of `PK` and `SK`, paid by request.
fn table(dynamodb: &aws_sdk_dynamodb::Client, name: &str) -> anyhow::Result<CreateTable> {
    Ok(dynamodb
        .create_table()
        .table_name(name)
        .attribute_definitions(text("PK")?)
        .attribute_definitions(text("SK")?)
        .key_schema(key("PK", KeyType::Hash)?)
        .key_schema(key("SK", KeyType::Range)?)
        .billing_mode(BillingMode::PayPerRequest))
}

/// An index of whole items.
fn index(name: &str, hash: &str, range: &str) -> anyhow::Result<GlobalSecondaryIndex> {
    let projection = Projection::builder().projection_type(ProjectionType::All);
    let index = GlobalSecondaryIndex::builder()
        .index_name(name)
        .key_schema(key(hash, KeyType::Hash)?)
        .key_schema(key(range, KeyType::Range)?)
        .projection(projection.build());
    Ok(index.build()?)
}

fn text(name: &str) -> anyhow::Result<AttributeDefinition> {
    let definition = AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S);
    Ok(definition.build()?)
}

fn key(name: &str, role: KeyType) -> anyhow::Result<KeySchemaElement> {
    Ok(KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(role)
        .build()?)
}

/// Sends the request, unless the table is there, and waits until it is active; whether it is new.
async fn created(
    dynamodb: &aws_sdk_dynamodb::Client,
    name: &str,
    request: CreateTable,
) -> anyhow::Result<bool> {
    let sent = request.send().await;
    let is_new = sent.is_ok();
    if let Err(error) = sent
        && !error
            .as_service_error()
            .is_some_and(|error| error.is_resource_in_use_exception())
    {
        return Err(error).with_context(|| format!("cannot create the table {name}"));
    }
    for _ in 0..LOOKS {
        let described = dynamodb.describe_table().table_name(name).send().await;
        let described = described.with_context(|| format!("cannot describe the table {name}"))?;
        let status = described
            .table()
            .and_then(|table| table.table_status().cloned());
        if matches!(status, Some(TableStatus::Active | TableStatus::Updating)) {
            return Ok(is_new);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("the table {name} is not active after a minute; look at it and start again")
}
