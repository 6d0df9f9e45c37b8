//! Stores of secrets of a tenant, and what inputs may name in them. Nobody here reads a secret.

use std::{collections::BTreeMap, sync::Arc};

use freehold_domain::{
    Error, Result, Violations,
    access::Caller,
    events::Event,
    names::{Id, SecretStoreName, TenantName},
    resource::{Described, Labels, Listed, Meta, Page},
    secret_stores::{Driver, SecretStore},
    secrets::{SecretRead, references},
};
use freehold_store::{Session, secret_stores};
use serde_json::{Map, Value};

use crate::app::{App, Place, Write};

/// What a new store is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateSecretStore {
    pub parent: TenantName,
    pub id: Option<Id>,
    pub described: Described,
    pub description: String,
    pub driver: Driver,
}

/// What changes; `None` stays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UpdateSecretStore {
    pub name: SecretStoreName,
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub description: Option<String>,
    pub driver: Option<Driver>,
}

/// Creates a store.
pub async fn create(app: &App, caller: &Caller, cmd: CreateSecretStore, write: &Write) -> Result<SecretStore> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let uid = tx.uid();
    let secret_store = cmd.id.unwrap_or_else(|| Id::generated("store", uid));
    let name = SecretStoreName { tenant: cmd.parent.tenant.clone(), secret_store };
    let meta = Meta::new(uid, cmd.described, &caller.principal, tx.now());
    let store = SecretStore { name, meta, description: cmd.description, driver: cmd.driver };
    secret_stores::insert(&mut tx, place.scope, &cmd.parent.to_string(), &store).await?;
    tx.announce(Event::new("secret_store.created", &store.name, uid, 1).with(facts(&store)));
    app.finish(tx, write, &store).await?;
    Ok(store)
}

/// Returns a store.
pub async fn get(app: &App, caller: &Caller, name: &SecretStoreName) -> Result<Arc<SecretStore>> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let find = async |db: &mut Session| secret_stores::get(db, place.scope, name).await?.ok_or_else(|| Error::not_found(name));
    app.store.newest(name, find).await
}

/// Lists the stores of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<SecretStore>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    secret_stores::list(&mut app.store.read().await?, place.scope, &parent.to_string(), page).await
}

/// Changes a store. Plans that were made keep it as it was.
pub async fn update(app: &App, caller: &Caller, cmd: UpdateSecretStore, write: &Write) -> Result<SecretStore> {
    let place = app.enter(caller, &cmd.name.tenant_name(), &cmd.name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let found = secret_stores::get(&mut tx, place.scope, &cmd.name).await?;
    let mut store = found.ok_or_else(|| Error::not_found(&cmd.name))?;
    store.meta.expect_etag(write.etag.as_deref())?;
    let before = store.clone();
    store.meta.describe(cmd.display_name, cmd.labels);
    store.description = cmd.description.unwrap_or(store.description);
    store.driver = cmd.driver.unwrap_or(store.driver);
    if store != before {
        store.meta.touch(tx.now());
        secret_stores::update(&mut tx, place.scope, &store).await?;
        let event = Event::new("secret_store.updated", &store.name, store.meta.uid, store.meta.version);
        tx.announce(event.with(facts(&store)));
    }
    app.finish(tx, write, &store).await?;
    Ok(store)
}

/// Deletes a store. What names secrets in it is not changed: its next plan says that there is no such store.
pub async fn delete(app: &App, caller: &Caller, name: &SecretStoreName, allow_missing: bool, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let store = match secret_stores::get(&mut tx, place.scope, name).await? {
        None if allow_missing => return app.finish(tx, write, &()).await,
        None => return Err(Error::not_found(name)),
        Some(store) => store,
    };
    store.meta.expect_etag(write.etag.as_deref())?;
    secret_stores::delete(&mut tx, place.scope, &store).await?;
    tx.announce(Event::new("secret_store.deleted", name, store.meta.uid, store.meta.version + 1));
    app.finish(tx, write, &()).await
}

/// Fails unless every secret that complete inputs name can be in its store, as far as the store's description tells.
pub(crate) async fn expect_known(db: &mut Session, place: &Place, inputs: &Map<String, Value>) -> Result<()> {
    let mut fields = Violations::new();
    for (name, read) in reads(db, place, inputs).await? {
        let field = format!("deployment.inputs.{name}");
        match read.driver {
            None => fields.add(field, format!("there is no secret store `{}`; create it first", read.reference.store)),
            Some(driver) => {
                read.reference.unfit(&driver).into_iter().for_each(|why| fields.add(&field, why));
            }
        }
    }
    fields.finish()
}

/// What a runner has to read for complete inputs, by the name of the input.
pub(crate) async fn reads(db: &mut Session, place: &Place, inputs: &Map<String, Value>) -> Result<BTreeMap<String, SecretRead>> {
    let mut reads = BTreeMap::new();
    for (name, reference) in references(inputs) {
        let store = SecretStoreName { tenant: place.tenant.name.tenant.clone(), secret_store: reference.store.clone() };
        let driver = secret_stores::get(db, place.scope, &store).await?.map(|store| store.driver);
        reads.insert(name, SecretRead { reference, driver });
    }
    Ok(reads)
}

/// What the audit trail keeps: where runners are sent from now on.
fn facts(store: &SecretStore) -> Value {
    serde_json::json!({ "driver": store.driver })
}
