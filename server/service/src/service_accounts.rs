//! Programs of a tenant, and the certificate identities that they answer to.

use freehold_domain::{
    Error, Result,
    access::{Caller, Principal},
    events::Event,
    iam::{ServiceAccount, WorkloadIdentity},
    names::{Id, ServiceAccountName, TenantName, WorkloadIdentityName},
    resource::{Described, Listed, Meta, Page},
};
use freehold_store::{access, service_accounts};

use crate::{
    access::require_roles_of,
    app::{App, Write},
    identify,
};

/// What a new service account is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateServiceAccount {
    pub parent: TenantName,
    pub id: Option<Id>,
    pub described: Described,
}

/// Creates a service account.
pub async fn create(app: &App, caller: &Caller, cmd: CreateServiceAccount, write: &Write) -> Result<ServiceAccount> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let uid = tx.uid();
    let service_account = cmd.id.unwrap_or_else(|| Id::generated("account", uid));
    let account = ServiceAccount {
        name: ServiceAccountName { tenant: cmd.parent.tenant.clone(), service_account },
        meta: Meta::new(uid, cmd.described, &caller.principal, tx.now()),
    };
    service_accounts::insert(&mut tx, place.scope, &cmd.parent.to_string(), &account).await?;
    tx.announce(Event::new("service_account.created", &account.name, uid, 1));
    app.finish(tx, write, &account).await?;
    Ok(account)
}

/// Returns a service account.
pub async fn get(app: &App, caller: &Caller, name: &ServiceAccountName) -> Result<ServiceAccount> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    service_accounts::get(&mut app.store.read().await?, place.scope, name).await?.ok_or_else(|| Error::not_found(name))
}

/// Lists the service accounts of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<ServiceAccount>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    service_accounts::list(&mut app.store.read().await?, place.scope, &parent.to_string(), page).await
}

/// Deletes a service account with its bindings, keys and identities.
pub async fn delete(app: &App, caller: &Caller, name: &ServiceAccountName, allow_missing: bool, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let account = match service_accounts::get(&mut tx, place.scope, name).await? {
        None if allow_missing => return app.finish(tx, write, &()).await,
        None => return Err(Error::not_found(name)),
        Some(account) => account,
    };
    account.meta.expect_etag(write.etag.as_deref())?;
    let member = Principal::ServiceAccount(name.clone());
    // The account first: who gives it a role or a key at this moment holds its row, and what they gave is then removed too.
    service_accounts::delete(&mut tx, place.scope, &account).await?;
    access::delete_member(&mut tx, place.scope, &member).await?;
    tx.announce(Event::new("service_account.deleted", name, account.meta.uid, account.meta.version + 1));
    app.finish(tx, write, &()).await?;
    app.grants.forget(&member);
    app.identities.clear();
    Ok(())
}

/// Lets a certificate identity act as the service account. Who does so needs all that the account may do.
pub async fn create_identity(
    app: &App,
    caller: &Caller,
    parent: &ServiceAccountName,
    spiffe_id: String,
    write: &Write,
) -> Result<WorkloadIdentity> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    if identify::names_principal(app, &spiffe_id) {
        return Err(Error::field("spiffe_id", "this identity stands for a principal of this installation already"));
    }
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    if !service_accounts::hold(&mut tx, place.scope, parent).await? {
        return Err(Error::not_found(parent));
    }
    require_roles_of(&mut tx, caller, place.scope, &Principal::ServiceAccount(parent.clone())).await?;
    let ServiceAccountName { tenant, service_account } = parent.clone();
    let uid = tx.uid();
    let identity = WorkloadIdentity {
        name: WorkloadIdentityName { tenant, service_account, workload_identity: uid },
        spiffe_id,
        create_time: tx.now(),
        creator: caller.principal.to_string(),
    };
    access::insert_identity(&mut tx, place.scope, &identity).await?;
    tx.announce(Event::new("workload_identity.created", &identity.name, uid, 1).with(identity.spiffe_id.as_str().into()));
    app.finish(tx, write, &identity).await?;
    Ok(identity)
}

/// Lists the certificate identities of a service account.
pub async fn list_identities(
    app: &App,
    caller: &Caller,
    parent: &ServiceAccountName,
    page: Page,
) -> Result<Listed<WorkloadIdentity>> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    access::list_identities(&mut app.store.read().await?, place.scope, parent, page).await
}

/// Ends what an identity may do as the service account.
pub async fn delete_identity(app: &App, caller: &Caller, name: &WorkloadIdentityName, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.service_account_name().tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let identity = access::delete_identity(&mut tx, place.scope, name).await?.ok_or_else(|| Error::not_found(name))?;
    tx.announce(
        Event::new("workload_identity.deleted", name, name.workload_identity, 2).with(identity.spiffe_id.as_str().into()),
    );
    app.finish(tx, write, &()).await?;
    app.identities.forget(&identity.spiffe_id);
    Ok(())
}
