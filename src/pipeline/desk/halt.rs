//! Without a dead-letter stream, a shard stops at a record that is no swipe rather than lose it.

use crate::{
    model::decision::Source,
    pipeline::judge::{Judged, UserRecord},
};

/// Where a shard stops rather than lose a record.
#[derive(Debug)]
pub(super) struct Halt {
    /// The index of that record in its part.
    pub(super) at: usize,
    pub(super) why: String,
}

/// Cuts `judged` off before the first reject of `part`, if there is one.
pub(super) fn halt(part: &[UserRecord<'_>], judged: &mut Judged<'_>) -> Option<Halt> {
    let first = judged.rejects.first()?;
    let Source { sequence, sub, .. } = first.source;
    let why = format!(
        "a record is no swipe ({}: {}) at {sequence}, and there is no rejects.stream to keep it; \
         configure one, or set rejects.on_reject = \"skip\" to lose such records",
        first.reject.kind.as_str(),
        first.reject.detail
    );
    let mut users = part.iter();
    let at = users.position(|user| user.record.sequence.as_str() == sequence && user.sub == sub)?;
    // Every user record before the first reject is a decision.
    judged.decisions.truncate(at);
    judged.rejects.clear();
    Some(Halt { at, why })
}
