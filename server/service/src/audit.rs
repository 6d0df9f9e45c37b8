//! Who did what, and what was refused.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use freehold_domain::{
    Error, Result,
    access::{Caller, Principal, TenantScope},
    audit::AuditRecord,
    names::TenantName,
    resource::{Listed, Page},
    time::{Timestamp, Uid},
};
use freehold_store::{INSTALLATION, audit};

use crate::app::App;

/// Refusals of one principal that are kept in a minute, so that nobody fills the disk with them.
const DENIALS_A_MINUTE: u32 = 10;

/// Lists what was done in a tenant; without one, what was done to the installation.
pub async fn list(app: &App, caller: &Caller, parent: Option<&TenantName>, page: Page) -> Result<Listed<AuditRecord>> {
    let scope = enter(app, caller, parent, &parent.map(ToString::to_string).unwrap_or_default()).await?;
    audit::list(&mut app.store.read().await?, scope, page).await
}

/// Returns one record of a tenant, or of the installation.
pub async fn get(app: &App, caller: &Caller, parent: Option<&TenantName>, uid: Uid) -> Result<AuditRecord> {
    let name = name(parent, uid);
    let scope = enter(app, caller, parent, &name).await?;
    audit::get(&mut app.store.read().await?, scope, uid).await?.ok_or_else(|| Error::not_found(name))
}

/// The resource name of a record.
pub fn name(parent: Option<&TenantName>, uid: Uid) -> String {
    parent.map_or_else(|| format!("auditRecords/{uid}"), |parent| format!("{parent}/auditRecords/{uid}"))
}

/// Keeps that a call was refused. The caller has its answer in any case, so what fails here is for the log only.
pub async fn denied(app: &App, caller: &Caller, error: &Error) {
    if !app.denials.admit(&caller.principal, app.now()) {
        return;
    }
    if let Err(failure) = keep(app, caller, error).await {
        tracing::warn!(request_id = caller.call.request_id, error = %failure, "a refused call is missing in the audit trail");
    }
}

async fn keep(app: &App, caller: &Caller, error: &Error) -> Result<()> {
    let resource = error.metadata().get("resource").cloned().unwrap_or_default();
    // What the platform's people tried with a tenant is for that tenant to see, as what they did is.
    let place = match caller.principal.tenant().or_else(|| TenantName::of(&resource)) {
        Some(tenant) => app.place(&tenant).await?,
        None => None,
    };
    let scope = place.map_or(INSTALLATION, |place| place.scope);
    let mut tx = app.store.begin_as(&caller.principal.to_string(), scope).await?;
    let record = record(caller, tx.uid(), tx.now(), resource);
    // A refusal that comes from a rule inside of a method names the permission that the rule asks for.
    let permission = error.metadata().get("permission").cloned().unwrap_or(record.permission);
    audit::insert(&mut tx, scope, &AuditRecord { denied: Some(error.message().to_owned()), permission, ..record }).await?;
    tx.commit(&()).await
}

/// What the trail keeps of an allowed call that changes nothing.
pub(crate) fn record(caller: &Caller, uid: Uid, time: Timestamp, resource: String) -> AuditRecord {
    let call = caller.call.clone();
    AuditRecord {
        uid,
        time,
        principal: caller.principal.to_string(),
        proof: caller.proof.to_string(),
        method: call.method.to_owned(),
        permission: call.permission.to_owned(),
        resource,
        denied: None,
        request_id: call.request_id,
        trace_id: call.trace_id,
        source_address: call.source_address,
        change: String::new(),
        receipt_digest: String::new(),
    }
}

async fn enter(app: &App, caller: &Caller, parent: Option<&TenantName>, resource: &str) -> Result<TenantScope> {
    match parent {
        Some(tenant) => Ok(app.enter(caller, tenant, resource).await?.scope),
        None => caller.require(resource, app.now()).map(|()| INSTALLATION),
    }
}

/// Counts the refusals of each principal in the present minute.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<(i64, HashMap<Principal, u32>)>);

impl Denials {
    /// Whether one more is kept.
    fn admit(&self, principal: &Principal, now: Timestamp) -> bool {
        let minute = now.as_micros().div_euclid(60_000_000);
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.0 != minute {
            *counted = (minute, HashMap::new());
        }
        let count = counted.1.entry(principal.clone()).or_default();
        *count = count.saturating_add(1);
        *count <= DENIALS_A_MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_principal_has_ten_refusals_a_minute() {
        let denials = Denials::default();
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let who = |text: &str| text.parse::<Principal>().expect("valid");
        let admitted = |name: &str, second| (0..20).filter(|_| denials.admit(&who(name), at(second))).count();
        assert_eq!(admitted("tenants/acme/users/ada", 0), 10);
        assert_eq!(admitted("tenants/acme/users/ada", 59), 0);
        assert_eq!(admitted("tenants/acme/users/bob", 59), 10);
        assert_eq!(admitted("tenants/acme/users/ada", 60), 10);
    }
}
