//! The alphabets and formats of configured text. Each error says what was expected.

use super::Start;

pub(super) fn start(text: &str) -> Result<Start, String> {
    match text {
        "trim_horizon" => Ok(Start::TrimHorizon),
        "latest" => Ok(Start::Latest),
        instant => instant.parse::<jiff::Timestamp>().map(|at| Start::At(at.as_millisecond())).map_err(|_| {
            "\"trim_horizon\", \"latest\" or an RFC 3339 instant such as \"2026-03-01T06:00:00Z\"".to_owned()
        }),
    }
}

/// CreateStream: 1–128 of `a-zA-Z0-9_.-`; consumer names are the same.
pub(super) fn stream_name(text: &str) -> Result<String, String> {
    named(text, "_.-", 1, 128)
}

/// CreateTable: 3–255 of `a-zA-Z0-9_.-`.
pub(super) fn table_name(text: &str) -> Result<String, String> {
    named(text, "_.-", 3, 255)
}

/// A table name that leaves room for the suffix `-workers`.
pub(super) fn lease_table_name(text: &str) -> Result<String, String> {
    named(text, "_.-", 3, 255 - "-workers".len())
}

pub(super) fn worker_id(text: &str) -> Result<String, String> {
    named(text, "_.:-", 1, 128)
}

pub(super) fn region(text: &str) -> Result<String, String> {
    named(text, "-", 1, 63)
}

fn named(text: &str, marks: &str, least: usize, most: usize) -> Result<String, String> {
    let fits = (least..=most).contains(&text.len());
    if fits
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
    {
        return Ok(text.to_owned());
    }
    Err(format!("{least} to {most} letters of A-Za-z0-9{marks}"))
}

/// Any path; whether the file is there shows when it is read.
pub(super) fn path(text: &str) -> Result<std::path::PathBuf, String> {
    Ok(text.into())
}

pub(super) fn url(text: &str) -> Result<String, String> {
    let parsed = text.parse::<hyper::Uri>().ok();
    let known = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if known {
        Ok(text.to_owned())
    } else {
        Err("a URL such as \"http://127.0.0.1:4566\"".to_owned())
    }
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a filter such as \"info,swiped::lease=debug\"".to_owned()),
    }
}
