//! Answers of the Kinesis stand-in as HTTP: a body of known length, or the events of a subscription.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::stream::BoxStream;
use hyper::{
    Response, StatusCode,
    body::{Body, Frame, SizeHint},
    header::{CONTENT_TYPE, HeaderValue},
};

use super::{
    kinesis::{Refusal, frames, operations::Reply},
    push::Severed,
};

/// The content type of everything else.
pub const JSON: &str = "application/x-amz-json-1.1";

/// The answer of a successful call.
pub fn ok(reply: Reply) -> Response<Answer> {
    response(StatusCode::OK, JSON, Answer::Whole(reply.0.into()))
}

/// The answer of a refused call.
pub fn refused(refusal: &Refusal) -> Response<Answer> {
    let body = serde_json::json!({ "__type": refusal.kind.code(), "message": refusal.message });
    let status = StatusCode::from_u16(refusal.kind.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let body = VecDeque::from([Bytes::from(body.to_string())]);
    response(status, JSON, Answer::Whole(body))
}

/// The answer of a subscription: frames until it ends.
pub fn events(frames: BoxStream<'static, Result<Bytes, Severed>>) -> Response<Answer> {
    response(StatusCode::OK, frames::CONTENT_TYPE, Answer::Events(frames))
}

fn response(status: StatusCode, kind: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A body. Both kinds are pulled piece by piece, when the connection has room.
pub enum Answer {
    /// Of known length, in several pieces: a page goes out of the store without being copied together.
    Whole(VecDeque<Bytes>),
    /// Of no known length.
    Events(BoxStream<'static, Result<Bytes, Severed>>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Severed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Severed>>> {
        match &mut *self {
            Self::Whole(pieces) => {
                Poll::Ready(pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
            }
            Self::Events(frames) => frames
                .as_mut()
                .poll_next(context)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(pieces) if pieces.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(pieces) => {
                SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum())
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}
