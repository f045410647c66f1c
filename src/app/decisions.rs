//! `swiped decisions`: what was decided, and who is inside an area, from the decision table.
//!
//! A card's decisions and a door's are one query each, the newest first. Of a reason alone the table knows no order: it is
//! scanned, which is said, and bounded. No more decisions than asked for are in memory, and one page.

mod inside;
mod list;
mod row;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;

use crate::{
    app::build::endpoints,
    aws::{Clients, dynamo_items::ItemTable},
    config::Config,
    model::decision::Reason,
};

/// Longest time of one call. A person waits.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Most decisions that can be asked for: some 50 MiB of them.
pub const LAST_MAX: u32 = 100_000;

/// What an operator asks for.
#[derive(Clone, Debug)]
pub enum Order {
    /// Decisions, the newest first.
    List {
        /// Whose.
        of: Of,
        /// Of this reason only.
        reason: Option<Reason>,
        /// Most of them, 1 to [`LAST_MAX`].
        last: u32,
        /// Of swipes since then, Unix epoch milliseconds.
        since_ms: i64,
        /// How they are told.
        form: Form,
    },
    /// Who is inside an area now.
    Inside {
        /// The area.
        area: String,
        /// How they are told.
        form: Form,
    },
}

/// Whose decisions.
#[derive(Clone, Debug)]
pub enum Of {
    /// Of this card, at this door only when one is said.
    Card(String, Option<String>),
    /// At this door.
    Door(String),
    /// All.
    All,
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Columns for people.
    Table,
    /// One JSON document.
    Json,
    /// CSV with a header row.
    Csv,
}

/// Does it.
///
/// # Errors
/// There is no decision table, or it cannot be read.
pub fn decisions(config: &Config, order: &Order) -> anyhow::Result<ExitCode> {
    let name = config.decisions.table.as_ref();
    let name = name
        .context("decisions.table is not set: what was decided is on the decision stream alone")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let clients = Clients::open(&endpoints(config), CALL_TIMEOUT).await?;
        let table = ItemTable::new(clients.dynamodb, name);
        match order {
            Order::List {
                of,
                reason,
                last,
                since_ms,
                form,
            } => {
                let wanted = list::Wanted {
                    reason: *reason,
                    last: *last as usize,
                    since_ms: *since_ms,
                };
                list::list(&table, of, wanted, *form).await
            }
            Order::Inside { area, form } => inside::inside(&table, area, *form).await,
        }
    })
}
