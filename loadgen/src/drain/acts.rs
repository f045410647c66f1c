//! The two acts of a drain: the daemon's, and the bare loop's.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use super::{
    Course, Sink,
    backlog::Backlog,
    outcome::{Measured, Replay, Written},
    process::{Bare, Extra, Swiped},
    stage::{Props, Stage, describe},
};
use crate::progress::Progress;

/// From look to look at what the daemon has done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// From scrape to scrape of its metrics, which costs the daemon a millisecond: while the stream tells by itself how far it
/// is, otherwise, and when the stream has come to rest.
const SCRAPE_EVERY: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_millis(500),
    Duration::from_millis(250),
];

/// After it is ready it opens its shards and reads each once.
const SETTLE: Duration = Duration::from_secs(1);

/// Without one decision more for so long, a drain does not end.
const STALLED: Duration = Duration::from_secs(60);

/// Read from its oldest record, an empty stream is in no replay window from the first page on; a busy machine gets some more.
const REPLAY_WITHIN: Duration = Duration::from_secs(10);

/// What the daemon says of each shard when it makes no more look-ups.
const REPLAY_CLOSED: &str = "replay window closed";

impl Stage {
    /// The daemon's: what it cost goes into `measured`.
    pub(super) async fn drain(
        &self,
        props: &Props,
        course: Course,
        backlog: &mut Backlog,
        measured: &mut Measured,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let mut extra = Extra {
            leases: props.leases.clone(),
            retrieval: self.retrieval,
            look_ups: self.look_ups,
            aggregate: course.aggregate > 1 && course.sink == Sink::Stream,
        };
        let started = Swiped::start(&self.directory, &props.target, &extra);
        let mut swiped = match started {
            Err(error) if extra.aggregate => {
                measured.notes.push(format!(
                    "decisions went plain, swipes alone were aggregated: {error:#}"
                ));
                extra.aggregate = false;
                Swiped::start(&self.directory, &props.target, &extra)?
            }
            started => started?,
        };
        swiped.ready(course.shards).await?;
        sleep(SETTLE).await;
        let looks_up = course.sink == Sink::Table && !self.replay_closes(&swiped, course).await;
        let before = swiped.cpu()?;
        self.exchange(props, backlog)?;
        let what = format!("{}: daemon, pid {}", describe(course), swiped.pid());
        progress.show(&what);
        let (took, replay) = self
            .decided(&swiped, props, course, progress, &what)
            .await?;
        let cpu = swiped.stop().await?;
        self.exchange(props, backlog)?;
        (measured.took, measured.cpu) = (took, cpu - before);
        measured.replay = looks_up.then(|| match replay {
            Some((swipes, at)) => Replay {
                swipes,
                cpu_us_per_swipe_after: (self.swipes > swipes)
                    .then(|| (cpu - at) * 1e6 / (self.swipes - swipes) as f64),
            },
            None => Replay {
                swipes: self.swipes,
                cpu_us_per_swipe_after: None,
            },
        });
        if course.sink == Sink::Table && !looks_up {
            measured.notes.push(
                "no swipe was looked up in the table first: the replay window had closed before the backlog came".to_owned(),
            );
        }
        Ok(())
    }

    /// Waits until no shard is in its replay window any more, unless look-ups are wanted; whether that is so. A backlog that
    /// came before would be looked up to its end, since it has to be read to know where its tip is.
    async fn replay_closes(&self, swiped: &Swiped, course: Course) -> bool {
        let until = Instant::now() + REPLAY_WITHIN;
        while !self.look_ups && Instant::now() < until {
            if swiped.logged(REPLAY_CLOSED) >= course.shards as usize {
                return true;
            }
            sleep(LOOK_EVERY).await;
        }
        false
    }

    /// Waits until every swipe is decided. How long it took, and how many were decided and what CPU time was spent when the
    /// last shard's replay window closed.
    async fn decided(
        &self,
        swiped: &Swiped,
        props: &Props,
        course: Course,
        progress: &mut Progress,
        what: &str,
    ) -> anyhow::Result<(Duration, Option<(u64, f64)>)> {
        let began = Instant::now();
        let (mut stored, mut last_stored) = (0, began);
        let (mut decided, mut last_decided) = (0, began);
        let mut scraped = began;
        let mut replay = None;
        loop {
            sleep(LOOK_EVERY).await;
            let records = self.records(props.target.decisions.as_deref())?;
            if records > stored {
                (stored, last_stored) = (records, Instant::now());
            }
            let at_rest = stored > 0 && last_stored.elapsed() >= SCRAPE_EVERY[2];
            let every = match course.sink {
                Sink::Table => SCRAPE_EVERY[1],
                Sink::Stream if at_rest => SCRAPE_EVERY[2],
                Sink::Stream => SCRAPE_EVERY[0],
            };
            if scraped.elapsed() < every {
                continue;
            }
            let count = swiped.metric("swiped_decisions_total").await;
            let (now, count) = (Instant::now(), count.unwrap_or(0.0) as u64);
            scraped = now;
            if count > decided {
                (decided, last_decided) = (count, now);
            }
            if replay.is_none() && swiped.logged(REPLAY_CLOSED) >= course.shards as usize {
                replay = Some((decided, swiped.cpu()?));
            }
            progress.line(|| format!("{what}: {decided} of {} decided", self.swipes));
            if decided >= self.swipes {
                let end = match course.sink {
                    Sink::Stream => last_stored,
                    Sink::Table => last_decided,
                };
                return Ok((end - began, replay));
            }
            ensure!(
                last_decided.elapsed() < STALLED,
                "{what}: stalled at {decided} of {} decisions",
                self.swipes
            );
        }
    }

    /// The bare loop's, which writes what the daemon wrote.
    pub(super) async fn drain_bare(
        &self,
        props: &Props,
        course: Course,
        backlog: &mut Backlog,
        measured: &mut Measured,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let written = measured.written;
        let options = [
            ("--kinesis", self.standins.kinesis_url.clone()),
            ("--dynamodb", self.standins.dynamodb_url.clone()),
            ("--region", self.target.region.clone()),
            ("--from", props.target.swipes.clone()),
            ("--into", props.bare.clone()),
            ("--sink", course.sink.as_str().to_owned()),
            ("--records", backlog.records.to_string()),
            ("--entries", written.entries.to_string()),
            ("--entry-bytes", mean(written).to_string()),
        ];
        let args = options
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value]);
        let bare = Bare::start(args.collect()).await?;
        progress.show(&format!(
            "{}: bare loop, pid {}",
            describe(course),
            bare.pid()
        ));
        sleep(SETTLE).await;
        self.exchange(props, backlog)?;
        (measured.bare_cpu, measured.bare_took) = bare.drain().await?;
        self.exchange(props, backlog)?;
        measured.bare_written = match course.sink {
            Sink::Stream => self.written(&props.bare, |_| ()).await?,
            Sink::Table => written,
        };
        Ok(())
    }
}

/// Bytes of an entry, rounded.
fn mean(written: Written) -> u64 {
    let entries = written.entries.max(1);
    ((written.bytes + entries / 2) / entries).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_what_was_written_is_rounded() {
        let mean = |entries, bytes| mean(Written { entries, bytes });
        assert_eq!(
            (mean(2, 801), mean(2, 800), mean(3, 1000), mean(0, 0)),
            (401, 400, 333, 1)
        );
    }
}
