//! Tenants. Platform administrators make, stop and delete them.

use freehold_domain::{
    Error, Reason, Result,
    access::Caller,
    events::Event,
    names::{Id, TenantName},
    operations::Operation,
    quotas::Dimension,
    resource::{Described, Labels, Listed, Page},
    tenants::Tenant,
    time::Timestamp,
};
use freehold_store::{INSTALLATION, Session, deployments, operations, quotas, tenants};

use crate::app::{App, Place, Write};

/// What a new tenant is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateTenant {
    pub id: Option<Id>,
    pub described: Described,
    pub queue_weight: Option<u32>,
}

/// What changes; `None` stays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UpdateTenant {
    pub name: TenantName,
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    /// For platform administrators only.
    pub queue_weight: Option<u32>,
}

/// Creates a tenant with its data key and the default quotas.
pub async fn create(app: &App, caller: &Caller, cmd: CreateTenant, write: &Write) -> Result<Tenant> {
    caller.require("", app.now())?;
    let mut tx = app.store.begin(caller, INSTALLATION, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let uid = tx.uid();
    let name = TenantName { tenant: cmd.id.unwrap_or_else(|| Id::generated("tenant", uid)) };
    let mut tenant = Tenant::new(name, cmd.described, uid, &caller.principal, tx.now());
    tenant.queue_weight = cmd.queue_weight.unwrap_or(tenant.queue_weight);
    let data_key = app.master_key.new_data_key(app.random.as_ref(), uid)?;
    tenants::insert(&mut tx, &tenant, &data_key).await?;
    for dimension in Dimension::ALL {
        quotas::insert_default(&mut tx, tenant.scope(), dimension).await?;
    }
    tx.announce(Event::new("tenant.created", &tenant.name, uid, 1));
    app.finish(tx, write, &tenant).await?;
    Ok(tenant)
}

/// Returns a tenant; a deleted one to platform administrators only.
pub async fn get(app: &App, caller: &Caller, name: &TenantName) -> Result<Tenant> {
    app.enter(caller, name, &name.to_string()).await?;
    read(&mut app.store.read().await?, name).await
}

/// Lists all tenants, or, to a member of one, that one.
pub async fn list(app: &App, caller: &Caller, page: Page) -> Result<Listed<Tenant>> {
    let Some(own) = caller.principal.tenant() else {
        caller.require("", app.now())?;
        return tenants::list(&mut app.store.read().await?, page).await;
    };
    app.enter(caller, &own, &own.to_string()).await?;
    let tenant = read(&mut app.store.read().await?, &own).await?;
    let seen = page.after.is_some_and(|after| after >= tenant.meta.uid);
    Ok(Listed { items: if seen { Vec::new() } else { vec![tenant] }, next: None })
}

/// Changes a tenant.
pub async fn update(app: &App, caller: &Caller, cmd: UpdateTenant, write: &Write) -> Result<Tenant> {
    let UpdateTenant { name, display_name, labels, queue_weight } = cmd;
    let step = |tenant: &mut Tenant, now| {
        if queue_weight.is_some_and(|weight| weight != tenant.queue_weight) && !caller.is_platform() {
            let why = "how much of the runners a tenant may have is for platform administrators to say; ask one of them";
            let error = Error::new(Reason::PermissionMissing, why).with("permission", caller.call.permission);
            return Err(error.with("resource", "the installation"));
        }
        tenant.describe(display_name, labels, queue_weight, now)
    };
    change(app, caller, &name, write, "tenant.updated", step).await
}

/// Stops new writes and runs of a tenant.
pub async fn suspend(app: &App, caller: &Caller, name: &TenantName, reason: String, write: &Write) -> Result<Tenant> {
    change(app, caller, name, write, "tenant.suspended", |tenant, now| tenant.suspend(reason, now)).await
}

/// Lets a suspended tenant go on.
pub async fn resume(app: &App, caller: &Caller, name: &TenantName, write: &Write) -> Result<Tenant> {
    change(app, caller, name, write, "tenant.resumed", Tenant::resume).await
}

/// Deletes a tenant; it is kept for [`RETENTION`](freehold_domain::tenants::RETENTION).
///
/// Fails with `RESOURCE_IN_USE` while it has deployments, unless `force` says that they may be forgotten.
pub async fn delete(app: &App, caller: &Caller, name: &TenantName, force: bool, write: &Write) -> Result<Operation> {
    let place = enter(app, caller, name).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut tenant = read(&mut tx, name).await?;
    tenant.meta.expect_etag(write.etag.as_deref())?;
    tenant.delete(tx.now())?;
    tenants::update(&mut tx, &tenant).await?;
    let deployments = deployments::count(&mut tx, place.scope).await?;
    if deployments > 0 && !force {
        return Err(in_use(name, deployments));
    }
    let operation = Operation::done("tenants.delete", name, name, tx.uid(), tx.now());
    operations::insert(&mut tx, place.scope, &operation).await?;
    tx.announce(Event::new("tenant.deleted", name, tenant.meta.uid, tenant.meta.version));
    app.finish(tx, write, &operation).await?;
    app.forget_tenant(name);
    Ok(operation)
}

/// One step of a tenant's life; a step that changes nothing writes nothing.
async fn change(
    app: &App,
    caller: &Caller,
    name: &TenantName,
    write: &Write,
    kind: &str,
    step: impl FnOnce(&mut Tenant, Timestamp) -> Result<()>,
) -> Result<Tenant> {
    let place = enter(app, caller, name).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut tenant = read(&mut tx, name).await?;
    tenant.meta.expect_etag(write.etag.as_deref())?;
    let before = tenant.meta.version;
    step(&mut tenant, tx.now())?;
    if tenant.meta.version > before {
        tenants::update(&mut tx, &tenant).await?;
        tx.announce(Event::new(kind, name, tenant.meta.uid, tenant.meta.version));
    }
    app.finish(tx, write, &tenant).await?;
    app.forget_tenant(name);
    Ok(tenant)
}

/// Enters a tenant to change the tenant itself, which platform administrators may also while it is suspended.
async fn enter(app: &App, caller: &Caller, name: &TenantName) -> Result<Place> {
    if !caller.is_platform() {
        return app.enter(caller, name, &name.to_string()).await;
    }
    caller.expect_tenant(name)?;
    caller.require(&name.to_string(), app.now())?;
    app.place(name).await?.ok_or_else(|| Error::not_found(name))
}

async fn read(db: &mut Session, name: &TenantName) -> Result<Tenant> {
    tenants::get(db, name).await?.map(|(tenant, _)| tenant).ok_or_else(|| Error::not_found(name))
}

fn in_use(name: &TenantName, deployments: i64) -> Error {
    Error::new(
        Reason::ResourceInUse,
        format!("{name} has {deployments} deployments; destroy and delete them first, or delete with `force` to forget them"),
    )
    .with("resource", name)
    .with("deployments", deployments)
}
