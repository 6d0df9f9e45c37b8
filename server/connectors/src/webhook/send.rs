//! Deliveries to a receiver.

use freehold_domain::{
    Violation,
    time::{Timestamp, Uid},
};
use reqwest::{
    Method,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Settings, secrets};
use crate::{
    ConnectorError, Context, Credentials, Effect, ErrorKind, Halt,
    outbound::{Answer, Dialect, Request, by_status},
    standard_webhooks::{self, ID, SIGNATURE, TIMESTAMP},
};

/// How much of a receiver's body is kept.
const KEPT: usize = 4096;
/// Most bytes of a receiver's body.
const MAX_ANSWER: usize = 1 << 20;
/// Headers of an answer that are kept as they are; of others only the name is.
const SHOWN: [&str; 8] =
    ["content-type", "content-length", "date", "server", "retry-after", "x-request-id", "x-correlation-id", "allow"];
/// Headers that are ours to set.
const OURS: [&str; 8] =
    [ID, TIMESTAMP, SIGNATURE, "authorization", "content-type", "content-length", "host", "transfer-encoding"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delivery {
    #[serde(rename = "type")]
    kind: String,
    data: Value,
    timestamp: Option<String>,
    id: Option<String>,
}

impl Delivery {
    /// One that says nothing.
    pub fn test(id: Uid) -> Self {
        Self { kind: "freehold.test".to_owned(), data: json!({}), timestamp: None, id: Some(format!("test_{id}")) }
    }
}

/// What is wrong with a header that somebody wants to send along.
pub(super) fn check_header(name: &str, value: &str) -> Option<Violation> {
    let wrong = |what: &str| Some(Violation::new(format!("headers.{name}"), what));
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return wrong("is not the name of a header");
    }
    if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
        return wrong("is set by Freehold; leave it out, and give secrets as credentials");
    }
    if HeaderValue::from_str(value).is_err() { wrong("is not the value of a header") } else { None }
}

/// Delivers an event. The time that is signed is that of the attempt, so each attempt of a later call is signed anew.
pub(super) async fn deliver(cx: &Context, delivery: Delivery) -> Result<Value, Halt> {
    let settings: Settings = cx.settings()?;
    let url = settings.url.clone().ok_or_else(|| ConnectorError::unconfigured("the connection has no `url` to deliver to"))?;
    let now = cx.now();
    // Without an id of its own it is a new event each time.
    let key = delivery.id.or_else(|| cx.key.clone());
    let keyed = key.is_some();
    let id = key.unwrap_or_else(|| format!("msg_{}", cx.outbound.environment.random.uid()));
    let time = delivery.timestamp.unwrap_or_else(|| now.to_string());
    let body = json!({ "type": delivery.kind, "timestamp": time, "data": delivery.data }).to_string();

    let build = |credentials: &Credentials| {
        let secrets = secrets(credentials, ["secret", "previous_secret"])?;
        let mut request =
            Request::new("deliver", Effect::Keyed, Method::POST, url.clone()).body("application/json", body.clone());
        (request.json, request.keyed, request.max_answer) = (false, keyed, MAX_ANSWER);
        for (name, value) in &settings.headers {
            request = request.header(name, value)?;
        }
        request = request.header(ID, &id)?.header(TIMESTAMP, &standard_webhooks::seconds(now))?;
        if !secrets.is_empty() {
            request = request.header(SIGNATURE, &standard_webhooks::sign(&secrets, &id, now, body.as_bytes()))?;
        }
        match credentials.get("authorization") {
            Some(value) => request.header("authorization", value),
            None => Ok(request),
        }
    };
    let answer = cx.send_with(&Receiver, build).await?;
    let mut sent = kept(&answer);
    (sent["id"], sent["outcome"]) = (id.into(), "delivered".into());
    Ok(sent)
}

/// What is kept of an answer, whether it is a success or not.
fn kept(answer: &Answer) -> Value {
    json!({ "status": answer.status, "headers": headers(&answer.headers), "body": beginning(answer) })
}

/// What receivers mean by their answers: success is 2xx, 410 says never again, what passes may be repeated.
struct Receiver;

impl Dialect for Receiver {
    fn vendor(&self) -> &'static str {
        "the receiver"
    }

    fn judge(&self, request: &Request, answer: &Answer, now: Timestamp) -> Option<ConnectorError> {
        let mut error = by_status("the receiver", request, answer, now)?;
        error.answer = Some(Box::new(kept(answer)));
        let shown = beginning(answer);
        if !shown.is_empty() && answer.told().is_empty() {
            error.message += &format!(": {}", shown.chars().take(300).collect::<String>());
        }
        if answer.status == 410 {
            error.kind = ErrorKind::Permanent;
            error.message = "the receiver answered 410: it wants no more deliveries; disable the connection".to_owned();
            return Some(error.code("gone"));
        }
        // Whatever breaks inside a receiver may be mended: it is up to it, not to us.
        if answer.status >= 500 {
            error.kind = ErrorKind::Transient;
            error.retry_after = answer.retry_after(now);
        }
        Some(error)
    }
}

fn beginning(answer: &Answer) -> String {
    let kept = answer.body.get(..KEPT).unwrap_or(&answer.body);
    String::from_utf8_lossy(kept).into_owned()
}

/// The headers of an answer for people; who knows what others hold.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let shown = |name: &str, value: &HeaderValue| match value.to_str() {
        Ok(value) if SHOWN.contains(&name) => value.to_owned(),
        _ => "(hidden)".to_owned(),
    };
    headers.iter().map(|(name, value)| (name.to_string(), Value::String(shown(name.as_str(), value)))).collect()
}
