//! The fields of requests, as the service spells them.

use serde::{Deserialize, de::DeserializeOwned};

use super::refusal::{Refusal, RefusalKind};

/// The stream that a request is about, by name or by resource name.
#[derive(Deserialize)]
pub struct Target {
    /// Its name.
    #[serde(rename = "StreamName")]
    pub name: Option<String>,
    /// Its resource name.
    #[serde(rename = "StreamARN")]
    pub arn: Option<String>,
}

impl Target {
    /// The stream's name.
    ///
    /// # Errors
    /// `InvalidArgument` when the request names none.
    pub fn stream(&self) -> Result<&str, Refusal> {
        let of_arn = || {
            self.arn
                .as_deref()
                .and_then(|arn| arn.split_once(":stream/"))
                .map(|(_, name)| name)
        };
        self.name
            .as_deref()
            .or_else(of_arn)
            .ok_or_else(|| Refusal::invalid("Either StreamName or StreamARN must be provided."))
    }
}

/// Every other field that a small request can have.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Fields {
    #[serde(flatten)]
    pub(super) target: Target,
    pub(super) shard_count: Option<u32>,
    pub(super) stream_mode_details: Option<Mode>,
    pub(super) max_record_size_in_ki_b: Option<u32>,
    pub(super) record_distribution_strategy: Option<String>,
    pub(super) consumer_name: Option<String>,
    #[serde(rename = "ConsumerARN")]
    pub(super) consumer_arn: Option<String>,
    pub(super) shard_id: Option<String>,
    pub(super) shard_iterator_type: Option<String>,
    pub(super) starting_sequence_number: Option<String>,
    pub(super) timestamp: Option<f64>,
    pub(super) shard_to_split: Option<String>,
    pub(super) new_starting_hash_key: Option<String>,
    pub(super) shard_to_merge: Option<String>,
    pub(super) adjacent_shard_to_merge: Option<String>,
    pub(super) target_shard_count: Option<u32>,
    pub(super) retention_period_hours: Option<u32>,
    pub(super) next_token: Option<String>,
    pub(super) exclusive_start_shard_id: Option<String>,
    pub(super) exclusive_start_stream_name: Option<String>,
    pub(super) max_results: Option<usize>,
    pub(super) limit: Option<usize>,
    pub(super) shard_filter: Option<RawFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Mode {
    pub(super) stream_mode: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RawFilter {
    pub(super) r#type: String,
    pub(super) shard_id: Option<String>,
    pub(super) timestamp: Option<f64>,
}

/// Reads a request.
///
/// # Errors
/// `Serialization` when it has another shape.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::new(RefusalKind::Serialization, error.to_string()))
}

/// Reads a small request; an empty body has no fields.
pub(super) fn fields<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    parse(if body.is_empty() { b"{}" } else { body })
}

/// Unix epoch ms of a timestamp in seconds, to the nearest ms.
pub(super) fn to_ms(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// A field that must be there.
pub(super) fn required<'a>(value: &'a Option<String>, name: &str) -> Result<&'a str, Refusal> {
    value.as_deref().ok_or_else(|| {
        Refusal::validation(format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: \
             Member must not be null"
        ))
    })
}
