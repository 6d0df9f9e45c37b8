//! What the duties of commands and of shown runs have in common: who wakes them, and how they speak to another system.

use std::time::Duration;

use freehold_domain::{
    Error, Reason, Result,
    access::TenantScope,
    connections::{Connection, Target},
    tenants::TenantState,
    time::Uid,
};
use freehold_store::connections as rows;
use serde_json::Value;
use tokio::sync::Notify;

use crate::{
    app::{App, Place},
    connections::target,
    connectors::Call,
};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(30);
/// How long whoever claims something has it: some calls, one after the other.
pub(crate) const LEASE: Duration = Duration::from_secs(240);
/// What found its connection busy looks again after this.
pub(crate) const BUSY: Duration = Duration::from_secs(1);

/// Wakes the duties of this replica.
#[derive(Default)]
pub(crate) struct Chat {
    /// Somebody asks for something.
    pub asked: Notify,
    /// Something has happened to a run that is shown.
    pub touched: Notify,
}

/// A connection that is spoken over.
pub(crate) struct Line {
    /// Its tenant.
    pub place: Place,
    /// The connection.
    pub connection: Connection,
    target: Target,
}

impl Line {
    /// The connection with this uid.
    ///
    /// # Errors
    /// `CONNECTION_UNCONFIGURED` when it is disabled, `TENANT_SUSPENDED`, `RESOURCE_NOT_FOUND` when it is gone.
    pub async fn open(app: &App, scope: TenantScope, uid: Uid) -> Result<Self> {
        let mut db = app.store.read().await?;
        let place = app.place_by_scope(&mut db, scope).await?;
        let found = rows::find(&mut db, uid).await?.filter(|(of, _)| *of == scope);
        drop(db);
        let (_, found) = found.ok_or_else(|| Error::not_found(format!("connection {uid}")))?;
        if place.tenant.state != TenantState::Active {
            return Err(Error::new(Reason::TenantSuspended, format!("{} is not active", place.tenant.name)));
        }
        let (connection, target) = target(app, &place, &found.name).await?;
        connection.expect_enabled()?;
        Ok(Self { place, connection, target })
    }

    /// Carries out an operation. Nothing is changed over a connection that only rehearses.
    pub async fn call(&self, app: &App, operation: &str, input: Value) -> Result<Value> {
        let call = Call { operation: operation.to_owned(), input, key: None, dry_run: self.connection.dry_run, time: CALL };
        app.connectors.invoke(&self.target, call).await
    }
}

/// Whether what failed so may work later by itself.
pub(crate) fn passes(error: &Error) -> bool {
    matches!(error.reason(), Reason::DependencyDown | Reason::EtagMismatch | Reason::VendorThrottled | Reason::VendorUnavailable)
}
