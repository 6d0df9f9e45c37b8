//! Rows of connections.

use freehold_domain::{connections::Connection, names::ConnectionName, time::Uid};

entity!("connections", Connection, ConnectionName);

/// Every connection of a tenant.
pub async fn all(db: &mut Session, tenant: TenantScope) -> Result<Vec<Connection>> {
    let rows = fetch_all!((String,), db, "SELECT body FROM connections WHERE tenant_id = $1 ORDER BY uid", tenant.0.0)?;
    rows.iter().map(|(body,)| decode("connections", body)).collect()
}

/// Finds one by its uid alone, for those who call us by it; answers its tenant, too.
pub async fn find(db: &mut Session, uid: Uid) -> Result<Option<(TenantScope, Connection)>> {
    let row = fetch_optional!((uuid::Uuid, String), db, "SELECT tenant_id, body FROM connections WHERE uid = $1", uid.0)?;
    row.map(|(tenant, body)| Ok((TenantScope(Uid(tenant)), decode("connections", &body)?))).transpose()
}
