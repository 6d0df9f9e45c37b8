//! Which connectors there are, and the one way out of each connection.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    Connector, ConnectorError, Context, CredentialSource, ErrorKind,
    connector::ca_bundle,
    outbound::{BreakerState, Environment, Outbound, Snapshot},
};

/// A connection that was not used for so long is closed. Sockets are closed long before; what goes is what is known of it.
const IDLE: Duration = Duration::from_secs(3600);

/// All connectors of a process, and an [`Outbound`] for each connection that was used.
pub struct Registry {
    connectors: BTreeMap<&'static str, Arc<dyn Connector>>,
    environment: Environment,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<String, Open>,
    /// What connections have counted that are not open any more, by kind.
    closed: BTreeMap<&'static str, Snapshot>,
}

struct Open {
    version: u64,
    outbound: Arc<Outbound>,
    used: Instant,
}

/// What all connections of one kind come to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Calls, requests and what they took, since the process began.
    pub counted: Snapshot,
    /// Connections whose calls are refused, because those before them failed.
    pub open_breakers: usize,
    /// Requests under way.
    pub in_flight: usize,
    /// Calls that wait for their turn.
    pub waiting: usize,
}

impl State {
    fn close(&mut self, id: &str) {
        if let Some(open) = self.open.remove(id) {
            let snapshot = open.outbound.snapshot();
            self.closed.entry(snapshot.kind).or_default().add(&snapshot);
        }
    }

    /// Closes what nobody has used for long: it may be gone for good, by the hand of another process.
    fn close_idle(&mut self, now: Instant) {
        let idle = |open: &Open| now.duration_since(open.used) > IDLE && open.outbound.snapshot().in_flight == 0;
        let idle: Vec<String> = self.open.iter().filter(|(_, open)| idle(open)).map(|(id, _)| id.clone()).collect();
        idle.iter().for_each(|id| self.close(id));
    }
}

impl Registry {
    /// Every connector that there is.
    pub fn new(environment: Environment) -> Self {
        Self::with(environment, crate::all())
    }

    /// These connectors.
    pub fn with(environment: Environment, connectors: impl IntoIterator<Item = Arc<dyn Connector>>) -> Self {
        let connectors = connectors.into_iter().map(|connector| (connector.manifest().kind, connector)).collect();
        Self { connectors, environment, state: Mutex::default() }
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
        let (mut state, now) = (self.lock(), Instant::now());
        if let Some(known) = state.open.get_mut(id) {
            if known.version == version {
                known.used = now;
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
        state.close(id);
        state.close_idle(now);
        state.open.insert(id.to_owned(), Open { version, outbound: Arc::clone(&outbound), used: now });
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
        self.lock().close(id);
    }

    /// The figures of one connection; `None` until it was opened.
    pub fn snapshot(&self, id: &str) -> Option<Snapshot> {
        let outbound = self.lock().open.get(id).map(|open| Arc::clone(&open.outbound))?;
        Some(outbound.snapshot())
    }

    /// The figures of every open connection.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let open: Vec<_> = self.lock().open.values().map(|open| Arc::clone(&open.outbound)).collect();
        open.iter().map(|outbound| outbound.snapshot()).collect()
    }

    /// What all connections of each kind come to, those that are closed included.
    pub fn totals(&self) -> BTreeMap<&'static str, Totals> {
        let state = self.lock();
        let counted =
            |(kind, counted): (&&'static str, &Snapshot)| (*kind, Totals { counted: counted.clone(), ..Totals::default() });
        let mut totals: BTreeMap<_, _> = state.closed.iter().map(counted).collect();
        for snapshot in state.open.values().map(|open| open.outbound.snapshot()) {
            let totals = totals.entry(snapshot.kind).or_default();
            totals.counted.add(&snapshot);
            totals.open_breakers += usize::from(snapshot.breaker == BreakerState::Open);
            totals.in_flight += snapshot.in_flight;
            totals.waiting += snapshot.waiting;
        }
        totals
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
