//! Asks a daemon's admin listener: health and metrics.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::report::Percentiles;

/// For a whole exchange.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Largest answer that is read.
const ANSWER_BYTES: u64 = 8 << 20;

/// The status and the body of a GET. HTTP/1.0, so that the answer ends with the connection and is never in chunks.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(TIMEOUT, exchange)
        .await
        .with_context(|| format!("{address} does not answer"))??;
    let text = String::from_utf8_lossy(&answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        bail!("{address} does not speak HTTP")
    };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok((
        status.with_context(|| format!("{address} does not speak HTTP"))?,
        body.to_owned(),
    ))
}

/// The sum of a metric over its labels, in the Prometheus text format; nothing when it is not there.
pub fn metric(text: &str, name: &str) -> Option<f64> {
    let values = samples(text, name).map(|(_, value)| value);
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

fn samples<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        let (labels, value) = rest.rsplit_once(' ')?;
        Some((labels, value.parse().ok()?))
    })
}

/// A histogram of seconds, summed over workers: cumulative counts by upper bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    /// Adds the histogram `name` of one worker's metrics.
    pub fn add(&mut self, text: &str, name: &str) {
        for (labels, count) in samples(text, &format!("{name}_bucket")) {
            let bound = labels
                .split_once("le=\"")
                .and_then(|(_, rest)| rest.split_once('"'));
            let Some(bound) = bound.and_then(|(bound, _)| bound.parse::<f64>().ok()) else {
                continue;
            };
            match self.0.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, sum)) => *sum += count,
                None => self.0.push((bound, count)),
            }
        }
        self.0.sort_by(|one, other| one.0.total_cmp(&other.0));
    }

    /// Percentiles in milliseconds, straight lines within a bucket; the maximum is the bound of the last bucket that
    /// counted anything. Nothing when nothing was counted.
    pub fn percentiles_ms(&self) -> Option<Percentiles> {
        let total = self.0.last()?.1;
        let at = |share: f64| {
            let rank = total * share;
            let mut low = (0.0, 0.0);
            for &(bound, count) in &self.0 {
                if count >= rank && count > low.1 {
                    // Nothing is known of what is over the last bound but that it is.
                    let high = if bound.is_finite() { bound } else { low.0 };
                    return (low.0 + (high - low.0) * (rank - low.1) / (count - low.1)) * 1e3;
                }
                low = (bound, count);
            }
            low.0 * 1e3
        };
        (total > 0.0).then(|| Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE swiped_leases_held gauge\nswiped_leases_held 3\nswiped_leases_held_total 9\n\
        swiped_x{shard=\"a b\"} 2\nswiped_x{shard=\"c\"} 0.5\n\
        lat_bucket{le=\"0.001\"} 50\nlat_bucket{le=\"0.002\"} 90\nlat_bucket{le=\"0.01\"} 100\nlat_bucket{le=\"+Inf\"} 100\n";

    #[test]
    fn a_metric_is_the_sum_over_its_labels_and_no_other_name() {
        assert_eq!(metric(TEXT, "swiped_leases_held"), Some(3.0));
        assert_eq!(metric(TEXT, "swiped_x"), Some(2.5));
        assert_eq!(metric(TEXT, "swiped_y"), None);
    }

    #[test]
    fn percentiles_lie_where_the_buckets_say_also_for_two_workers() {
        let mut buckets = Buckets::default();
        assert_eq!(buckets.percentiles_ms(), None);
        for _ in 0..2 {
            buckets.add(TEXT, "lat");
            let found = buckets.percentiles_ms().expect("counted");
            for (found, expected) in [
                (found.p50, 1.0),
                (found.p90, 2.0),
                (found.p99, 9.2),
                (found.max, 10.0),
            ] {
                assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
            }
        }
    }
}
