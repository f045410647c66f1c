//! What an operator may set: the TOML file, the `SWIPED_SECTION__KEY` variables over it, and every problem at once.
//!
//! Defaults, ranges and alphabets stand in the `read` function of each section and nowhere else; `config/swiped.toml`
//! shows them to people and a test holds the two together. What is checked here is what can be checked without asking
//! AWS. The loops never see this module: the shell hands each the few values it needs.

mod document;

use std::{net::SocketAddr, path::Path, time::Duration};

use document::{Document, Section};

pub use document::Problem;

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where AWS is.
    pub aws: Aws,
    /// The stream that is read.
    pub swipes: Swipes,
    /// Who reads which shard.
    pub leases: Leases,
    /// What is known about cards and doors.
    pub access: Access,
    /// Where answers go.
    pub decisions: Decisions,
    /// Where records go that are no swipes.
    pub rejects: Rejects,
    /// What the rules may assume.
    pub policy: Policy,
    /// The listener for metrics and health.
    pub admin: Admin,
    /// How the daemon stops.
    pub shutdown: Shutdown,
    /// What it says, and how.
    pub log: Log,
}

/// `[aws]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aws {
    /// The region; nothing: what the environment or the profile of the SDK says.
    pub region: Option<String>,
    /// Another endpoint for all three services (emulators, VPC endpoints).
    pub endpoint_url: Option<String>,
    /// One endpoint a service; wins over `endpoint_url`.
    pub endpoints: Endpoints,
}

/// `[aws.endpoints]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Kinesis Data Streams.
    pub kinesis: Option<String>,
    /// DynamoDB.
    pub dynamodb: Option<String>,
    /// DynamoDB Streams.
    pub dynamodbstreams: Option<String>,
}

/// How shards are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retrieval {
    /// The best that is built: polling.
    Auto,
    /// `GetRecords`.
    Polling,
    /// `SubscribeToShard`.
    FanOut,
}

/// Where a shard begins that has no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record kept.
    TrimHorizon,
    /// With what comes after the daemon's first start.
    Latest,
    /// With the first record at or after this instant, Unix epoch milliseconds.
    At(i64),
}

/// `[swipes]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swipes {
    /// The name of the stream.
    pub stream: String,
    /// The name of this application; a fan-out consumer is registered under it.
    pub application: String,
    /// How shards are read.
    pub retrieval: Retrieval,
    /// Where a shard begins that has no checkpoint.
    pub start: Start,
    /// The pause between two reads of a shard at its tip.
    pub poll: Duration,
}

/// `[leases]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    /// The name of the lease table; `<table>-workers` holds the heartbeats.
    pub table: String,
    /// This worker's name; nothing: host name plus a random suffix.
    pub worker_id: Option<String>,
    /// How often a worker says that it lives.
    pub heartbeat: Duration,
    /// How long a silent worker counts as alive. `failover >= 2 * heartbeat + 500 ms`.
    pub failover: Duration,
    /// How often the progress of a busy shard is written.
    pub checkpoint: Duration,
    /// How often the shards of the stream are listed.
    pub shard_sync: Duration,
}

/// Where changes of the access table come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The table's own stream: two readers at most.
    DynamodbStreams,
    /// Kinesis Data Streams for DynamoDB.
    Kinesis,
}

/// `[access]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The name of the access table.
    pub table: String,
    /// Where its changes come from.
    pub changes: Changes,
    /// How many segments are scanned side by side.
    pub segments: u32,
    /// The pause between two reads of a change shard at its tip.
    pub poll: Duration,
}

/// `[decisions]`. At least one of `stream` and `table` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decisions {
    /// The decision stream.
    pub stream: Option<String>,
    /// The decision table.
    pub table: Option<String>,
    /// Whether decisions are packed into KPL aggregates.
    pub aggregate: bool,
    /// Whether decisions also carry the names of access-control standards.
    pub standards: bool,
    /// How long the table keeps a decision, in days.
    pub ttl_days: u32,
}

/// What happens to a record that is no swipe when there is no stream for rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnReject {
    /// The shard stops: nothing is lost.
    Stop,
    /// The record is counted, logged and passed over.
    Skip,
}

/// `[rejects]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejects {
    /// The dead-letter stream.
    pub stream: Option<String>,
    /// What happens without one.
    pub on_reject: OnReject,
}

/// `[policy]`, in milliseconds as the rules compare them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How old what is known about cards may be (rule 8).
    pub max_card_staleness_ms: i64,
    /// How far a device's clock may be ahead (rule 4).
    pub max_clock_skew_ms: i64,
    /// How old a swipe may be (rule 4).
    pub max_swipe_age_ms: i64,
    /// How old a swipe may be for the gate to act on the decision.
    pub actuate_within_ms: i64,
    /// Whether a device without an item is untrusted (rule 2).
    pub require_known_devices: bool,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address of `/metrics`, `/livez`, `/readyz` and `/status.json`.
    pub listen: SocketAddr,
}

/// `[shutdown]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long a drain may take.
    pub grace: Duration,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged, as in `info,swiped::lease=debug`.
    pub filter: String,
}

impl Config {
    /// Reads the file and the variables over it; on error says everything that is wrong.
    ///
    /// # Errors
    /// Every problem, in the order of the file.
    pub fn load(
        path: &Path,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&file, &text, env),
            Err(error) => Err(vec![Problem::with_file(
                &file,
                format!("cannot be read: {error}"),
            )]),
        }
    }

    /// As [`Config::load`], from a text; `file` is what its problems call it.
    ///
    /// # Errors
    /// Every problem, in the order of the file.
    pub fn parse(
        file: &str,
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        let mut document = Document::parse(file, text, env);
        let config = Self {
            aws: Aws::read(&mut document),
            swipes: Swipes::read(&mut document),
            leases: Leases::read(&mut document),
            access: Access::read(&mut document),
            decisions: Decisions::read(&mut document),
            rejects: Rejects::read(&mut document.section("rejects")),
            policy: Policy::read(&mut document.section("policy")),
            admin: Admin::read(&mut document.section("admin")),
            shutdown: Shutdown {
                grace: millis(
                    &mut document.section("shutdown"),
                    "grace_ms",
                    20_000,
                    100,
                    600_000,
                ),
            },
            log: Log::read(&mut document.section("log")),
        };
        config.check_together(&mut document);
        let problems = document.finish();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }

    /// What no key can say alone.
    fn check_together(&self, document: &mut Document<'_>) {
        require(document, "swipes.stream", "the stream to read");
        require(
            document,
            "leases.table",
            "the table that says who reads which shard",
        );
        require(document, "access.table", "the table of cards and doors");
        if !document.has("decisions.stream") && !document.has("decisions.table") {
            document.missing(
                "decisions",
                "a stream, a table or both, or no answer would be stored",
            );
        }
        let least = self.leases.heartbeat * 2 + Duration::from_millis(500);
        if self.leases.failover < least {
            let message = format!(
                "expects at least 2 * heartbeat_ms + 500 = {}, is {}: one late heartbeat must not cost a lease",
                least.as_millis(),
                self.leases.failover.as_millis()
            );
            document.blame("leases.failover_ms", &message);
        }
        let workers = format!("{}-workers", self.leases.table);
        let streams = [
            ("swipes.stream", Some(&self.swipes.stream)),
            ("decisions.stream", self.decisions.stream.as_ref()),
            ("rejects.stream", self.rejects.stream.as_ref()),
        ];
        let tables = [
            ("leases.table", Some(&self.leases.table)),
            ("the worker table of leases.table", Some(&workers)),
            ("access.table", Some(&self.access.table)),
            ("decisions.table", self.decisions.table.as_ref()),
        ];
        apart(document, &streams);
        apart(document, &tables);
    }
}

impl Aws {
    fn read(document: &mut Document<'_>) -> Self {
        let mut aws = document.section("aws");
        let region = aws.text("region", region);
        let endpoint_url = aws.text("endpoint_url", url);
        let mut each = document.section("aws.endpoints");
        let endpoints = Endpoints {
            kinesis: each.text("kinesis", url),
            dynamodb: each.text("dynamodb", url),
            dynamodbstreams: each.text("dynamodbstreams", url),
        };
        Self {
            region,
            endpoint_url,
            endpoints,
        }
    }
}

impl Swipes {
    fn read(document: &mut Document<'_>) -> Self {
        let mut swipes = document.section("swipes");
        let read = Self {
            stream: swipes.text("stream", stream_name).unwrap_or_default(),
            application: swipes
                .text("application", stream_name)
                .unwrap_or_else(|| "swiped".to_owned()),
            retrieval: swipes.word(
                "retrieval",
                &[
                    ("auto", Retrieval::Auto),
                    ("polling", Retrieval::Polling),
                    ("fan_out", Retrieval::FanOut),
                ],
            ),
            start: swipes.text("start", start).unwrap_or(Start::TrimHorizon),
            poll: millis(&mut swipes, "poll_ms", 250, 10, 60_000),
        };
        if read.retrieval == Retrieval::FanOut {
            document.blame(
                "swipes.retrieval",
                "\"fan_out\" is not built yet, use \"polling\" or \"auto\"",
            );
        }
        read
    }
}

impl Leases {
    fn read(document: &mut Document<'_>) -> Self {
        let mut leases = document.section("leases");
        Self {
            table: leases.text("table", lease_table_name).unwrap_or_default(),
            worker_id: leases.text("worker_id", worker_id),
            heartbeat: millis(&mut leases, "heartbeat_ms", 1000, 50, 60_000),
            failover: millis(&mut leases, "failover_ms", 3000, 600, 600_000),
            checkpoint: millis(&mut leases, "checkpoint_ms", 5000, 50, 600_000),
            shard_sync: millis(&mut leases, "shard_sync_ms", 30_000, 100, 3_600_000),
        }
    }
}

impl Access {
    fn read(document: &mut Document<'_>) -> Self {
        let mut access = document.section("access");
        let read = Self {
            table: access.text("table", table_name).unwrap_or_default(),
            changes: access.word(
                "changes",
                &[
                    ("dynamodb_streams", Changes::DynamodbStreams),
                    ("kinesis", Changes::Kinesis),
                ],
            ),
            segments: count(&mut access, "segments", 8, 1, 256),
            poll: millis(&mut access, "poll_ms", 250, 10, 60_000),
        };
        if read.changes == Changes::Kinesis {
            document.blame(
                "access.changes",
                "\"kinesis\" is not built yet, use \"dynamodb_streams\"",
            );
        }
        read
    }
}

impl Decisions {
    fn read(document: &mut Document<'_>) -> Self {
        let mut decisions = document.section("decisions");
        let read = Self {
            stream: decisions.text("stream", stream_name),
            table: decisions.text("table", table_name),
            aggregate: decisions.flag("aggregate", false),
            standards: decisions.flag("standards", false),
            ttl_days: count(&mut decisions, "ttl_days", 90, 1, 36_500),
        };
        for (key, set) in [
            ("decisions.aggregate", read.aggregate),
            ("decisions.standards", read.standards),
        ] {
            if set {
                document.blame(key, "is not built yet, use false");
            }
        }
        read
    }
}

impl Rejects {
    fn read(rejects: &mut Section<'_, '_>) -> Self {
        Self {
            stream: rejects.text("stream", stream_name),
            on_reject: rejects.word(
                "on_reject",
                &[("stop", OnReject::Stop), ("skip", OnReject::Skip)],
            ),
        }
    }
}

/// One day in milliseconds.
const DAY_MS: i64 = 86_400_000;

impl Policy {
    fn read(policy: &mut Section<'_, '_>) -> Self {
        Self {
            max_card_staleness_ms: policy.whole("max_card_staleness_ms", 60_000, 1000..=DAY_MS),
            max_clock_skew_ms: policy.whole("max_clock_skew_ms", 30_000, 0..=DAY_MS),
            // A year: Kinesis keeps nothing longer.
            max_swipe_age_ms: policy.whole("max_swipe_age_ms", DAY_MS, 1000..=366 * DAY_MS),
            actuate_within_ms: policy.whole("actuate_within_ms", 2000, 0..=DAY_MS),
            require_known_devices: policy.flag("require_known_devices", false),
        }
    }
}

impl Admin {
    fn read(admin: &mut Section<'_, '_>) -> Self {
        let default = SocketAddr::from(([127, 0, 0, 1], 9464));
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| "an address and port such as \"127.0.0.1:9464\"".to_owned())
        };
        Self {
            listen: admin.text("listen", parse).unwrap_or(default),
        }
    }
}

impl Log {
    fn read(log: &mut Section<'_, '_>) -> Self {
        Self {
            format: log.word(
                "format",
                &[
                    ("auto", LogFormat::Auto),
                    ("text", LogFormat::Text),
                    ("json", LogFormat::Json),
                ],
            ),
            filter: log
                .text("filter", log_filter)
                .unwrap_or_else(|| "info".to_owned()),
        }
    }
}

/// The variables that may override a key, as text.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    })
}

fn require(document: &mut Document<'_>, key: &str, meaning: &str) {
    if !document.has(key) {
        document.missing(key, meaning);
    }
}

/// Notes each name that was given twice.
fn apart(document: &mut Document<'_>, names: &[(&str, Option<&String>)]) {
    for (index, (key, name)) in names.iter().enumerate() {
        let same = |(_, other): &&(&str, Option<&String>)| {
            other == name && name.is_some_and(|name| !name.is_empty())
        };
        if let Some((other, _)) = names[..index].iter().find(same) {
            document.blame(key, &format!("is the same as {other}, each needs its own"));
        }
    }
}

fn millis(
    section: &mut Section<'_, '_>,
    key: &str,
    default: i64,
    least: i64,
    most: i64,
) -> Duration {
    Duration::from_millis(section.whole(key, default, least..=most).unsigned_abs())
}

fn count(section: &mut Section<'_, '_>, key: &str, default: u32, least: u32, most: u32) -> u32 {
    let value = section.whole(key, default.into(), least.into()..=most.into());
    u32::try_from(value).unwrap_or(default)
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "trim_horizon" => Ok(Start::TrimHorizon),
        "latest" => Ok(Start::Latest),
        instant => instant.parse::<jiff::Timestamp>().map(|at| Start::At(at.as_millisecond())).map_err(|_| {
            "\"trim_horizon\", \"latest\" or an RFC 3339 instant such as \"2026-03-01T06:00:00Z\"".to_owned()
        }),
    }
}

/// CreateStream: 1–128 of `a-zA-Z0-9_.-`; consumer names are the same.
fn stream_name(text: &str) -> Result<String, String> {
    named(text, "_.-", 1, 128)
}

/// CreateTable: 3–255 of `a-zA-Z0-9_.-`.
fn table_name(text: &str) -> Result<String, String> {
    named(text, "_.-", 3, 255)
}

/// A table name that leaves room for the suffix `-workers`.
fn lease_table_name(text: &str) -> Result<String, String> {
    named(text, "_.-", 3, 255 - "-workers".len())
}

fn worker_id(text: &str) -> Result<String, String> {
    named(text, "_.:-", 1, 128)
}

fn region(text: &str) -> Result<String, String> {
    named(text, "-", 1, 63)
}

fn named(text: &str, marks: &str, least: usize, most: usize) -> Result<String, String> {
    let fits = (least..=most).contains(&text.len());
    if fits
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
    {
        return Ok(text.to_owned());
    }
    Err(format!("{least} to {most} letters of A-Za-z0-9{marks}"))
}

fn url(text: &str) -> Result<String, String> {
    let parsed = text.parse::<hyper::Uri>().ok();
    let known = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if known {
        Ok(text.to_owned())
    } else {
        Err("a URL such as \"http://127.0.0.1:4566\"".to_owned())
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a filter such as \"info,swiped::lease=debug\"".to_owned()),
    }
}
