//! The stand-ins through the AWS SDK, over HTTP.

mod dynamodb;
mod fan_out;
mod kinesis;
mod mishaps;
mod tables;

use super::{Options, Standins};
use crate::local::{Clients, Endpoints, Names, create_all};

/// Running stand-ins with everything created, the swipe stream with that many shards.
async fn started(shards: u32) -> (Standins, Clients) {
    let standins = Standins::start(&Options::default()).expect("the stand-ins start");
    let clients = Endpoints::of(&standins).clients().await;
    create_all(
        &clients.kinesis,
        &clients.dynamodb,
        &Names::with_shards(shards),
    )
    .await
    .expect("created");
    (standins, clients)
}
