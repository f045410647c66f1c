//! Several pieces of work timed in turn, round after round, so that what slows the machine for a second slows all of them:
//! how they compare shows here, where one after the other is measured for seconds shows how fast each can be.

use std::time::Instant;

/// Rounds that are measured; the middle one of so many hardly moves.
pub const ROUNDS: usize = 101;

/// Rounds before those, which fill the memories.
pub const WARM_UP: usize = 10;

/// The times of each piece of work, in the order of the first round.
#[derive(Default)]
pub struct Rounds {
    works: Vec<(&'static str, Vec<f64>)>,
}

impl Rounds {
    /// Does and times one piece of a round.
    #[expect(
        clippy::disallowed_methods,
        reason = "measures the machine; no runtime is here whose time could be paused"
    )]
    pub fn time(&mut self, name: &'static str, work: impl FnOnce()) {
        let start = Instant::now();
        work();
        let ms = start.elapsed().as_secs_f64() * 1e3;
        match self.works.iter_mut().find(|(each, _)| *each == name) {
            Some((_, times)) => times.push(ms),
            None => self.works.push((name, vec![ms])),
        }
    }

    /// Prints the middle time of each, and the middle of what pieces of the same round compare to each other.
    pub fn print(&self) {
        println!("{ROUNDS} rounds, each in turn:            middle    fastest");
        for (name, times) in &self.works {
            let times = sorted(times[WARM_UP..].iter().copied());
            println!("{name:<34} {:>7.2} ms {:>7.2} ms", middle(&times), times[0]);
        }
        let swiped = self.sums("page/swiped");
        let compare = |text: &str, others: Vec<f64>, over: Vec<f64>| {
            let ratios = sorted(others.iter().zip(&over).map(|(other, over)| other / over));
            let at = |part: usize| ratios[(ratios.len() - 1) * part / 4];
            println!(
                "{text:<34} {:>7.2} (middle half {:.2} to {:.2})",
                at(2),
                at(1),
                at(3)
            );
        };
        compare("plain / swiped", self.sums("page/plain"), swiped.clone());
        compare(
            "remembering / swiped",
            self.sums("page/remembering"),
            swiped.clone(),
        );
        compare("swiped / sum of parts", swiped, self.sums("part/"));
    }

    /// By round, what all pieces whose names begin so took together.
    fn sums(&self, prefix: &str) -> Vec<f64> {
        let works = self
            .works
            .iter()
            .filter(|(name, _)| name.starts_with(prefix));
        let mut sums = vec![0.0; ROUNDS];
        for (_, times) in works {
            for (sum, time) in sums.iter_mut().zip(&times[WARM_UP..]) {
                *sum += time;
            }
        }
        sums
    }
}

fn sorted(times: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times
}

fn middle(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
