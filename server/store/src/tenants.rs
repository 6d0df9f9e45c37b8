//! Rows of tenants. They belong to no tenant: what a caller may see of them is decided by the service.

use freehold_domain::{
    Result,
    names::TenantName,
    resource::{Listed, Page},
    tenants::{Tenant, TenantState},
    time::Timestamp,
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{OrExists as _, decode, encode},
};

/// Adds a tenant with its wrapped data key.
pub async fn insert(tx: &mut Tx, tenant: &Tenant, data_key: &[u8]) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO tenants (uid, name, version, body, data_key, queue_weight) VALUES ($1, $2, $3, $4, $5, $6)",
        tenant.meta.uid.0,
        tenant.name.to_string(),
        tenant.meta.version,
        encode(tenant)?,
        data_key,
        i64::from(tenant.queue_weight),
    )
    .or_exists(&tenant.name)?;
    Ok(())
}

/// Reads one with its wrapped data key.
pub async fn get(db: &mut Session, name: &TenantName) -> Result<Option<(Tenant, Vec<u8>)>> {
    let row = fetch_optional!((String, Vec<u8>), db, "SELECT body, data_key FROM tenants WHERE name = $1", name.to_string())?;
    row.map(|(body, key)| Ok((decode("tenants", &body)?, key))).transpose()
}

/// Reads one by its uid, with its wrapped data key.
pub async fn get_by_uid(db: &mut Session, uid: Uuid) -> Result<Option<(Tenant, Vec<u8>)>> {
    let row = fetch_optional!((String, Vec<u8>), db, "SELECT body, data_key FROM tenants WHERE uid = $1", uid)?;
    row.map(|(body, key)| Ok((decode("tenants", &body)?, key))).transpose()
}

/// Reads a page.
pub async fn list(db: &mut Session, page: Page) -> Result<Listed<Tenant>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM tenants WHERE uid > $1 ORDER BY uid LIMIT $2",
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("tenants", body)).collect::<Result<Vec<Tenant>>>()?;
    Ok(Listed::from_rows(items, page, |tenant| tenant.meta.uid))
}

/// Writes the next version. Fails with `ETAG_MISMATCH` when somebody else was first.
pub async fn update(tx: &mut Tx, tenant: &Tenant) -> Result<()> {
    let rows = execute!(
        tx,
        "UPDATE tenants SET version = $1, body = $2, delete_time = $3, active = $4, queue_weight = $5
         WHERE uid = $6 AND version = $7",
        tenant.meta.version,
        encode(tenant)?,
        tenant.delete_time.map(Timestamp::as_micros),
        tenant.state == TenantState::Active,
        i64::from(tenant.queue_weight),
        tenant.meta.uid.0,
        tenant.meta.version - 1,
    )?;
    if rows == 1 { Ok(()) } else { Err(tenant.meta.etag_mismatch()) }
}

/// Reads tenants that were deleted at this time or before, the first of them first.
pub async fn deleted(db: &mut Session, until: Timestamp, most: u32) -> Result<Vec<Tenant>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM tenants WHERE delete_time <= $1 ORDER BY delete_time LIMIT $2",
        until.as_micros(),
        i64::from(most),
    )?;
    rows.iter().map(|(body,)| decode("tenants", body)).collect()
}

/// Whether there is one with this key; if so, it neither goes nor changes before this transaction ends.
pub async fn hold(tx: &mut Tx, uid: Uuid) -> Result<bool> {
    Ok(execute!(tx, "UPDATE tenants SET version = version WHERE uid = $1", uid)? == 1)
}

/// Removes one, and with its data key all that anybody could still read of it. Fails while it has rows in other tables.
pub async fn purge(tx: &mut Tx, uid: Uuid) -> Result<()> {
    execute!(tx, "DELETE FROM tenants WHERE uid = $1", uid)?;
    Ok(())
}
