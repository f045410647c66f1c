//! What PutRecords replies: one result an entry, in order. Only those of failed entries are kept; the others are counted.

use std::fmt;

use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_smithy_runtime_api::{box_error::BoxError, client::interceptors::context::Output};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use crate::aws::exchange::Reading;
use crate::ports::{Failed, FaultKind};

/// The results of one call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::aws) struct Results {
    /// How many there are.
    pub(in crate::aws) count: usize,
    /// Those of entries that were not stored.
    pub(in crate::aws) failed: Vec<Failed>,
}

/// How a reply of PutRecords is read.
pub(in crate::aws) const READING: Reading<Results> = Reading {
    read,
    output: || {
        let output = PutRecordsOutput::builder().set_records(Some(Vec::new()));
        Output::erase(output.build().expect("records are all it needs"))
    },
};

fn read(body: &[u8]) -> Result<Results, BoxError> {
    let reply: Reply = serde_json::from_slice(body)?;
    Ok(reply.records)
}

#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "Records")]
    records: Results,
}

/// `null` is the same as nothing.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "ErrorCode")]
    error_code: Option<String>,
}

impl<'de> Deserialize<'de> for Results {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Counting)
    }
}

struct Counting;

impl<'de> Visitor<'de> for Counting {
    type Value = Results;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of results")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Results, A::Error> {
        let mut results = Results::default();
        while let Some(entry) = list.next_element::<Entry>()? {
            if let Some(code) = entry.error_code {
                let kind = match &*code {
                    "ProvisionedThroughputExceededException" => FaultKind::Throttled,
                    _ => FaultKind::Transient,
                };
                let index = results.count;
                results.failed.push(Failed { index, kind });
            }
            results.count += 1;
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<(usize, &[(usize, FaultKind)])>) {
        let expected = expected.map(|(count, failed)| Results {
            count,
            failed: failed
                .iter()
                .map(|(index, kind)| Failed {
                    index: *index,
                    kind: *kind,
                })
                .collect(),
        });
        assert_eq!(read(body.as_bytes()).ok(), expected, "{body}");
    }

    #[test]
    fn entries_with_an_error_code_failed_and_the_others_are_stored() {
        use FaultKind::{Throttled, Transient};
        let stored = r#"{"SequenceNumber":"1","ShardId":"s"}"#;
        check(
            &format!(
                r#"{{"EncryptionType":"NONE","FailedRecordCount":2,"Records":[{{"ErrorCode":"InternalFailure","ErrorMessage":"\"x\" ]}}"}},
                {stored},{{"ErrorMessage":"Rate exceeded","ErrorCode":"ProvisionedThroughputExceededException"}}]}}"#
            ),
            Some((3, &[(0, Transient), (2, Throttled)])),
        );
        check(
            &format!(r#" {{ "Records" : [ {stored} , {stored} ] , "FailedRecordCount" : 0 }} "#),
            Some((2, &[])),
        );
        check(
            r#"{"FailedRecordCount":0,"Records":[{"ErrorCode":null,"New":[{"ErrorCode":"X"}]}]}"#,
            Some((1, &[])),
        );
        check(
            r#"{"Records":[{"Error\u0043ode":"New"}]}"#,
            Some((1, &[(0, Transient)])),
        );
        check(r#"{"Records":[]}"#, Some((0, &[])));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for body in [
            "",
            "{}",
            "[]",
            "<html>",
            r#"{"Records":[{]}"#,
            r#"{"Records":[{}]"#,
        ] {
            check(body, None);
        }
    }
}
