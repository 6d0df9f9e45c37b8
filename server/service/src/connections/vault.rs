//! Credentials in the database: sealed, and all of a connection together.

use freehold_domain::{Error, Result, connections::Vault, time::Uid};
use freehold_store::{Session, Tx, payloads::Kind};

use crate::app::{App, Place};

/// Seals the credentials of a connection and writes them.
pub(super) async fn put_vault(app: &App, tx: &mut Tx, place: &Place, connection: Uid, vault: &Vault) -> Result<()> {
    let bytes = serde_json::to_vec(vault).map_err(Error::internal)?;
    app.put(tx, place, connection, Kind::Credentials, 0, &bytes).await
}

/// Reads the credentials of a connection.
pub(crate) async fn open_vault(app: &App, db: &mut Session, place: &Place, connection: Uid) -> Result<Vault> {
    match app.open(db, place, connection, Kind::Credentials, 0).await? {
        None => Ok(Vault::default()),
        // What serde says of a value that it cannot read may hold the value.
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|_| Error::internal("the credentials cannot be read")),
    }
}
