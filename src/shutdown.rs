//! Signals: the first SIGTERM or SIGINT asks for a drain, the second ends the process at once.
//!
//! A thread of its own listens, so that the second signal works when the runtime of the data path is stuck. The bound
//! of the drain (`shutdown.grace_ms`) is the business of whoever drains.

use std::{io, thread};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Starts to listen. The token is cancelled by the first signal.
///
/// # Errors
/// The handlers, the thread or its runtime cannot be made.
pub fn listen() -> io::Result<CancellationToken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        )
    };
    let drain = CancellationToken::new();
    let cancelled = drain.clone();
    let watch = async move {
        loop {
            let kind = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            };
            if let Some(code) = received(kind, &cancelled) {
                tracing::warn!(
                    code,
                    "second signal: exiting at once, leases are left to expire"
                );
                std::process::exit(code);
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(watch))?;
    Ok(drain)
}

/// Cancels at the first signal; at the next returns the exit code, 128 plus the signal's number as shells have it.
fn received(kind: SignalKind, drain: &CancellationToken) -> Option<i32> {
    if drain.is_cancelled() {
        return Some(128 + kind.as_raw_value());
    }
    tracing::info!(
        signal = kind.as_raw_value(),
        "draining; a second signal exits at once"
    );
    drain.cancel();
    None
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use super::*;

    #[test]
    fn the_first_signal_drains_and_the_second_exits_with_its_number() {
        let drain = CancellationToken::new();
        assert_eq!(received(SignalKind::terminate(), &drain), None);
        assert!(drain.is_cancelled());
        assert_eq!(received(SignalKind::terminate(), &drain), Some(143));
        assert_eq!(received(SignalKind::interrupt(), &drain), Some(130));
    }

    #[tokio::test]
    async fn sigterm_cancels_the_token_of_the_process() {
        let drain = listen().expect("handlers");
        assert!(!drain.is_cancelled());
        let own = std::process::id().to_string();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -TERM {own}")])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
        let waited = tokio::time::timeout(Duration::from_secs(10), drain.cancelled()).await;
        assert!(waited.is_ok(), "the signal was not seen");
    }
}
