//! `loadgen local`: the stand-ins as servers, with every stream and table a daemon needs.
//!
//! [`create_all`] makes streams and tables at any endpoint, and leaves alone what is there already. The lease
//! table is not among them: the daemon creates its own.

use std::{fmt, time::Duration};

use anyhow::{Context as _, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
};
use aws_sdk_kinesis::{
    config::{Credentials, SharedCredentialsProvider},
    types::{StreamMode, StreamModeDetails, StreamStatus},
};
use aws_smithy_http_client::tls;
use tokio::signal::unix::{SignalKind, signal};

use crate::standin::{self, Standins};

/// Index of the decision table: who passed this door.
pub const BY_ACCESS_POINT: &str = "ByAccessPoint";
/// A new stream or table must be active after that many looks, [`LOOK_EVERY`] apart: one minute.
const LOOKS: u32 = 120;
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Options of `loadgen local`.
#[derive(Clone, Debug, clap::Args)]
pub struct LocalArgs {
    /// Port of the Kinesis stand-in on 127.0.0.1 (0: any free one)
    #[arg(long, default_value_t = 4567)]
    pub kinesis_port: u16,
    /// Port of the DynamoDB and DynamoDB Streams stand-in on 127.0.0.1 (0: any free one)
    #[arg(long, default_value_t = 8000)]
    pub dynamodb_port: u16,
    /// Shards of the swipe stream
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub shards: u32,
}

/// Where Kinesis, DynamoDB and DynamoDB Streams are.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Kinesis.
    pub kinesis: String,
    /// DynamoDB and its streams.
    pub dynamodb: String,
    /// The region that requests are signed for.
    pub region: String,
}

/// The clients for an [`Endpoints`], with credentials that mean nothing: for local endpoints only.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Kinesis.
    pub kinesis: aws_sdk_kinesis::Client,
    /// DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// DynamoDB Streams.
    pub streams: aws_sdk_dynamodbstreams::Client,
}

impl Endpoints {
    /// The endpoints of running stand-ins.
    pub fn of(standins: &Standins) -> Self {
        Self {
            kinesis: standins.kinesis_url.clone(),
            dynamodb: standins.dynamodb_url.clone(),
            region: standin::kinesis::Options::default().region,
        }
    }

    /// Clients for these endpoints.
    pub async fn clients(&self) -> Clients {
        let dynamodb = config(&self.dynamodb, &self.region).await;
        Clients {
            kinesis: aws_sdk_kinesis::Client::new(&config(&self.kinesis, &self.region).await),
            dynamodb: aws_sdk_dynamodb::Client::new(&dynamodb),
            streams: aws_sdk_dynamodbstreams::Client::new(&dynamodb),
        }
    }
}

async fn config(url: &str, region: &str) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https();
    let credentials = Credentials::new("local", "local", None, None, "local");
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .endpoint_url(url)
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .load()
        .await
}

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

/// Starts the stand-ins, creates everything, says where it is, and runs until SIGINT or SIGTERM.
///
/// # Errors
/// When a port is taken or something cannot be created.
pub async fn run(args: &LocalArgs) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let standins = Standins::start(&standin::Options {
        kinesis_port: args.kinesis_port,
        dynamodb_port: args.dynamodb_port,
        ..standin::Options::default()
    })?;
    let endpoints = Endpoints::of(&standins);
    let clients = endpoints.clients().await;
    let created = create_all(
        &clients.kinesis,
        &clients.dynamodb,
        &Names::with_shards(args.shards),
    )
    .await;
    if created.is_ok() {
        print!("{}", Welcome(&endpoints));
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    drop(clients);
    tokio::task::spawn_blocking(move || standins.stop())
        .await
        .context("stopping the stand-ins panicked")??;
    created
}

/// What `loadgen local` prints.
struct Welcome<'a>(&'a Endpoints);

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoints {
            kinesis,
            dynamodb,
            region,
        } = self.0;
        writeln!(
            f,
            "kinesis            {kinesis}   streams swipes, swipe-decisions, swipe-rejects"
        )?;
        writeln!(
            f,
            "dynamodb, streams  {dynamodb}   tables access, swipe-decisions"
        )?;
        writeln!(f, "\nin another terminal:\n")?;
        writeln!(
            f,
            "  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION={region}"
        )?;
        writeln!(
            f,
            "  export SWIPED_AWS__REGION={region} SWIPED_AWS__ENDPOINTS__KINESIS={kinesis}"
        )?;
        writeln!(
            f,
            "  export SWIPED_AWS__ENDPOINTS__DYNAMODB={dynamodb} SWIPED_AWS__ENDPOINTS__DYNAMODBSTREAMS={dynamodb}"
        )?;
        writeln!(
            f,
            "  cargo run --release -p loadgen -- seed --config config/local.toml"
        )?;
        writeln!(
            f,
            "  cargo run --release --bin swiped -- run --config config/local.toml"
        )?;
        writeln!(
            f,
            "  cargo run --release -p loadgen -- run --config config/local.toml"
        )?;
        writeln!(f, "\nnothing is kept after ctrl-c")
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
    created(dynamodb, name, request).await
}

async fn create_decision_table(
    dynamodb: &aws_sdk_dynamodb::Client,
    name: &str,
) -> anyhow::Result<()> {
    let index = GlobalSecondaryIndex::builder()
        .index_name(BY_ACCESS_POINT)
        .key_schema(key("access_point", KeyType::Hash)?)
        .key_schema(key("SK", KeyType::Range)?)
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::All)
                .build(),
        )
        .build()?;
    let request = table(dynamodb, name)?
        .attribute_definitions(text("access_point")?)
        .global_secondary_indexes(index);
    created(dynamodb, name, request).await
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

/// Sends the request, unless the table is there, and waits until it is active.
async fn created(
    dynamodb: &aws_sdk_dynamodb::Client,
    name: &str,
    request: CreateTable,
) -> anyhow::Result<()> {
    if let Err(error) = request.send().await
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
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("the table {name} is not active after a minute; look at it and start again")
}
