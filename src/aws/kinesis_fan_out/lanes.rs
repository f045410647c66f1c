//! Which connection carries which subscription.
//!
//! A pooling HTTP/2 client puts every request to one host on one connection, and a server takes only so many streams on it: what
//! is beyond waits for ever. So each lane is a client with a pool, and thus a connection, of its own, and has a fixed number of places.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::{Client, config::Builder};
use aws_smithy_types::timeout::TimeoutConfig;
use rustls::RootCertStore;

use super::connector::http_client;

/// Subscriptions of one connection. Servers of HTTP/2 take 100 streams at least as a rule (RFC 9113, 6.5.2); fewer keep what
/// one lost connection costs small, and the connection window that all of them need at 16 MiB.
pub(super) const STREAMS_MAX: u32 = 32;

/// The connections for subscriptions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lanes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Builder,
    roots: RootCertStore,
    clients: Mutex<Vec<Arc<Client>>>,
}

/// A place on a connection, taken until it is dropped.
#[derive(Debug)]
pub(super) struct Lane(Arc<Client>);

impl Lanes {
    /// Connections of clients that are as `config` says, but for their HTTP client and its timeouts. None is opened yet.
    pub(in crate::aws) fn new(config: Builder, roots: RootCertStore) -> Self {
        Self(Arc::new(Shared {
            // An attempt's timeout would be one of the whole subscription, in the eyes of whoever reads this.
            config: config.timeout_config(TimeoutConfig::disabled()),
            roots,
            clients: Mutex::default(),
        }))
    }

    /// A place on the first connection that has one, or on a new one.
    pub(super) fn lane(&self) -> Lane {
        let mut clients = self
            .0
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // The list itself holds each client once; clones are made here only, under the lock.
        let has_place = |client: &&Arc<Client>| Arc::strong_count(client) <= STREAMS_MAX as usize;
        if let Some(client) = clients.iter().find(has_place) {
            return Lane(Arc::clone(client));
        }
        let config = self
            .0
            .config
            .clone()
            .http_client(http_client(&self.0.roots));
        let client = Arc::new(Client::from_conf(config.build()));
        clients.push(Arc::clone(&client));
        Lane(client)
    }
}

impl Lane {
    /// The client whose connection it is on.
    pub(super) fn client(&self) -> &Client {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::config::BehaviorVersion;

    use super::*;

    #[test]
    fn a_connection_has_so_many_places_and_a_place_that_is_left_is_taken_again() {
        let config = Builder::new().behavior_version(BehaviorVersion::latest());
        let lanes = Lanes::new(config, RootCertStore::empty());
        let mut places: Vec<_> = (0..STREAMS_MAX).map(|_| lanes.lane()).collect();
        let next = lanes.lane();
        assert!(
            places
                .iter()
                .all(|place| Arc::ptr_eq(&place.0, &places[0].0))
        );
        assert!(!Arc::ptr_eq(&next.0, &places[0].0));
        places.pop();
        assert!(Arc::ptr_eq(&lanes.lane().0, &places[0].0));
    }
}
