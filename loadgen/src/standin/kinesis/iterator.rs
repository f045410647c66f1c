//! Shard iterators: where a reader stands, and for how long that holds.
//!
//! An iterator holds all it means (stream, incarnation, shard, position, time of issue), so the store keeps nothing
//! for a reader. A position is a number of the stream: the next page begins with the first record at or above it.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    refusal::{Refusal, RefusalKind},
    requests::required,
    sequence::Sequence,
    shard::Shard,
    stream::{ACCOUNT, Stream},
};

/// Where a new iterator begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// The oldest record that is kept.
    TrimHorizon,
    /// The next record to come.
    Latest,
    /// That record.
    AtSequence(String),
    /// The record after that one.
    AfterSequence(String),
    /// The first record that arrived then or later (Unix epoch ms).
    AtTimestamp(u64),
}

impl Start {
    /// The start of that type, as the service spells it.
    ///
    /// # Errors
    /// `Validation` for an unknown type or a missing sequence number, `InvalidArgument` for a missing instant.
    pub fn named(
        kind: &str,
        sequence: &Option<String>,
        timestamp_ms: Option<u64>,
    ) -> Result<Self, Refusal> {
        let sequence = || required(sequence, "startingSequenceNumber").map(str::to_owned);
        Ok(match kind {
            "TRIM_HORIZON" => Self::TrimHorizon,
            "LATEST" => Self::Latest,
            "AT_SEQUENCE_NUMBER" => Self::AtSequence(sequence()?),
            "AFTER_SEQUENCE_NUMBER" => Self::AfterSequence(sequence()?),
            "AT_TIMESTAMP" => Self::AtTimestamp(
                timestamp_ms.ok_or_else(|| Refusal::invalid("Must specify timestampInMillis"))?,
            ),
            other => {
                return Err(Refusal::validation(format!(
                    "Value '{other}' at 'shardIteratorType' is no iterator type."
                )));
            }
        })
    }
}

/// What an iterator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iterator {
    /// The stream's name.
    pub stream: String,
    /// Which stream of that name.
    pub incarnation: u64,
    /// The shard's index.
    pub shard: u32,
    /// Where the next page begins.
    pub position: u64,
    /// When it was issued (Unix epoch ms).
    pub issued_ms: u64,
}

impl Iterator {
    /// The text that a client holds.
    pub fn encode(&self) -> String {
        STANDARD.encode(format!(
            "{}:{}:{}:{}:{}",
            self.incarnation, self.shard, self.position, self.issued_ms, self.stream
        ))
    }

    /// Reads what [`Iterator::encode`] wrote.
    ///
    /// # Errors
    /// `InvalidArgument` for anything else.
    pub fn decode(text: &str) -> Result<Self, Refusal> {
        Self::parse(text).ok_or_else(|| Refusal::invalid("Invalid ShardIterator."))
    }

    fn parse(text: &str) -> Option<Self> {
        let plain = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let mut fields = plain.splitn(5, ':');
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (incarnation, shard, position, issued_ms) =
            (number()?, number()?, number()?, number()?);
        Some(Self {
            stream: fields.next()?.to_owned(),
            incarnation,
            shard: u32::try_from(shard).ok()?,
            position,
            issued_ms,
        })
    }

    /// Refuses an iterator older than `ttl_ms`.
    ///
    /// # Errors
    /// `ExpiredIterator`.
    pub fn check_age(&self, ttl_ms: u64, now_ms: u64) -> Result<(), Refusal> {
        if now_ms <= self.issued_ms + ttl_ms {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalKind::ExpiredIterator,
            format!(
                "Iterator expired. The iterator was created at time {} while right now it is {now_ms} which is further in the \
                 future than the tolerated delay of {ttl_ms} milliseconds.",
                self.issued_ms
            ),
        ))
    }
}

impl Stream {
    /// The position that `start` means in `shard`.
    ///
    /// # Errors
    /// `InvalidArgument` for a sequence number that is not this shard's, or an instant in the future.
    pub fn position(&self, shard: &Shard, start: &Start, now_ms: u64) -> Result<u64, Refusal> {
        match start {
            Start::TrimHorizon => Ok(shard.horizon()),
            Start::Latest => Ok(self.tip()),
            Start::AtSequence(text) => self.number_of(shard, text),
            Start::AfterSequence(text) => self.number_of(shard, text).map(|number| number + 1),
            Start::AtTimestamp(ms) if *ms > now_ms => Err(Refusal::invalid(format!(
                "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: {ms}, \
                 currentTimestampInMillis: {now_ms}"
            ))),
            Start::AtTimestamp(ms) => Ok(shard.position_at(*ms, self.tip())),
        }
    }

    /// The number of a sequence number of `shard`: its start, its end, or anything between, trimmed or not.
    pub(super) fn number_of(&self, shard: &Shard, text: &str) -> Result<u64, Refusal> {
        Sequence::parse(text)
            .filter(|given| given.incarnation() == Some(self.incarnation) && given.shard() == Some(shard.index))
            .and_then(|given| given.number())
            .filter(|number| (shard.start..=shard.end.unwrap_or(self.tip() - 1)).contains(number))
            .ok_or_else(|| {
                Refusal::invalid(format!(
                    "StartingSequenceNumber {text} used in GetShardIterator on shard {} in stream {} under account {ACCOUNT} is \
                     invalid because it did not come from this stream.",
                    shard.id(),
                    self.name
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iterator_says_the_same_when_it_comes_back() {
        let iterator = Iterator {
            stream: "a:b".to_owned(),
            incarnation: 7,
            shard: 3,
            position: u64::MAX,
            issued_ms: 1_772_438_321_123,
        };
        assert_eq!(Iterator::decode(&iterator.encode()), Ok(iterator));
    }

    #[test]
    fn what_is_no_iterator_is_an_invalid_argument() {
        for text in [
            "",
            "garbage",
            "AAAA",
            &STANDARD.encode("1:2:3:x:s"),
            &STANDARD.encode("1:2:3:4"),
        ] {
            let refused = Iterator::decode(text).expect_err(text);
            assert_eq!(refused.kind, RefusalKind::InvalidArgument, "{text}");
        }
    }
}
