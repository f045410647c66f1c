//! The bodies of the calls that every swipe goes through, GetRecords and PutRecords, and BatchGetItem and BatchWriteItem of the
//! decision table, are written and read by `swiped` instead of by the SDK, whose own ways build several objects a record and
//! forty an item. All else stays the SDK's: endpoints, signing, connections, time limits, and every reply that is an error, so
//! that faults are what they were.
//!
//! An [`Exchange`] is an interceptor of one call. It puts its body in place of the one that the SDK made of a call without
//! records, before the request is signed; and for a reply of success it puts its own reader in the SDK's place, whose result
//! is handed to the caller beside the SDK's (empty) output. A reply that cannot be read is an error of the response, as it is
//! to the SDK.

#[cfg(test)]
pub(super) mod canned;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{
                BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
                Error, Output,
            },
        },
        orchestrator::{HttpResponse, OrchestratorError},
        runtime_components::RuntimeComponents,
        ser_de::{DeserializeResponse, SharedResponseDeserializer},
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};
use bytes::Bytes;

/// How the body of a reply is read, and what the SDK is told instead.
#[derive(Debug)]
pub(super) struct Reading<T> {
    /// Reads the whole body of a reply of success.
    pub(super) read: fn(&[u8]) -> Result<T, BoxError>,
    /// The operation's output, with nothing in it.
    pub(super) output: fn() -> Output,
}

impl<T> Clone for Reading<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Reading<T> {}

/// One call: what it sends, and how its reply is read.
pub(super) struct Exchange<T> {
    body: Option<Bytes>,
    reading: Reading<T>,
    reply: Reply<T>,
}

/// Where an interceptor leaves what it took out of a reply.
pub(super) struct Reply<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Reply<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Exchange<T> {
    /// Sends `body`, or the SDK's own, and reads the reply by `reading`.
    pub(super) fn new(body: Option<Bytes>, reading: Reading<T>) -> Self {
        Self {
            body,
            reading,
            reply: Reply::default(),
        }
    }

    /// Where the reply will be.
    pub(super) fn reply(&self) -> Reply<T> {
        self.reply.clone()
    }
}

impl<T> Reply<T> {
    /// What was read; once, and nothing before a call succeeded.
    pub(super) fn take(&self) -> Option<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }

    /// Leaves it there.
    pub(super) fn put(&self, read: T) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(read);
    }
}

// Without what is in them, here and below: it holds card numbers.
impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Exchange<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Intercept for Exchange<T> {
    fn name(&self) -> &'static str {
        "swiped_exchange"
    }

    // Before the first attempt, and so before anything is signed.
    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(body) = &self.body {
            let request = context.request_mut();
            let length = body.len().to_string();
            request.headers_mut().insert("content-length", length);
            *request.body_mut() = SdkBody::from(body.clone());
        }
        Ok(())
    }

    // The SDK reads its own errors: its reader is replaced only where the call succeeded. What interceptors put into the bag
    // is found before what the operation put there.
    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            let reader = Reader {
                reading: self.reading,
                reply: self.reply(),
            };
            let reader = SharedResponseDeserializer::new(reader);
            bag.interceptor_state().store_put(reader);
        }
        Ok(())
    }
}

struct Reader<T> {
    reading: Reading<T>,
    reply: Reply<T>,
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl<T: Send> DeserializeResponse for Reader<T> {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        let body = response.body().bytes().unwrap_or_default();
        let read = (self.reading.read)(body).map_err(OrchestratorError::response)?;
        self.reply.put(read);
        Ok((self.reading.output)())
    }
}
