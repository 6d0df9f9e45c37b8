//! Rows of operations.

use freehold_domain::{
    Result,
    access::TenantScope,
    operations::Operation,
    resource::{Listed, Page},
    time::Uid,
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// Adds an operation.
pub async fn insert(tx: &mut Tx, tenant: TenantScope, operation: &Operation) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO operations (tenant_id, uid, body) VALUES ($1, $2, $3)",
        tenant.0.0,
        operation.name.operation.0,
        encode(operation)?,
    )?;
    Ok(())
}

/// Reads one.
pub async fn get(db: &mut Session, tenant: TenantScope, uid: Uid) -> Result<Option<Operation>> {
    let row =
        fetch_optional!((String,), db, "SELECT body FROM operations WHERE tenant_id = $1 AND uid = $2", tenant.0.0, uid.0,)?;
    row.map(|(body,)| decode("operations", &body)).transpose()
}

/// Reads a page.
pub async fn list(db: &mut Session, tenant: TenantScope, page: Page) -> Result<Listed<Operation>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM operations WHERE tenant_id = $1 AND uid > $2 ORDER BY uid LIMIT $3",
        tenant.0.0,
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("operations", body)).collect::<Result<Vec<Operation>>>()?;
    Ok(Listed::from_rows(items, page, |operation| operation.name.operation))
}
