//! What an operator may set: the TOML file, the `SWIPED_SECTION__KEY` variables over it, and every problem at once.
//!
//! Keys, types, ranges and defaults stand in `read.rs` and nowhere else; `config/swiped.toml`
//! shows them to people and a test holds the two together. What is checked here is what can be checked without asking
//! AWS. The loops never see this module: the shell hands each the few values it needs.

mod check;
mod document;
mod names;
mod problem;
mod read;
mod section;
mod spelling;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use document::Document;

pub use problem::Problem;

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
    /// Certificates (PEM) that are trusted beside the system's; nothing: the system's alone.
    pub ca_file: Option<PathBuf>,
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
    /// Fan-out where the consumer can be registered, polling elsewhere.
    Auto,
    /// `GetRecords`.
    Polling,
    /// `SubscribeToShard`; nothing starts where the consumer cannot be registered.
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
    /// After what time a subscription of fan-out is renewed.
    pub renew: Duration,
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
        let config = Self::read(&mut document);
        config.check_together(&mut document);
        let problems = document.finish();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[swipes]
stream = \"swipes\"
[leases]
table = \"swiped-leases\"
[access]
table = \"access\"
[decisions]
stream = \"swipe-decisions\"
";

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        Config::parse("f.toml", text, env(variables)).map_err(|problems| {
            let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
            lines.join("\n")
        })
    }

    /// The problems of the least configuration with `more` after it.
    #[track_caller]
    fn check(more: &str, expected: &[&str]) {
        let text = format!("{LEAST}{more}");
        assert_eq!(
            parse(&text, &[]).expect_err("a problem"),
            expected.join("\n"),
            "in\n{more}"
        );
    }

    #[track_caller]
    fn check_env(name: &str, value: &str, expected: &str) {
        assert_eq!(
            parse(LEAST, &[(name, value)]).expect_err("a problem"),
            expected
        );
    }

    fn least() -> Config {
        parse(LEAST, &[]).expect("the least configuration is enough")
    }

    #[test]
    fn the_file_shown_to_people_has_every_key_with_its_default() {
        let text = include_str!("../config/swiped.toml");
        let shown = parse(text, &[]).expect("config/swiped.toml is valid");
        let mut expected = least();
        expected.decisions.table = Some("swipe-decisions".to_owned());
        expected.rejects.stream = Some("swipe-rejects".to_owned());
        expected.aws.region = Some("eu-west-1".to_owned());
        assert_eq!(shown, expected);
        let mut document = Document::parse("swiped.toml", text, env(&[]));
        Config::read(&mut document);
        assert_eq!(
            document.unset(),
            Vec::<String>::new(),
            "keys that config/swiped.toml does not show"
        );
    }

    #[test]
    fn every_key_shown_to_people_has_a_comment() {
        let text = include_str!("../config/swiped.toml");
        let lines: Vec<_> = text.lines().collect();
        for (above, line) in lines.iter().zip(&lines[1..]) {
            if line.contains(" = ") && !line.starts_with('#') {
                assert!(above.starts_with("# "), "no comment above {line}");
            }
        }
    }

    #[test]
    fn the_local_file_is_valid() {
        let local =
            parse(include_str!("../config/local.toml"), &[]).expect("config/local.toml is valid");
        assert_eq!(
            local.aws.endpoints.kinesis.as_deref(),
            Some("http://127.0.0.1:4567")
        );
    }

    #[test]
    fn an_empty_file_names_everything_that_is_required() {
        assert_eq!(
            parse("", &[]).expect_err("nothing is configured"),
            "f.toml: swipes.stream: is required: the stream to read
f.toml: leases.table: is required: the table that says who reads which shard
f.toml: access.table: is required: the table of cards and doors
f.toml: decisions: is required: a stream, a table or both, or no answer would be stored"
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_its_place() {
        check(
            "[policy]\nmax_clock_skew_ms = -1\n",
            &["f.toml:10:21: policy.max_clock_skew_ms: expects 0 to 86400000, is -1"],
        );
        check(
            "aggregate = \"yes\"\n",
            &["f.toml:9:13: decisions.aggregate: expects true or false, is a string"],
        );
        check(
            "ttl_days = 1.5\n",
            &["f.toml:9:12: decisions.ttl_days: expects a whole number, is a fraction"],
        );
        check(
            "table = [\"a\"]\n",
            &["f.toml:9:9: decisions.table: expects a string, is a list"],
        );
        check(
            "table = \"a b\"\n",
            &["f.toml:9:9: decisions.table: expects 3 to 255 letters of A-Za-z0-9_.-, is \"a b\""],
        );
        check(
            "[aws]\nendpoint_url = \"localhost:4566\"\n",
            &[
                "f.toml:10:16: aws.endpoint_url: expects a URL such as \"http://127.0.0.1:4566\", is \"localhost:4566\"",
            ],
        );
        check(
            "[admin]\nlisten = \":9464\"\n",
            &[
                "f.toml:10:10: admin.listen: expects an address and port such as \"127.0.0.1:9464\", is \":9464\"",
            ],
        );
        check(
            "[log]\nformat = \"xml\"\nfilter = \"info,a=loud\"\n",
            &[
                "f.toml:10:10: log.format: expects one of \"auto\", \"text\", \"json\", is \"xml\"",
                "f.toml:11:10: log.filter: expects a filter such as \"info,swiped::lease=debug\", is \"info,a=loud\"",
            ],
        );
    }

    #[test]
    fn an_unknown_key_or_section_is_named_with_what_may_be_meant() {
        check(
            "tabel = \"x\"\n",
            &["f.toml:9:9: decisions.tabel: unknown key, did you mean decisions.table?"],
        );
        check(
            "poll_ms = 100\n",
            &["f.toml:9:11: decisions.poll_ms: unknown key, did you mean access.poll_ms?"],
        );
        check("zebra = 1\n", &["f.toml:9:9: decisions.zebra: unknown key"]);
        check(
            "[police]\nmax_clock_skew_ms = 1\n",
            &["f.toml:9:2: police: unknown section, did you mean policy?"],
        );
        check(
            "[aws.endpoint]\nkinesis = \"x\"\n",
            &["f.toml:9:6: aws.endpoint: unknown section, did you mean aws.endpoints?"],
        );
    }

    #[test]
    fn a_table_for_a_value_and_a_value_for_a_table_are_told_apart() {
        check(
            "table.name = \"x\"\n",
            &["f.toml:9:1: decisions.table: expects a value, is a table"],
        );
        let text = format!("policy = 3\n{LEAST}");
        assert_eq!(
            parse(&text, &[]).expect_err("policy is a table"),
            "f.toml:1:10: policy: expects a table, is a whole number"
        );
        let text = format!("\"swipes.poll_ms\" = 100\n{LEAST}");
        let error = parse(&text, &[]).expect_err("a quoted dot is no path");
        assert!(
            error.starts_with("f.toml:1:20: \"swipes.poll_ms\": unknown key"),
            "{error}"
        );
    }

    #[test]
    fn what_keys_cannot_say_alone_is_checked() {
        check(
            "[leases.x]\n[aws]\n",
            &["f.toml:9:9: leases.x: unknown section"],
        );
        let late = LEAST.replace("swiped-leases\"", "swiped-leases\"\nheartbeat_ms = 2000");
        assert_eq!(
            parse(&late, &[]).expect_err("fails over too early"),
            "f.toml: leases.failover_ms: expects at least 2 * heartbeat_ms + 500 = 4500, is 3000: \
             one late heartbeat must not cost a lease"
        );
        check(
            "table = \"access\"\n[rejects]\nstream = \"swipes\"\n",
            &[
                "f.toml:9:9: decisions.table: is the same as access.table, each needs its own",
                "f.toml:11:10: rejects.stream: is the same as swipes.stream, each needs its own",
            ],
        );
    }

    #[test]
    fn every_way_to_read_a_shard_is_accepted() {
        for (word, retrieval) in [
            ("auto", Retrieval::Auto),
            ("polling", Retrieval::Polling),
            ("fan_out", Retrieval::FanOut),
        ] {
            let read = parse(LEAST, &[("SWIPED_SWIPES__RETRIEVAL", word)]).expect("a way");
            assert_eq!(read.swipes.retrieval, retrieval);
        }
        check_env(
            "SWIPED_SWIPES__RENEW_MS",
            "5000",
            "SWIPED_SWIPES__RENEW_MS: swipes.renew_ms: expects 6000 to 290000, is 5000",
        );
    }

    #[test]
    fn what_is_not_built_yet_is_said() {
        check_env(
            "SWIPED_ACCESS__CHANGES",
            "kinesis",
            "SWIPED_ACCESS__CHANGES: access.changes: \"kinesis\" is not built yet, use \"dynamodb_streams\"",
        );
    }

    #[test]
    fn a_broken_file_says_all_that_is_broken_and_nothing_about_what_it_may_have_meant() {
        let error =
            parse("[swipes]\nstream = \n[leases\ntable = \"x\"\n", &[]).expect_err("not TOML");
        let places: Vec<_> = error
            .lines()
            .map(|line| line.split(": ").next().unwrap_or(""))
            .collect();
        assert_eq!(places, ["f.toml:2:10", "f.toml:3:8"], "{error}");
        assert!(
            error.lines().all(|line| line.contains("not TOML")),
            "{error}"
        );
        let twice = format!("{LEAST}stream = \"again\"\n");
        let error = parse(&twice, &[]).expect_err("a key twice");
        assert!(
            error.starts_with("f.toml:9:1: not TOML: duplicate key"),
            "{error}"
        );
    }

    #[test]
    fn problems_of_every_section_come_at_once_in_the_order_of_the_file() {
        let error = parse(
            "[swipes]\nstart = \"yesterday\"\n[access]\nsegments = 0\n[zoo]\n",
            &[("SWIPED_LOG__FORMAT", "xml")],
        )
        .expect_err("several");
        let keys: Vec<_> = error
            .lines()
            .map(|line| line.split(": ").nth(1).unwrap_or(""))
            .collect();
        assert_eq!(
            keys,
            [
                "swipes.start",
                "access.segments",
                "zoo",
                "log.format",
                "swipes.stream",
                "leases.table",
                "access.table",
                "decisions"
            ]
        );
    }

    #[test]
    fn a_variable_overrides_the_file_and_its_key_gives_the_type() {
        let config = parse(
            LEAST,
            &[
                ("SWIPED_SWIPES__STREAM", "2026"),
                ("SWIPED_SWIPES__POLL_MS", "500"),
                ("SWIPED_LEASES__WORKER_ID", "\"worker-1\""),
                ("SWIPED_POLICY__REQUIRE_KNOWN_DEVICES", "true"),
                ("SWIPED_AWS__ENDPOINTS__KINESIS", "http://127.0.0.1:1"),
                ("SWIPED_CONFIG", "not of that form"),
                ("HOME", "/"),
            ],
        )
        .expect("valid");
        assert_eq!(config.swipes.stream, "2026");
        assert_eq!(config.swipes.poll, Duration::from_millis(500));
        assert_eq!(config.leases.worker_id.as_deref(), Some("worker-1"));
        assert!(config.policy.require_known_devices);
        assert_eq!(
            config.aws.endpoints.kinesis.as_deref(),
            Some("http://127.0.0.1:1")
        );
    }

    #[test]
    fn a_wrong_variable_is_named() {
        check_env(
            "SWIPED_SWIPES__STREEM",
            "x",
            "SWIPED_SWIPES__STREEM: swipes.streem: unknown key, did you mean swipes.stream?",
        );
        check_env(
            "SWIPED_NO__SUCH",
            "x",
            "SWIPED_NO__SUCH: no.such: unknown key",
        );
        check_env(
            "SWIPED_SWIPES__POLL_MS",
            "fast",
            "SWIPED_SWIPES__POLL_MS: swipes.poll_ms: expects a whole number, is \"fast\"",
        );
    }

    #[test]
    fn an_empty_text_is_a_text_not_given() {
        let config = parse(
            LEAST,
            &[("SWIPED_AWS__REGION", ""), ("SWIPED_SWIPES__START", "")],
        )
        .expect("valid");
        assert_eq!(
            (config.aws.region, config.swipes.start),
            (None, Start::TrimHorizon)
        );
        let error = parse(LEAST, &[("SWIPED_SWIPES__STREAM", "")]).expect_err("emptied");
        assert_eq!(
            error,
            "SWIPED_SWIPES__STREAM: swipes.stream: is required: the stream to read"
        );
    }

    #[test]
    fn reading_may_start_at_an_instant() {
        for (text, expected) in [
            ("trim_horizon", Start::TrimHorizon),
            ("latest", Start::Latest),
            ("2026-03-01T06:00:00Z", Start::At(1_772_344_800_000)),
            (
                "2026-03-01T07:00:00.250+01:00",
                Start::At(1_772_344_800_250),
            ),
        ] {
            let config = parse(LEAST, &[("SWIPED_SWIPES__START", text)]).expect("valid");
            assert_eq!(config.swipes.start, expected, "{text}");
        }
        let bare = LEAST.replace("\"swipes\"", "\"swipes\"\nstart = 2026-03-01T06:00:00Z");
        let config = parse(&bare, &[]).expect("an unquoted instant");
        assert_eq!(config.swipes.start, Start::At(1_772_344_800_000));
    }

    #[test]
    fn a_file_that_is_not_there_is_a_problem_and_not_a_panic() {
        let problems =
            Config::load(Path::new("/nonexistent/swiped.toml"), env(&[])).expect_err("no file");
        assert!(
            problems[0]
                .to_string()
                .starts_with("/nonexistent/swiped.toml: cannot be read: ")
        );
    }
}
