//! The words of `swiped access`.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::ConfigFile;
use crate::{
    access::amend::{Row, cell, kind::Kind},
    app::access::{Order, of_card},
    model::{item::Value, swipe::is_id},
};

#[derive(Debug, Subcommand)]
pub(super) enum Access {
    /// Lay a CSV or JSON file of items over the table
    ///
    /// CSV: a header row that names the attributes, and the key as Id (with --kind) or as PK and SK; lists separated by `;`. An
    /// attribute without a column stays as it is, an empty cell takes it away. JSON (a name that ends in .json): an array of
    /// plain objects.
    ///
    /// Every row is read as the daemon reads it before anything is written. Version goes up by itself. What is so already is
    /// skipped, so an import that was stopped goes on when it is run again. Exit 0 when all of it is there, else 1.
    Import {
        #[command(flatten)]
        file: ConfigFile,
        /// The items
        #[arg(value_name = "FILE")]
        items: PathBuf,
        /// What the ids are of: cards, doors, areas, sites, profiles, schedules, calendars or devices
        #[arg(long, value_name = "KIND")]
        kind: Option<Kind>,
        /// Print the difference to the table, and write nothing
        #[arg(long)]
        dry_run: bool,
        /// Write the others when rows are refused
        #[arg(long)]
        skip_refused: bool,
    },
    /// Make or change one item: a card, or what --kind says
    Put(Put),
    /// Withdraw a card: nothing opens to it from then on
    Revoke {
        #[command(flatten)]
        card: OneCard,
        /// Why
        #[arg(long, value_enum, default_value = "revoked")]
        reason: Reason,
    },
    /// Lock a card out until it is reissued
    Suspend {
        #[command(flatten)]
        card: OneCard,
    },
    /// Issue a card again, to whom it belonged or to somebody else
    Reissue {
        #[command(flatten)]
        card: OneCard,
        /// Whose it is from now on; they count as active
        #[arg(long, value_name = "HOLDER")]
        to: Option<String>,
        /// From when it is valid: epoch seconds, an RFC 3339 instant, or a date
        #[arg(long, value_name = "T", value_parser = cell::seconds)]
        valid_from: Option<i64>,
        /// Until when it is valid, exclusive
        #[arg(long, value_name = "T", value_parser = cell::seconds)]
        valid_to: Option<i64>,
    },
    /// Forget where a card was until now, so that anti-passback lets it in
    Forgive {
        #[command(flatten)]
        card: OneCard,
    },
    /// List every item that the daemon ignores, and every id that has no item; exit 1 when there are any
    ///
    /// Reads the whole table.
    Validate(ConfigFile),
}

#[derive(Args, Debug)]
pub(super) struct Put {
    #[command(flatten)]
    file: ConfigFile,
    /// What to put: cards, doors, areas, sites, profiles, schedules, calendars or devices
    #[arg(long, value_name = "KIND", default_value = "cards")]
    kind: Kind,
    /// The day of a calendar
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<String>,
    /// Its id
    #[arg(value_name = "ID", value_parser = id)]
    id: String,
    /// Attributes; lists separated by `;`; without a value the attribute goes
    #[arg(value_name = "NAME=VALUE", required = true, value_parser = pair)]
    said: Vec<(String, String)>,
}

#[derive(Args, Debug)]
pub(super) struct OneCard {
    #[command(flatten)]
    file: ConfigFile,
    /// The card
    #[arg(value_name = "CARD", value_parser = id)]
    card: String,
}

/// Why a card is withdrawn: the status that it gets.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Reason {
    Revoked,
    Lost,
    Stolen,
    Damaged,
    Destroyed,
}

impl Reason {
    const fn status(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Lost => "lost",
            Self::Stolen => "stolen",
            Self::Damaged => "damaged",
            Self::Destroyed => "destroyed",
        }
    }
}

/// An id as swipes have them.
pub(super) fn id(text: &str) -> Result<String, String> {
    match is_id(text.as_bytes()) {
        true => Ok(text.to_owned()),
        false => Err("is not an id: 1 to 64 of A-Za-z0-9._:-".to_owned()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("is not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Put {
    fn row(&self) -> Result<Row, String> {
        let kind = self.kind;
        if self.date.is_some() != (kind == Kind::Calendars) {
            return Err("--date is for the days of --kind calendars, which need it".to_owned());
        }
        let mut said = BTreeMap::new();
        for (name, value) in &self.said {
            let form = kind.form(name).ok_or_else(|| {
                format!(
                    "{name} is no attribute; the attributes are {}",
                    kind.attributes()
                )
            })?;
            let value = cell::read(value, form).map_err(|why| format!("{name}: {why}"))?;
            if said.insert(name.clone(), value).is_some() {
                return Err(format!("{name} is said twice"));
            }
        }
        let (pk, sk) = kind.key(&self.id, self.date.as_deref().unwrap_or_default());
        let line = 0;
        Ok(Row { line, pk, sk, said })
    }
}

impl Access {
    /// Where the configuration is, and what is asked for.
    ///
    /// # Errors
    /// Why it makes no sense.
    pub(super) fn order(self) -> (ConfigFile, Result<Order, String>) {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let one = |OneCard { file, card }, said: Vec<(&'static str, Option<Value>)>| {
            let row = of_card(&card, said);
            let must_exist = true;
            (file, Ok(Order::One { row, must_exist }))
        };
        match self {
            Self::Import {
                file,
                items,
                kind,
                dry_run,
                skip_refused,
            } => {
                let order = Order::Import {
                    file: items,
                    kind,
                    dry_run,
                    skip_refused,
                };
                (file, Ok(order))
            }
            Self::Put(put) => {
                let must_exist = false;
                let order = put.row().map(|row| Order::One { row, must_exist });
                (put.file, order)
            }
            Self::Revoke { card, reason } => one(card, vec![("CardStatus", text(reason.status()))]),
            Self::Suspend { card } => one(card, vec![("CardStatus", text("suspended"))]),
            Self::Reissue {
                card,
                to,
                valid_from,
                valid_to,
            } => {
                let mut said = vec![
                    ("CardStatus", text("issued")),
                    ("IsAvailableForIssue", None),
                ];
                if let Some(holder) = &to {
                    said.push(("CardIssuedTo", text(holder)));
                    said.push(("HolderStatus", text("active")));
                }
                for (name, seconds) in [("ValidFrom", valid_from), ("ValidTo", valid_to)] {
                    if let Some(seconds) = seconds {
                        said.push((name, Some(Value::Number(seconds.to_string()))));
                    }
                }
                one(card, said)
            }
            Self::Forgive {
                card: OneCard { file, card },
            } => (file, Ok(Order::Forgive { card })),
            Self::Validate(file) => (file, Ok(Order::Validate)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(kind: Kind, date: Option<&str>, said: &[&str]) -> Result<Row, String> {
        let put = Put {
            file: ConfigFile {
                config: PathBuf::new(),
            },
            kind,
            date: date.map(str::to_owned),
            id: "42".to_owned(),
            said: said
                .iter()
                .map(|said| pair(said))
                .collect::<Result<_, _>>()?,
        };
        put.row()
    }

    #[test]
    fn what_is_put_has_the_attributes_of_its_kind() {
        let row = put(Kind::Cards, None, &["CardStatus=lost", "ValidTo="]).expect("a card");
        assert_eq!((&*row.pk, &*row.sk), ("CARD#42", "CARD#STATUS"));
        let said = [
            ("CardStatus", Some(Value::Text("lost".to_owned()))),
            ("ValidTo", None),
        ];
        assert_eq!(
            row.said,
            said.map(|(name, value)| (name.to_owned(), value)).into()
        );
        let day = put(Kind::Calendars, Some("2026-12-25"), &["Recurring=true"]).expect("a day");
        assert_eq!((&*day.pk, &*day.sk), ("CAL#42", "DAY#2026-12-25"));
        for (kind, date, said, why) in [
            (Kind::Cards, None, "Colour=red", "Colour is no attribute"),
            (
                Kind::Cards,
                None,
                "ThreatAuthority=much",
                "is not a whole number",
            ),
            (Kind::Cards, None, "CardStatus", "is not NAME=VALUE"),
            (
                Kind::Cards,
                Some("2026-12-25"),
                "CardStatus=lost",
                "--date is for",
            ),
            (Kind::Calendars, None, "Recurring=true", "--date is for"),
        ] {
            let refused = put(kind, date, &[said]).expect_err(said);
            assert!(refused.contains(why), "{said}: {refused}");
        }
        let twice = put(Kind::Cards, None, &["CardStatus=lost", "CardStatus=issued"]);
        assert!(twice.expect_err("twice").contains("said twice"));
    }
}
