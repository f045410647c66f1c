//! How long to wait before a call is made again.

use std::time::Duration;

/// Exponential backoff with full jitter, as a sequence of waits. `dice` yields numbers in `0..1`.
pub fn backoff(
    first: Duration,
    cap: Duration,
    mut dice: impl FnMut() -> f64,
) -> impl FnMut() -> Duration {
    let mut ceiling = first;
    move || {
        let wait = ceiling.mul_f64(dice());
        ceiling = (ceiling * 2).min(cap);
        wait
    }
}
