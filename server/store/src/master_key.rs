//! What tells the right master key from another one: a text that it has sealed, one for the installation.

use freehold_domain::Result;
use uuid::Uuid;

use crate::{Session, Tx};

/// Keeps a text that the master key has sealed, unless there is one already.
pub async fn insert(tx: &mut Tx, sealed: &[u8]) -> Result<()> {
    execute!(tx, "INSERT INTO master_key (one, sealed) VALUES (1, $1) ON CONFLICT (one) DO NOTHING", sealed)?;
    Ok(())
}

/// Reads it.
pub async fn get(db: &mut Session) -> Result<Option<Vec<u8>>> {
    let row = fetch_optional!((Vec<u8>,), db, "SELECT sealed FROM master_key WHERE one = 1")?;
    Ok(row.map(|(sealed,)| sealed))
}

/// Reads the uid and the wrapped data key of the oldest tenant.
pub async fn oldest_data_key(db: &mut Session) -> Result<Option<(Uuid, Vec<u8>)>> {
    Ok(fetch_optional!((Uuid, Vec<u8>), db, "SELECT uid, data_key FROM tenants ORDER BY uid LIMIT 1")?)
}
