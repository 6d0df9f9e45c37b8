//! What the service needs of those who talk to other systems.

use std::{pin::Pin, time::Duration};

use freehold_domain::{
    Error, Result, Violation,
    blueprints::Folder,
    commands::Ask,
    connections::{Check, Connector, Health, InboundRequest, Received, Refused, Secrets, Target},
    scrapes::Missed,
    time::{Timestamp, Uid},
};
use serde_json::Value;

/// An answer that takes a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One call of another system.
#[derive(Clone, Debug)]
pub struct Call {
    /// The operation.
    pub operation: String,
    /// Its input.
    pub input: Value,
    /// Names the call where the system knows keys.
    pub key: Option<String>,
    /// Changes nothing.
    pub dry_run: bool,
    /// How long it may take.
    pub time: Duration,
}

/// What all connections of one connector come to.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The connector.
    pub connector: &'static str,
    /// Calls by operation and outcome.
    pub calls: Vec<(&'static str, &'static str, u64)>,
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests that were sent.
    pub requests: u64,
    /// How long they took together.
    pub took: Duration,
    /// Upper bounds in seconds, with requests that took no longer and fit into none before.
    pub latency: Vec<(f64, u64)>,
    /// Connections whose calls are refused, because those before them failed.
    pub open_breakers: usize,
    /// Requests under way.
    pub in_flight: usize,
    /// Calls that wait for their turn.
    pub waiting: usize,
}

/// Talks to other systems. No text and no error that it answers with holds a credential.
pub trait Connectors: Send + Sync + 'static {
    /// Every system that can be talked to, by name.
    fn catalogue(&self) -> &[Connector];

    /// Everything that is wrong with the settings of a connection; paths begin at the settings.
    fn check(&self, connector: &str, settings: &Value) -> Vec<Violation>;

    /// Carries out an operation.
    ///
    /// # Errors
    /// `FIELD_INVALID` with paths of the request (`operation`, `input.…`), and those of connections and vendors.
    fn invoke<'a>(&'a self, target: &'a Target, call: Call) -> Answer<'a, Result<Value>>;

    /// Asks the system who we are. What is wrong is part of the answer.
    fn test<'a>(&'a self, target: &'a Target, time: Duration) -> Answer<'a, Check>;

    /// The commit that a branch, a tag or a commit of a repository is now.
    ///
    /// # Errors
    /// `FIELD_INVALID` with the paths `repository` and `revision`, and those of connections and vendors.
    fn resolve<'a>(
        &'a self,
        target: &'a Target,
        repository: &'a str,
        revision: &'a str,
        time: Duration,
    ) -> Answer<'a, Result<String>>;

    /// What is in these folders of a repository at a commit, in their order.
    ///
    /// # Errors
    /// As of [`resolve`](Self::resolve).
    fn folders<'a>(
        &'a self,
        target: &'a Target,
        repository: &'a str,
        commit: &'a str,
        folders: &'a [String],
        time: Duration,
    ) -> Answer<'a, Result<Vec<Folder>>>;

    /// Whether the system of a connection with these settings says which of its calls to us did not arrive.
    fn tells_missed(&self, connector: &str, settings: &Value) -> bool;

    /// Calls of the system to us since a moment that did not arrive.
    ///
    /// # Errors
    /// Those of connections and vendors.
    fn missed<'a>(&'a self, target: &'a Target, since: Timestamp, time: Duration) -> Answer<'a, Result<Vec<Missed>>>;

    /// Asks the system to make a call again.
    ///
    /// # Errors
    /// Those of connections and vendors.
    fn redeliver<'a>(&'a self, target: &'a Target, missed: &'a Missed, time: Duration) -> Answer<'a, Result<()>>;

    /// How a connection fares here; absent until it was used.
    fn health(&self, uid: Uid) -> Option<Health>;

    /// Forgets a connection that is not there any more.
    fn close(&self, uid: Uid);

    /// What all connections of each connector come to in this process, since it began.
    fn figures(&self) -> Vec<Figures>;

    /// Proves that a call comes from the system, and reads it.
    ///
    /// # Errors
    /// Why it is not accepted.
    fn verify(
        &self,
        connector: &str,
        settings: &Value,
        credentials: &Secrets,
        request: InboundRequest,
    ) -> Result<Received, Refused>;

    /// What a person asks for by a call of this kind that was proven; `None` where nobody asks for anything.
    fn ask(&self, connector: &str, kind: &str, payload: &Value) -> Option<Ask>;
}

/// No system can be talked to.
pub struct NoConnectors;

impl Connectors for NoConnectors {
    fn catalogue(&self) -> &[Connector] {
        &[]
    }

    fn check(&self, _: &str, _: &Value) -> Vec<Violation> {
        Vec::new()
    }

    fn invoke<'a>(&'a self, _: &'a Target, _: Call) -> Answer<'a, Result<Value>> {
        Box::pin(async { Err(Error::internal("there are no connectors")) })
    }

    fn test<'a>(&'a self, _: &'a Target, _: Duration) -> Answer<'a, Check> {
        Box::pin(std::future::pending())
    }

    fn resolve<'a>(&'a self, _: &'a Target, _: &'a str, _: &'a str, _: Duration) -> Answer<'a, Result<String>> {
        Box::pin(async { Err(Error::internal("there are no connectors")) })
    }

    fn folders<'a>(
        &'a self,
        _: &'a Target,
        _: &'a str,
        _: &'a str,
        _: &'a [String],
        _: Duration,
    ) -> Answer<'a, Result<Vec<Folder>>> {
        Box::pin(async { Err(Error::internal("there are no connectors")) })
    }

    fn tells_missed(&self, _: &str, _: &Value) -> bool {
        false
    }

    fn missed<'a>(&'a self, _: &'a Target, _: Timestamp, _: Duration) -> Answer<'a, Result<Vec<Missed>>> {
        Box::pin(async { Err(Error::internal("there are no connectors")) })
    }

    fn redeliver<'a>(&'a self, _: &'a Target, _: &'a Missed, _: Duration) -> Answer<'a, Result<()>> {
        Box::pin(async { Err(Error::internal("there are no connectors")) })
    }

    fn health(&self, _: Uid) -> Option<Health> {
        None
    }

    fn close(&self, _: Uid) {}

    fn figures(&self) -> Vec<Figures> {
        Vec::new()
    }

    fn verify(&self, _: &str, _: &Value, _: &Secrets, _: InboundRequest) -> Result<Received, Refused> {
        Err(Refused { reason: "unconfigured", message: "there are no connectors".to_owned() })
    }

    fn ask(&self, _: &str, _: &str, _: &Value) -> Option<Ask> {
        None
    }
}
