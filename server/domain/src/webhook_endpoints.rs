//! Receivers of events over HTTP, and when nothing is sent to one any more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    error::Violations,
    events::{Logged, Selection},
    names::WebhookEndpointName,
    network::AddressPolicy,
    resource::Meta,
    time::Timestamp,
};

/// The longest URL, in bytes.
pub const MAX_URL: usize = 2048;
/// The largest bundle of authorities, in bytes.
pub const MAX_CA_BUNDLE: usize = 64 << 10;
/// An endpoint that nothing has reached for so long is disabled.
pub const PATIENCE: Duration = Duration::from_secs(3 * 86_400);
/// How long the secret before the present one signs as well, when nobody says.
pub const GRACE: Duration = Duration::from_secs(86_400);
/// The longest that it may.
pub const MAX_GRACE: Duration = Duration::from_secs(7 * 86_400);

/// A receiver of events over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct WebhookEndpoint {
    pub name: WebhookEndpointName,
    pub meta: Meta,
    pub url: String,
    /// The resource whose events it gets, with all below it.
    pub below: String,
    pub kinds: Vec<String>,
    pub filter: String,
    pub ordered: bool,
    /// Why and since when nothing is sent; `None` while it is enabled.
    pub disabled: Option<Disabled>,
    pub failing_since: Option<Timestamp>,
    pub previous_secret_expire_time: Option<Timestamp>,
    pub ca_bundle: String,
    /// It gets what happens from then on.
    pub since: Timestamp,
}

/// Why nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Disabled {
    pub reason: String,
    pub time: Timestamp,
}

/// What deliveries are signed with. Sealed wherever it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as they are called")]
pub struct Secrets {
    pub secret: String,
    /// The one before it, and until when it signs as well.
    pub previous: Option<(String, Timestamp)>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Puts a new secret in the place of the present one, which signs as well until then.
    #[must_use]
    pub fn rotated(self, secret: String, until: Timestamp) -> Self {
        Self { secret, previous: Some((self.secret, until)) }
    }

    /// The one before, while it signs as well.
    pub fn previous(&self, now: Timestamp) -> Option<&str> {
        self.previous.as_ref().filter(|(_, until)| now < *until).map(|(secret, _)| secret.as_str())
    }
}

impl WebhookEndpoint {
    /// What it wants. What is wrong with that was said when it was written.
    pub fn selection(&self) -> Selection {
        Selection::new(self.below.clone(), self.kinds.clone(), &self.filter, &mut Violations::new())
    }

    /// Whether this event is sent to it.
    pub fn wants(&self, selection: &Selection, logged: &Logged) -> bool {
        self.disabled.is_none() && logged.announced.time >= self.since && selection.admits(logged)
    }

    /// Stops sending. Changes nothing when that was done before.
    pub fn disable(&mut self, reason: &str, now: Timestamp) {
        if self.disabled.is_none() {
            self.disabled = Some(Disabled { reason: reason.to_owned(), time: now });
        }
    }

    /// Sends again, what happens from now on.
    pub fn enable(&mut self, now: Timestamp) {
        if self.disabled.take().is_some() {
            (self.failing_since, self.since) = (None, now);
        }
    }

    /// Something has arrived, or has not. Answers whether that has changed it: it is disabled when nothing has arrived for
    /// [`PATIENCE`].
    pub fn tried(&mut self, arrived: bool, now: Timestamp) -> bool {
        match (arrived, self.failing_since) {
            (true, None) => false,
            (true, Some(_)) => {
                self.failing_since = None;
                true
            }
            (false, None) => {
                self.failing_since = Some(now);
                true
            }
            (false, Some(since)) if now.since(since) >= PATIENCE && self.disabled.is_none() => {
                self.disable("nothing has reached it for three days; mend the receiver and enable it again", now);
                true
            }
            (false, Some(_)) => false,
        }
    }
}

/// Checks an address that somebody wants deliveries sent to.
pub fn check_url(url: &str, policy: &AddressPolicy) -> Result<(), String> {
    if url.len() > MAX_URL {
        return Err(format!("at most {MAX_URL} bytes"));
    }
    let form = "an address as in https://receiver.example/freehold";
    let parsed = url::Url::parse(url).map_err(|why| format!("{why}; write {form}"))?;
    let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| format!("has no host; write {form}"))?;
    match parsed.scheme() {
        "https" => {}
        "http" if policy.allows_private() => {}
        "http" => return Err("only https is spoken to the world; give the receiver a certificate".to_owned()),
        other => return Err(format!("`{other}` is not spoken; write {form}")),
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("names and passwords do not belong into addresses; deliveries are signed instead".to_owned());
    }
    policy.check(host).map_err(|refusal| refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{resource::Described, time::Uid};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn endpoint() -> WebhookEndpoint {
        WebhookEndpoint {
            name: "tenants/acme/webhookEndpoints/ops".parse().expect("valid"),
            meta: Meta::new(Uid(uuid::Uuid::nil()), Described::default(), "platform/admin", at(0)),
            url: "https://receiver.example/".to_owned(),
            below: "tenants/acme".to_owned(),
            kinds: Vec::new(),
            filter: String::new(),
            ordered: false,
            disabled: None,
            failing_since: None,
            previous_secret_expire_time: None,
            ca_bundle: String::new(),
            since: at(0),
        }
    }

    #[test]
    fn an_endpoint_that_nothing_reaches_for_three_days_is_disabled_once() {
        let mut endpoint = endpoint();
        assert!(!endpoint.tried(true, at(1)), "nothing new");
        assert!(endpoint.tried(false, at(10)) && !endpoint.tried(false, at(11)));
        assert!(endpoint.tried(true, at(12)) && endpoint.failing_since.is_none(), "one that arrives mends it");
        endpoint.tried(false, at(20));
        let end = 20 + 3 * 86_400;
        assert!(!endpoint.tried(false, at(end - 1)) && endpoint.disabled.is_none());
        assert!(endpoint.tried(false, at(end)) && endpoint.disabled.is_some());
        assert!(!endpoint.tried(false, at(end + 1)));
        endpoint.enable(at(end + 2));
        assert_eq!((endpoint.disabled.clone(), endpoint.failing_since, endpoint.since), (None, None, at(end + 2)));
    }

    #[test]
    fn the_secret_before_signs_until_its_grace_is_over() {
        let secrets = Secrets { secret: "one".to_owned(), previous: None }.rotated("two".to_owned(), at(10));
        assert_eq!((secrets.secret.as_str(), secrets.previous(at(9)), secrets.previous(at(10))), ("two", Some("one"), None));
        assert_eq!(format!("{secrets:?}"), "Secrets");
    }

    #[test]
    fn deliveries_are_sent_to_public_addresses_only() {
        let (open, closed) = (AddressPolicy::new(&[], true), AddressPolicy::new(&[], false));
        for (url, public, private) in [
            ("https://receiver.example/in?x=1", true, true),
            ("http://receiver.example/", false, true),
            ("https://127.0.0.1:8443/", false, true),
            ("https://2130706433/", false, true),
            ("https://0x7f.1/", false, true),
            ("https://[::ffff:10.0.0.1]/", false, true),
            ("https://169.254.169.254/latest/meta-data", false, false),
            ("https://[fd00:ec2::254]/", false, false),
            ("ftp://receiver.example/", false, false),
            ("https://ada:secret@receiver.example/", false, false),
            ("receiver.example", false, false),
            ("https://", false, false),
            ("", false, false),
        ] {
            assert_eq!(check_url(url, &closed).is_ok(), public, "{url}");
            assert_eq!(check_url(url, &open).is_ok(), private, "{url}");
        }
    }
}
