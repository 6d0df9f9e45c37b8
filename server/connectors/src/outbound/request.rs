//! One request to a vendor, one answer, and what a vendor means by it.

use std::time::Duration;

use bytes::Bytes;
use freehold_domain::time::Timestamp;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::{Value, json};
use url::Url;

use super::bucket::{Reach, Window};
use crate::{ConnectorError, Effect, ErrorKind};

/// Most bytes of an answer, unless a request says otherwise.
const MAX_ANSWER: usize = 8 << 20;
/// Most of a vendor's words that an error repeats.
const MAX_TOLD: usize = 300;

/// A request before it is sent. Its headers may hold secrets and are never shown.
#[derive(Clone)]
pub(crate) struct Request {
    pub operation: &'static str,
    pub effect: Effect,
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Which of the vendor's limits it counts for.
    pub resource: &'static str,
    /// Statuses besides 2xx that are answers and not failures.
    pub accepts: &'static [u16],
    /// A successful answer is JSON, or it did not come from the vendor.
    pub json: bool,
    pub max_answer: usize,
    /// The vendor drops a repeat of it, by a key that it carries.
    pub keyed: bool,
}

impl Request {
    pub fn new(operation: &'static str, effect: Effect, method: Method, url: Url) -> Self {
        Self {
            operation,
            effect,
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            resource: "all",
            accepts: &[],
            json: true,
            max_answer: MAX_ANSWER,
            keyed: false,
        }
    }

    pub fn json_body(self, body: &Value) -> Self {
        self.body("application/json; charset=utf-8", body.to_string())
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    pub fn body(mut self, kind: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        self.body = body.into();
        self
    }

    /// Adds a header; its value is kept out of every log.
    ///
    /// # Errors
    /// `Invalid` when it cannot be one.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, ConnectorError> {
        let wrong = |what: &str| ConnectorError::new(ErrorKind::Invalid, format!("the {what} of the header `{name}` is not one"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("name"))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong("value"))?;
        value.set_sensitive(true);
        self.headers.insert(key, value);
        Ok(self)
    }

    pub fn bearer(self, token: &str) -> Result<Self, ConnectorError> {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// What a person sees of it in a dry run. The caller takes known secrets out.
    pub fn shown(&self) -> Value {
        let body = match serde_json::from_slice(&self.body) {
            Ok(body) => body,
            Err(_) if self.body.is_empty() => Value::Null,
            Err(_) => json!(format!("{} bytes", self.body.len())),
        };
        json!({ "method": self.method.as_str(), "url": self.url.as_str(), "body": body })
    }
}

/// What a vendor answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON; null when it is empty.
    pub fn json(&self) -> Result<Value, serde_json::Error> {
        if self.body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&self.body) }
    }

    /// The body as JSON. Whether it is some was seen when the answer was judged.
    pub fn value(&self) -> Value {
        self.json().unwrap_or_default()
    }

    /// The wait that it asks for: seconds or a date (RFC 9110, section 10.2.3).
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let value = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        if let Ok(seconds) = value.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
        Some(Timestamp::from_micros(date.as_microsecond()).since(now))
    }

    /// A short text of the vendor for people: the usual fields of JSON, or the beginning of a text.
    pub fn told(&self) -> String {
        let text = match self.json() {
            Ok(value) => ["message", "error_description", "error", "detail", "title"]
                .iter()
                .find_map(|name| value.get(name)?.as_str().map(str::to_owned))
                .unwrap_or_default(),
            Err(_) if self.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")) => {
                String::from_utf8_lossy(&self.body).into_owned()
            }
            Err(_) => String::new(),
        };
        text.chars().filter(|letter| !letter.is_control()).take(MAX_TOLD).collect()
    }
}

/// How one vendor says things.
pub(crate) trait Dialect: Send + Sync {
    /// The vendor's name in errors.
    fn vendor(&self) -> &'static str;

    /// The header by which the vendor finds a call.
    fn request_id(&self) -> &'static str {
        "x-request-id"
    }

    /// What a failed answer means; nothing when it is none. Called for answers of 2xx as well: some vendors fail inside of them.
    fn judge(&self, request: &Request, answer: &Answer, now: Timestamp) -> Option<ConnectorError> {
        by_status(self.vendor(), request, answer, now)
    }

    /// What an answer says about a limit.
    fn window(&self, _answer: &Answer, _now: Timestamp) -> Option<Window> {
        None
    }

    /// How far a refusal for too many calls reaches.
    fn reach(&self, _error: &ConnectorError) -> Reach {
        Reach::Connection
    }
}

/// What a status means by itself.
pub(crate) fn by_status(vendor: &str, request: &Request, answer: &Answer, now: Timestamp) -> Option<ConnectorError> {
    let status = answer.status;
    if (200..300).contains(&status) || request.accepts.contains(&status) {
        return None;
    }
    let kind = ErrorKind::of_status(status);
    let told = answer.told();
    let what = if (300..400).contains(&status) {
        "answered with a redirect, which is never followed; look at the URL of the connection".to_owned()
    } else if told.is_empty() {
        format!("answered {status}")
    } else {
        format!("answered {status}: {told}")
    };
    let wait = answer.retry_after(now).filter(|_| kind.passes());
    // What the vendor has refused it has not done; what broke inside of it may be.
    let maybe = status >= 500 || status == 408;
    Some(ConnectorError::new(kind, format!("{vendor} {what}")).after(wait).maybe_done(maybe && request.effect != Effect::Read))
}
