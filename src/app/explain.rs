//! `swiped explain`: every rule in order, with what it saw and which one settled it.
//!
//! Reads the card, the door and what they name from the access table, and where the card is from the decision table; the
//! answer is worked out by the daemon's own code ([`crate::pipeline::explain`]).

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow, bail};

use crate::{
    access::amend::json,
    app::{
        build::{endpoints, policy},
        leases::{columns, out, patiently},
    },
    aws::{
        Clients,
        dynamo_items::{ItemTable, Question as Query},
        limits::BATCH_GET_ITEMS_MAX,
    },
    config::Config,
    model::item::Item,
    pipeline::explain::{
        Explanation, PRESENCE, Question, Standing, Wanted, explain, groups, limited, view, wanted,
    },
    ports::{Clock, Fault, FaultKind},
};

/// Longest time of one call. A person waits.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How far items name items: card, profile, schedule, calendar; door, area, and the areas that it lies within.
const DEPTH_MAX: usize = 16;

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Order {
    /// The card.
    pub card: String,
    /// The access point.
    pub door: String,
    /// Who reports the swipe.
    pub device: Option<String>,
    /// When, Unix epoch milliseconds; none: now.
    pub at_ms: Option<i64>,
    /// One JSON object instead of text.
    pub json: bool,
    /// The items, when not those of the tables.
    pub items: Option<PathBuf>,
}

/// Does it.
///
/// # Errors
/// The tables or the file cannot be read.
pub fn explained(config: &Config, order: &Order) -> anyhow::Result<ExitCode> {
    let policy = policy(config);
    if policy.require_known_devices && order.device.is_none() {
        bail!(
            "policy.require_known_devices is on, so the answer depends on the device: say it with --device"
        );
    }
    let at_ms = order.at_ms.unwrap_or_else(|| Clock::System.now_ms());
    let (items, inside) = match &order.items {
        Some(file) => {
            let text = fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let items = json::items(&text).map_err(|why| anyhow!("{}: {why}", file.display()))?;
            (items, None)
        }
        None => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime
                .block_on(Tables::open(config))?
                .gather(order, at_ms, &runtime)?
        }
    };
    let question = Question {
        card: &order.card,
        door: &order.door,
        device: order.device.as_deref(),
        at_ms,
        policy: &policy,
        inside,
    };
    let explained = explain(&items, &question);
    out(&match order.json {
        true => format!("{:#}\n", spell(&question, &explained)),
        false => tell(&question, &explained),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Where the items are.
struct Tables {
    access: ItemTable,
    decisions: Option<ItemTable>,
}

impl Tables {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let clients = Clients::open(&endpoints(config), CALL_TIMEOUT).await?;
        let table = |name: &String| ItemTable::new(clients.dynamodb.clone(), name);
        Ok(Self {
            access: table(&config.access.table),
            decisions: config.decisions.table.as_ref().map(table),
        })
    }

    /// What the question needs, and how many cards are in the area that the door leads to when that has a limit.
    fn gather(
        &self,
        order: &Order,
        at_ms: i64,
        runtime: &tokio::runtime::Runtime,
    ) -> anyhow::Result<(Vec<Item>, Option<i64>)> {
        runtime.block_on(async {
            let mut items = Vec::new();
            self.access_items(order, &mut items)
                .await
                .context("the access table cannot be read")?;
            let known = view(&items, at_ms);
            let mut inside = None;
            if let Some(decisions) = &self.decisions {
                let groups = groups(&known, &order.door);
                let keys: Vec<_> = groups
                    .iter()
                    .map(|group| (format!("CARD#{}", order.card), format!("{PRESENCE}{group}")))
                    .collect();
                if !keys.is_empty() {
                    let found = patiently(|| decisions.get(&keys)).await;
                    items.extend(found.context("the decision table cannot be read")?);
                }
                if let Some(area) = limited(&known, &order.door) {
                    let counted = count(decisions, &area).await;
                    inside = counted.context("the decision table cannot be counted")?;
                }
            }
            // Where the card is names an area, too.
            self.access_items(order, &mut items)
                .await
                .context("the access table cannot be read")?;
            Ok((items, inside))
        })
    }

    async fn access_items(&self, order: &Order, items: &mut Vec<Item>) -> anyhow::Result<()> {
        let mut asked = std::collections::BTreeSet::new();
        for _ in 0..DEPTH_MAX {
            let mut wanted = wanted(items, &order.card, &order.door, order.device.as_deref());
            wanted.retain(|wanted| !asked.contains(wanted));
            if wanted.is_empty() {
                return Ok(());
            }
            let (mut keys, mut calendars) = (Vec::new(), Vec::new());
            for wanted in wanted {
                match &wanted {
                    Wanted::Item(pk, sk) => keys.push((pk.clone(), sk.clone())),
                    Wanted::Calendar(id) => calendars.push(format!("CAL#{id}")),
                }
                asked.insert(wanted);
            }
            for keys in keys.chunks(BATCH_GET_ITEMS_MAX) {
                items.extend(patiently(|| self.access.get(keys)).await?);
            }
            for calendar in calendars {
                items.extend(all(&self.access, None, ("PK", &calendar)).await?);
            }
        }
        bail!("items name items more than {DEPTH_MAX} deep: areas within areas?")
    }
}

async fn all(
    table: &ItemTable,
    index: Option<&str>,
    partition: (&str, &str),
) -> Result<Vec<Item>, Fault> {
    let (mut items, mut start) = (Vec::new(), None);
    loop {
        let question = Query {
            index,
            partition,
            between: None,
            descending: false,
            limit: 1000,
        };
        let page = patiently(|| table.query(question, start.clone())).await?;
        items.extend(page.items);
        start = page.next;
        if start.is_none() {
            return Ok(items);
        }
    }
}

/// How many cards are in the area; nothing when the table has no index to count by, as the daemon then does not know either.
async fn count(table: &ItemTable, area: &str) -> anyhow::Result<Option<i64>> {
    match all(table, Some("ByArea"), ("Area", area)).await {
        Ok(inside) => Ok(Some(i64::try_from(inside.len()).unwrap_or(i64::MAX))),
        Err(fault) if matches!(fault.kind, FaultKind::Refused | FaultKind::NotFound) => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}

fn tell(question: &Question<'_>, explained: &Explanation) -> String {
    let verdict = &explained.verdict;
    let flags: Vec<_> = verdict.flags().collect();
    let flags = if flags.is_empty() {
        String::new()
    } else {
        format!(", flags {}", flags.join(" "))
    };
    let mut rows = Vec::new();
    for step in &explained.steps {
        let mark = match step.standing {
            Standing::Passed => "passed",
            Standing::Settled => "SETTLED",
            Standing::WouldDeny => "would deny",
            Standing::Flagged => "flagged",
            Standing::NotAsked => "-",
        };
        let mut facts = step.facts.iter();
        let first = facts.next().cloned().unwrap_or_default();
        rows.push([
            step.rule.to_string(),
            mark.to_owned(),
            step.name.to_owned(),
            first,
        ]);
        rows.extend(facts.map(|fact| [String::new(), String::new(), String::new(), fact.clone()]));
    }
    format!(
        "{} {} (rule {}){flags}: card {} at {}\n\n{}",
        verdict.reason.outcome().as_str(),
        verdict.reason.as_str(),
        verdict.reason.rule(),
        question.card,
        question.door,
        columns(&rows)
    )
}

fn spell(question: &Question<'_>, explained: &Explanation) -> serde_json::Value {
    let verdict = &explained.verdict;
    let rules = explained.steps.iter().map(|step| {
        serde_json::json!({
            "rule": step.rule, "name": step.name, "standing": step.standing.as_str(), "facts": step.facts,
        })
    });
    serde_json::json!({
        "card_id": question.card, "access_point": question.door, "device_id": question.device,
        "at_ms": question.at_ms, "direction": explained.direction.map(|direction| direction.as_str()),
        "decision": verdict.reason.outcome().as_str(), "reason": verdict.reason.as_str(),
        "rule": verdict.reason.rule(), "flags": verdict.flags().collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
    })
}
