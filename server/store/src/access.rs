//! Rows of role bindings, API keys and workload identities: who may do what, and how it proves who it is.

use freehold_domain::{
    Error, Result,
    access::{Principal, TenantScope},
    iam::{ApiKey, RoleBinding, WorkloadIdentity},
    names::{ServiceAccountName, WorkloadIdentityName},
    resource::{Listed, Page},
    time::Uid,
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{OrExists as _, decode, encode},
};

/// Adds a role binding.
pub async fn insert_binding(tx: &mut Tx, tenant: TenantScope, binding: &RoleBinding) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO role_bindings (tenant_id, uid, member, role, resource, body) VALUES ($1, $2, $3, $4, $5, $6)",
        tenant.0.0,
        binding.name.role_binding.0,
        binding.member.to_string(),
        &binding.role,
        &binding.resource,
        encode(binding)?,
    )
    .or_exists(format!("a binding of {} to {} on {}", binding.role, binding.member, binding.resource))?;
    Ok(())
}

/// Reads the bindings of a member.
pub async fn bindings_of(db: &mut Session, tenant: TenantScope, member: &Principal) -> Result<Vec<RoleBinding>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM role_bindings WHERE tenant_id = $1 AND member = $2 ORDER BY uid",
        tenant.0.0,
        member.to_string(),
    )?;
    rows.iter().map(|(body,)| decode("role_bindings", body)).collect()
}

/// Reads a page of the bindings of a tenant.
pub async fn list_bindings(db: &mut Session, tenant: TenantScope, page: Page) -> Result<Listed<RoleBinding>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM role_bindings WHERE tenant_id = $1 AND uid > $2 ORDER BY uid LIMIT $3",
        tenant.0.0,
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("role_bindings", body)).collect::<Result<Vec<RoleBinding>>>()?;
    Ok(Listed::from_rows(items, page, |binding| binding.name.role_binding))
}

/// Removes a binding; answers it, if there was one.
pub async fn delete_binding(tx: &mut Tx, tenant: TenantScope, uid: Uid) -> Result<Option<RoleBinding>> {
    let row = fetch_optional!(
        (String,),
        tx,
        "DELETE FROM role_bindings WHERE tenant_id = $1 AND uid = $2 RETURNING body",
        tenant.0.0,
        uid.0,
    )?;
    row.map(|(body,)| decode("role_bindings", &body)).transpose()
}

/// Removes the bindings on a resource; answers them.
pub async fn delete_bindings_on(tx: &mut Tx, tenant: TenantScope, resource: impl ToString) -> Result<Vec<RoleBinding>> {
    let rows = fetch_all!(
        (String,),
        tx,
        "DELETE FROM role_bindings WHERE tenant_id = $1 AND resource = $2 RETURNING body",
        tenant.0.0,
        resource.to_string(),
    )?;
    rows.iter().map(|(body,)| decode("role_bindings", body)).collect()
}

/// Removes everything that gives a member access: bindings and keys.
pub async fn delete_member(tx: &mut Tx, tenant: TenantScope, member: &Principal) -> Result<()> {
    let name = member.to_string();
    execute!(tx, "DELETE FROM role_bindings WHERE tenant_id = $1 AND member = $2", tenant.0.0, &name)?;
    execute!(tx, "DELETE FROM api_keys WHERE tenant_id = $1 AND member = $2", tenant.0.0, &name)?;
    Ok(())
}

/// Adds an API key with the SHA-256 of its secret.
pub async fn insert_key(tx: &mut Tx, tenant: TenantScope, digest: &[u8], key: &ApiKey) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO api_keys (tenant_id, uid, member, digest, body) VALUES ($1, $2, $3, $4, $5)",
        tenant.0.0,
        key.name.api_key.0,
        key.principal.to_string(),
        digest,
        encode(key)?,
    )?;
    Ok(())
}

/// Finds the key whose secret has this SHA-256.
pub async fn key_by_digest(db: &mut Session, digest: &[u8]) -> Result<Option<(TenantScope, ApiKey)>> {
    let row = fetch_optional!((Uuid, String), db, "SELECT tenant_id, body FROM api_keys WHERE digest = $1", digest)?;
    row.map(|(tenant, body)| Ok((TenantScope(Uid(tenant)), decode("api_keys", &body)?))).transpose()
}

/// Reads one key to change it: nobody else does before this transaction ends, so that no write undoes a revocation.
pub async fn hold_key(tx: &mut Tx, tenant: TenantScope, uid: Uid) -> Result<Option<ApiKey>> {
    let row = fetch_optional!(
        (String,),
        tx,
        "UPDATE api_keys SET body = body WHERE tenant_id = $1 AND uid = $2 RETURNING body",
        tenant.0.0,
        uid.0,
    )?;
    row.map(|(body,)| decode("api_keys", &body)).transpose()
}

/// Reads a page of keys.
pub async fn list_keys(db: &mut Session, tenant: TenantScope, page: Page) -> Result<Listed<ApiKey>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM api_keys WHERE tenant_id = $1 AND uid > $2 ORDER BY uid LIMIT $3",
        tenant.0.0,
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("api_keys", body)).collect::<Result<Vec<ApiKey>>>()?;
    Ok(Listed::from_rows(items, page, |key| key.name.api_key))
}

/// Writes a key.
pub async fn update_key(tx: &mut Tx, tenant: TenantScope, key: &ApiKey) -> Result<()> {
    let rows = execute!(
        tx,
        "UPDATE api_keys SET body = $1 WHERE tenant_id = $2 AND uid = $3",
        encode(key)?,
        tenant.0.0,
        key.name.api_key.0,
    )?;
    if rows == 1 { Ok(()) } else { Err(Error::not_found(&key.name)) }
}

/// Adds a workload identity. Fails with `RESOURCE_EXISTS` when its SPIFFE id is taken, `RESOURCE_NOT_FOUND` when the parent is gone.
pub async fn insert_identity(tx: &mut Tx, tenant: TenantScope, identity: &WorkloadIdentity) -> Result<()> {
    let parent = identity.name.service_account_name();
    execute!(
        tx,
        "INSERT INTO workload_identities (tenant_id, uid, parent, spiffe_id, body) VALUES ($1, $2, $3, $4, $5)",
        tenant.0.0,
        identity.name.workload_identity.0,
        parent.to_string(),
        &identity.spiffe_id,
        encode(identity)?,
    )
    .map_err(|failure| match failure {
        failure if failure.is_reference() => Error::not_found(&parent),
        failure if failure.is_unique() => Error::exists(&identity.spiffe_id),
        failure => failure.into(),
    })?;
    Ok(())
}

/// Finds the service account that a certificate identity answers to.
pub async fn identity_by_spiffe_id(db: &mut Session, spiffe_id: &str) -> Result<Option<WorkloadIdentity>> {
    let row = fetch_optional!((String,), db, "SELECT body FROM workload_identities WHERE spiffe_id = $1", spiffe_id)?;
    row.map(|(body,)| decode("workload_identities", &body)).transpose()
}

/// Reads a page of the identities of a service account.
pub async fn list_identities(
    db: &mut Session,
    tenant: TenantScope,
    parent: &ServiceAccountName,
    page: Page,
) -> Result<Listed<WorkloadIdentity>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM workload_identities WHERE tenant_id = $1 AND parent = $2 AND uid > $3 ORDER BY uid LIMIT $4",
        tenant.0.0,
        parent.to_string(),
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("workload_identities", body)).collect::<Result<Vec<WorkloadIdentity>>>()?;
    Ok(Listed::from_rows(items, page, |identity| identity.name.workload_identity))
}

/// Removes an identity; answers it, if there was one.
pub async fn delete_identity(tx: &mut Tx, tenant: TenantScope, name: &WorkloadIdentityName) -> Result<Option<WorkloadIdentity>> {
    let row = fetch_optional!(
        (String,),
        tx,
        "DELETE FROM workload_identities WHERE tenant_id = $1 AND uid = $2 AND parent = $3 RETURNING body",
        tenant.0.0,
        name.workload_identity.0,
        name.service_account_name().to_string(),
    )?;
    row.map(|(body,)| decode("workload_identities", &body)).transpose()
}
