use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A shard of the service: so many units a second, and a second's worth at once.
struct Shard {
    rate: f64,
    level: f64,
    at: Duration,
}

impl Shard {
    fn new(rate: f64) -> Self {
        Self {
            rate,
            level: rate,
            at: Duration::ZERO,
        }
    }

    fn stores(&mut self, now: Duration, units: u32) -> bool {
        let seconds = now.saturating_sub(self.at).as_secs_f64();
        self.level = (self.level + self.rate * seconds).min(self.rate);
        self.at = now;
        let stores = self.level >= f64::from(units);
        if stores {
            self.level -= f64::from(units);
        }
        stores
    }
}

/// What was stored and refused in each second.
#[derive(Default)]
struct Course {
    stored: Vec<u32>,
    refused: Vec<u32>,
}

impl Course {
    fn run(
        &mut self,
        pressure: &mut Pressure,
        shards: &mut [Shard],
        demand: u32,
        seconds: std::ops::Range<u64>,
    ) {
        // A sender that wants `demand` units a second, in requests every 20 ms whose replies come 20 ms later.
        let per_tick = demand / 50;
        let mut backlog: Vec<(usize, u32)> = Vec::new();
        let mut turn = 0;
        for tick in seconds.start * 50..seconds.end * 50 {
            let now = ms(tick * 20);
            let second = (tick / 50) as usize;
            self.stored.resize(second + 1, 0);
            self.refused.resize(second + 1, 0);
            let room = (per_tick * 50) as usize;
            for _ in 0..per_tick.min((room.saturating_sub(backlog.len())) as u32) {
                turn = (turn + 7) % STREAM_LANES;
                backlog.push((turn, 1));
            }
            let mut goes = Vec::new();
            if pressure.is_open(now) {
                goes.extend(0..backlog.len().min(500));
            } else {
                let head = backlog.len().min(500);
                pressure.admit(now, backlog[..head].iter().copied(), |index| {
                    goes.push(index)
                });
            }
            let mut lanes = [Outcome::default(); STREAM_LANES];
            let (mut kept, mut sent) = (Vec::new(), goes.iter().copied().peekable());
            for (index, (lane, units)) in backlog.iter().copied().enumerate() {
                if sent.next_if_eq(&index).is_none() {
                    kept.push((lane, units));
                } else if shards[lane * shards.len() / STREAM_LANES].stores(now, units) {
                    lanes[lane].stored += units;
                } else {
                    lanes[lane].refused += units;
                    kept.push((lane, units));
                }
            }
            backlog = kept;
            let stored: u32 = lanes.iter().map(|lane| lane.stored).sum();
            let refused: u32 = lanes.iter().map(|lane| lane.refused).sum();
            self.stored[second] += stored;
            self.refused[second] += refused;
            let lanes = if refused > 0 { &lanes[..] } else { &[] };
            pressure.settle(now + ms(20), now, stored, lanes);
        }
    }

    fn stored(&self, seconds: std::ops::Range<usize>) -> u32 {
        self.stored[seconds].iter().sum()
    }

    fn refused(&self, seconds: std::ops::Range<usize>) -> u32 {
        self.refused[seconds].iter().sum()
    }
}

#[test]
fn the_sender_comes_close_to_what_a_sink_takes_and_is_seldom_refused() {
    for (shards, of_each, demand) in [
        (1, 1000.0, 5000),
        (4, 1000.0, 20_000),
        (1, 400.0, 5000),
        (4, 500.0, 2500),
    ] {
        let mut pressure = Pressure::new(STREAM_LANES);
        let mut sink: Vec<_> = (0..shards).map(|_| Shard::new(of_each)).collect();
        let mut course = Course::default();
        course.run(&mut pressure, &mut sink, demand, 0..40);
        let (stored, refused) = (course.stored(10..40), course.refused(10..40));
        let could = 30.0 * of_each * f64::from(shards);
        println!("{shards} x {of_each}: stored {stored} of {could}, refused {refused}");
        assert!(
            f64::from(stored) > 0.85 * could,
            "{shards} x {of_each}: {stored} of {could}"
        );
        assert!(
            refused < stored / 10,
            "{shards} x {of_each}: {refused} refused, {stored} stored"
        );
    }
}

#[test]
fn a_sink_that_took_nothing_for_a_minute_is_written_at_full_speed_within_seconds() {
    let mut pressure = Pressure::new(STREAM_LANES);
    let mut course = Course::default();
    course.run(&mut pressure, &mut [Shard::new(10_000.0)], 5000, 0..5);
    assert_eq!(course.refused(0..5), 0);
    assert!(pressure.is_open(ms(5000)));
    course.run(&mut pressure, &mut [Shard::new(0.0)], 5000, 5..65);
    let probes = course.refused(15..65) / 50;
    assert!(
        probes < 80,
        "{probes} units a second are refused, of 5000 wanted"
    );
    let mut healed = [Shard::new(10_000.0)];
    course.run(&mut pressure, &mut healed, 5000, 65..85);
    let full = (65..85).find(|second| course.stored[*second] >= 4500);
    println!(
        "full speed in second {full:?}: {:?}",
        &course.stored[65..85]
    );
    assert!(
        full.is_some_and(|second| second <= 72),
        "{:?}",
        &course.stored[65..85]
    );
    assert!(pressure.is_open(ms(85_000)));
}

#[test]
fn a_hot_shard_slows_down_its_own_lanes_only() {
    let mut pressure = Pressure::new(STREAM_LANES);
    let mut sink: Vec<_> = (0..8).map(|_| Shard::new(1000.0)).collect();
    sink[3].rate = 10.0;
    let mut course = Course::default();
    course.run(&mut pressure, &mut sink, 4000, 0..8);
    let closed: Vec<_> = (0..STREAM_LANES)
        .filter(|lane| pressure.lanes[*lane].is_some())
        .collect();
    assert_eq!(closed, [6, 7]);
}

#[test]
fn what_was_sent_before_the_rate_was_lowered_does_not_lower_it_again() {
    let mut pressure = Pressure::new(1);
    pressure.settle(ms(900), ms(800), 1000, &[]);
    let half = [Outcome {
        stored: 50,
        refused: 50,
    }];
    assert!(pressure.settle(ms(1000), ms(950), 50, &half));
    let lowered = pressure.rate(ms(1010)).expect("closed");
    assert!(
        !pressure.settle(ms(1010), ms(960), 50, &half),
        "sent before"
    );
    assert_eq!(pressure.rate(ms(1010)), Some(lowered));
    assert!(pressure.settle(ms(1100), ms(1050), 0, &half));
    assert!(pressure.rate(ms(1010)).expect("closed") < lowered);
}

#[test]
fn an_entry_larger_than_a_burst_goes_alone_and_is_made_up_for() {
    let mut pressure = Pressure::new(1);
    pressure.settle(
        ms(0),
        ms(0),
        0,
        &[Outcome {
            stored: 0,
            refused: 1,
        }],
    );
    let large = [(0, 256), (0, 256)];
    let sent = |pressure: &mut Pressure, at| {
        let mut sent = Vec::new();
        let wait = pressure.admit(ms(at), large.iter().copied(), |index| sent.push(index));
        (sent, wait.is_some())
    };
    assert_eq!(sent(&mut pressure, 1), (vec![], true));
    let first = (2..2000).find(|at| sent(&mut pressure, *at) == (vec![0], false));
    assert!(first.is_some_and(|at| at < 600), "{first:?}");
    let second =
        (first.unwrap_or(0) + 1..9000).find(|at| sent(&mut pressure, *at) == (vec![0], false));
    assert!(second.is_some_and(|at| at > 3000), "in debt: {second:?}");
}

#[test]
fn units_are_thousandths_of_a_shards_second_and_lanes_are_ranges_of_hash_keys() {
    for (bytes, expected) in [(0, 1), (400, 1), (1024, 1), (1025, 2), (1 << 20, 1024)] {
        assert_eq!(units(bytes), expected, "{bytes}");
    }
    for (hash, expected) in [
        (0, 0),
        (u128::MAX, STREAM_LANES - 1),
        (1 << 127, STREAM_LANES / 2),
    ] {
        assert_eq!(lane(hash), expected, "{hash}");
    }
}
