//! Every series that `swiped` exposes: name, kind, unit, help and labels, in one table.
//!
//! Dashboards, alerts and tests are checked against [`CATALOGUE`]; the handles in [`super`] are the only code that
//! writes these series. Base units (seconds, bytes), `_total` on counters, every label a closed set but `shard`.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// What a series is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts below each of these bounds, in the series' unit, rising.
    Histogram(&'static [f64]),
}

/// One series, or one a value of its labels.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name on `/metrics`.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The unit of its value.
    pub unit: Unit,
    /// One sentence.
    pub help: &'static str,
    /// Its label names.
    pub labels: &'static [&'static str],
}

/// From a page to a write: fine where the objective lies (p50 3 ms, p99 10 ms), coarse where something is wrong.
const FINE: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Work that takes seconds to minutes: a scan of 3.5 M cards.
const LONG: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

macro_rules! catalogue {
    ($($name:ident = $text:literal $kind:expr, $unit:ident, [$($label:literal),*], $help:literal;)+) => {
        $(#[doc = $help] pub(super) const $name: &str = $text;)+

        /// Every series, in the order of the path of a swipe.
        pub const CATALOGUE: &[Entry] = &[
            $(Entry { name: $text, kind: $kind, unit: Unit::$unit, help: $help, labels: &[$($label),*] },)+
        ];
    };
}

use Kind::{Counter as C, Gauge as G, Histogram as H};

catalogue! {
    RECORDS = "swiped_records_total" C, Count, ["shard"], "Kinesis records read.";
    RECORD_BYTES = "swiped_record_bytes_total" C, Bytes, ["shard"], "Payload bytes of the records read.";
    SWIPES = "swiped_swipes_total" C, Count, ["shard"], "User records read, those inside aggregates each for itself.";
    BEHIND_LATEST = "swiped_shard_behind_latest_seconds" G, Seconds, ["shard"],
        "How far the last page read is behind the tip of its shard.";
    CHECKPOINT_AGE = "swiped_checkpoint_age_seconds" G, Seconds, ["shard"],
        "Time since the shard's checkpoint was last known to cover everything decided.";
    SHARD_READ_BY = "swiped_shard_read_by" G, Count, ["shard", "way"], "1 for the way in which the shard is read now, 0 for the other.";
    SUBSCRIPTIONS = "swiped_subscriptions_total" C, Count, [], "Subscriptions to a shard that were begun.";
    SUBSCRIPTIONS_ENDED = "swiped_subscriptions_ended_total" C, Count, ["reason"], "Subscriptions to a shard that ended, by why.";
    FAN_OUT_FALL_BACKS = "swiped_fan_out_fall_backs_total" C, Count, [],
        "Times that a shard was polled for a while because fan-out failed.";
    READ_BUDGET_USED = "swiped_read_budget_used_bytes" G, Bytes, [],
        "Room for events of subscriptions that is held: read and not yet stored, or kept free for what comes next.";
    PAGE_READ = "swiped_page_read_seconds" H(FINE), Seconds, [], "One read of a shard by polling, from the call to the page.";
    PAGE_DECIDE = "swiped_page_decide_seconds" H(FINE), Seconds, [],
        "From the arrival of a page to its first write being sent.";
    PAGE_WRITE = "swiped_page_write_seconds" H(FINE), Seconds, [],
        "From the first write of a page being sent to all of it being stored.";
    ADDED_LATENCY = "swiped_added_latency_seconds" H(FINE), Seconds, [],
        "From the arrival of a page to all its decisions being stored.";
    DECISIONS = "swiped_decisions_total" C, Count, ["decision", "reason"], "Decisions stored, by answer and reason.";
    REJECTS = "swiped_rejects_total" C, Count, ["error"], "Records that are no swipe, by what is wrong with them.";
    DUPLICATE_SWIPES = "swiped_duplicate_swipes_total" C, Count, [],
        "Swipes that repeat one of the same page, as a producer's retry does.";
    RECOVERED_DECISIONS = "swiped_recovered_decisions_total" C, Count, [],
        "Decisions that a replay found stored and kept as they were.";
    WRITES = "swiped_writes_total" C, Count, ["sink"], "Batch calls that write, repeats included.";
    WRITE_FAILED_ENTRIES = "swiped_write_failed_entries_total" C, Count, ["sink", "kind"],
        "Entries that a batch call did not store and that were sent again.";
    PRESSURE = "swiped_pressure_seconds" H(FINE), Seconds, ["stage"],
        "Where the time goes: read, judge, write_table and write_stream once a part of a page, budget and throttled once a wait of a request.";
    IN_FLIGHT = "swiped_in_flight_bytes" G, Bytes, [], "Bytes of the requests under way to all sinks.";
    WRITE_WINDOW = "swiped_write_window_units" G, Count, ["sink"],
        "What a throttled sink is sent at most, in records of up to 1 KiB a second; without bound (+Inf) while nothing is refused.";
    AWS_FAULTS = "swiped_aws_faults_total" C, Count, ["operation", "kind"], "Calls to AWS that failed.";
    ITERATOR_REFRESHES = "swiped_iterator_refreshes_total" C, Count, [], "Expired shard iterators that were renewed.";
    DATA_LOSS_EVENTS = "swiped_data_loss_events_total" C, Count, [],
        "Checkpoints found older than what the stream still keeps.";
    LEASES_HELD = "swiped_leases_held" G, Count, [], "Leases that this worker holds.";
    LEASES_PLANNED = "swiped_leases_planned" G, Count, [],
        "Leases that the plan gives this worker; held is on its way there.";
    LEASE_ORPHAN_AGE = "swiped_lease_orphan_age_seconds" G, Seconds, [],
        "For how long this worker has seen a lease without a living owner, the longest of all; 0 when every lease has one.";
    LEASES = "swiped_leases" G, Count, ["state"], "Leases of the whole application as this worker sees them.";
    LEASE_UNCOVERED = "swiped_lease_uncovered_ratio" G, Count, [],
        "The part of the stream's hash keys that no lease covers, by the last audit.";
    LEASE_EVENTS = "swiped_lease_events_total" C, Count, ["event"], "What happened to leases at this worker.";
    CHECKPOINTS = "swiped_checkpoints_total" C, Count, ["outcome"], "Writes of a checkpoint.";
    HEARTBEAT_AGE = "swiped_heartbeat_age_seconds" G, Seconds, [], "Time since this worker's last stored heartbeat.";
    WORKERS = "swiped_workers" G, Count, [], "Workers alive as this worker sees them.";
    SHARDS_HALTED = "swiped_shards_halted" G, Count, [],
        "Shards of this worker that stopped rather than lose a record.";
    ACCESS_CARDS = "swiped_access_cards" G, Count, [], "Cards in the cache.";
    ACCESS_STALENESS = "swiped_access_staleness_seconds" G, Seconds, [],
        "Age of what the cache knows; rule 8 compares it with policy.max_card_staleness_ms.";
    ACCESS_CHANGES = "swiped_access_changes_total" C, Count, ["effect"],
        "Changes of the access table, by what they did to the cache.";
    ACCESS_MALFORMED = "swiped_access_malformed_items_total" C, Count, ["entity"],
        "Items of the access table that count as absent because they cannot be read.";
    ACCESS_REBUILDS = "swiped_access_rebuilds_total" C, Count, ["reason"],
        "Fresh scans of the access table, by what made them necessary.";
    ACCESS_SCAN = "swiped_access_scan_seconds" H(LONG), Seconds, [], "One scan of the access table with its replay.";
    READY = "swiped_ready" G, Count, [], "1 while /readyz answers 200.";
    BUILD_INFO = "swiped_build_info" G, Count, ["version"], "Always 1; what runs.";
}

/// Hands every help text and unit to the recorder.
pub fn describe() {
    for entry in CATALOGUE {
        match entry.kind {
            Kind::Counter => describe_counter!(entry.name, entry.unit, entry.help),
            Kind::Gauge => describe_gauge!(entry.name, entry.unit, entry.help),
            Kind::Histogram(_) => describe_histogram!(entry.name, entry.unit, entry.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_prefix_the_unit_and_the_suffix_of_their_kind() {
        for entry in CATALOGUE {
            let name = entry.name;
            assert!(name.starts_with("swiped_"), "{name}");
            assert_eq!(
                name.ends_with("_total"),
                entry.kind == Kind::Counter,
                "{name}: _total is for counters"
            );
            if entry.unit == Unit::Seconds {
                assert!(name.ends_with("_seconds"), "{name}: says its unit");
            }
            assert!(
                entry.help.ends_with('.') || entry.help.ends_with("_ms."),
                "{name}: help is a sentence"
            );
        }
    }

    #[test]
    fn no_name_stands_twice_and_every_bucket_rises() {
        let mut names: Vec<_> = CATALOGUE.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
        for entry in CATALOGUE {
            if let Kind::Histogram(bounds) = entry.kind {
                assert!(
                    bounds.windows(2).all(|pair| pair[0] < pair[1]),
                    "{}",
                    entry.name
                );
            }
        }
    }

    #[test]
    fn alert_rules_use_only_series_of_the_catalogue() {
        let rules = include_str!("../../config/prometheus/rules.yml");
        let expressions: Vec<_> = rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix("expr: "))
            .collect();
        assert!(expressions.len() >= 10);
        for expression in expressions {
            let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let named: Vec<_> = words.filter(|word| word.starts_with("swiped_")).collect();
            assert!(!named.is_empty(), "{expression}");
            for name in named {
                assert!(
                    CATALOGUE.iter().any(|entry| is_of(name, entry)),
                    "{name} in {expression}"
                );
            }
        }
    }

    /// Whether `series` is one that Prometheus has of this entry.
    fn is_of(series: &str, entry: &Entry) -> bool {
        matches!(
            (series.strip_prefix(entry.name), entry.kind),
            (Some(""), _) | (Some("_sum" | "_count" | "_bucket"), Kind::Histogram(_))
        )
    }
}
