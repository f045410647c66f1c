//! A fault of the service's while traffic goes on: a slow sink, a throttling one, a connection that is half-open.
//!
//! The worker is looked at all the time: how much memory it takes at its peak, how much of it is requests under way and events
//! read ahead, how far it is behind. The fault ends by itself, and then the worker has to catch up, by itself as well. With a
//! sink that lets little through comes a burst of swipes: more than a worker may hold, so that one without bounds is found out.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    burst::Burst,
    scene::Scene,
    script::{Script, seconds},
};
use crate::{
    fleet::memory::{Page, growth_bound},
    standin::{
        Standins,
        kinesis::{Fault, Faults, Mishap, Store, stream::Stream},
    },
};

/// How long a sink is slow or refuses, in full and in short.
const LASTING: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(8)];

/// What a slow write takes: well below the five seconds after which an attempt is given up and made again.
const SLOW: Duration = Duration::from_millis(1500);

/// From a fault's end to the backlog being gone. A throttled lane is open ten seconds after the last refusal, and the burst takes
/// a few more.
const RECOVERED_BOUND: Duration = Duration::from_secs(30);

/// How long is waited for that, and for a connection to be given up.
const WITHIN: Duration = Duration::from_secs(60);

/// Nobody is behind by less than what comes in so long: swipes go out in events of 200 ms.
const AT_TIP: Duration = Duration::from_millis(500);

/// Where nothing is behind by what comes in so long, the fault was not felt, and nothing was shown.
const FELT: Duration = Duration::from_secs(1);

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Events of a subscription that go well before it is half-open.
const EVENTS_BEFORE: u32 = 3;

/// From renewal to renewal of a subscription where one has to meet a fault soon: just above the five seconds in which the service
/// refuses a second one.
const RENEW_MS: u64 = 6000;

/// The service side of a scene: what can go wrong there, and what comes then.
pub struct Service {
    /// Its faults.
    pub faults: Arc<Faults>,
    /// Its streams.
    pub store: Arc<Store>,
    /// Name of the swipe stream.
    pub swipes: String,
    /// Name of the decision stream.
    pub decisions: String,
    /// Swipes that come when a sink fails.
    pub burst: Option<Arc<Burst>>,
}

/// What the workers are told beside their configuration. Half-open is a connection that all shards share: HTTP/2, so TLS; and
/// subscriptions are renewed every few seconds, so that one meets it soon.
pub fn environment(
    scene: Scene,
    standins: &Standins,
    directory: &Path,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    if !scene.is_strain() {
        return Ok(Vec::new());
    }
    let mut environment = vec![("SWIPED_SWIPES__RETRIEVAL", "fan_out".to_owned())];
    if let Some(tls) = &standins.kinesis_tls {
        let ca_file = directory.join("ca.pem");
        std::fs::write(&ca_file, &tls.ca_pem)
            .with_context(|| format!("cannot write {}", ca_file.display()))?;
        environment.extend([
            ("SWIPED_SWIPES__RENEW_MS", RENEW_MS.to_string()),
            ("SWIPED_AWS__CA_FILE", ca_file.display().to_string()),
            ("SWIPED_AWS__ENDPOINTS__KINESIS", tls.url.clone()),
        ]);
    }
    Ok(environment)
}

/// How a worker lived through it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Strain {
    /// How long the fault lasted, in milliseconds; of a half-open connection: until it was given up.
    pub fault_ms: u64,
    /// From its end until the backlog was gone, in milliseconds; nothing when it never was.
    pub recovered_ms: Option<u64>,
    /// Most swipes that were on the stream and not dealt with.
    pub behind_most: u64,
    /// Resident memory before, in bytes.
    pub resident_before: u64,
    /// Its peak, until the backlog was gone.
    pub resident_peak: u64,
    /// By how much it may grow, in bytes; nothing where no burst comes, since no worker could grow by so much.
    pub growth_bound: Option<u64>,
    /// Most bytes of requests under way.
    pub in_flight_most: u64,
    /// Most bytes of events that were read and not yet stored.
    pub read_ahead_most: u64,
}

impl Strain {
    /// By how much memory grew, in bytes.
    pub fn growth(&self) -> u64 {
        self.resident_peak.saturating_sub(self.resident_before)
    }
}

impl Script {
    /// The decision stream is slow, or refuses most, for a while.
    pub(super) async fn strained_sink(&mut self) {
        let fault = match self.scene {
            Scene::Throttle => Fault::ThrottleEntries { every: 2 },
            _ => Fault::Delay(SLOW),
        };
        let mut strain = self.before().await;
        let lasting = LASTING[self.short];
        let service = &self.service;
        service
            .faults
            .spell_on(&service.decisions, "PutRecords", fault, lasting);
        let began = Instant::now();
        self.send_burst().await;
        while began.elapsed() < lasting {
            self.look(&mut strain).await;
        }
        strain.fault_ms = ms(began.elapsed());
        self.recover(strain).await;
    }

    /// The next subscription freezes, and with it the connection it shares with all others.
    pub(super) async fn half_open(&mut self) {
        let mut strain = self.before().await;
        let lost = self.fleet.vitals().await.subscriptions_lost;
        let mishap = Mishap::Freeze;
        let after = EVENTS_BEFORE;
        let frozen = Fault::Subscription { after, mishap };
        self.service.faults.push("SubscribeToShard", [frozen]);
        let began = Instant::now();
        let mut noticed = false;
        while !noticed && began.elapsed() < WITHIN {
            noticed = self.look(&mut strain).await > lost;
        }
        strain.fault_ms = ms(began.elapsed());
        if !noticed {
            self.course.miss("the half-open connection is not noticed");
        }
        self.recover(strain).await;
    }

    async fn before(&mut self) -> Strain {
        self.fleet.reset_peaks();
        let vitals = self.fleet.vitals().await;
        Strain {
            resident_before: vitals.resident_kib << 10,
            growth_bound: self
                .scene
                .has_burst()
                .then(|| growth_bound(self.leases, Page::EVENT)),
            ..Strain::default()
        }
    }

    async fn send_burst(&mut self) {
        let Some(burst) = self.service.burst.clone() else {
            return;
        };
        let (store, swipes) = (self.service.store.clone(), self.service.swipes.clone());
        let sent = tokio::task::spawn_blocking(move || burst.arrive(&store, &swipes)).await;
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.course.miss(format!("no burst came: {error:#}")),
            Err(error) => self.course.miss(format!("no burst came: {error}")),
        }
    }

    /// Looks at the worker once, after a moment; how many subscriptions it has given up so far.
    async fn look(&mut self, strain: &mut Strain) -> f64 {
        sleep(LOOK_EVERY).await;
        let vitals = self.fleet.vitals().await;
        let behind = self.put().saturating_sub(vitals.handled as u64);
        strain.behind_most = strain.behind_most.max(behind);
        strain.resident_peak = strain.resident_peak.max(vitals.peak_kib << 10);
        strain.in_flight_most = strain.in_flight_most.max(vitals.in_flight as u64);
        strain.read_ahead_most = strain.read_ahead_most.max(vitals.read_ahead as u64);
        vitals.subscriptions_lost
    }

    /// Swipes on the stream so far.
    fn put(&self) -> u64 {
        let put = |stream: &mut Stream| Ok(stream.records_put());
        let put = self.service.store.with(&self.service.swipes, put);
        put.unwrap_or_default()
    }

    /// Waits until nothing is left behind, and judges.
    async fn recover(&mut self, mut strain: Strain) {
        let began = Instant::now();
        let at_tip = (self.rate * AT_TIP.as_secs_f64()) as u64;
        while strain.recovered_ms.is_none() && began.elapsed() < WITHIN {
            self.look(&mut strain).await;
            let handled = self.fleet.vitals().await.handled as u64;
            if self.put().saturating_sub(handled) <= at_tip {
                strain.recovered_ms = Some(ms(began.elapsed()));
            }
        }
        for missed in strain.missed(self.rate) {
            self.course.miss(missed);
        }
        self.course.strain = Some(strain);
    }
}

impl Strain {
    /// What was promised and did not come, under traffic of that rate.
    fn missed(&self, rate: f64) -> Vec<String> {
        let mut missed = Vec::new();
        if (self.behind_most as f64) < rate * FELT.as_secs_f64() {
            missed.push("the fault was not felt".to_owned());
        }
        match self.recovered_ms {
            None => missed.push("never caught up".to_owned()),
            Some(took) if took > ms(RECOVERED_BOUND) => {
                let bound = seconds(RECOVERED_BOUND);
                missed.push(format!("caught up later than {bound}"));
            }
            Some(_) => {}
        }
        if self.growth_bound.is_some_and(|most| self.growth() > most) {
            missed.push("took too much memory".to_owned());
        }
        missed
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bend: impl FnOnce(&mut Strain), expected: &[&str]) {
        let mut strain = Strain {
            recovered_ms: Some(2000),
            behind_most: 5000,
            resident_before: 50 << 20,
            resident_peak: 150 << 20,
            growth_bound: Some(100 << 20),
            ..Strain::default()
        };
        bend(&mut strain);
        assert_eq!(strain.missed(1000.0), expected);
    }

    #[test]
    fn a_fault_that_was_felt_must_be_over_in_time_and_within_memory() {
        check(|_| {}, &[]);
        check(
            |strain| strain.behind_most = 999,
            &["the fault was not felt"],
        );
        check(|strain| strain.recovered_ms = None, &["never caught up"]);
        check(
            |strain| strain.recovered_ms = Some(30_001),
            &["caught up later than 30.0 s"],
        );
        check(
            |strain| strain.resident_peak += 1,
            &["took too much memory"],
        );
    }
}
