//! What a plain table says instead of an answer: DynamoDB's errors, as JSON bodies of status 400.

use std::sync::Arc;

/// Why an operation on a plain table was not done; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request is wrong, or asks for what is not played here.
    Validation(String),
    /// The request is no JSON.
    Serialization(String),
    /// The condition did not hold; with the text of the item that was there, when it was asked for.
    ConditionFailed(Option<Arc<str>>),
    /// At least one condition of a transaction did not hold; what became of each of its actions.
    Cancelled(Vec<Reason>),
}

/// Why an action of a transaction was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Because of another one.
    None,
    /// Its condition did not hold; with the text of the item that was there, when it was asked for.
    ConditionFailed(Option<Arc<str>>),
}

const CONDITION_FAILED: &str = "The conditional request failed";

impl Reason {
    fn code(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::ConditionFailed(_) => "ConditionalCheckFailed",
        }
    }

    fn text(&self) -> String {
        let code = self.code();
        match self {
            Self::None => format!(r#"{{"Code":"{code}"}}"#),
            Self::ConditionFailed(None) => {
                format!(r#"{{"Code":"{code}","Message":"{CONDITION_FAILED}"}}"#)
            }
            Self::ConditionFailed(Some(item)) => {
                format!(r#"{{"Code":"{code}","Message":"{CONDITION_FAILED}","Item":{item}}}"#)
            }
        }
    }
}

fn cancelled(reasons: &[Reason]) -> String {
    let joined = |text: &dyn Fn(&Reason) -> String, by| {
        let texts: Vec<String> = reasons.iter().map(text).collect();
        texts.join(by)
    };
    let codes = joined(&|reason| reason.code().to_owned(), ", ");
    let reasons = joined(&Reason::text, ",");
    format!(
        r#"{{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]","CancellationReasons":[{reasons}]}}"#
    )
}

impl Refusal {
    /// A wrong request.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::Validation(message.into())
    }

    /// A request that DynamoDB may take and this stand-in does not.
    pub fn not_played(what: impl std::fmt::Display) -> Self {
        Self::Validation(format!("not played by this stand-in: {what}"))
    }

    /// A body that serde did not take. An unknown field or value is most likely one that is not played.
    pub fn unread(error: &serde_json::Error) -> Self {
        if error.is_data() {
            Self::not_played(error)
        } else {
            Self::Serialization(error.to_string())
        }
    }

    /// The body of the reply.
    pub fn body(&self) -> String {
        let (code, message, item) = match self {
            Self::Validation(message) => (
                "com.amazon.coral.validate#ValidationException",
                message.as_str(),
                None,
            ),
            Self::Serialization(message) => (
                "com.amazon.coral.service#SerializationException",
                message.as_str(),
                None,
            ),
            Self::ConditionFailed(item) => (
                "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
                CONDITION_FAILED,
                item.as_deref(),
            ),
            Self::Cancelled(reasons) => return cancelled(reasons),
        };
        let message = serde_json::Value::from(message);
        match item {
            Some(item) => format!(r#"{{"__type":"{code}","message":{message},"Item":{item}}}"#),
            None => format!(r#"{{"__type":"{code}","message":{message}}}"#),
        }
    }
}
