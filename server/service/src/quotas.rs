//! Limits, use and reservations of a tenant.

use freehold_domain::{
    Error, Result,
    access::Caller,
    events::Event,
    names::{QuotaName, TenantName},
    quotas::{Quota, Reservation},
    resource::{Listed, Page},
};
use freehold_store::quotas;

use crate::app::{App, Write};

/// Returns a quota.
pub async fn get(app: &App, caller: &Caller, name: &QuotaName) -> Result<Quota> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let quota = quotas::get(&mut app.store.read().await?, place.scope, name.dimension).await?;
    Ok(quota.ok_or_else(|| Error::not_found(name))?.at(app.now()))
}

/// Lists all quotas of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName) -> Result<Vec<Quota>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    let quotas = quotas::list(&mut app.store.read().await?, place.scope).await?;
    Ok(quotas.into_iter().map(|quota| quota.at(app.now())).collect())
}

/// Sets a limit, also below what is used; `None` removes it.
pub async fn set_limit(app: &App, caller: &Caller, name: &QuotaName, limit: Option<i64>, write: &Write) -> Result<Quota> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let found = quotas::get(&mut tx, place.scope, name.dimension).await?;
    let mut quota = found.ok_or_else(|| Error::not_found(name))?.at(tx.now());
    quota.expect_etag(write.etag.as_deref())?;
    let before = quota.limit;
    quota.limit = limit;
    quota.version += 1;
    quota.update_time = tx.now();
    if !quotas::set_limit(&mut tx, place.scope, &quota).await? {
        return Err(quota.etag_mismatch());
    }
    let facts = serde_json::json!({ "before": before, "limit": limit });
    tx.announce(Event::new("quota.limit_set", name, tx.uid(), quota.version).with(facts));
    app.finish(tx, write, &quota).await?;
    Ok(quota)
}

/// Lists what runs under way have put aside.
pub async fn list_reservations(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<Reservation>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    quotas::list_reservations(&mut app.store.read().await?, place.scope, page).await
}

/// Counts again from the rows themselves; answers the mended quota and what it was off by.
pub async fn recount(app: &App, caller: &Caller, name: &QuotaName, write: &Write) -> Result<(Quota, i64)> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let difference = quotas::recount(&mut tx, place.scope, name.dimension).await?;
    let found = quotas::get(&mut tx, place.scope, name.dimension).await?;
    let quota = found.ok_or_else(|| Error::not_found(name))?.at(tx.now());
    let facts = serde_json::json!({ "difference": difference });
    tx.announce(Event::new("quota.recounted", name, tx.uid(), quota.version).with(facts));
    let answer = (quota, difference);
    app.finish(tx, write, &answer).await?;
    Ok(answer)
}
