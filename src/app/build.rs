//! From the configuration to what the loops are given.

use std::{sync::Arc, time::Duration};

use crate::{
    access::cache::AccessCache,
    aws::{
        self, Clients,
        dynamo_sink::TableSink,
        kinesis_fan_out::{Consumer, FanOutStream},
        kinesis_polling::PolledStream,
        kinesis_sink::StreamSink,
        limits,
    },
    config::{Config, OnReject, Start},
    lease::{coordinator::LeaseLimits, protocol::Timing},
    model::{lease::WorkerId, position::Checkpoint},
    pipeline::{
        batch::BatchLimits,
        consumer::{ConsumerLimits, Shared},
        decide::Policy,
        reader::{ByteBudget, FanOutLimits, Pace, ReadLimits},
        writer::{Sinks, WriteLimits},
    },
    ports::Clock,
};

/// Puts of one shard on a stream under way at once: a part of a page, 2 500 decisions, is five; dead letters are
/// larger, and can be more.
const PUTS_IN_FLIGHT: usize = 8;

/// Calls of one shard to the table under way at once: 250 decisions in puts of 25, what a shard that is written at its limit
/// (1 000 records a second) brings in a quarter of a second.
const TABLE_CALLS_IN_FLIGHT: usize = 10;

/// Bytes of events that are read and not yet stored, of all shards together. A second of 64 shards at 2 MiB/s; an idle
/// shard holds 64 KiB of it, so that it lasts for 2000 of them.
const READ_BUDGET: u32 = 128 << 20;

/// The row of a lease that ended is looked at by people after a reshard, too.
const KEEP_ENDED: Duration = Duration::from_secs(600);

/// The configured worker id, or the host's name with a random suffix: unique for this process.
pub(super) fn worker_id(config: &Config) -> WorkerId {
    match &config.leases.worker_id {
        Some(id) => WorkerId::new(id),
        None => WorkerId::new(&format!("{}-{:08x}", host(), fastrand::u32(..))),
    }
}

/// The host's name: of the kernel, or of the file where a unit's sandbox hides the kernel's.
fn host() -> String {
    let read = |path| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"));
    let name = name.unwrap_or_default();
    if name.trim().is_empty() {
        "swiped".to_owned()
    } else {
        name.trim().to_owned()
    }
}

/// Where the services are.
pub(super) fn endpoints(config: &Config) -> aws::Endpoints {
    let (aws, one) = (&config.aws, &config.aws.endpoints);
    let or_all = |url: &Option<String>| url.clone().or_else(|| aws.endpoint_url.clone());
    aws::Endpoints {
        region: aws.region.clone(),
        kinesis: or_all(&one.kinesis),
        dynamodb: or_all(&one.dynamodb),
        dynamodbstreams: or_all(&one.dynamodbstreams),
        ca_file: aws.ca_file.clone(),
    }
}

/// What the operator sets.
pub(super) fn policy(config: &Config) -> Policy {
    let policy = &config.policy;
    Policy {
        max_card_staleness_ms: policy.max_card_staleness_ms,
        max_clock_skew_ms: policy.max_clock_skew_ms,
        max_swipe_age_ms: policy.max_swipe_age_ms,
        actuate_within_ms: policy.actuate_within_ms,
        require_known_devices: policy.require_known_devices,
    }
}

/// What all consumers work with; `consumer` is who subscribes to the shards, or they are polled.
pub(super) fn shared(
    config: &Config,
    clients: &Clients,
    cache: Arc<AccessCache>,
    consumer: Option<Consumer>,
) -> Shared<FanOutStream, StreamSink, TableSink> {
    let (kinesis, decisions) = (&clients.kinesis, &config.decisions);
    let sink = |name: &String| Arc::new(StreamSink::new(kinesis.clone(), name));
    let table = |name: &String| {
        Arc::new(TableSink::new(
            clients.dynamodb.clone(),
            name,
            decisions.ttl_days,
            decisions.standards,
        ))
    };
    let fan_out = consumer.is_some().then(|| FanOutLimits {
        renew: config.swipes.renew,
        ..FanOutLimits::default()
    });
    let polled = PolledStream::new(kinesis.clone(), &config.swipes.stream);
    let consumer = consumer.map(|consumer| (clients.subscriptions.clone(), consumer));
    Shared {
        stream: Arc::new(FanOutStream::new(polled, consumer)),
        sinks: Sinks {
            stream: decisions.stream.as_ref().map(sink),
            table: decisions.table.as_ref().map(table),
            rejects: config.rejects.stream.as_ref().map(sink),
            skip_rejects: config.rejects.on_reject == OnReject::Skip,
            standards: decisions.standards,
            aggregate: None,
            flow: Arc::default(),
        },
        cache,
        limits: ConsumerLimits {
            read: ReadLimits {
                pace: Pace {
                    poll: config.swipes.poll,
                    hurry: Duration::from_secs(1) / limits::GET_RECORDS_CALLS_A_SECOND,
                },
                fan_out,
            },
            write: WriteLimits {
                events: BatchLimits {
                    entries: limits::PUT_RECORDS_ENTRIES_MAX,
                    bytes: limits::PUT_RECORDS_BYTES_MAX,
                },
                table_puts: limits::BATCH_WRITE_ITEMS_MAX,
                table_gets: limits::BATCH_GET_ITEMS_MAX,
                table_moves: limits::TRANSACT_WRITE_ITEMS_MAX,
                in_flight: PUTS_IN_FLIGHT,
                table_in_flight: TABLE_CALLS_IN_FLIGHT,
            },
            policy: policy(config),
        },
        budget: Arc::new(ByteBudget::new(READ_BUDGET)),
        occupancy: Arc::default(),
        clock: Clock::System,
    }
}

/// The coordinator's times and start.
pub(super) fn lease_limits(config: &Config) -> LeaseLimits {
    let leases = &config.leases;
    LeaseLimits {
        heartbeat: leases.heartbeat,
        timing: Timing {
            failover: leases.failover,
            // What is under way when the fence closes has a quarter of the failover time to end.
            margin: leases.failover / 4,
            checkpoint: leases.checkpoint,
            // The others look at the workers once a heartbeat, and a look takes its time.
            notice: leases.heartbeat * 6 / 5,
            keep_ended: KEEP_ENDED,
        },
        shard_sync: leases.shard_sync,
        start: match config.swipes.start {
            Start::TrimHorizon => Checkpoint::TrimHorizon,
            // Resolved once, and stored in the rows: a restart goes on from the first start.
            Start::Latest => Checkpoint::AtTimestamp(Clock::System.now_ms()),
            Start::At(ms) => Checkpoint::AtTimestamp(ms),
        },
    }
}
