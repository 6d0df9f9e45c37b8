//! Connections to other systems, their credentials, and what those systems call us for.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    commands::Place,
    error::{Error, Reason, Result, Violation, Violations},
    events::is_below,
    names::{ConnectionName, InboundMessageName, shown},
    resource::Meta,
    runs::{Run, RunKind},
    time::{Timestamp, Uid},
};

/// Bytes of a credential, at most.
pub const MAX_CREDENTIAL: usize = 64 << 10;
/// Bytes of settings, written as JSON, at most.
pub const MAX_SETTINGS: usize = 256 << 10;
/// How long a value that was replaced goes on to count when nobody says.
pub const GRACE: Duration = Duration::from_secs(86_400);
/// The longest that it may.
pub const LONGEST_GRACE: Duration = Duration::from_secs(30 * 86_400);
/// How long messages are kept; so long a repeat is known as one.
pub const MESSAGES: Duration = Duration::from_secs(30 * 86_400);

/// A system that can be talked to: what a connection needs, and what can be asked of it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Connector {
    pub kind: &'static str,
    pub display_name: &'static str,
    pub summary: &'static str,
    pub settings: Value,
    pub slots: Vec<Slot>,
    pub operations: Vec<Operation>,
    pub inbound: Option<Inbound>,
    /// It can fetch the files of a repository at a commit.
    pub has_trees: bool,
}

/// A secret that a connection may have.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Slot {
    pub name: &'static str,
    pub summary: &'static str,
    pub required: bool,
}

/// One thing that a connector does.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Operation {
    pub name: &'static str,
    pub summary: &'static str,
    pub effect: &'static str,
    pub input: Value,
    pub output: Value,
}

/// What a connector receives.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Inbound {
    pub slot: &'static str,
    pub kinds: &'static [&'static str],
}

impl Connector {
    /// Where the value of a slot goes when it is replaced, if there is such a place.
    pub fn previous(&self, slot: &str) -> Option<&'static str> {
        self.slots.iter().map(|known| known.name).find(|name| name.strip_prefix("previous_") == Some(slot))
    }

    /// Notes every credential that the connector has no slot for, or that is too large. `field` is what holds them.
    pub fn check_credentials(&self, credentials: &Secrets, field: &str, wrong: &mut Violations) {
        for (slot, value) in &credentials.0 {
            let at = || format!("{field}.{}", shown(slot));
            if !self.slots.iter().any(|known| known.name == slot) {
                let slots = self.slots.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
                wrong.add(at(), format!("{} has no such credential; there are {slots}", self.kind));
            } else if value.len() > MAX_CREDENTIAL {
                wrong.add(at(), format!("at most {MAX_CREDENTIAL} bytes"));
            }
        }
    }
}

/// Secrets by slot. They are shown nowhere.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets(pub BTreeMap<String, String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The credentials of a connection as they are sealed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vault(BTreeMap<String, Kept>);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    value: String,
    set: Timestamp,
    until: Option<Timestamp>,
}

impl Vault {
    /// Puts values into slots. An empty value empties its slot; a value that is replaced goes to the slot for it, if the connector
    /// has one and there is some grace, and counts so much longer.
    pub fn put(&mut self, connector: &Connector, credentials: Secrets, grace: Duration, now: Timestamp) {
        for (slot, value) in credentials.0 {
            let before = self.0.remove(&slot);
            let previous = connector.previous(&slot);
            if let (Some(before), Some(previous)) = (before, previous)
                && before.value != value
                && !grace.is_zero()
            {
                self.0.insert(previous.to_owned(), Kept { until: Some(now.plus(grace)), ..before });
            }
            if !value.is_empty() {
                self.0.insert(slot, Kept { value, set: now, until: None });
            }
        }
        self.0.retain(|_, kept| kept.counts(now));
    }

    /// Those that count at this time.
    pub fn open(self, now: Timestamp) -> Secrets {
        Secrets(self.0.into_iter().filter(|(_, kept)| kept.counts(now)).map(|(slot, kept)| (slot, kept.value)).collect())
    }

    /// Whether it holds just these values now, apart from those that run out.
    pub fn holds(&self, credentials: &Secrets) -> bool {
        let kept = self.0.iter().filter(|(_, kept)| kept.until.is_none()).map(|(slot, kept)| (slot, &kept.value));
        kept.eq(credentials.0.iter().filter(|(_, value)| !value.is_empty()))
    }

    /// Names of its slots that do not run out.
    pub fn slots(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, kept)| kept.until.is_none()).map(|(slot, _)| slot.as_str())
    }

    /// What may be told of it.
    pub fn facts(&self) -> BTreeMap<String, SlotFacts> {
        self.0.iter().map(|(slot, kept)| (slot.clone(), SlotFacts { set: kept.set, until: kept.until })).collect()
    }
}

impl Kept {
    fn counts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|end| now < end)
    }
}

/// What may be told of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotFacts {
    /// When its value was set.
    pub set: Timestamp,
    /// When it stops to count.
    pub until: Option<Timestamp>,
}

/// Who decides about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Manager {
    /// Whoever may, by calls.
    Api,
    /// The environment of the server.
    Environment,
}

/// Why and since when a connection is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// Why.
    pub reason: String,
    /// Since when.
    pub time: Timestamp,
}

/// A system of one tenant that is talked to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// `tenants/{tenant}/connections/{connection}`.
    pub name: ConnectionName,
    /// Identity and version.
    pub meta: Meta,
    /// The connector.
    pub connector: String,
    /// Its settings; no secrets.
    pub settings: Map<String, Value>,
    /// Grows with settings and credentials: whatever was opened for an earlier one is of no use.
    pub revision: u64,
    /// What may be told of the credentials.
    pub slots: BTreeMap<String, SlotFacts>,
    /// Absent while it is used.
    pub disabled: Option<Disabled>,
    /// Nothing is ever changed over it.
    pub dry_run: bool,
    /// What the last test found.
    pub last_check: Option<Check>,
    /// Who decides about it.
    pub manager: Manager,
}

impl Connection {
    /// Fails unless calls may change it.
    pub fn expect_manageable(&self) -> Result<()> {
        match self.manager {
            Manager::Api => Ok(()),
            Manager::Environment => Err(Error::new(
                Reason::StateNotAllowed,
                format!(
                    "{} comes from the environment that the server is started with; change it there and restart the server",
                    self.name
                ),
            )
            .with("resource", &self.name)
            .with("state", "ENVIRONMENT")
            .with("allowed_states", "API")),
        }
    }

    /// Where this run of a deployment is shown over it, whoever has begun it. Looks for drift change nothing and come by themselves,
    /// so they are shown nowhere.
    pub fn shows(&self, run: &Run) -> Option<Place> {
        let setting = |name: &str| self.settings.get(name).and_then(Value::as_str);
        let channel = setting("runs_channel").filter(|_| self.disabled.is_none() && run.kind != RunKind::Drift)?;
        let shown = is_below(&run.name.to_string(), setting("runs_below").unwrap_or_default());
        shown.then(|| Place::Slack { channel: channel.to_owned() })
    }

    /// Fails while it is disabled.
    pub fn expect_enabled(&self) -> Result<()> {
        let Some(Disabled { reason, .. }) = &self.disabled else { return Ok(()) };
        let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        Err(Error::new(Reason::ConnectionUnconfigured, format!("{} is disabled{why}; enable it first", self.name))
            .with("connector", &self.connector)
            .with("resource", &self.name))
    }
}

/// What a test of a connection found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Check {
    pub time: Timestamp,
    pub ok: bool,
    pub detail: String,
    pub identity: String,
    pub scopes: Vec<String>,
    pub version: String,
    pub error_kind: String,
}

/// How a connection fares in one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Health {
    pub breaker: &'static str,
    pub remaining: Option<u64>,
    pub in_flight: usize,
    pub waiting: usize,
}

/// What a connection is called with: all that a connector has to know of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Uid of the connection.
    pub uid: Uid,
    /// Its revision.
    pub revision: u64,
    /// The connector.
    pub connector: String,
    /// Its settings.
    pub settings: Value,
    /// Its credentials.
    pub credentials: Secrets,
}

/// A call of another system, as it came in.
#[derive(Clone)]
pub struct InboundRequest {
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// When it came.
    pub received: Timestamp,
}

/// A call of another system that is proven.
#[derive(Clone)]
pub struct Received {
    /// The system's id of the delivery.
    pub delivery_id: String,
    /// SHA-256 in hex of what was signed.
    pub digest: String,
    /// What happened.
    pub kind: String,
    /// What the system says about it.
    pub payload: Value,
    /// What to answer at once; an empty answer otherwise.
    pub reply: Option<Value>,
}

/// A call of another system that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why, for programs: `missing`, `forged`, `late`, `malformed` or `unconfigured`.
    pub reason: &'static str,
    /// Why, for the operator's log; nothing of the call's content.
    pub message: String,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MessageState {
    /// It is kept, and what it asks for will be done.
    Received,
    /// What it asks for was done, or it asks for nothing.
    Handled,
    /// What it asks for could not be done.
    Failed,
}

impl MessageState {
    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Handled => "HANDLED",
            Self::Failed => "FAILED",
        }
    }
}

/// What a system called us for; its payload is kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundMessage {
    /// Its name.
    pub name: InboundMessageName,
    /// When it came.
    pub received: Timestamp,
    /// The system's id of the delivery.
    pub delivery_id: String,
    /// SHA-256 in hex of what was signed.
    pub digest: String,
    /// What happened.
    pub kind: String,
    /// What became of it.
    pub state: MessageState,
    /// Why nothing became of it, or why nobody was told.
    pub error: String,
}

/// Violations as a connector tells them, with paths that begin at this field of the request.
pub fn below(field: &str, violations: impl IntoIterator<Item = Violation>) -> Vec<Violation> {
    let path = |inner: &str| match inner {
        "" => field.to_owned(),
        inner if inner.starts_with('[') => format!("{field}{inner}"),
        inner => format!("{field}.{inner}"),
    };
    violations.into_iter().map(|violation| Violation::new(path(&violation.field), violation.description)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector() -> Connector {
        let slot = |name| Slot { name, summary: "", required: false };
        Connector {
            kind: "webhook",
            display_name: "",
            summary: "",
            settings: Value::Null,
            slots: vec![slot("secret"), slot("previous_secret"), slot("token")],
            operations: Vec::new(),
            inbound: None,
            has_trees: false,
        }
    }

    fn secrets<const N: usize>(values: [(&str, &str); N]) -> Secrets {
        Secrets(values.map(|(slot, value)| (slot.to_owned(), value.to_owned())).into())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_replaced_value_counts_until_its_grace_is_over() {
        let (connector, hour) = (connector(), Duration::from_secs(3600));
        let mut vault = Vault::default();
        vault.put(&connector, secrets([("secret", "a"), ("token", "t")]), hour, at(0));
        vault.put(&connector, secrets([("secret", "b"), ("token", "u")]), hour, at(10));

        let both = secrets([("secret", "b"), ("previous_secret", "a"), ("token", "u")]);
        assert_eq!(vault.clone().open(at(3609)), both);
        assert_eq!(vault.clone().open(at(3610)), secrets([("secret", "b"), ("token", "u")]));
        assert_eq!(vault.facts()["previous_secret"], SlotFacts { set: at(0), until: Some(at(3610)) });
        assert!(vault.holds(&secrets([("secret", "b"), ("token", "u")])) && !vault.holds(&secrets([("secret", "b")])));

        // The same value again is no replacement, and does not take the place of the one before.
        vault.put(&connector, secrets([("secret", "b")]), hour, at(20));
        assert_eq!(vault.clone().open(at(21)), both);
        // Without grace the old one is gone at once, and an empty value empties the slot.
        vault.put(&connector, secrets([("secret", "c"), ("previous_secret", "")]), Duration::ZERO, at(30));
        assert_eq!(vault.clone().open(at(31)), secrets([("secret", "c"), ("token", "u")]));
        vault.put(&connector, secrets([("token", "")]), hour, at(40));
        assert_eq!(vault.open(at(41)), secrets([("secret", "c")]));
    }

    #[test]
    fn no_secret_is_shown() {
        let given = secrets([("token", "hunter2"), ("tokn", "hunter2")]);
        assert_eq!(format!("{given:?}"), r#"{"token", "tokn"}"#);
        let mut wrong = Violations::new();
        connector().check_credentials(&given, "connection.credentials", &mut wrong);
        let error = wrong.finish().expect_err("there is no such slot");
        assert_eq!(error.violations().len(), 1);
        assert_eq!(error.violations()[0].field, "connection.credentials.tokn");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
