//! The whole table, read as the daemon reads it.

use std::process::ExitCode;

use anyhow::Context;
use futures::{StreamExt, stream::FuturesUnordered};

use crate::{
    access::{
        amend::kind::Kind,
        audit::{Audit, Finding},
    },
    app::leases::{out, patiently},
    aws::dynamo_items::ItemTable,
    model::item::Item,
};

/// Prints every finding, then what is there. Exit code 1 when anything was found.
///
/// # Errors
/// The table cannot be read.
pub async fn validate(table: &ItemTable, segments: u32) -> anyhow::Result<ExitCode> {
    let page = async |segment: u32, start: Option<Item>| {
        let page = patiently(|| table.scan((segment, segments), start.clone())).await;
        page.map(|page| (segment, page))
    };
    let mut audit = Audit::default();
    let mut found = 0_u64;
    let mut tell = |finding: Finding| {
        found += 1;
        out(&format!("{}: {}\n", finding.key, finding.why))
    };
    let mut pages: FuturesUnordered<_> = (0..segments).map(|segment| page(segment, None)).collect();
    while let Some(read) = pages.next().await {
        let (segment, read) = read.context("the access table cannot be read")?;
        for item in &read.items {
            if let Some(finding) = audit.take(item) {
                tell(finding)?;
            }
        }
        if read.next.is_some() {
            pages.push(page(segment, read.next));
        }
    }
    let count = |kind| audit.read.get(&kind).copied().unwrap_or(0);
    let counts = Kind::ALL.map(|(word, kind)| format!("{} {word}", count(kind)));
    let others = audit
        .others
        .iter()
        .map(|(prefix, count)| format!("{prefix} {count}"));
    let others: Vec<_> = others.collect();
    for finding in audit.finish() {
        tell(finding)?;
    }
    out(&format!(
        "{} can be read; {found} findings\n",
        counts.join(", ")
    ))?;
    if !others.is_empty() {
        out(&format!(
            "items that are not the daemon's: {}\n",
            others.join(", ")
        ))?;
    }
    Ok(ExitCode::from(u8::from(found > 0)))
}
