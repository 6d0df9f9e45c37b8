//! Every call has an id, the caller's or ours, which is in each of its log lines, errors and answers.

use std::{fmt, sync::Arc};

use freehold_domain::time::Random;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Next, Request, Response, Step};

/// Header of the id, both ways.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Id of a call, in its extensions: 1 to 64 of letters, digits, `.`, `_`, `:` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// W3C trace id of a call, 32 hex digits, in its extensions when the caller traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceId(Arc<str>);

impl TraceId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(crate) struct GiveRequestId {
    pub(crate) random: Arc<dyn Random>,
}

impl Step for GiveRequestId {
    async fn run(&self, mut request: Request, next: &impl Next) -> Response {
        let id = given(request.headers()).unwrap_or_else(|| RequestId(self.random.uid().to_string().into()));
        let header = HeaderValue::from_str(id.as_str()).expect("made of visible ASCII");
        if let Some(trace) = trace(request.headers()) {
            request.extensions_mut().insert(trace);
        }
        request.extensions_mut().insert(id);
        let mut response = next.run(request).await;
        response.headers_mut().insert(HEADER, header);
        response
    }
}

/// The caller's id, if it can stand in a log.
fn given(headers: &HeaderMap) -> Option<RequestId> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let sane = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
    sane.then(|| RequestId(text.into()))
}

/// The trace id of `version-traceid-parentid-flags` (W3C Trace Context, section 3.2).
fn trace(headers: &HeaderMap) -> Option<TraceId> {
    let text = headers.get(TRACE_PARENT)?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let well = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    // Later versions may append parts; version 0 has none.
    let whole = version != "00" || parts.next().is_none();
    (well && whole && !zero(trace) && !zero(parent)).then(|| TraceId(trace.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("valid"))])
    }

    #[test]
    fn ids_that_could_spoil_a_log_are_replaced() {
        for (value, taken) in
            [("a", true), ("01890a5d-ac96-774b-bcce-b302099a8057", true), ("", false), ("a b", false), ("a\"b", false)]
        {
            assert_eq!(given(&headers(HEADER, value)).is_some(), taken, "{value}");
        }
        assert!(given(&headers(HEADER, &"a".repeat(65))).is_none());
    }

    #[test]
    fn trace_ids_are_read_as_the_standard_says() {
        let (trace_id, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for (value, expected) in [
            (format!("00-{trace_id}-{parent}-01"), true),
            (format!("01-{trace_id}-{parent}-01-more"), true),
            (format!("00-{trace_id}-{parent}-01-more"), false),
            (format!("ff-{trace_id}-{parent}-01"), false),
            (format!("00-{}-{parent}-01", "0".repeat(32)), false),
            (format!("00-{}-{parent}-01", trace_id.to_uppercase()), false),
            (format!("00-{trace_id}-{parent}"), false),
        ] {
            assert_eq!(trace(&headers(TRACE_PARENT, &value)).is_some(), expected, "{value}");
        }
    }
}
