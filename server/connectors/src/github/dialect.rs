//! How GitHub says that something failed, and how much is left.

use std::time::Duration;

use freehold_domain::time::Timestamp;
use serde_json::Value;

use crate::{
    ConnectorError, ErrorKind,
    outbound::{Answer, Dialect, Reach, Request, Window, by_status},
};

pub(super) struct GitHub;

/// The limit on bursts and on writes, which no header announces.
const SECONDARY: &str = "secondary_rate_limit";
/// What to wait where GitHub asks for a while without saying how long.
const A_WHILE: Duration = Duration::from_secs(60);

impl Dialect for GitHub {
    fn vendor(&self) -> &'static str {
        "GitHub"
    }

    fn request_id(&self) -> &'static str {
        "x-github-request-id"
    }

    fn judge(&self, request: &Request, answer: &Answer, now: Timestamp) -> Option<ConnectorError> {
        let mut error = by_status("GitHub", request, answer, now)?;
        match answer.status {
            403 | 429 => {
                let told = answer.told().to_lowercase();
                let exhausted = answer.header("x-ratelimit-remaining") == Some("0");
                let asked = answer.retry_after(now);
                if asked.is_some() || told.contains("secondary rate limit") {
                    return Some(throttled(error, SECONDARY, asked.unwrap_or(A_WHILE)));
                }
                if exhausted {
                    return Some(throttled(error, "rate_limit", reset(answer, now).unwrap_or(A_WHILE)));
                }
                if answer.status == 429 {
                    return Some(throttled(error, SECONDARY, A_WHILE));
                }
                if let Some(needed) = answer.header("x-accepted-github-permissions").filter(|needed| !needed.is_empty()) {
                    error.message += &format!("; it needs the permission {needed}");
                }
                if let Some(url) = answer.header("x-github-sso").and_then(|header| header.strip_prefix("required; url=")) {
                    error.message += &format!("; authorise the token for the organisation at {url}");
                }
            }
            404 => error.message += "; either it is not there, or the connection may not see it",
            422 => {
                let body = answer.value();
                let (codes, texts) = details(&body);
                let exists = codes.iter().any(|code| code == "already_exists")
                    || texts.iter().chain([&answer.told()]).any(|text| text.contains("already exists"));
                if exists {
                    error.kind = ErrorKind::Conflict;
                }
                if !texts.is_empty() {
                    error.message += &format!(": {}", texts.join("; "));
                }
                error.vendor_code = codes.into_iter().next();
            }
            _ => {}
        }
        Some(error)
    }

    fn window(&self, answer: &Answer, now: Timestamp) -> Option<Window> {
        let remaining = answer.header("x-ratelimit-remaining")?.parse().ok()?;
        let resource = answer.header("x-ratelimit-resource").unwrap_or("core").to_owned();
        Some(Window { resource, remaining, reset: reset(answer, now)? })
    }

    /// The limit of the hour is one of a resource; the one on bursts is of everything.
    fn reach(&self, error: &ConnectorError) -> Reach {
        if error.vendor_code.as_deref() == Some(SECONDARY) { Reach::Connection } else { Reach::Resource }
    }
}

fn throttled(mut error: ConnectorError, code: &str, wait: Duration) -> ConnectorError {
    error.kind = ErrorKind::Throttled;
    error.maybe_done = false;
    error.retry_after = Some(wait);
    error.code(code)
}

fn reset(answer: &Answer, now: Timestamp) -> Option<Duration> {
    let seconds: i64 = answer.header("x-ratelimit-reset")?.parse().ok()?;
    Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?).since(now))
}

/// Codes and texts of what is wrong with a request.
fn details(body: &Value) -> (Vec<String>, Vec<String>) {
    let (mut codes, mut texts) = (Vec::new(), Vec::new());
    for detail in body["errors"].as_array().into_iter().flatten().take(10) {
        match detail {
            Value::String(text) => texts.push(text.clone()),
            detail => {
                let part = |name: &str| detail[name].as_str().unwrap_or_default();
                codes.push(part("code").to_owned());
                let told = if part("message").is_empty() { part("code") } else { part("message") };
                texts.push(format!("{}.{} {told}", part("resource"), part("field")));
            }
        }
    }
    (codes, texts)
}
