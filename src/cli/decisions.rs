//! The words of `swiped decisions`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ConfigFile, access::id};
use crate::{
    app::decisions::{Form, LAST_MAX, Of, Order},
    model::decision::Reason,
};

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Decisions {
    #[command(subcommand)]
    inside: Option<Inside>,
    // Optional for the parser alone: the subcommand has its own.
    /// The TOML file; SWIPED_SECTION__KEY variables override its keys
    #[arg(long, value_name = "FILE", env = "SWIPED_CONFIG", required = true)]
    config: Option<PathBuf>,
    /// Of this card
    #[arg(long, value_name = "CARD", value_parser = id, required_unless_present_any = ["at", "reason"])]
    card: Option<String>,
    /// At this access point
    #[arg(long, value_name = "DOOR", value_parser = id)]
    at: Option<String>,
    /// Of this reason, as decisions have it (CredentialExpired); alone it scans the table
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<Reason>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(LAST_MAX)))]
    last: u32,
    /// Of swipes since then: an RFC 3339 instant, a date (midnight UTC), or epoch seconds
    #[arg(long, value_name = "T", value_parser = crate::access::amend::cell::seconds)]
    since: Option<i64>,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Subcommand)]
enum Inside {
    /// Who is inside an area now, since when, and through which door
    Inside {
        #[command(flatten)]
        file: ConfigFile,
        /// The area
        #[arg(value_name = "AREA")]
        area: String,
        #[command(flatten)]
        form: FormArgs,
    },
}

#[derive(Args, Clone, Copy, Debug)]
struct FormArgs {
    /// A JSON array of objects instead of a table
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// CSV with a header row instead of a table
    #[arg(long)]
    csv: bool,
}

impl FormArgs {
    const fn form(self) -> Form {
        match self {
            Self { json: true, .. } => Form::Json,
            Self { csv: true, .. } => Form::Csv,
            _ => Form::Table,
        }
    }
}

fn reason(word: &str) -> Result<Reason, String> {
    Reason::parse(word).ok_or_else(|| {
        let words = Reason::ALL.map(Reason::as_str);
        format!("expected one of {}", words.join(", "))
    })
}

impl Decisions {
    pub(super) fn order(self) -> (ConfigFile, Order) {
        if let Some(Inside::Inside { file, area, form }) = self.inside {
            let form = form.form();
            return (file, Order::Inside { area, form });
        }
        let order = Order::List {
            of: match (self.card, self.at) {
                (Some(card), door) => Of::Card(card, door),
                (None, Some(door)) => Of::Door(door),
                (None, None) => Of::All,
            },
            reason: self.reason,
            last: self.last,
            since_ms: self.since.unwrap_or(0).saturating_mul(1000),
            form: self.form.form(),
        };
        let config = self.config.unwrap_or_default();
        (ConfigFile { config }, order)
    }
}
