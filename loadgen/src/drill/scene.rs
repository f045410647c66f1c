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
}

impl Scene {
    /// All, in the order in which they are played.
    pub const ALL: [Self; 6] = [
        Self::Kill,
        Self::Term,
        Self::Deploy,
        Self::Pause,
        Self::Join,
        Self::Replace,
    ];

    /// Whether it is played with one worker.
    pub fn is_alone(self) -> bool {
        self == Self::Replace
    }

    /// Longest idle time of a shard. Five seconds where a worker dies without a word: others must be sure of it first.
    /// One second where it can hand its shards over. None where nobody is there to take them.
    pub fn idle_bound(self) -> Option<Duration> {
        match self {
            Self::Kill | Self::Pause => Some(Duration::from_secs(5)),
            Self::Term | Self::Deploy | Self::Join => Some(Duration::from_secs(1)),
            Self::Replace => None,
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
        })
    }
}
