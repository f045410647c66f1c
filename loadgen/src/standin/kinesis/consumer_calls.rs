//! Calls about consumers: register, describe, list, deregister.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    consumers::Consumer, operations::Call, refusal::Refusal, requests::required, stream::Stream,
};

/// Consumers in an answer of ListStreamConsumers, and the most a request can ask for (API reference).
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 10_000;

impl Call<'_> {
    pub(super) fn register_stream_consumer(&self) -> Result<Value, Refusal> {
        let name = required(&self.fields.consumer_name, "consumerName")?;
        let options = &self.store.options.fan_out;
        self.with(|stream| {
            let consumer = stream
                .consumers
                .register(&stream.arn, name, options, self.now_ms)?;
            Ok(json!({ "Consumer": consumer_json(consumer, self.now_ms) }))
        })
    }

    pub(super) fn describe_stream_consumer(&self) -> Result<Value, Refusal> {
        self.with_consumer(|stream, name| {
            let mut description = consumer_json(stream.consumers.named(name)?, self.now_ms);
            description["StreamARN"] = stream.arn.as_str().into();
            Ok(json!({ "ConsumerDescription": description }))
        })
    }

    pub(super) fn deregister_stream_consumer(&self) -> Result<Value, Refusal> {
        self.with_consumer(|stream, name| {
            stream.consumers.deregister(name);
            // Its subscriptions find out that they have ended.
            stream.shards().for_each(super::shard::Shard::wake);
            Ok(Value::Null)
        })
    }

    pub(super) fn list_stream_consumers(&self) -> Result<Value, Refusal> {
        let limit = self.fields.max_results.unwrap_or(DEFAULT_PAGE);
        if limit == 0 || limit > MAX_PAGE {
            return Err(Refusal::invalid(format!(
                "MaxResults must be from 1 to {MAX_PAGE}."
            )));
        }
        let after = self.fields.next_token.as_deref().map(decode).transpose()?;
        self.with(|stream| {
            let mut rest = stream
                .consumers
                .all()
                .filter(|consumer| after.as_ref().is_none_or(|after| consumer.name > *after));
            let page: Vec<&Consumer> = rest.by_ref().take(limit).collect();
            let next = page
                .last()
                .filter(|_| rest.next().is_some())
                .map(|last| STANDARD.encode(&last.name));
            let page: Vec<Value> = page
                .into_iter()
                .map(|consumer| consumer_json(consumer, self.now_ms))
                .collect();
            Ok(json!({ "Consumers": page, "NextToken": next }))
        })
    }

    /// Calls `f` with the stream and the name of the consumer that the request is about: by its own resource name, or by
    /// the stream's and its name.
    fn with_consumer<T>(
        &self,
        f: impl FnOnce(&mut Stream, &str) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Some(arn) = self.fields.consumer_arn.as_deref() else {
            let name = self.fields.consumer_name.as_deref().ok_or_else(|| {
                Refusal::invalid(
                    "Either ConsumerARN or StreamARN and ConsumerName must be provided.",
                )
            })?;
            return self.with(|stream| {
                stream.consumers.named(name)?;
                f(stream, name)
            });
        };
        self.store.with(stream_of(arn)?, |stream| {
            let name = stream.consumers.of_arn(arn)?.name.clone();
            f(stream, &name)
        })
    }
}

/// The stream's name in a consumer's resource name.
///
/// # Errors
/// `InvalidArgument` when it is no resource name of a consumer.
pub(super) fn stream_of(consumer_arn: &str) -> Result<&str, Refusal> {
    consumer_arn
        .split_once(":stream/")
        .and_then(|(_, named)| named.split_once("/consumer/"))
        .map(|(name, _)| name)
        .ok_or_else(|| Refusal::invalid(format!("{consumer_arn} is no ARN of a consumer.")))
}

fn consumer_json(consumer: &Consumer, now_ms: u64) -> Value {
    json!({
        "ConsumerName": consumer.name,
        "ConsumerARN": consumer.arn,
        "ConsumerStatus": consumer.status(now_ms),
        "ConsumerCreationTimestamp": consumer.created_ms as f64 / 1000.0,
    })
}

fn decode(token: &str) -> Result<String, Refusal> {
    STANDARD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Refusal::invalid("NextToken is invalid."))
}
