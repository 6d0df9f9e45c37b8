//! One HTTP exchange, with all its limits.

use std::{error::Error as _, sync::Arc, time::Duration};

use freehold_domain::time::Clock;
use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};
use serde_json::Value;

use super::policy::{CheckedResolver, Policy};
use crate::StepError;

/// How long one exchange may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;
/// How often a request that may be repeated is sent.
const TRIES: u32 = 3;
/// Longest wait that a server may ask for between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Sends requests within a policy.
pub(crate) struct HttpClient {
    client: Client,
    policy: Arc<Policy>,
    clock: Arc<dyn Clock>,
}

/// One request.
pub(crate) struct Exchange<'a> {
    pub method: &'a str,
    pub url: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: Option<&'a Value>,
    /// For services that drop repeats; sent on methods that are not safe.
    pub key: Option<&'a str>,
    /// Sending it again does no harm.
    pub repeatable: bool,
}

/// What came back.
pub(crate) struct Answer {
    pub status: u16,
    /// JSON if it is some, text otherwise, null when empty.
    pub body: Value,
}

impl HttpClient {
    /// # Errors
    /// The TLS library finds no trusted roots on this machine.
    pub fn new(policy: Arc<Policy>, clock: Arc<dyn Clock>) -> Result<Self, StepError> {
        // The TLS library asks the process for its provider. One that is there already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .dns_resolver(CheckedResolver(Arc::clone(&policy)))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .retry(reqwest::retry::never())
            .user_agent(concat!("freehold/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                StepError::new("http-client", format!("no HTTP client can be made: {error}"))
                    .hint("install the certificates of public authorities on the runner")
            })?;
        Ok(Self { client, policy, clock })
    }

    /// Sends a request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// Those after the request may have arrived are marked uncertain when it is not a plain look.
    pub async fn send(&self, exchange: &Exchange<'_>) -> Result<Answer, StepError> {
        let mut tries = 1;
        loop {
            let result = self.send_once(exchange).await;
            let wait = match &result {
                Ok((answer, wait)) if matches!(answer.status, 429 | 503) => wait.unwrap_or(Duration::from_secs(1)),
                Err(error) if error.retryable => Duration::from_millis(200),
                _ => Duration::ZERO,
            };
            let passes = match &result {
                Ok((answer, _)) => matches!(answer.status, 429 | 503),
                Err(error) => error.retryable,
            };
            if !passes || !exchange.repeatable || tries == TRIES || wait > LONGEST_WAIT {
                return result.map(|(answer, _)| answer);
            }
            tries += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn send_once(&self, exchange: &Exchange<'_>) -> Result<(Answer, Option<Duration>), StepError> {
        let url: Url = exchange.url.parse().map_err(|_| invalid("the URL cannot be read"))?;
        self.policy.check_url(&url)?;
        let method = Method::from_bytes(exchange.method.as_bytes()).map_err(|_| invalid("the method cannot be read"))?;
        let safe = matches!(exchange.method, "GET" | "HEAD");
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut headers = header_map(&exchange.headers)?;
        if let Some(key) = exchange.key.filter(|_| !safe) {
            let key = HeaderValue::from_str(key).map_err(|_| invalid("the idempotency key is no header value"))?;
            headers.insert(HeaderName::from_static("idempotency-key"), key);
        }
        let mut request = self.client.request(method, url);
        match exchange.body {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain; charset=utf-8"));
                request = request.body(text.clone());
            }
            Some(json) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                request = request.body(json.to_string());
            }
        }
        let response = request.headers(headers).send().await.map_err(|error| transport(&error, &host, safe))?;
        let status = response.status();
        let wait = retry_after(response.headers(), self.clock.as_ref());
        let body = read(response, status, &host, safe).await?;
        Ok((Answer { status: status.as_u16(), body }, wait))
    }
}

async fn read(mut response: Response, status: StatusCode, host: &str, safe: bool) -> Result<Value, StepError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error, host, safe))? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            let error =
                StepError::new("http-answer-too-large", format!("`{host}` answered {status} with more than {MAX_ANSWER} bytes"));
            return Err(if safe { error } else { error.uncertain() });
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())))
}

/// The URL is left out of the text: its query may hold secrets.
fn transport(error: &reqwest::Error, host: &str, safe: bool) -> StepError {
    // A refusal by the policy comes out of the depths of the connector; it is told as it was.
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<StepError>() {
            return refusal.clone();
        }
        cause = inner.source();
    }
    let (code, what) = if error.is_connect() {
        ("http-unreachable", "cannot be reached")
    } else if error.is_timeout() {
        ("http-timeout", "did not answer in time")
    } else {
        ("http-broken", "broke off the exchange")
    };
    let mut root: &dyn std::error::Error = error;
    while let Some(inner) = root.source() {
        root = inner;
    }
    let told = if root.is::<reqwest::Error>() { String::new() } else { format!(": {root}") };
    let failure =
        StepError::new(code, format!("`{host}` {what}{told}")).hint("look at the service and at the network").retryable();
    if safe || error.is_connect() { failure } else { failure.uncertain() }
}

fn invalid(message: &str) -> StepError {
    StepError::new("attribute-invalid", message).hint("look at the attributes of this resource")
}

fn header_map(headers: &[(&str, &str)]) -> Result<HeaderMap, StepError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(&format!("`{name}` is not the name of a header")))?;
        let mut value =
            HeaderValue::from_str(value).map_err(|_| invalid(&format!("the value of the header `{name}` is not one")))?;
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Ok(map)
}

/// The wait a server asks for: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    let left = date.as_microsecond().saturating_sub(clock.now().as_micros());
    Some(Duration::from_micros(u64::try_from(left).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use freehold_domain::time::Timestamp;

    use super::*;

    struct At(i64);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0)
        }
    }

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let clock = At(784_111_777_000_000); // Sun, 06 Nov 1994 08:49:37 GMT
        for (value, expected) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers, &clock), expected.map(Duration::from_secs), "{value}");
        }
    }
}
