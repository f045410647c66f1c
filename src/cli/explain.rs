//! The words of `swiped explain`.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use super::{ConfigFile, access::id};
use crate::{access::amend::cell, app::explain::Order};

#[derive(Args, Debug)]
pub(super) struct Explain {
    #[command(flatten)]
    file: ConfigFile,
    /// The card
    #[arg(long, value_name = "CARD", value_parser = id)]
    card: String,
    /// The access point
    #[arg(long, value_name = "DOOR", value_parser = id)]
    at: String,
    /// When it is swiped and decided, by what is known now: an RFC 3339 instant, a date (midnight UTC), or epoch seconds
    #[arg(long, value_name = "T", value_parser = milliseconds)]
    when: Option<i64>,
    /// Who reports the swipe; without one the device is not judged
    #[arg(long, value_name = "DEVICE", value_parser = id)]
    device: Option<String>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Explain by the items of this file, a JSON array of plain objects, and not by the tables
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
}

/// An instant is meant to the millisecond; what else is said, to the second.
fn milliseconds(text: &str) -> Result<i64, String> {
    match text.parse::<Timestamp>() {
        Ok(instant) => Ok(instant.as_millisecond()),
        Err(_) => cell::seconds(text).map(|seconds| seconds.saturating_mul(1000)),
    }
}

impl Explain {
    pub(super) fn order(self) -> (ConfigFile, Order) {
        let order = Order {
            card: self.card,
            door: self.at,
            device: self.device,
            at_ms: self.when,
            json: self.json,
            items: self.items,
        };
        (self.file, order)
    }
}
