//! What happens to a fleet, and what must hold then.

use std::{fmt, time::Duration};

/// A scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scene {
    /// kill -9 of one worker
    Kill,
    /// SIGTERM of one worker
    Term,
    /// A new worker is started and an old one gets SIGTERM, for each in turn
    Deploy,
    /// SIGSTOP of one worker, and SIGCONT when others have its shards
    Pause,
    /// One more worker
    Join,
    /// SIGTERM of the only worker, and then another one
    Replace,
    /// Every write to the decision stream takes a second and a half, while a burst of swipes comes
    Slow,
    /// Half of each write to the decision stream is refused, and all of small ones, while a burst of swipes comes
    Throttle,
    /// The connection of the subscriptions is neither served nor closed any more
    HalfOpen,
}

impl Scene {
    /// All, in the order in which they are played.
    pub const ALL: [Self; 9] = [
        Self::Kill,
        Self::Term,
        Self::Deploy,
        Self::Pause,
        Self::Join,
        Self::Replace,
        Self::Slow,
        Self::Throttle,
        Self::HalfOpen,
    ];

    /// Whether it is played with one worker.
    pub fn is_alone(self) -> bool {
        self == Self::Replace || self.is_strain()
    }

    /// Whether it is a fault of the service's, which the worker has to live through.
    pub fn is_strain(self) -> bool {
        matches!(self, Self::Slow | Self::Throttle | Self::HalfOpen)
    }

    /// Whether a burst of swipes comes with it, so that there is more to hold than a worker may hold.
    pub fn has_burst(self) -> bool {
        matches!(self, Self::Slow | Self::Throttle)
    }

    /// Shards of the swipe stream, of so many that were asked for. Few where a burst comes: a worker may hold so much for each
    /// that the burst would have to be larger with more.
    pub fn shards(self, asked: u32) -> u32 {
        if self.has_burst() {
            asked.min(4)
        } else {
            asked
        }
    }

    /// Longest idle time of a shard. Five seconds where a worker dies without a word: others must be sure of it first.
    /// One second where it can hand its shards over. Twenty until a connection counts as dead, and its shards are read again.
    /// None where nobody is there to take them, and where a sink lets nothing through.
    pub fn idle_bound(self) -> Option<Duration> {
        match self {
            Self::Kill | Self::Pause => Some(Duration::from_secs(5)),
            Self::Term | Self::Deploy | Self::Join => Some(Duration::from_secs(1)),
            Self::HalfOpen => Some(Duration::from_secs(20)),
            Self::Replace | Self::Slow | Self::Throttle => None,
        }
    }

    /// Whether a swipe may be decided twice: only where a worker had no chance to write its checkpoint.
    pub fn may_repeat(self) -> bool {
        matches!(self, Self::Kill | Self::Pause)
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::Term => "term",
            Self::Deploy => "deploy",
            Self::Pause => "pause",
            Self::Join => "join",
            Self::Replace => "replace",
            Self::Slow => "slow",
            Self::Throttle => "throttle",
            Self::HalfOpen => "half-open",
        })
    }
}
