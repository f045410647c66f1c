//! One item, changed by hand.

use std::process::ExitCode;

use anyhow::bail;

use crate::{
    access::amend::{
        Row,
        difference::{Difference, difference, tell},
    },
    app::leases::{out, patiently},
    aws::dynamo_items::ItemTable,
};

/// How often a change is tried that somebody else's write gets in the way of.
const TRIES: u32 = 5;

/// Lays `row` over its item and prints what that changed.
///
/// # Errors
/// The table cannot be read or written, or the item changes all the time.
pub async fn change(table: &ItemTable, row: &Row, must_exist: bool) -> anyhow::Result<ExitCode> {
    let key = [(row.pk.clone(), row.sk.clone())];
    for _ in 0..TRIES {
        let live = patiently(|| table.get(&key)).await?;
        let live = live.first();
        if live.is_none() && must_exist {
            out(&format!("REFUSED  {}: there is no such item\n", row.pk))?;
            return Ok(ExitCode::FAILURE);
        }
        let difference = difference(row, live);
        let (done, code) = match &difference {
            Difference::New(write, _) | Difference::Changed(write, _) => {
                (patiently(|| table.write(write)).await?, ExitCode::SUCCESS)
            }
            Difference::Same => (true, ExitCode::SUCCESS),
            Difference::Refused(_) => (true, ExitCode::FAILURE),
        };
        if done {
            out(&format!("{}\n", tell(row, &difference)))?;
            return Ok(code);
        }
    }
    bail!(
        "{} was written by others {TRIES} times in a row between reading and writing it; try again",
        row.pk
    )
}
