//! Which connectors there are, and the one way out of each connection.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use crate::{
    Connector, ConnectorError, Context, CredentialSource, ErrorKind,
    connector::ca_bundle,
    outbound::{Environment, Outbound, Snapshot},
};

/// All connectors of a process, and an [`Outbound`] for each connection that was used.
pub struct Registry {
    connectors: BTreeMap<&'static str, Arc<dyn Connector>>,
    environment: Environment,
    open: Mutex<HashMap<String, Open>>,
}

struct Open {
    version: u64,
    outbound: Arc<Outbound>,
}

impl Registry {
    /// Every connector that there is.
    pub fn new(environment: Environment) -> Self {
        Self::with(environment, crate::all())
    }

    /// These connectors.
    pub fn with(environment: Environment, connectors: impl IntoIterator<Item = Arc<dyn Connector>>) -> Self {
        let connectors = connectors.into_iter().map(|connector| (connector.manifest().kind, connector)).collect();
        Self { connectors, environment, open: Mutex::default() }
    }

    /// The connector of a kind.
    pub fn connector(&self, kind: &str) -> Option<&Arc<dyn Connector>> {
        self.connectors.get(kind)
    }

    /// All connectors, by kind.
    pub fn connectors(&self) -> impl Iterator<Item = &Arc<dyn Connector>> {
        self.connectors.values()
    }

    /// The way out of a connection, the same for everybody. A version that is newer than the one that is open replaces it: calls
    /// under way end on the old one, and breaker and limits begin anew.
    ///
    /// # Errors
    /// `Unconfigured` for a kind that there is not, or settings that are wrong; `Conflict` for a version that was replaced.
    pub fn open(&self, id: &str, version: u64, kind: &str, settings: &Value) -> Result<Arc<Outbound>, ConnectorError> {
        let mut open = self.lock();
        if let Some(known) = open.get(id) {
            if known.version == version {
                return Ok(Arc::clone(&known.outbound));
            }
            if known.version > version {
                let message = "the settings of the connection have changed meanwhile; read them again";
                return Err(ConnectorError::new(ErrorKind::Conflict, message));
            }
        }
        let connector = self.connector(kind).ok_or_else(|| {
            let known = self.connectors.keys().copied().collect::<Vec<_>>().join(", ");
            ConnectorError::unconfigured(format!("there is no connector `{kind}`; there are {known}"))
        })?;
        let violations = connector.check(settings);
        if !violations.is_empty() {
            return Err(ConnectorError { kind: ErrorKind::Unconfigured, ..ConnectorError::invalid(violations) });
        }
        let (limits, environment) = (connector.limits(settings), self.environment.clone());
        let outbound = Arc::new(Outbound::new(id, connector.manifest().kind, ca_bundle(settings), limits, environment)?);
        open.insert(id.to_owned(), Open { version, outbound: Arc::clone(&outbound) });
        Ok(outbound)
    }

    /// A call on a connection, for [`Connector::invoke`] and its like.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn context(
        &self,
        id: &str,
        version: u64,
        kind: &str,
        settings: &Value,
        credentials: Arc<dyn CredentialSource>,
    ) -> Result<Context, ConnectorError> {
        Ok(Context::new(self.open(id, version, kind, settings)?, settings.clone(), credentials))
    }

    /// Forgets a connection that was deleted. Calls under way end as they would.
    pub fn close(&self, id: &str) {
        self.lock().remove(id);
    }

    /// The figures of one connection; `None` until it was opened.
    pub fn snapshot(&self, id: &str) -> Option<Snapshot> {
        let outbound = self.lock().get(id).map(|open| Arc::clone(&open.outbound))?;
        Some(outbound.snapshot())
    }

    /// The figures of every open connection.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let open: Vec<_> = self.lock().values().map(|open| Arc::clone(&open.outbound)).collect();
        open.iter().map(|outbound| outbound.snapshot()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
