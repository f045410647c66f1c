//! A file of items, laid over the table.
//!
//! First every row is read, laid over its item and read again as the daemon would; when one of them is refused nothing is
//! written. Then each change is written on condition that its item is as it was read. An import that was stopped
//! goes on when it is run again: what is written already is the same, and skipped. The file and its changes
//! are in memory, about 2 KB a row.

use std::{
    collections::HashMap,
    fs,
    io::{IsTerminal, Write as _, stderr},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, anyhow};
use futures::{StreamExt, TryStreamExt, future::ready, stream};
use tokio::time::Instant;

use crate::{
    access::amend::{
        Refused, Row, Sheet, csv,
        difference::{Difference, difference, tell},
        json,
        kind::Kind,
        spell,
    },
    app::leases::{out, patiently},
    aws::{dynamo_items::ItemTable, limits::BATCH_GET_ITEMS_MAX},
    model::item::{Item, ItemWrite, Value},
    ports::Fault,
    shutdown,
};

/// Reads of a hundred items under way at once.
const READS: usize = 8;

/// Writes under way at once: at 5 ms each some 6 000 a second.
const WRITES: usize = 32;

/// Reads the file: JSON when its name ends so, else CSV.
///
/// # Errors
/// It cannot be read at all.
pub fn read(file: &Path, kind: Option<Kind>) -> anyhow::Result<Sheet> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let is_json = file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let sheet = if is_json {
        json::read(&text, kind)
    } else {
        csv::read(&text, kind)
    };
    sheet.map_err(|why| anyhow!("{}: {why}", file.display()))
}

/// What the rows of a file come to.
#[derive(Debug, Default)]
struct Plan {
    writes: Vec<(usize, ItemWrite)>,
    new: usize,
    changed: usize,
    same: usize,
    refused: Vec<Refused>,
}

/// Lays `sheet` over the table; prints the difference of a dry run, and of a real one what it came to.
///
/// # Errors
/// The table cannot be read or written; how far it came is said.
pub async fn import(
    table: &ItemTable,
    file: &Path,
    sheet: Sheet,
    dry_run: bool,
    skip_refused: bool,
) -> anyhow::Result<ExitCode> {
    let stop = shutdown::listen().context("cannot listen for signals")?;
    let mut plan = Plan {
        refused: sheet.refused,
        ..Plan::default()
    };
    let mut progress = Progress::new("compared", sheet.rows.len());
    let compared = stream::iter(
        sheet
            .rows
            .chunks(BATCH_GET_ITEMS_MAX)
            .map(|rows| compare(table, rows)),
    );
    let mut compared = compared.buffered(READS);
    while let Some(differences) = compared
        .try_next()
        .await
        .context("the access table cannot be read")?
    {
        progress.add(differences.len());
        for (row, difference) in differences {
            if dry_run && matches!(difference, Difference::New(..) | Difference::Changed(..)) {
                out(&format!("{}\n", tell(row, &difference)))?;
            }
            plan.take(row, difference);
        }
        if stop.is_cancelled() {
            progress.end();
            eprintln!("swiped: stopped; nothing is written");
            return Ok(ExitCode::FAILURE);
        }
    }
    drop(compared);
    progress.end();
    plan.refused.sort_by_key(|refused| refused.line);
    for Refused { line, key, why } in &plan.refused {
        eprintln!(
            "{}:{line}: {key}{}{why}",
            file.display(),
            if key.is_empty() { "" } else { ": " }
        );
    }
    let summary = plan.summary();
    if dry_run {
        out(&format!("{summary}; nothing is written\n"))?;
        return Ok(ExitCode::from(u8::from(!plan.refused.is_empty())));
    }
    if !plan.refused.is_empty() && !skip_refused {
        out(&format!(
            "{summary}; nothing is written: mend what is refused, or say --skip-refused\n"
        ))?;
        return Ok(ExitCode::FAILURE);
    }
    let all = plan.writes.len();
    let mut progress = Progress::new("written", all);
    let writes = stream::iter(plan.writes).take_while(|_| ready(!stop.is_cancelled()));
    let mut writes = writes
        .map(|(line, write)| written(table, line, write))
        .buffer_unordered(WRITES);
    let (mut done, mut conflicts) = (0, 0);
    while let Some((line, key, applied)) = writes.next().await {
        let go_on =
            || format!("{done} of {all} changes are written; run the same command again to go on");
        if applied.with_context(go_on)? {
            done += 1;
        } else {
            conflicts += 1;
            eprintln!(
                "{}:{line}: {key}: somebody else wrote it meanwhile; run the same command again",
                file.display()
            );
        }
        progress.add(1);
    }
    progress.end();
    if done + conflicts < all {
        out(&format!(
            "{summary}; stopped: {done} of {all} changes are written; run the same command again to go on\n"
        ))?;
        return Ok(ExitCode::FAILURE);
    }
    out(&format!("{summary}; {done} written\n"))?;
    Ok(ExitCode::from(u8::from(
        conflicts > 0 || !plan.refused.is_empty(),
    )))
}

/// The rows with what they change, in their order.
async fn compare<'a>(
    table: &ItemTable,
    rows: &'a [Row],
) -> Result<Vec<(&'a Row, Difference)>, Fault> {
    let keys: Vec<_> = rows
        .iter()
        .map(|row| (row.pk.clone(), row.sk.clone()))
        .collect();
    let live = patiently(|| table.get(&keys)).await?;
    let by_key: HashMap<_, _> = live.iter().map(|item| (key_of(item), item)).collect();
    let compared = rows.iter().map(|row| {
        let live = by_key.get(&(row.pk.as_str(), row.sk.as_str()));
        (row, difference(row, live.copied()))
    });
    Ok(compared.collect())
}

fn key_of(item: &Item) -> (&str, &str) {
    let text = |name| item.get(name).and_then(Value::as_text).unwrap_or_default();
    (text("PK"), text("SK"))
}

async fn written(
    table: &ItemTable,
    line: usize,
    write: ItemWrite,
) -> (usize, String, Result<bool, Fault>) {
    let applied = patiently(|| table.write(&write)).await;
    (line, write.key.0, applied)
}

impl Plan {
    fn take(&mut self, row: &Row, difference: Difference) {
        match difference {
            Difference::New(write, _) => {
                self.new += 1;
                self.writes.push((row.line, write));
            }
            Difference::Changed(write, _) => {
                self.changed += 1;
                self.writes.push((row.line, write));
            }
            Difference::Same => self.same += 1,
            Difference::Refused(why) => self.refused.push(Refused {
                line: row.line,
                key: spell(&row.pk, &row.sk),
                why,
            }),
        }
    }

    fn summary(&self) -> String {
        let Self {
            new,
            changed,
            same,
            refused,
            ..
        } = self;
        format!(
            "{new} new, {changed} changed, {same} the same, {} refused",
            refused.len()
        )
    }
}

/// A line on the terminal that says how far it is; nothing where nobody looks.
struct Progress {
    what: &'static str,
    done: usize,
    all: usize,
    shown: Option<Instant>,
    on: bool,
}

impl Progress {
    /// How often the line changes.
    const EVERY: Duration = Duration::from_millis(200);

    fn new(what: &'static str, all: usize) -> Self {
        let on = stderr().is_terminal();
        Self {
            what,
            done: 0,
            all,
            shown: None,
            on,
        }
    }

    fn add(&mut self, count: usize) {
        self.done += count;
        if self.on
            && self
                .shown
                .is_none_or(|shown| shown.elapsed() >= Self::EVERY)
        {
            self.shown = Some(Instant::now());
            let bar = "#".repeat(self.done * 30 / self.all.max(1));
            // A terminal that went away is no reason to stop.
            _ = write!(
                stderr(),
                "\r{:<9} [{bar:<30}] {} of {}",
                self.what,
                self.done,
                self.all
            );
        }
    }

    fn end(&mut self) {
        if self.shown.is_some() {
            _ = write!(stderr(), "\r{:70}\r", "");
        }
    }
}
