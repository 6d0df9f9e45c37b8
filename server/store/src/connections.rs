//! Rows of connections.

use freehold_domain::{connections::Connection, names::ConnectionName, time::Uid};

entity!("connections", Connection, ConnectionName);

/// Finds one by its uid alone, for those who call us by it; answers its tenant, too.
pub async fn find(db: &mut Session, uid: Uid) -> Result<Option<(TenantScope, Connection)>> {
    let row = fetch_optional!((uuid::Uuid, String), db, "SELECT tenant_id, body FROM connections WHERE uid = $1", uid.0)?;
    row.map(|(tenant, body)| Ok((TenantScope(Uid(tenant)), decode("connections", &body)?))).transpose()
}
