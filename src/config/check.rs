//! What no key can say alone: what is required, what must be larger than what, what must differ; and, when all is
//! well, what the whole amounts to.

use std::time::Duration;

use super::{Config, OnReject, document::Document};

impl Config {
    /// What no key can say alone.
    pub(super) fn check_together(&self, document: &mut Document<'_>) {
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
        if self.decisions.aggregate && !document.has("decisions.stream") {
            document.blame(
                "decisions.aggregate",
                "there is no decisions.stream; an item of a table is never packed",
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

    /// The path of a swipe in one line, for people.
    pub fn summary(&self) -> String {
        let named =
            |kind: &str, name: &Option<String>| name.as_ref().map(|name| format!("{kind} {name}"));
        let sinks = [
            named("stream", &self.decisions.stream),
            named("table", &self.decisions.table),
        ];
        let sinks: Vec<_> = sinks.into_iter().flatten().collect();
        let rejects = self.rejects.stream.as_ref().map_or_else(
            || {
                format!(
                    "nowhere ({})",
                    if self.rejects.on_reject == OnReject::Stop {
                        "a reject stops its shard"
                    } else {
                        "skipped"
                    }
                )
            },
            |stream| format!("stream {stream}"),
        );
        format!(
            "stream {} -> cards of table {} -> {}; rejects to {rejects}; leases in table {}; admin on {}",
            self.swipes.stream,
            self.access.table,
            sinks.join(" and "),
            self.leases.table,
            self.admin.listen
        )
    }
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
