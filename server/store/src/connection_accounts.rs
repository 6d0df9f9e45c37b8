//! Rows of accounts of other systems that act as users here, and of codes that make them.

use freehold_domain::{
    Error, Result,
    access::{Principal, TenantScope},
    commands::ExternalAccount,
    connection_accounts::ConnectionAccount,
    resource::{Listed, Page},
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// Adds an account; answers whether there was none of this external id.
pub async fn insert(tx: &mut Tx, tenant: TenantScope, connection: Uid, account: &ConnectionAccount) -> Result<bool> {
    let rows = execute!(
        tx,
        "INSERT INTO connection_accounts (tenant_id, uid, connection, external_id, principal, body)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, connection, external_id) DO NOTHING",
        tenant.0.0,
        account.name.account.0,
        connection.0,
        &account.external_id,
        account.principal.to_string(),
        encode(account)?,
    )
    .map_err(|failure| if failure.is_reference() { Error::not_found(account.name.connection_name()) } else { failure.into() })?;
    Ok(rows == 1)
}

/// Reads one.
pub async fn get(db: &mut Session, tenant: TenantScope, connection: Uid, uid: Uid) -> Result<Option<ConnectionAccount>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM connection_accounts WHERE tenant_id = $1 AND connection = $2 AND uid = $3",
        tenant.0.0,
        connection.0,
        uid.0,
    )?;
    row.map(|(body,)| decode("connection_accounts", &body)).transpose()
}

/// Finds the one of an account of the other system.
pub async fn by_external_id(
    db: &mut Session,
    tenant: TenantScope,
    connection: Uid,
    external_id: &str,
) -> Result<Option<ConnectionAccount>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM connection_accounts WHERE tenant_id = $1 AND connection = $2 AND external_id = $3",
        tenant.0.0,
        connection.0,
        external_id,
    )?;
    row.map(|(body,)| decode("connection_accounts", &body)).transpose()
}

/// Reads a page of those of a connection; all, or those of one principal.
pub async fn list(
    db: &mut Session,
    tenant: TenantScope,
    connection: Uid,
    principal: Option<&Principal>,
    page: Page,
) -> Result<Listed<ConnectionAccount>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM connection_accounts
         WHERE tenant_id = $1 AND connection = $2 AND uid > $3 AND (principal = $4 OR $4 = '') ORDER BY uid LIMIT $5",
        tenant.0.0,
        connection.0,
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        principal.map(ToString::to_string).unwrap_or_default(),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("connection_accounts", body)).collect::<Result<Vec<ConnectionAccount>>>()?;
    Ok(Listed::from_rows(items, page, |account| account.name.account))
}

/// Removes one; answers whether it was there.
pub async fn delete(tx: &mut Tx, tenant: TenantScope, uid: Uid) -> Result<bool> {
    let rows = execute!(tx, "DELETE FROM connection_accounts WHERE tenant_id = $1 AND uid = $2", tenant.0.0, uid.0)?;
    Ok(rows == 1)
}

/// Removes all of a principal that is deleted: who gets its name later is somebody else.
pub async fn delete_of(tx: &mut Tx, tenant: TenantScope, principal: &Principal) -> Result<()> {
    execute!(tx, "DELETE FROM connection_accounts WHERE tenant_id = $1 AND principal = $2", tenant.0.0, principal.to_string(),)?;
    Ok(())
}

/// Removes all of a connection that is deleted, with their codes.
pub async fn delete_all(tx: &mut Tx, tenant: TenantScope, connection: Uid) -> Result<()> {
    execute!(tx, "DELETE FROM connection_accounts WHERE tenant_id = $1 AND connection = $2", tenant.0.0, connection.0)?;
    execute!(tx, "DELETE FROM link_codes WHERE tenant_id = $1 AND connection = $2", tenant.0.0, connection.0)?;
    Ok(())
}

/// Keeps the SHA-256 of a code for an account of the other system, in the place of an earlier one.
pub async fn put_code(
    tx: &mut Tx,
    tenant: TenantScope,
    connection: Uid,
    account: &ExternalAccount,
    digest: &[u8],
    expires: Timestamp,
) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO link_codes (tenant_id, connection, external_id, digest, expires, body) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, connection, external_id) DO UPDATE
         SET digest = excluded.digest, expires = excluded.expires, body = excluded.body",
        tenant.0.0,
        connection.0,
        &account.id,
        digest,
        expires.as_micros(),
        encode(account)?,
    )?;
    Ok(())
}

/// Takes a code away by its SHA-256, so that it is good once; answers the account that it is of, if it is still good.
pub async fn take_code(tx: &mut Tx, tenant: TenantScope, connection: Uid, digest: &[u8]) -> Result<Option<ExternalAccount>> {
    let row = fetch_optional!(
        (i64, String),
        tx,
        "DELETE FROM link_codes WHERE tenant_id = $1 AND connection = $2 AND digest = $3 RETURNING expires, body",
        tenant.0.0,
        connection.0,
        digest,
    )?;
    let now = tx.now().as_micros();
    row.filter(|(expires, _)| now < *expires).map(|(_, body)| decode("link_codes", &body)).transpose()
}

/// Forgets codes whose time is over, at most so many; answers how many.
pub async fn forget_codes(tx: &mut Tx, most: u32) -> Result<u64> {
    let now = tx.now().as_micros();
    let rows = execute!(
        tx,
        "DELETE FROM link_codes WHERE (tenant_id, connection, external_id) IN
         (SELECT tenant_id, connection, external_id FROM link_codes WHERE expires <= $1 ORDER BY expires LIMIT $2)",
        now,
        i64::from(most),
    )?;
    Ok(rows)
}
