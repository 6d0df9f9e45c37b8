//! Rows of the audit trail: added, read, never changed.

use freehold_domain::{
    Result,
    access::TenantScope,
    audit::AuditRecord,
    resource::{Listed, Page},
    time::Uid,
};
use uuid::Uuid;

use crate::{
    Session,
    session::{decode, encode},
};

/// Adds a record.
pub async fn insert(db: &mut Session, tenant: TenantScope, record: &AuditRecord) -> Result<()> {
    execute!(
        db,
        "INSERT INTO audit_records (tenant_id, uid, body) VALUES ($1, $2, $3)",
        tenant.0.0,
        record.uid.0,
        encode(record)?,
    )?;
    Ok(())
}

/// Reads one.
pub async fn get(db: &mut Session, tenant: TenantScope, uid: Uid) -> Result<Option<AuditRecord>> {
    let row =
        fetch_optional!((String,), db, "SELECT body FROM audit_records WHERE tenant_id = $1 AND uid = $2", tenant.0.0, uid.0,)?;
    row.map(|(body,)| decode("audit_records", &body)).transpose()
}

/// Reads a page.
pub async fn list(db: &mut Session, tenant: TenantScope, page: Page) -> Result<Listed<AuditRecord>> {
    let size = i64::from(page.size) + 1;
    let rows = if page.newest_first {
        fetch_all!(
            (String,),
            db,
            "SELECT body FROM audit_records WHERE tenant_id = $1 AND uid < $2 ORDER BY uid DESC LIMIT $3",
            tenant.0.0,
            page.after.map_or(Uuid::max(), |uid| uid.0),
            size,
        )?
    } else {
        fetch_all!(
            (String,),
            db,
            "SELECT body FROM audit_records WHERE tenant_id = $1 AND uid > $2 ORDER BY uid LIMIT $3",
            tenant.0.0,
            page.after.map_or(Uuid::nil(), |uid| uid.0),
            size,
        )?
    };
    let items = rows.iter().map(|(body,)| decode("audit_records", body)).collect::<Result<Vec<AuditRecord>>>()?;
    Ok(Listed::from_rows(items, page, |record| record.uid))
}
