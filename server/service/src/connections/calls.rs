//! Calls of other systems over a connection.

use std::time::Duration;

use freehold_domain::{
    Error, Result,
    access::Caller,
    connections::{Check, Connection, Target},
    names::ConnectionName,
    time::Uid,
};
use freehold_store::{RequestKey, connections};
use serde_json::{Map, Value, json};

use super::{find, open_vault, tell};
use crate::{
    app::{App, Place},
    connectors::Call,
};

/// How long a test may take.
const TEST: Duration = Duration::from_secs(20);

/// What to ask of a system.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct InvokeConnection {
    pub name: ConnectionName,
    pub operation: String,
    pub input: Map<String, Value>,
    pub dry_run: bool,
    pub request_id: Option<Uid>,
    /// How long the call may take.
    pub time: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Invoked {
    /// What the system said, or what would have been sent.
    pub result: Value,
    /// Nothing was changed.
    pub dry_run: bool,
}

/// Carries out an operation. That it was asked for is in the audit trail before anything is sent; its input is not.
pub async fn invoke(app: &App, caller: &Caller, cmd: InvokeConnection) -> Result<Invoked> {
    let place = app.enter(caller, &cmd.name.tenant_name(), &cmd.name.to_string()).await?;
    let (connection, target) = target(app, &place, &cmd.name).await?;
    connection.expect_enabled()?;
    let connector = super::known(app, &connection.connector)?;
    if !connector.operations.iter().any(|known| known.name == cmd.operation) {
        let names = connector.operations.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
        return Err(Error::field("operation", format!("{} has no such operation; there are {names}", connector.kind)));
    }
    let dry_run = cmd.dry_run || connection.dry_run;
    let mut tx = app.store.begin(caller, place.scope, &RequestKey::NONE).await?;
    let facts = json!({ "connector": connection.connector, "operation": cmd.operation, "dry_run": dry_run });
    tell(&mut tx, "connection.invoked", &connection, facts);
    tx.commit(&()).await?;
    let call = Call {
        operation: cmd.operation,
        input: Value::Object(cmd.input),
        key: cmd.request_id.map(|id| id.to_string()),
        dry_run,
        time: cmd.time,
    };
    let result = app.connectors.invoke(&target, call).await?;
    Ok(Invoked { result, dry_run })
}

/// Asks the system who we are, and keeps what was found. A connection that is disabled can be tested: to find out whether to enable it.
pub async fn test(app: &App, caller: &Caller, name: &ConnectionName) -> Result<Check> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let (tested, target) = target(app, &place, name).await?;
    let check = app.connectors.test(&target, TEST).await;
    let mut tx = app.store.begin(caller, place.scope, &RequestKey::NONE).await?;
    let found = connections::get(&mut tx, place.scope, name).await?;
    // What was found of settings that have changed meanwhile says nothing about the new ones.
    let Some(mut connection) = found.filter(|now| now.meta.uid == tested.meta.uid && now.revision == tested.revision) else {
        return Ok(check);
    };
    connection.last_check = Some(check.clone());
    connection.meta.version += 1;
    connections::update(&mut tx, place.scope, &connection).await?;
    tell(&mut tx, "connection.checked", &connection, json!({ "ok": check.ok, "error_kind": check.error_kind }));
    tx.commit(&()).await?;
    Ok(check)
}

/// A connection with the credentials that count now.
pub(crate) async fn target(app: &App, place: &Place, name: &ConnectionName) -> Result<(Connection, Target)> {
    let mut db = app.store.read().await?;
    let connection = find(&mut db, place, name).await?;
    let credentials = open_vault(app, &mut db, place, connection.meta.uid).await?.open(app.now());
    let target = Target {
        uid: connection.meta.uid,
        revision: connection.revision,
        connector: connection.connector.clone(),
        settings: Value::Object(connection.settings.clone()),
        credentials,
    };
    Ok((connection, target))
}
