//! Exceptions: drift that may stay, for a time.

use std::collections::HashMap;

use freehold_domain::{
    Error, Result,
    access::{Caller, Principal},
    deployments::Deployment,
    drift::{DriftException, Matcher, Seen, expiry},
    events::Event,
    names::{DriftExceptionName, DriftItemName, TenantName},
    resource::{Listed, Page},
    time::{Timestamp, Uid},
};
use freehold_store::{Session, Tx, deployments, drift_exceptions, drift_items};

use super::{Shown, find, items::again, lasting, open, owner_or_caller, schedule::uncover, seal};
use crate::app::{App, Place, Write};

/// Items that a new exception covers at once; the checks do the rest.
const AT_ONCE: u32 = 1000;

/// What a new exception is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateDriftException {
    pub parent: TenantName,
    pub matcher: Matcher,
    pub reason: String,
    pub owner: Option<Principal>,
    pub expire_time: Timestamp,
}

/// An item that may stay.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct AcceptDriftItem {
    pub name: DriftItemName,
    pub reason: String,
    pub owner: Option<Principal>,
    pub expire_time: Timestamp,
    pub any_value: bool,
}

/// Lets an item stay; answers it, and what it is accepted by.
pub async fn accept(app: &App, caller: &Caller, cmd: AcceptDriftItem, write: &Write) -> Result<(Shown, DriftException)> {
    let tenant = cmd.name.tenant_name();
    let place = app.enter(caller, &tenant, &cmd.name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some((item, exception)) = tx.replayed::<(Uid, DriftException)>()? {
        return Ok((again(&mut tx, &place, item).await?, exception));
    }
    let now = tx.now();
    let (mut item, sealed) = find(&mut tx, &place, &cmd.name).await?;
    item.expect_etag(write.etag.as_deref())?;
    item.expect_acceptable()?;
    lasting(&mut tx, &place, now).await?;
    let exception = DriftException {
        name: DriftExceptionName { tenant: tenant.tenant.clone(), drift_exception: tx.uid() },
        matcher: Matcher::exactly(&item, !cmd.any_value),
        reason: cmd.reason,
        owner: owner_or_caller(cmd.owner, "owner", &tenant, caller)?,
        expire_time: expiry(cmd.expire_time, now).map_err(|why| Error::field("expire_time", why))?,
        create_time: now,
        creator: caller.principal.clone(),
    };
    drift_exceptions::insert(&mut tx, place.scope, &exception).await?;
    let seen = item.version;
    item.cover(exception.uid(), now);
    drift_items::update(&mut tx, place.scope, seen, &item, &sealed).await?;
    created(&mut tx, &exception);
    let event = Event::new("drift_item.accepted", &item.name, item.uid(), item.version);
    tx.announce(event.with(serde_json::json!({ "exception": exception.name })));
    app.finish(tx, write, &(item.uid(), &exception)).await?;
    Ok((open(&place, (item, sealed))?, exception))
}

/// Creates an exception, and accepts what is open and right by it.
pub async fn create(app: &App, caller: &Caller, cmd: CreateDriftException, write: &Write) -> Result<DriftException> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let now = tx.now();
    lasting(&mut tx, &place, now).await?;
    let exception = DriftException {
        name: DriftExceptionName { tenant: cmd.parent.tenant.clone(), drift_exception: tx.uid() },
        matcher: cmd.matcher,
        reason: cmd.reason,
        owner: owner_or_caller(cmd.owner, "drift_exception.owner", &cmd.parent, caller)?,
        expire_time: expiry(cmd.expire_time, now).map_err(|why| Error::field("drift_exception.expire_time", why))?,
        create_time: now,
        creator: caller.principal.clone(),
    };
    drift_exceptions::insert(&mut tx, place.scope, &exception).await?;
    cover(app, &mut tx, &place, &exception, now).await?;
    created(&mut tx, &exception);
    app.finish(tx, write, &exception).await?;
    Ok(exception)
}

fn created(tx: &mut Tx, exception: &DriftException) {
    let facts = serde_json::json!({ "reason": exception.reason, "expire_time": exception.expire_time.to_string() });
    tx.announce(Event::new("drift_exception.created", &exception.name, exception.uid(), 1).with(facts));
}

async fn cover(app: &App, tx: &mut Tx, place: &Place, exception: &DriftException, now: Timestamp) -> Result<()> {
    let mut seen_deployments: HashMap<Uid, Option<Deployment>> = HashMap::new();
    for row in drift_items::open(tx, place.scope, AT_ONCE).await? {
        let Shown { mut item, values } = open(place, row)?;
        let deployment = match seen_deployments.get(&item.deployment) {
            Some(deployment) => deployment.clone(),
            None => {
                let deployment = deployments::get_by_uid(tx, place.scope, item.deployment).await?;
                seen_deployments.entry(item.deployment).or_insert(deployment).clone()
            }
        };
        let Some(deployment) = deployment else { continue };
        let seen = Seen::before(&deployment.name, &deployment.meta.labels, &item, &values);
        if DriftException::covering(std::slice::from_ref(exception), &seen, now).is_some() {
            let version = item.version;
            item.cover(exception.uid(), now);
            drift_items::update(tx, place.scope, version, &item, &seal(app, place, item.uid(), &values)?).await?;
        }
    }
    Ok(())
}

/// Returns an exception.
pub async fn get(app: &App, caller: &Caller, name: &DriftExceptionName) -> Result<DriftException> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    existing(&mut app.store.read().await?, &place, name).await
}

async fn existing(db: &mut Session, place: &Place, name: &DriftExceptionName) -> Result<DriftException> {
    let exception = drift_exceptions::get(db, place.scope, name.drift_exception).await?;
    exception.ok_or_else(|| Error::not_found(name))
}

/// Lists the exceptions of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<DriftException>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    drift_exceptions::list(&mut app.store.read().await?, place.scope, page).await
}

/// Ends an exception, and opens what it covered.
pub async fn delete(app: &App, caller: &Caller, name: &DriftExceptionName, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let now = tx.now();
    let exception = existing(&mut tx, &place, name).await?;
    while uncover(app, &mut tx, &place, exception.uid(), now).await? > 0 {}
    drift_exceptions::delete(&mut tx, place.scope, exception.uid()).await?;
    tx.announce(Event::new("drift_exception.deleted", name, exception.uid(), 2));
    app.finish(tx, write, &()).await
}
