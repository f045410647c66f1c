//! The last decisions of a card, of a door, or of a reason.

use std::{cmp::Reverse, collections::BTreeMap, process::ExitCode};

use anyhow::Context;

use super::{
    Form, Of,
    row::{SCAN, is_decision, number, tell, text},
};
use crate::{
    app::leases::{out, patiently},
    aws::dynamo_items::{ItemTable, Question},
    model::{decision::Reason, item::Item},
};

/// Decisions of one page.
const PAGE: u32 = 1000;

/// Most decisions that are read to find those asked for: at 500 bytes each some 60 read units a thousand.
const READ_MAX: usize = 1_000_000;

/// Which decisions.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Of this reason only.
    pub reason: Option<Reason>,
    /// Most of them.
    pub last: usize,
    /// Of swipes since then, Unix epoch milliseconds.
    pub since_ms: i64,
}

impl Wanted {
    fn holds(&self, item: &Item, door: Option<&str>) -> bool {
        let reason = self
            .reason
            .is_none_or(|reason| text(item, "reason") == reason.as_str());
        reason && door.is_none_or(|door| text(item, "access_point") == door)
    }
}

/// Prints them, the newest first.
///
/// # Errors
/// The decision table cannot be read.
pub async fn list(
    table: &ItemTable,
    of: &Of,
    wanted: Wanted,
    form: Form,
) -> anyhow::Result<ExitCode> {
    let found = match of {
        Of::Card(card, door) => {
            let partition = ("PK", format!("CARD#{card}"));
            queried(table, None, partition, door.as_deref(), wanted).await
        }
        Of::Door(door) => {
            let partition = ("access_point", door.clone());
            queried(table, Some("ByAccessPoint"), partition, None, wanted).await
        }
        Of::All => scanned(table, wanted).await,
    };
    let found = found.context("the decision table cannot be read")?;
    out(&tell(&found, form))?;
    Ok(ExitCode::SUCCESS)
}

/// The newest of one partition.
async fn queried(
    table: &ItemTable,
    index: Option<&str>,
    (name, value): (&str, String),
    door: Option<&str>,
    wanted: Wanted,
) -> anyhow::Result<Vec<Item>> {
    let filtered = wanted.reason.is_some() || door.is_some();
    // Thirteen digits, as the keys have them; what is behind a tilde comes after every digit.
    let (first, last) = (
        format!("{SCAN}{:013}", wanted.since_ms.max(0)),
        format!("{SCAN}~"),
    );
    let (mut found, mut start, mut read) = (Vec::new(), None, 0);
    loop {
        let left = u32::try_from(wanted.last - found.len()).unwrap_or(PAGE);
        let question = Question {
            index,
            partition: (name, &value),
            between: Some((&first, &last)),
            descending: true,
            limit: if filtered { PAGE } else { left.min(PAGE) },
        };
        let page = patiently(|| table.query(question, start.clone())).await?;
        read += page.items.len();
        found.extend(
            page.items
                .into_iter()
                .filter(|item| wanted.holds(item, door)),
        );
        found.truncate(wanted.last);
        start = page.next;
        if found.len() == wanted.last || start.is_none() {
            return Ok(found);
        }
        if read >= READ_MAX {
            eprintln!(
                "swiped: only the last {read} decisions were looked at; say --since, or another card or door"
            );
            return Ok(found);
        }
    }
}

/// The newest of the whole table, which has no order: it is read to the end, or to the bound.
async fn scanned(table: &ItemTable, wanted: Wanted) -> anyhow::Result<Vec<Item>> {
    eprintln!(
        "swiped: a reason alone has no index: the table is scanned, at most {READ_MAX} items of it; --card or --at reads far less"
    );
    let (mut newest, mut start, mut read) = (BTreeMap::new(), None, 0);
    loop {
        let page = patiently(|| table.scan((0, 1), start.clone())).await?;
        read += page.items.len();
        for item in page.items {
            let at_ms = number(&item, "swiped_at_ms");
            if is_decision(&item) && at_ms >= wanted.since_ms && wanted.holds(&item, None) {
                let id = text(&item, "decision_id").to_owned();
                newest.insert(Reverse((at_ms, text(&item, "PK").to_owned(), id)), item);
                if newest.len() > wanted.last {
                    newest.pop_last();
                }
            }
        }
        start = page.next;
        if start.is_none() || read >= READ_MAX {
            if start.is_some() {
                eprintln!(
                    "swiped: stopped after {read} items: there may be newer ones in the rest"
                );
            }
            return Ok(newest.into_values().collect());
        }
    }
}
