//! The events of a subscription. The SDK subscribes; what comes then is read here, by its own frames and checksums, but without
//! its objects for each record.
//!
//! An [`Opening`] is an interceptor of the call: it takes the body of a reply of success away before the SDK makes an event
//! stream of it, and leaves it an empty one.

use std::{error::Error, fmt};

use aws_smithy_eventstream::{
    error::Error as Unreadable,
    frame::{UnmarshallMessage, UnmarshalledMessage},
    smithy::parse_response_headers,
};
use aws_smithy_http::event_stream::Receiver;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeDeserializationInterceptorContextMut},
        result::SdkError,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag, event_stream::Message};

use super::OPERATION;
use crate::{
    aws::{chain, classify, exchange::Reply, kinesis_wire::event},
    model::position::Page,
    ports::{Fault, FaultKind},
};

/// Takes the events out of the reply of a call.
#[derive(Clone, Debug, Default)]
pub(super) struct Opening(Reply<SdkBody>);

impl Opening {
    /// The events, once, after the call succeeded.
    pub(super) fn events(&self) -> Option<Events> {
        Some(Events(Receiver::new(Reader, self.0.take()?)))
    }
}

impl Intercept for Opening {
    fn name(&self) -> &'static str {
        "swiped_opening"
    }

    // The SDK reads its own errors.
    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        if response.status().is_success() {
            let body = std::mem::replace(response.body_mut(), SdkBody::empty());
            self.0.put(body);
        }
        Ok(())
    }
}

/// What the service sends, page by page.
#[derive(Debug)]
pub(super) struct Events(Receiver<Option<Page>, Broken>);

impl Events {
    /// The next page; nothing when the service ended the subscription.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, Fault> {
        loop {
            match self.0.recv().await {
                Ok(Some(Some(page))) => return Ok(Some(page)),
                // The reply itself, which says nothing; or a kind that is newer than this program.
                Ok(Some(None)) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(event_fault(&error)),
            }
        }
    }
}

/// Reads one message: a page, or nothing of ours.
#[derive(Debug)]
struct Reader;

impl UnmarshallMessage for Reader {
    type Output = Option<Page>;
    type Error = Broken;

    fn unmarshall(
        &self,
        message: &Message,
    ) -> Result<UnmarshalledMessage<Option<Page>, Broken>, Unreadable> {
        let headers = parse_response_headers(message)?;
        let kind = headers.smithy_type.as_str();
        if headers.message_type.as_str() == "exception" {
            return Ok(UnmarshalledMessage::Error(Broken(kind.to_owned())));
        }
        if kind != "SubscribeToShardEvent" {
            return Ok(UnmarshalledMessage::Event(None));
        }
        let page = event::read(message.payload());
        let page = page.map_err(|error| Unreadable::unmarshalling(format!("an event: {error}")))?;
        Ok(UnmarshalledMessage::Event(Some(page)))
    }
}

/// The service ended the subscription with an exception of this name.
#[derive(Debug, PartialEq, Eq)]
struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in the middle of a subscription", self.0)
    }
}

impl Error for Broken {}

/// What an error in the middle of a subscription means. Whatever it is, the next subscription may work.
fn event_fault<R>(error: &SdkError<Broken, R>) -> Fault
where
    R: fmt::Debug + Send + Sync + 'static,
{
    let broken = error.as_service_error();
    let kind = match broken {
        // That another subscription took the place of this one is no throttling.
        Some(Broken(code)) if code == "ResourceInUseException" => FaultKind::Transient,
        Some(Broken(code)) if classify(Some(code), None) == FaultKind::Throttled => {
            FaultKind::Throttled
        }
        _ => FaultKind::Transient,
    };
    Fault {
        kind,
        operation: OPERATION,
        message: match broken {
            Some(broken) => broken.to_string(),
            None => chain(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue};

    use super::*;

    fn message(kind: &'static str, name: &'static str, payload: &'static str) -> Vec<u8> {
        let header = |name: &'static str, text: &'static str| {
            Header::new(name, HeaderValue::String(text.into()))
        };
        let of_type = match kind {
            "exception" => ":exception-type",
            _ => ":event-type",
        };
        let message = Message::new(payload.as_bytes())
            .add_header(header(":message-type", kind))
            .add_header(header(of_type, name));
        let mut frame = Vec::new();
        write_message_to(&message, &mut frame).expect("a frame");
        frame
    }

    fn page() -> Vec<u8> {
        let payload = r#"{"Records":[],"ContinuationSequenceNumber":"49","MillisBehindLatest":7}"#;
        message("event", "SubscribeToShardEvent", payload)
    }

    /// What is told of a body of these frames: of each page how far it is behind, and the fault that ended them.
    async fn told(frames: &[Vec<u8>]) -> (Vec<i64>, Option<Fault>) {
        let mut events = Events(Receiver::new(Reader, SdkBody::from(frames.concat())));
        let mut pages = Vec::new();
        loop {
            match events.next().await {
                Ok(Some(page)) => pages.push(page.behind_latest_ms),
                Ok(None) => return (pages, None),
                Err(fault) => return (pages, Some(fault)),
            }
        }
    }

    #[tokio::test]
    async fn pages_are_told_and_what_is_none_is_passed_over() {
        let reply = message("event", "initial-response", "{}");
        let newer = message("event", "NewerEvent", "?");
        for (frames, expected) in [
            (vec![reply, page(), newer, page()], vec![7, 7]),
            (vec![], vec![]),
        ] {
            let (pages, fault) = told(&frames).await;
            assert_eq!(pages, expected);
            assert!(fault.is_none(), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn whatever_breaks_a_subscription_may_be_tried_again() {
        let mut damaged = page();
        let at = damaged.len() - 8;
        damaged[at] ^= 1;
        let cut = page()[..20].to_vec();
        let exception = |name| message("exception", name, r#"{"message":"why"}"#);
        for (frame, kind, said) in [
            (
                exception("ResourceInUseException"),
                FaultKind::Transient,
                "ResourceInUseException",
            ),
            (
                exception("InternalFailureException"),
                FaultKind::Transient,
                "InternalFailure",
            ),
            (
                exception("KMSThrottlingException"),
                FaultKind::Throttled,
                "KMSThrottling",
            ),
            (
                message("event", "SubscribeToShardEvent", "{}"),
                FaultKind::Transient,
                "Records",
            ),
            (
                message("error", "x", "{}"),
                FaultKind::Transient,
                "message-type",
            ),
            (damaged, FaultKind::Transient, "checksum"),
            (cut, FaultKind::Transient, "unexpected end"),
        ] {
            let (pages, fault) = told(&[page(), frame]).await;
            assert_eq!(pages, [7], "{said}");
            let fault = fault.expect(said);
            assert_eq!(fault.kind, kind, "{said}");
            assert!(fault.message.contains(said), "{}", fault.message);
        }
    }
}
