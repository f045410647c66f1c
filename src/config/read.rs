//! Which keys each section has: type, range and default of each, and nowhere else.

use std::{net::SocketAddr, time::Duration};

use super::{
    Access, Admin, Aws, Changes, Config, Decisions, Endpoints, Leases, Log, LogFormat, OnReject,
    Policy, Rejects, Retrieval, Shutdown, Start, Swipes,
    document::Document,
    names::{
        lease_table_name, log_filter, path, region, start, stream_name, table_name, url, worker_id,
    },
    section::Section,
};

impl Config {
    pub(super) fn read(document: &mut Document<'_>) -> Self {
        Self {
            aws: Aws::read(document),
            swipes: Swipes::read(document),
            leases: Leases::read(document),
            access: Access::read(document),
            decisions: Decisions::read(document),
            rejects: Rejects::read(&mut document.section("rejects")),
            policy: Policy::read(&mut document.section("policy")),
            admin: Admin::read(&mut document.section("admin")),
            shutdown: Shutdown::read(&mut document.section("shutdown")),
            log: Log::read(&mut document.section("log")),
        }
    }
}

impl Aws {
    fn read(document: &mut Document<'_>) -> Self {
        let mut aws = document.section("aws");
        let region = aws.text("region", region);
        let endpoint_url = aws.text("endpoint_url", url);
        let ca_file = aws.text("ca_file", path);
        let mut each = document.section("aws.endpoints");
        let endpoints = Endpoints {
            kinesis: each.text("kinesis", url),
            dynamodb: each.text("dynamodb", url),
            dynamodbstreams: each.text("dynamodbstreams", url),
        };
        Self {
            region,
            endpoint_url,
            ca_file,
            endpoints,
        }
    }
}

impl Swipes {
    fn read(document: &mut Document<'_>) -> Self {
        let mut swipes = document.section("swipes");
        Self {
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
            // Less, and up to a tenth earlier, would run into the five seconds in which a subscription cannot be replaced.
            renew: millis(&mut swipes, "renew_ms", 270_000, 6000, 290_000),
        }
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
        Self {
            stream: decisions.text("stream", stream_name),
            table: decisions.text("table", table_name),
            aggregate: decisions.flag("aggregate", false),
            standards: decisions.flag("standards", false),
            ttl_days: count(&mut decisions, "ttl_days", 90, 1, 36_500),
        }
    }
}

impl Rejects {
    pub(super) fn read(rejects: &mut Section<'_, '_>) -> Self {
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
    pub(super) fn read(policy: &mut Section<'_, '_>) -> Self {
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
    pub(super) fn read(admin: &mut Section<'_, '_>) -> Self {
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

impl Shutdown {
    fn read(shutdown: &mut Section<'_, '_>) -> Self {
        Self {
            grace: millis(shutdown, "grace_ms", 20_000, 100, 600_000),
        }
    }
}

impl Log {
    pub(super) fn read(log: &mut Section<'_, '_>) -> Self {
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
