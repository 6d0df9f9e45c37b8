//! Rows of exceptions from drift.

use freehold_domain::{
    Result,
    access::TenantScope,
    drift::DriftException,
    resource::{Listed, Page},
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// Adds one.
pub async fn insert(tx: &mut Tx, tenant: TenantScope, exception: &DriftException) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO drift_exceptions (tenant_id, uid, ends, body) VALUES ($1, $2, $3, $4)",
        tenant.0.0,
        exception.uid().0,
        exception.expire_time.as_micros(),
        encode(exception)?,
    )?;
    Ok(())
}

/// Reads one.
pub async fn get(db: &mut Session, tenant: TenantScope, uid: Uid) -> Result<Option<DriftException>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM drift_exceptions WHERE tenant_id = $1 AND uid = $2",
        tenant.0.0,
        uid.0,
    )?;
    row.map(|(body,)| decode("drift_exceptions", &body)).transpose()
}

/// Reads a page.
pub async fn list(db: &mut Session, tenant: TenantScope, page: Page) -> Result<Listed<DriftException>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM drift_exceptions WHERE tenant_id = $1 AND uid > $2 ORDER BY uid LIMIT $3",
        tenant.0.0,
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("drift_exceptions", body)).collect::<Result<Vec<DriftException>>>()?;
    Ok(Listed::from_rows(items, page, DriftException::uid))
}

/// Reads all that have not ended at this time.
pub async fn lasting(db: &mut Session, tenant: TenantScope, now: Timestamp) -> Result<Vec<DriftException>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM drift_exceptions WHERE tenant_id = $1 AND ends > $2 ORDER BY uid",
        tenant.0.0,
        now.as_micros(),
    )?;
    rows.iter().map(|(body,)| decode("drift_exceptions", body)).collect()
}

/// Reads those that have ended, of any tenant, and whose items have not been opened again; the first to end first.
pub async fn ended(db: &mut Session, now: Timestamp, most: u32) -> Result<Vec<(TenantScope, Uid)>> {
    let rows = fetch_all!(
        (Uuid, Uuid),
        db,
        "SELECT tenant_id, uid FROM drift_exceptions WHERE ends <= $1 ORDER BY ends LIMIT $2",
        now.as_micros(),
        i64::from(most),
    )?;
    Ok(rows.into_iter().map(|(tenant, uid)| (TenantScope(Uid(tenant)), Uid(uid))).collect())
}

/// Notes when the items of one are to be opened again, or that they have been; answers whether that was still to come.
pub async fn set_end(tx: &mut Tx, tenant: TenantScope, uid: Uid, ends: Option<Timestamp>) -> Result<bool> {
    let rows = execute!(
        tx,
        "UPDATE drift_exceptions SET ends = $1 WHERE tenant_id = $2 AND uid = $3 AND ends IS NOT NULL",
        ends.map(Timestamp::as_micros),
        tenant.0.0,
        uid.0,
    )?;
    Ok(rows == 1)
}

/// Removes one.
pub async fn delete(tx: &mut Tx, tenant: TenantScope, uid: Uid) -> Result<()> {
    execute!(tx, "DELETE FROM drift_exceptions WHERE tenant_id = $1 AND uid = $2", tenant.0.0, uid.0)?;
    Ok(())
}
