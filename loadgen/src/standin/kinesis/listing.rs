//! Which shards ListShards names: the filters, and the token that leads to the next page.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    refusal::{Refusal, RefusalKind},
    shard::{Shard, shard_index},
    stream::Stream,
};

/// How long a paging token holds (API reference: 300 seconds).
pub const TOKEN_TTL_MS: u64 = 300_000;
/// Shards on a page of ListShards unless the caller says otherwise (API reference).
pub const DEFAULT_PAGE: usize = 1000;
/// Most shards on a page.
pub const MAX_PAGE: usize = 10_000;

/// A ShardFilter, with instants in Unix epoch ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Every shard that is known.
    FromTrimHorizon,
    /// Shards after that one, in order of creation.
    AfterShard(u32),
    /// Shards that were open at the horizon.
    AtTrimHorizon,
    /// Shards that are open now.
    AtLatest,
    /// Shards that were open then.
    AtTimestamp(u64),
    /// Shards that were open then or later.
    FromTimestamp(u64),
}

impl Filter {
    /// The filter of that name.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown name, or a missing companion.
    pub fn named(
        name: &str,
        shard: Option<&str>,
        timestamp_ms: Option<u64>,
    ) -> Result<Self, Refusal> {
        let missing = |what: &str| {
            Refusal::invalid(format!("{what} must be given for ShardFilter type {name}."))
        };
        let instant = || timestamp_ms.ok_or_else(|| missing("Timestamp"));
        match name {
            "AFTER_SHARD_ID" => {
                let shard = shard.and_then(shard_index);
                shard
                    .map(Self::AfterShard)
                    .ok_or_else(|| missing("ShardId"))
            }
            "AT_TRIM_HORIZON" => Ok(Self::AtTrimHorizon),
            "FROM_TRIM_HORIZON" => Ok(Self::FromTrimHorizon),
            "AT_LATEST" => Ok(Self::AtLatest),
            "AT_TIMESTAMP" => instant().map(Self::AtTimestamp),
            "FROM_TIMESTAMP" => instant().map(Self::FromTimestamp),
            _ => Err(Refusal::invalid(format!(
                "{name} is no type of ShardFilter."
            ))),
        }
    }

    /// Whether it lets `shard` pass; `horizon_ms` is the oldest instant of the stream that is kept.
    pub fn passes(&self, shard: &Shard, horizon_ms: u64) -> bool {
        let closed_after = |ms: u64| shard.closed_ms.is_none_or(|closed| closed > ms);
        match self {
            Self::FromTrimHorizon => true,
            Self::AfterShard(index) => shard.index > *index,
            Self::AtTrimHorizon => shard.opened_ms <= horizon_ms && closed_after(horizon_ms),
            Self::AtLatest => shard.is_open(),
            Self::AtTimestamp(ms) => {
                let ms = (*ms).max(horizon_ms);
                shard.opened_ms <= ms && closed_after(ms)
            }
            Self::FromTimestamp(ms) => closed_after((*ms).max(horizon_ms)),
        }
    }

    fn spell(&self) -> (char, u64) {
        match self {
            Self::FromTrimHorizon => ('a', 0),
            Self::AfterShard(index) => ('s', u64::from(*index)),
            Self::AtTrimHorizon => ('h', 0),
            Self::AtLatest => ('l', 0),
            Self::AtTimestamp(ms) => ('t', *ms),
            Self::FromTimestamp(ms) => ('f', *ms),
        }
    }

    fn spelled(letter: &str, number: u64) -> Option<Self> {
        Some(match letter {
            "a" => Self::FromTrimHorizon,
            "s" => Self::AfterShard(u32::try_from(number).ok()?),
            "h" => Self::AtTrimHorizon,
            "l" => Self::AtLatest,
            "t" => Self::AtTimestamp(number),
            "f" => Self::FromTimestamp(number),
            _ => return None,
        })
    }
}

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextToken {
    /// The stream.
    pub stream: String,
    /// The filter of the first call.
    pub filter: Filter,
    /// The last shard that was named.
    pub after: u32,
    /// When it was issued (Unix epoch ms).
    pub issued_ms: u64,
}

impl NextToken {
    /// The text that a client holds.
    pub fn encode(&self) -> String {
        let (letter, number) = self.filter.spell();
        STANDARD.encode(format!(
            "{}:{}:{letter}:{number}:{}",
            self.issued_ms, self.after, self.stream
        ))
    }

    /// Reads what [`NextToken::encode`] wrote.
    ///
    /// # Errors
    /// `InvalidArgument` for anything else, `ExpiredNextToken` when it is too old.
    pub fn decode(text: &str, now_ms: u64) -> Result<Self, Refusal> {
        let token = Self::parse(text).ok_or_else(|| Refusal::invalid("NextToken is invalid."))?;
        if now_ms > token.issued_ms + TOKEN_TTL_MS {
            return Err(Refusal::new(
                RefusalKind::ExpiredNextToken,
                "NextToken has expired.",
            ));
        }
        Ok(token)
    }

    fn parse(text: &str) -> Option<Self> {
        let plain = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let mut fields = plain.splitn(5, ':');
        let issued_ms = fields.next()?.parse().ok()?;
        let after = fields.next()?.parse().ok()?;
        let filter = Filter::spelled(fields.next()?, fields.next()?.parse().ok()?)?;
        Some(Self {
            stream: fields.next()?.to_owned(),
            filter,
            after,
            issued_ms,
        })
    }
}

impl Stream {
    /// Up to `limit` shards that pass `filter`, later than `after`; and whether there are more.
    pub fn list(
        &self,
        filter: &Filter,
        after: Option<u32>,
        limit: usize,
        horizon_ms: u64,
    ) -> (Vec<&Shard>, bool) {
        let horizon_ms = horizon_ms.max(self.created_ms);
        let mut shards: Vec<&Shard> = self
            .shards()
            .filter(|shard| after.is_none_or(|after| shard.index > after))
            .filter(|shard| filter.passes(shard, horizon_ms))
            .take(limit + 1)
            .collect();
        let has_more = shards.len() > limit;
        shards.truncate(limit);
        (shards, has_more)
    }
}
