//! Changes cards in the table while swipes flow for them.

use std::time::Duration;

use anyhow::Context;
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    churn::{self, Change, Timetable},
    clock,
    population::{CHURN_CARDS, CardState, Population},
};

/// Requests in flight while cards are put back.
const IN_FLIGHT: usize = 8;

/// Writes the timetable's changes, each when it is due, and tells when each was sent and acknowledged.
///
/// A write that fails is not repeated: it may have happened, and is noted as such.
pub async fn run(
    client: Client,
    table: String,
    world: Population,
    timetable: Timetable,
    start: Instant,
    stop: CancellationToken,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (at_ms, card, state) in timetable.changes() {
        let due = start + Duration::from_millis(at_ms.unsigned_abs());
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(due) => {}
        }
        let began_ms = clock::now_ms();
        let acked_ms = match write(&client, &table, &world, card, state, began_ms).await {
            Ok(()) => Some(clock::now_ms()),
            Err(error) => {
                tracing::warn!(
                    card,
                    error = format!("{error:#}"),
                    "a card could not be changed"
                );
                None
            }
        };
        changes.push(Change {
            card,
            state,
            began_ms,
            acked_ms,
        });
    }
    changes
}

/// Puts churn cards back into their first state, where an earlier run left them in another one; true when any was.
///
/// # Errors
/// When a card can neither be read nor written.
pub async fn put_back(client: &Client, table: &str, world: &Population) -> anyhow::Result<bool> {
    let cards = stream::iter(0..CHURN_CARDS as u16).map(|card| async move {
        let state = churn::state_after(card, 0);
        let wanted = world
            .churn_item(card, state, 0)
            .map(crate::item::Item::into_attributes);
        let status = wanted.as_ref().and_then(|item| item.get("CardStatus"));
        let key = |name: &str| AttributeValue::S(name.to_owned());
        let request = client.get_item().table_name(table).consistent_read(true);
        let request = request
            .key("PK", key(&format!("CARD#{}", world.churn_card(card).id)))
            .key("SK", key("CARD#STATUS"));
        let found = request
            .send()
            .await
            .with_context(|| format!("cannot read the table {table}"))?
            .item;
        if found.as_ref().and_then(|item| item.get("CardStatus")) == status {
            return Ok(false);
        }
        write(client, table, world, card, state, clock::now_ms()).await?;
        anyhow::Ok(true)
    });
    cards
        .buffer_unordered(IN_FLIGHT)
        .try_fold(false, |any, one| async move { Ok(any || one) })
        .await
}

async fn write(
    client: &Client,
    table: &str,
    world: &Population,
    card: u16,
    state: CardState,
    version: i64,
) -> anyhow::Result<()> {
    match world.churn_item(card, state, version) {
        Some(item) => {
            let put = client
                .put_item()
                .table_name(table)
                .set_item(Some(item.into_attributes()));
            put.send()
                .await
                .with_context(|| format!("cannot write to the table {table}"))?;
        }
        None => {
            let key = |name: &str| AttributeValue::S(name.to_owned());
            let delete = client
                .delete_item()
                .table_name(table)
                .key("SK", key("CARD#STATUS"));
            let delete = delete.key("PK", key(&format!("CARD#{}", world.churn_card(card).id)));
            delete
                .send()
                .await
                .with_context(|| format!("cannot delete from the table {table}"))?;
        }
    }
    Ok(())
}
