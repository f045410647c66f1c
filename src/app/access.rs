//! `swiped access`: the access table by hand. What may be written is decided in [`crate::access::amend`], what is wrong with
//! a table in [`crate::access::audit`]; here the table is read and written, and all is printed.

mod import;
mod single;
mod validate;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Duration};

use crate::{
    access::amend::{Row, kind::Kind},
    app::build::endpoints,
    aws::{Clients, dynamo_items::ItemTable},
    config::Config,
    model::item::Value,
    ports::Clock,
};

/// Longest time of one call. A person waits.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What an operator asks for.
#[derive(Clone, Debug)]
pub enum Order {
    /// Lay a file of items over the table.
    Import {
        /// The file: JSON when its name says so, else CSV.
        file: PathBuf,
        /// What its rows are, when they have ids instead of keys.
        kind: Option<Kind>,
        /// Say what would be done, and do nothing.
        dry_run: bool,
        /// Go on without the rows that are refused.
        skip_refused: bool,
    },
    /// Change one item.
    One {
        /// The item, and what is said of it.
        row: Row,
        /// Whether it must be there already.
        must_exist: bool,
    },
    /// Forget where a card was until now.
    Forgive {
        /// The card.
        card: String,
    },
    /// Look for items that the daemon ignores.
    Validate,
}

/// A change of one card.
pub fn of_card(card: &str, said: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Row {
    let (pk, sk) = Kind::Cards.key(card, "");
    let said = said
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Row {
        line: 0,
        pk,
        sk,
        said: said.collect::<BTreeMap<_, _>>(),
    }
}

/// Does it. Exit code 0: done; 1: some of it was refused or found wrong, and said why.
///
/// # Errors
/// The file or the table cannot be read, or the table not be written.
pub fn access(config: &Config, order: &Order) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let clients = Clients::open(&endpoints(config), CALL_TIMEOUT).await?;
        let table = ItemTable::new(clients.dynamodb, &config.access.table);
        match order {
            Order::Import {
                file,
                kind,
                dry_run,
                skip_refused,
            } => {
                let sheet = import::read(file, *kind)?;
                import::import(&table, file, sheet, *dry_run, *skip_refused).await
            }
            Order::One { row, must_exist } => single::change(&table, row, *must_exist).await,
            Order::Forgive { card } => {
                // The next whole second: what was swiped within this one is forgiven, too.
                let now_s = Clock::System.now_ms() / 1000 + 1;
                let row = of_card(
                    card,
                    [("ForgivenAt", Some(Value::Number(now_s.to_string())))],
                );
                single::change(&table, &row, true).await
            }
            Order::Validate => validate::validate(&table, config.access.segments).await,
        }
    })
}
