//! Connections that the environment of the server describes.

use freehold_domain::{
    Error, Reason, Result,
    access::{Principal, TenantScope},
    connections::{Connection, GRACE, Manager, Secrets},
    names::{ConnectionName, Id, TenantName},
    resource::Described,
    tenants::TenantState,
};
use freehold_store::{Tx, connections};
use serde_json::{Map, Value, json};

use super::{CreateConnection, Made, expect_right, insert, open_vault, put_vault, tell};
use crate::{
    app::{App, Place},
    scrapes::follow,
};

/// A connection as the environment describes it.
#[derive(Clone, Debug)]
pub struct Given {
    /// Tenants and ids that it may be meant for: the name of a variable has no sign between the two that is in neither.
    pub meant: Vec<(TenantName, Id)>,
    /// The connector.
    pub connector: String,
    /// Its settings.
    pub settings: Map<String, Value>,
    /// Its credentials.
    pub credentials: Secrets,
}

/// Makes the connection, or makes the one that is there like it; answers its name. Nothing is written when it is like it already.
///
/// # Errors
/// `FIELD_INVALID` when it is wrong or could be meant for two tenants; `RESOURCE_NOT_FOUND` when there is no such tenant;
/// `RESOURCE_EXISTS` when somebody has made a connection of this name by a call.
pub async fn bootstrap(app: &App, given: Given) -> Result<ConnectionName> {
    let (place, parent, id) = place(app, &given.meant).await?;
    let connector = expect_right(app, &given.connector, &given.settings, &given.credentials)?;
    let name = ConnectionName { tenant: parent.tenant.clone(), connection: id.clone() };
    let mut tx = app.store.begin_as("server", place.scope).await?;
    let Some(mut connection) = connections::get(&mut tx, place.scope, &name).await? else {
        let cmd = CreateConnection {
            parent,
            id: Some(id),
            described: Described::default(),
            connector: given.connector,
            settings: given.settings,
            credentials: given.credentials,
            dry_run: false,
        };
        let made = Made { manager: Manager::Environment, creator: Principal::Server.to_string() };
        insert(app, &mut tx, &place, connector, cmd, made).await?;
        tx.commit(&()).await?;
        return Ok(name);
    };
    if connection.manager != Manager::Environment {
        let message = format!("{name} was made by a call; delete it, or give the variable another name");
        return Err(Error::new(Reason::ResourceExists, message).with("resource", &name));
    }
    if connection.connector != given.connector {
        let message = format!("{name} is of the connector {}; give the variable another name", connection.connector);
        return Err(Error::new(Reason::StateNotAllowed, message).with("resource", &name));
    }
    let before = connection.clone();
    let mut vault = open_vault(app, &mut tx, &place, connection.meta.uid).await?;
    let same = vault.holds(&given.credentials);
    if same && connection.settings == given.settings {
        return Ok(name);
    }
    if !same {
        let mut credentials = given.credentials;
        let gone: Vec<String> = vault.slots().filter(|slot| !credentials.0.contains_key(*slot)).map(str::to_owned).collect();
        credentials.0.extend(gone.into_iter().map(|slot| (slot, String::new())));
        vault.put(connector, credentials, GRACE, tx.now());
        put_vault(app, &mut tx, &place, connection.meta.uid, &vault).await?;
        connection.slots = vault.facts();
    }
    connection.settings = given.settings;
    follow(app, &mut tx, place.scope, Some(&before), &connection).await?;
    write(&mut tx, place.scope, connection).await?;
    tx.commit(&()).await?;
    Ok(name)
}

async fn write(tx: &mut Tx, scope: TenantScope, mut connection: Connection) -> Result<()> {
    connection.revision += 1;
    connection.meta.touch(tx.now());
    connections::update(tx, scope, &connection).await?;
    tell(tx, "connection.updated", &connection, json!({ "managed_by": "ENVIRONMENT" }));
    Ok(())
}

/// The one tenant that exists of those that may be meant.
async fn place(app: &App, meant: &[(TenantName, Id)]) -> Result<(Place, TenantName, Id)> {
    let mut found = Vec::new();
    for (tenant, id) in meant {
        if let Some(place) = app.place(tenant).await?
            && place.tenant.state != TenantState::Deleted
        {
            found.push((place, tenant.clone(), id.clone()));
        }
    }
    let names = || meant.iter().map(|(tenant, _)| tenant.to_string()).collect::<Vec<_>>().join(" or ");
    match found.pop() {
        Some(one) if found.is_empty() => Ok(one),
        Some(_) => Err(Error::field("tenant", format!("{} may be meant; say which by `tenant` and `id`", names()))),
        None => Err(Error::not_found(names())),
    }
}
