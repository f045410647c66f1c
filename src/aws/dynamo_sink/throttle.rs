//! What a throttled write of the table means: the table is at its limit, or one partition key is.
//!
//! A call that is refused as a whole says why (DynamoDB API, ThrottlingReason). A call that was done in part does not: when all that is
//! left of it belongs to one card, the card's key is taken to be hot; a table at its limit leaves items of many cards.

use aws_sdk_dynamodb::{
    operation::{
        batch_write_item::BatchWriteItemError, transact_write_items::TransactWriteItemsError,
    },
    types::{CancellationReason, ThrottlingReason},
};

use crate::ports::{Fault, FaultKind};

/// The end of a reason that concerns a range of keys: `TableWriteKeyRangeThroughputExceeded`, or that of an index.
const KEY_RANGE: &str = "KeyRangeThroughputExceeded";

/// An error that may say why it was throttled.
pub(super) trait Throttled {
    /// The reasons, none when it was not throttled or does not say.
    fn reasons(&self) -> &[ThrottlingReason];
}

macro_rules! throttled {
    ($($error:ident)+) => {
        $(impl Throttled for $error {
            fn reasons(&self) -> &[ThrottlingReason] {
                match self {
                    Self::ProvisionedThroughputExceededException(error) => error.throttling_reasons(),
                    Self::ThrottlingException(error) => error.throttling_reasons(),
                    Self::RequestLimitExceeded(error) => error.throttling_reasons(),
                    _ => &[],
                }
            }
        })+
    };
}

throttled!(BatchWriteItemError TransactWriteItemsError);

/// `fault`, of one key only when every reason says so.
pub(super) fn narrowed(fault: Fault, error: Option<&impl Throttled>) -> Fault {
    let reasons = error.map_or(&[][..], Throttled::reasons);
    let of_a_key = |reason: &ThrottlingReason| {
        reason
            .reason()
            .is_some_and(|word| word.ends_with(KEY_RANGE))
    };
    match fault.kind {
        FaultKind::Throttled if !reasons.is_empty() && reasons.iter().all(of_a_key) => Fault {
            kind: FaultKind::HotKey,
            ..fault
        },
        _ => fault,
    }
}

/// What items mean that a call left, given by their cards.
pub(super) fn left<'a>(mut cards: impl Iterator<Item = &'a str>) -> FaultKind {
    let first = cards.next();
    if cards.all(|card| Some(card) == first) {
        FaultKind::HotKey
    } else {
        FaultKind::Throttled
    }
}

/// What a transaction's cancellation means that no condition caused: the table's limit, or another transaction on one of the items.
pub(super) fn cancelled(reasons: &[CancellationReason]) -> FaultKind {
    const LIMITS: [&str; 2] = ["ProvisionedThroughputExceeded", "ThrottlingError"];
    let limit =
        |reason: &CancellationReason| reason.code().is_some_and(|code| LIMITS.contains(&code));
    if reasons.iter().any(limit) {
        FaultKind::Throttled
    } else {
        FaultKind::HotKey
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::types::error::{
        ProvisionedThroughputExceededException, RequestLimitExceeded,
    };

    #[track_caller]
    fn check(kind: FaultKind, words: &[&str], expected: FaultKind) {
        let reason = |word: &&str| ThrottlingReason::builder().reason(*word).build();
        let error = ProvisionedThroughputExceededException::builder()
            .set_throttling_reasons(Some(words.iter().map(reason).collect()))
            .build();
        let error = BatchWriteItemError::ProvisionedThroughputExceededException(error);
        let fault = Fault {
            kind,
            operation: "BatchWriteItem",
            message: String::new(),
        };
        assert_eq!(narrowed(fault, Some(&error)).kind, expected, "{words:?}");
    }

    #[test]
    fn a_key_is_hot_only_when_every_reason_concerns_a_range_of_keys() {
        use FaultKind::{HotKey, Throttled, Transient};
        check(Throttled, &[], Throttled);
        check(
            Throttled,
            &["TableWriteProvisionedThroughputExceeded"],
            Throttled,
        );
        check(Throttled, &["TableWriteAccountLimitExceeded"], Throttled);
        check(
            Throttled,
            &["TableWriteMaxOnDemandThroughputExceeded"],
            Throttled,
        );
        check(Throttled, &["TableWriteKeyRangeThroughputExceeded"], HotKey);
        check(Throttled, &["IndexWriteKeyRangeThroughputExceeded"], HotKey);
        check(
            Throttled,
            &[
                "TableWriteKeyRangeThroughputExceeded",
                "IndexWriteProvisionedThroughputExceeded",
            ],
            Throttled,
        );
        check(
            Transient,
            &["TableWriteKeyRangeThroughputExceeded"],
            Transient,
        );
        let silent =
            BatchWriteItemError::RequestLimitExceeded(RequestLimitExceeded::builder().build());
        assert!(silent.reasons().is_empty());
    }

    #[test]
    fn items_of_one_card_are_a_hot_key_and_those_of_several_are_the_table() {
        for (cards, expected) in [
            (&["1"][..], FaultKind::HotKey),
            (&["1", "1", "1"], FaultKind::HotKey),
            (&["1", "1", "2"], FaultKind::Throttled),
        ] {
            assert_eq!(left(cards.iter().copied()), expected, "{cards:?}");
        }
    }

    #[test]
    fn a_cancelled_transaction_says_whether_it_met_a_limit_or_another_one() {
        for (codes, expected) in [
            (&["None", "TransactionConflict"][..], FaultKind::HotKey),
            (&["None", "ThrottlingError"], FaultKind::Throttled),
            (
                &["TransactionConflict", "ProvisionedThroughputExceeded"],
                FaultKind::Throttled,
            ),
        ] {
            let reason = |code: &&str| CancellationReason::builder().code(*code).build();
            let reasons: Vec<_> = codes.iter().map(reason).collect();
            assert_eq!(cancelled(&reasons), expected, "{codes:?}");
        }
    }
}
