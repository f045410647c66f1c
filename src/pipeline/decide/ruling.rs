//! What the rules that need no memory answer, and what the others go on with.

use crate::{
    access::rulebook::PointId,
    model::{card::Exemptions, decision::Verdict, swipe::Direction},
};

/// The answer to a swipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// Grant or deny, and why.
    pub verdict: Verdict,
    /// The access point's direction, when it is known.
    pub direction: Option<Direction>,
    /// What the rules that need memory go on with; nothing where nothing is remembered.
    pub memory: Option<Memory>,
}

/// A known card at an access point that leads from or to an area: rules 21 and 24 are still to be asked, and a grant moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Where.
    pub point: PointId,
    /// Whether no earlier rule settled the swipe.
    pub reached: bool,
    /// What the card is exempt from.
    pub exemptions: Exemptions,
    /// What was remembered of it before this instant counts no more, Unix epoch milliseconds.
    pub forgiven_ms: i64,
}
