//! Frames of `application/vnd.amazon.eventstream`: lengths, a checksum over them, headers, a payload, a checksum over
//! all (smithy.io, "Amazon Event Stream Specification").

use bytes::{BufMut as _, Bytes, BytesMut};
use crc32fast::Hasher;

use super::refusal::{Refusal, RefusalKind};

/// The type of a body that consists of such frames.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";
const JSON: &str = "application/x-amz-json-1.1";
/// Two lengths and their checksum.
const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;
/// The header type "string".
const STRING: u8 = 7;

/// What comes before the first event: the answer's own members, of which SubscribeToShard has none.
pub fn initial_response() -> Bytes {
    event("initial-response", &[Bytes::from_static(b"{}")])
}

/// An event whose JSON is `pieces` in a row.
pub fn event(kind: &str, pieces: &[Bytes]) -> Bytes {
    let headers = [
        (":event-type", kind),
        (":content-type", JSON),
        (":message-type", "event"),
    ];
    frame(&headers, pieces)
}

/// Why the stream ends: an exception where the operation's model knows one for it, otherwise an error without a model.
pub fn refused(refusal: &Refusal) -> Bytes {
    let kind = match refusal.kind {
        RefusalKind::ResourceInUse | RefusalKind::ResourceNotFound => refusal.kind.code(),
        RefusalKind::InternalFailure => "InternalFailureException",
        other => {
            let headers = [
                (":error-code", other.code()),
                (":error-message", refusal.message.as_str()),
                (":message-type", "error"),
            ];
            return frame(&headers, &[]);
        }
    };
    let headers = [
        (":exception-type", kind),
        (":content-type", JSON),
        (":message-type", "exception"),
    ];
    let body = serde_json::json!({ "message": refusal.message }).to_string();
    frame(&headers, &[body.into()])
}

/// `frame` with one bit of its payload turned, so that neither checksum nor content is right.
pub fn damaged(frame: &[u8]) -> Bytes {
    let mut damaged = frame.to_vec();
    if let Some(byte) = damaged.iter_mut().rev().nth(CHECKSUM_BYTES) {
        *byte ^= 1;
    }
    damaged.into()
}

fn frame(headers: &[(&str, &str)], pieces: &[Bytes]) -> Bytes {
    // A name has one byte of length, a value one of type and two of length.
    let header_bytes: usize = headers
        .iter()
        .map(|(name, value)| 1 + name.len() + 3 + value.len())
        .sum();
    let payload_bytes: usize = pieces.iter().map(Bytes::len).sum();
    let total = PRELUDE_BYTES + header_bytes + payload_bytes + CHECKSUM_BYTES;
    let mut bytes = BytesMut::with_capacity(total);
    bytes.put_u32(total as u32);
    bytes.put_u32(header_bytes as u32);
    bytes.put_u32(checksum(&bytes));
    for (name, value) in headers {
        bytes.put_u8(name.len() as u8);
        bytes.put_slice(name.as_bytes());
        bytes.put_u8(STRING);
        bytes.put_u16(value.len() as u16);
        bytes.put_slice(value.as_bytes());
    }
    for piece in pieces {
        bytes.put_slice(piece);
    }
    bytes.put_u32(checksum(&bytes));
    bytes.freeze()
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own example: no headers, no payload.
    #[test]
    fn the_empty_frame_is_that_of_the_specification() {
        let empty = [
            0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff,
        ];
        assert_eq!(&frame(&[], &[])[..], empty);
    }

    #[test]
    fn lengths_headers_and_payload_follow_each_other() {
        let frame = frame(&[(":a", "bc")], &["x".into(), "yz".into()]);
        assert_eq!(frame[..8], [0, 0, 0, 27, 0, 0, 0, 8]);
        assert_eq!(&frame[12..20], b"\x02:a\x07\x00\x02bc");
        assert_eq!(&frame[20..23], b"xyz");
        assert_eq!(frame[23..], checksum(&frame[..23]).to_be_bytes());
    }

    #[test]
    fn a_damaged_frame_differs_in_one_byte_of_its_payload() {
        let whole = event("e", &["{}".into()]);
        let damaged = damaged(&whole);
        let differ: Vec<usize> = (0..whole.len())
            .filter(|at| whole[*at] != damaged[*at])
            .collect();
        assert_eq!(differ, [whole.len() - 5]);
    }
}
