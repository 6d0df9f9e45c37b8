//! The one trait of all vendors, and what it speaks of.

use freehold_domain::{Violation, commands::Ask, scrapes::Missed, time::Timestamp};
use futures::future::{BoxFuture, FutureExt as _, ready};
use serde_json::{Value, json};

use crate::{
    ConnectorError, Context, Credentials, ErrorKind, Halt, Inbound, InboundRequest, OAuth, Refused, Trees,
    outbound::Limits,
    schema::{self, Schema},
};

/// What doing it once more means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing changes.
    Read,
    /// The second time changes nothing.
    Idempotent,
    /// The receiver drops the second one by its key.
    Keyed,
    /// It happens twice.
    Unsafe,
}

impl Effect {
    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Idempotent => "idempotent",
            Self::Keyed => "keyed",
            Self::Unsafe => "unsafe",
        }
    }
}

/// What a connector is and can do.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its stable name, for example `github`.
    pub kind: &'static str,
    /// Its name for people.
    pub display_name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// JSON Schema of the settings of a connection.
    pub settings: Value,
    /// Secrets that a connection may have.
    pub credentials: Vec<CredentialSlot>,
    /// What can be asked of it.
    pub operations: Vec<Operation>,
    /// What it receives; nothing when the vendor never calls.
    pub inbound: Option<InboundManifest>,
}

/// A secret of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialSlot {
    /// Its name.
    pub name: &'static str,
    /// What it is, and where a person finds it.
    pub summary: &'static str,
    /// Whether nothing works without it.
    pub required: bool,
}

/// What a connector receives.
#[derive(Clone, Debug)]
pub struct InboundManifest {
    /// The credential that proves who calls.
    pub credential: &'static str,
    /// Names of what is understood; others are taken and passed on as they are.
    pub kinds: &'static [&'static str],
}

/// One thing that a connector does.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its stable name, for example `issues.create`.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What doing it once more means.
    pub effect: Effect,
    /// JSON Schema of the input.
    pub input: Value,
    /// JSON Schema of the output.
    pub output: Value,
}

impl Operation {
    pub(crate) fn new(name: &'static str, effect: Effect, summary: &'static str, input: Schema) -> Self {
        Self { name, summary, effect, input: input.into_value(), output: schema::open_object().into_value() }
    }

    /// Says what comes out of it.
    #[must_use]
    pub(crate) fn output(mut self, output: Schema) -> Self {
        self.output = output.into_value();
        self
    }
}

/// What a test of a connection found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// It works.
    pub ok: bool,
    /// What was found, for people.
    pub detail: String,
    /// Whom the vendor takes us for.
    pub identity: Option<String>,
    /// What the vendor lets us do, where it says so.
    pub scopes: Vec<String>,
    /// Version of the vendor's server, where it has one.
    pub version: Option<String>,
    /// Why it does not work.
    pub error: Option<ConnectorError>,
}

impl CheckReport {
    pub(crate) fn good(detail: impl Into<String>) -> Self {
        Self { ok: true, detail: detail.into(), identity: None, scopes: Vec::new(), version: None, error: None }
    }
}

/// One vendor. A value of it has no connection and no secret; both come with each call.
pub trait Connector: Send + Sync {
    /// What it is and can do.
    fn manifest(&self) -> &Manifest;

    /// Everything that is wrong with the settings of a connection.
    fn check(&self, settings: &Value) -> Vec<Violation> {
        schema::check(&self.manifest().settings, settings, "")
    }

    /// The limits of a connection with these settings.
    fn limits(&self, _settings: &Value) -> Limits {
        Limits::default()
    }

    /// Carries out an operation whose input was checked. [`invoke`](Self::invoke) is what to call.
    fn perform<'a>(&'a self, cx: &'a Context, operation: &'static str, input: Value) -> BoxFuture<'a, Result<Value, Halt>>;

    /// Asks the vendor who we are. [`test`](Self::test) is what to call.
    fn examine<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<CheckReport, Halt>>;

    /// Carries out an operation. In a dry run nothing is changed, and the answer says what would have been sent.
    ///
    /// # Errors
    /// `Invalid` with every wrong field, or whatever the vendor says, without secrets.
    fn invoke<'a>(&'a self, cx: &'a Context, operation: &'a str, input: Value) -> BoxFuture<'a, Result<Value, ConnectorError>> {
        async move {
            let manifest = self.manifest();
            let Some(known) = manifest.operations.iter().find(|known| known.name == operation) else {
                let names = manifest.operations.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
                let message = format!("{} has no operation `{operation}`; there are {names}", manifest.kind);
                return Err(ConnectorError::new(ErrorKind::Invalid, message));
            };
            let violations = schema::check(&known.input, &input, "");
            if !violations.is_empty() {
                return Err(ConnectorError::invalid(violations));
            }
            cx.finish(self.perform(cx, known.name, input).await).await
        }
        .boxed()
    }

    /// Asks the vendor who we are and whether that suffices. A connection that does not work is a report, not an error.
    fn test<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, CheckReport> {
        async move {
            let violations = self.check(&cx.settings);
            let examined =
                if violations.is_empty() { self.examine(cx).await } else { Err(ConnectorError::invalid(violations).into()) };
            let error = match cx.settle(examined).await {
                Ok(report) => return report,
                Err(error) => error,
            };
            CheckReport { ok: false, error: Some(error.clone()), ..CheckReport::good(error.message) }
        }
        .boxed()
    }

    /// Proves that a call comes from the vendor, and reads it. Whether it came before is for the caller to see, by
    /// [`Inbound::delivery_id`] and [`Inbound::digest`].
    ///
    /// # Errors
    /// For everything that is not proven.
    fn verify(&self, _settings: &Value, _credentials: &Credentials, _request: &InboundRequest) -> Result<Inbound, Refused> {
        Err(Refused::unconfigured(format!("{} receives nothing", self.manifest().kind)))
    }

    /// What a person asks for by a call of this kind that was proven; `None` where nobody asks for anything.
    fn ask(&self, _kind: &str, _payload: &Value) -> Option<Ask> {
        None
    }

    /// Whether the vendor says which deliveries to a connection with these settings did not arrive.
    fn tells_missed(&self, _settings: &Value) -> bool {
        false
    }

    /// Deliveries since a moment that the vendor says did not arrive; none where the vendor does not say.
    fn missed<'a>(&'a self, _cx: &'a Context, _since: Timestamp) -> BoxFuture<'a, Result<Vec<Missed>, ConnectorError>> {
        ready(Ok(Vec::new())).boxed()
    }

    /// Asks the vendor to send a delivery again.
    fn redeliver<'a>(&'a self, _cx: &'a Context, missed: &'a Missed) -> BoxFuture<'a, Result<(), ConnectorError>> {
        let message = format!("{} cannot send `{}` again", self.manifest().kind, missed.delivery_id);
        ready(Err(ConnectorError::new(ErrorKind::Invalid, message))).boxed()
    }

    /// How the files of a repository are fetched at a commit, where the vendor keeps repositories.
    fn trees(&self) -> Option<&dyn Trees> {
        None
    }

    /// How a person grants access at the vendor, where there is such a way.
    fn oauth(&self) -> Option<&dyn OAuth> {
        None
    }
}

/// The settings that connections of every kind have.
pub(crate) fn ca_bundle(settings: &Value) -> Option<&str> {
    settings.get("ca_bundle").and_then(Value::as_str)
}

/// An answer that only says that it is done.
pub(crate) fn done() -> Value {
    json!({ "done": true })
}
