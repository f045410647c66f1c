//! How the shards are read is settled once, at the start: by fan-out where the consumer can be registered.

use std::time::Duration;

use anyhow::Context;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::patiently;
use crate::{
    aws::{
        Clients,
        kinesis_fan_out::{Consumer, register},
    },
    config::{Config, Retrieval},
    metrics,
    ports::{Fault, FaultKind},
};

/// How often `auto` tries to register before it polls.
const TRIES: u32 = 3;

/// From try to try.
const REST: Duration = Duration::from_secs(1);

/// How long `auto` waits for the consumer in all. A new one takes some ten seconds, and the swipes wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(45);

/// The consumer to subscribe as, or none: then shards are polled. Nothing when `drain` is cancelled first.
///
/// # Errors
/// `swipes.retrieval` is `fan_out`, and no consumer can be registered.
pub(super) async fn settle(
    config: &Config,
    clients: &Clients,
    drain: &CancellationToken,
) -> anyhow::Result<Option<Option<Consumer>>> {
    let swipes = &config.swipes;
    let once = || register(&clients.kinesis, &swipes.stream, &swipes.application);
    let settled = match swipes.retrieval {
        Retrieval::Polling => Some(None),
        Retrieval::FanOut => {
            let registered = patiently(drain, once).await.with_context(|| {
                format!(
                    "swipes.retrieval is \"fan_out\", and the consumer {} of stream {} cannot be registered; allow it \
                     (kinesis:RegisterStreamConsumer, DescribeStreamConsumer, SubscribeToShard), or use \"auto\" or \"polling\"",
                    swipes.application, swipes.stream
                )
            });
            registered?.map(Some)
        }
        Retrieval::Auto => tokio::select! {
            registered = timeout(PATIENCE, if_possible(once)) => Some(registered.unwrap_or_else(|_| {
                let seconds = PATIENCE.as_secs();
                warn!(seconds, "shards are polled: the consumer is not registered in time");
                None
            })),
            () = drain.cancelled() => None,
        },
    };
    if let Some(Some(consumer)) = &settled {
        info!(consumer = consumer.arn(), "shards are read by fan-out");
    }
    Ok(settled)
}

/// A few tries; says why it is none.
async fn if_possible<F>(mut once: impl FnMut() -> F) -> Option<Consumer>
where
    F: Future<Output = Result<Consumer, Fault>>,
{
    let mut tries = 0;
    loop {
        tries += 1;
        match once().await {
            Ok(consumer) => return Some(consumer),
            Err(fault) if fault.may_retry() && tries < TRIES => {
                metrics::fault(&fault);
                warn!(%fault, "the consumer is not registered yet, trying again");
                sleep(REST).await;
            }
            Err(fault) => {
                if fault.kind != FaultKind::Refused {
                    metrics::fault(&fault);
                }
                warn!(%fault, "shards are polled: no consumer can be registered");
                return None;
            }
        }
    }
}
