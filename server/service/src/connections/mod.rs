//! Connections of a tenant to other systems.

mod bootstrap;
mod calls;
mod vault;

use std::{sync::Arc, time::Duration};

use freehold_domain::{
    Error, Result, Violations,
    access::Caller,
    connections::{Connection, Connector, Disabled, GRACE, Health, MAX_SETTINGS, Manager, Secrets, Vault, below},
    events::Event,
    names::{ConnectionName, Id, TenantName, shown},
    quotas::Dimension,
    resource::{Described, Labels, Listed, Meta, Page},
    time::Timestamp,
};
use freehold_store::{Session, Tx, connection_accounts, connections, inbound_messages, payloads, run_threads, scrapes};
use serde_json::{Map, Value, json};

use crate::{
    app::{App, Place, Write},
    scrapes::follow,
};

pub use bootstrap::{Given, bootstrap};
pub(crate) use calls::target;
pub use calls::{InvokeConnection, Invoked, invoke, test};
pub(crate) use vault::open_vault;
use vault::put_vault;

/// What one must be allowed to do with a connection to have something use it.
pub(crate) const USE: &str = "integrations.connections.invoke";

/// What a new connection is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateConnection {
    pub parent: TenantName,
    pub id: Option<Id>,
    pub described: Described,
    pub connector: String,
    pub settings: Map<String, Value>,
    pub credentials: Secrets,
    pub dry_run: bool,
}

/// What changes; `None` stays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UpdateConnection {
    pub name: ConnectionName,
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub settings: Option<Map<String, Value>>,
    pub dry_run: Option<bool>,
}

/// A connection as it is shown.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The connection.
    pub connection: Arc<Connection>,
    /// How it fares in this replica.
    pub health: Option<Health>,
    /// When its system was last asked what it could not deliver.
    pub last_scrape: Option<Timestamp>,
}

/// Every system that can be talked to.
pub fn catalogue(app: &App) -> &[Connector] {
    app.connectors.catalogue()
}

/// Creates a connection.
pub async fn create(app: &App, caller: &Caller, cmd: CreateConnection, write: &Write) -> Result<Connection> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    let connector = expect_right(app, &cmd.connector, &cmd.settings, &cmd.credentials)?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let made = Made { manager: Manager::Api, creator: caller.principal.to_string() };
    let connection = insert(app, &mut tx, &place, connector, cmd, made).await?;
    app.finish(tx, write, &connection).await?;
    Ok(connection)
}

/// Who makes a connection.
struct Made {
    manager: Manager,
    creator: String,
}

async fn insert(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    connector: &Connector,
    cmd: CreateConnection,
    made: Made,
) -> Result<Connection> {
    let (uid, now) = (tx.uid(), tx.now());
    let id = cmd.id.unwrap_or_else(|| Id::generated(connector.kind, uid));
    let mut vault = Vault::default();
    vault.put(connector, cmd.credentials, Duration::ZERO, now);
    let connection = Connection {
        name: ConnectionName { tenant: cmd.parent.tenant.clone(), connection: id },
        meta: Meta::new(uid, cmd.described, made.creator, now),
        connector: cmd.connector,
        settings: cmd.settings,
        revision: 1,
        slots: vault.facts(),
        disabled: None,
        dry_run: cmd.dry_run,
        last_check: None,
        manager: made.manager,
    };
    connections::insert(tx, place.scope, &cmd.parent.to_string(), &connection).await?;
    put_vault(app, tx, place, uid, &vault).await?;
    tx.take(Dimension::Connections, 1);
    follow(app, tx, place.scope, None, &connection).await?;
    tell(tx, "connection.created", &connection, json!({ "connector": connection.connector }));
    Ok(connection)
}

/// Returns a connection.
pub async fn get(app: &App, caller: &Caller, name: &ConnectionName) -> Result<Seen> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let connection = app.store.newest(name, async |db: &mut Session| find(db, &place, name).await).await?;
    let uid = connection.meta.uid;
    let last_scrape = scrapes::last_look(&mut app.store.read().await?, place.scope, uid).await?;
    Ok(Seen { connection, health: app.connectors.health(uid), last_scrape })
}

/// Lists the connections of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<Seen>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    let listed = connections::list(&mut db, place.scope, &parent.to_string(), page).await?;
    let looked = scrapes::looked(&mut db, place.scope).await?;
    let see = |connection: Connection| {
        let uid = connection.meta.uid;
        let (health, last_scrape) = (app.connectors.health(uid), looked.get(&uid).copied());
        Seen { connection: Arc::new(connection), health, last_scrape }
    };
    Ok(Listed { items: listed.items.into_iter().map(see).collect(), next: listed.next })
}

/// Changes a connection.
pub async fn update(app: &App, caller: &Caller, cmd: UpdateConnection, write: &Write) -> Result<Connection> {
    change(app, caller, &cmd.name, write, async |_, _, connection| {
        connection.meta.describe(cmd.display_name, cmd.labels);
        connection.dry_run = cmd.dry_run.unwrap_or(connection.dry_run);
        if let Some(settings) = cmd.settings
            && settings != connection.settings
        {
            expect_right(app, &connection.connector, &settings, &Secrets::default())?;
            connection.settings = settings;
            connection.revision += 1;
        }
        Ok(("connection.updated", json!({ "dry_run": connection.dry_run })))
    })
    .await
}

/// Stops its use.
pub async fn disable(app: &App, caller: &Caller, name: &ConnectionName, reason: String, write: &Write) -> Result<Connection> {
    change(app, caller, name, write, async |tx, _, connection| {
        if connection.disabled.is_none() {
            connection.disabled = Some(Disabled { reason, time: tx.now() });
        }
        Ok(("connection.disabled", Value::Null))
    })
    .await
}

/// Begins its use again.
pub async fn enable(app: &App, caller: &Caller, name: &ConnectionName, write: &Write) -> Result<Connection> {
    change(app, caller, name, write, async |_, _, connection| {
        connection.disabled = None;
        Ok(("connection.enabled", Value::Null))
    })
    .await
}

/// Gives slots new values. Those before them go on to count for this long, where the connector has a place for them.
pub async fn rotate(
    app: &App,
    caller: &Caller,
    name: &ConnectionName,
    credentials: Secrets,
    grace: Option<Duration>,
    write: &Write,
) -> Result<Connection> {
    change(app, caller, name, write, async |tx, place, connection| {
        let connector = known(app, &connection.connector)?;
        let mut wrong = Violations::new();
        connector.check_credentials(&credentials, "credentials", &mut wrong);
        wrong.finish()?;
        let rotated: Vec<String> = credentials.0.keys().cloned().collect();
        let uid = connection.meta.uid;
        let mut vault = open_vault(app, tx, place, uid).await?;
        vault.put(connector, credentials, grace.unwrap_or(GRACE), tx.now());
        put_vault(app, tx, place, uid, &vault).await?;
        connection.slots = vault.facts();
        connection.revision += 1;
        Ok(("connection.credentials_rotated", json!({ "slots": rotated })))
    })
    .await
}

/// Deletes a connection with all that it received.
pub async fn delete(app: &App, caller: &Caller, name: &ConnectionName, allow_missing: bool, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let connection = match connections::get(&mut tx, place.scope, name).await? {
        None if allow_missing => return app.finish(tx, write, &()).await,
        None => return Err(Error::not_found(name)),
        Some(connection) => connection,
    };
    connection.meta.expect_etag(write.etag.as_deref())?;
    connection.expect_manageable()?;
    let uid = connection.meta.uid;
    inbound_messages::delete_all(&mut tx, place.scope, uid).await?;
    connection_accounts::delete_all(&mut tx, place.scope, uid).await?;
    run_threads::delete_all(&mut tx, place.scope, uid).await?;
    scrapes::delete(&mut tx, place.scope, uid).await?;
    connections::delete(&mut tx, place.scope, &connection).await?;
    payloads::delete_all(&mut tx, place.scope, uid).await?;
    tx.take(Dimension::Connections, -1);
    tx.announce(Event::new("connection.deleted", name, uid, connection.meta.version + 1));
    app.finish(tx, write, &()).await?;
    if !write.validate_only {
        app.connectors.close(uid);
    }
    Ok(())
}

/// Reads, changes and writes one connection; what stays as it was is not announced.
async fn change(
    app: &App,
    caller: &Caller,
    name: &ConnectionName,
    write: &Write,
    change: impl AsyncFnOnce(&mut Tx, &Place, &mut Connection) -> Result<(&'static str, Value)>,
) -> Result<Connection> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut connection = find(&mut tx, &place, name).await?;
    connection.meta.expect_etag(write.etag.as_deref())?;
    connection.expect_manageable()?;
    let before = connection.clone();
    let (kind, facts) = change(&mut tx, &place, &mut connection).await?;
    if connection != before {
        connection.meta.touch(tx.now());
        connections::update(&mut tx, place.scope, &connection).await?;
        follow(app, &mut tx, place.scope, Some(&before), &connection).await?;
        tell(&mut tx, kind, &connection, facts);
    }
    app.finish(tx, write, &connection).await?;
    Ok(connection)
}

pub(crate) async fn find(db: &mut Session, place: &Place, name: &ConnectionName) -> Result<Connection> {
    connections::get(db, place.scope, name).await?.ok_or_else(|| Error::not_found(name))
}

pub(crate) fn tell(tx: &mut Tx, kind: &str, connection: &Connection, facts: Value) {
    tx.announce(Event::new(kind, &connection.name, connection.meta.uid, connection.meta.version).with(facts));
}

/// The connector of this kind.
fn known<'a>(app: &'a App, kind: &str) -> Result<&'a Connector> {
    let all = app.connectors.catalogue();
    all.iter().find(|connector| connector.kind == kind).ok_or_else(|| {
        let names = all.iter().map(|connector| connector.kind).collect::<Vec<_>>().join(", ");
        let what = if kind.is_empty() { "required".to_owned() } else { format!("there is no connector `{}`", shown(kind)) };
        Error::field("connection.connector", format!("{what}; there are {names}"))
    })
}

/// Fails with everything that is wrong with connector, settings and credentials.
fn expect_right<'a>(app: &'a App, kind: &str, settings: &Map<String, Value>, credentials: &Secrets) -> Result<&'a Connector> {
    let connector = known(app, kind)?;
    let mut wrong = Violations::new();
    if serde_json::to_vec(settings).map_err(Error::internal)?.len() > MAX_SETTINGS {
        wrong.add("connection.settings", format!("at most {MAX_SETTINGS} bytes as JSON"));
    }
    let found = app.connectors.check(kind, &Value::Object(settings.clone()));
    for violation in below("connection.settings", found) {
        wrong.add(violation.field, violation.description);
    }
    connector.check_credentials(credentials, "connection.credentials", &mut wrong);
    wrong.finish()?;
    Ok(connector)
}
