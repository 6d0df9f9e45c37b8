//! Roles, and who has them where.

use freehold_domain::{
    Error, Result, Violations,
    access::{Caller, Principal, Role, TenantScope},
    events::Event,
    iam::{RoleBinding, Scope},
    names::{RoleBindingName, TenantName},
    resource::{Listed, Page},
    time::Timestamp,
};
use freehold_store::{Tx, access, environments, projects, service_accounts, users};

use crate::app::{App, Write};

/// Which role is given to whom, and where.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateRoleBinding {
    pub parent: TenantName,
    pub role: &'static Role,
    pub member: Principal,
    pub resource: Scope,
    pub expire_time: Option<Timestamp>,
}

/// Gives a role. Who does so needs every permission of it there.
pub async fn create_binding(app: &App, caller: &Caller, cmd: CreateRoleBinding, write: &Write) -> Result<RoleBinding> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut fields = Violations::new();
    if !hold_member(&mut tx, place.scope, &cmd.parent, &cmd.member).await? {
        fields.add("role_binding.member", format!("{} is not a user or service account of {}", cmd.member, cmd.parent));
    }
    if !hold_resource(&mut tx, place.scope, &cmd.parent, &cmd.resource).await? {
        fields.add("role_binding.resource", format!("{} is not {} or something in it", cmd.resource, cmd.parent));
    }
    if cmd.expire_time.is_some_and(|end| end <= tx.now()) {
        fields.add("role_binding.expire_time", "in the past; leave it out for a role without end");
    }
    fields.finish()?;
    let resource = cmd.resource.to_string();
    caller.require_role(cmd.role, &resource, tx.now())?;
    let uid = tx.uid();
    let binding = RoleBinding {
        name: RoleBindingName { tenant: cmd.parent.tenant, role_binding: uid },
        role: cmd.role.name(),
        member: cmd.member,
        resource,
        expire_time: cmd.expire_time,
        create_time: tx.now(),
        creator: caller.principal.to_string(),
    };
    access::insert_binding(&mut tx, place.scope, &binding).await?;
    tx.announce(Event::new("role_binding.created", &binding.name, uid, 1).with(facts(&binding)));
    app.finish(tx, write, &binding).await?;
    app.grants.forget(&binding.member);
    Ok(binding)
}

/// Lists the bindings of a tenant.
pub async fn list_bindings(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<RoleBinding>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    access::list_bindings(&mut app.store.read().await?, place.scope, page).await
}

/// Takes a role away.
pub async fn delete_binding(app: &App, caller: &Caller, name: &RoleBindingName, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let binding = access::delete_binding(&mut tx, place.scope, name.role_binding).await?.ok_or_else(|| Error::not_found(name))?;
    tx.announce(Event::new("role_binding.deleted", name, name.role_binding, 2).with(facts(&binding)));
    app.finish(tx, write, &()).await?;
    app.grants.forget(&binding.member);
    Ok(())
}

/// Fails unless the caller may itself do all that this principal may do: who makes a key or an identity for it can act as it.
pub(crate) async fn require_roles_of(tx: &mut Tx, caller: &Caller, tenant: TenantScope, principal: &Principal) -> Result<()> {
    let now = tx.now();
    for binding in access::bindings_of(tx, tenant, principal).await? {
        let live = binding.expire_time.is_none_or(|end| now < end);
        if let Some(role) = Role::find(&binding.role).filter(|_| live) {
            caller.require_role(role, &binding.resource, now)?;
        }
    }
    Ok(())
}

/// Whether this is a user or service account of the tenant; if so, it stays until the transaction ends.
pub(crate) async fn hold_member(tx: &mut Tx, scope: TenantScope, tenant: &TenantName, member: &Principal) -> Result<bool> {
    if member.tenant().as_ref() != Some(tenant) {
        return Ok(false);
    }
    match member {
        Principal::User(name) => users::hold(tx, scope, name).await,
        Principal::ServiceAccount(name) => service_accounts::hold(tx, scope, name).await,
        Principal::Platform(_) | Principal::Runner(_) | Principal::Server => Ok(false),
    }
}

/// Whether this is the tenant or exists in it; if so, it stays until the transaction ends.
async fn hold_resource(tx: &mut Tx, scope: TenantScope, tenant: &TenantName, resource: &Scope) -> Result<bool> {
    if resource.tenant_name() != *tenant {
        return Ok(false);
    }
    match resource {
        Scope::Tenant(_) => Ok(true),
        Scope::Project(name) => projects::hold(tx, scope, name).await,
        Scope::Environment(name) => environments::hold(tx, scope, name).await,
    }
}

fn facts(binding: &RoleBinding) -> serde_json::Value {
    serde_json::json!({ "role": binding.role, "member": binding.member, "resource": binding.resource })
}
