//! Rows of what other systems could not deliver to connections, and of who asks them.

use std::{collections::HashMap, time::Duration};

use freehold_domain::{
    Result,
    access::TenantScope,
    scrapes::Scrape,
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// A connection whose system is being asked.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose it is.
    pub tenant: TenantScope,
    /// The connection.
    pub connection: Uid,
    /// Number of the claim; whoever has a newer one has taken it over.
    pub epoch: i64,
    /// What is known so far.
    pub scrape: Scrape,
}

/// Begins anew with a connection. A look that is under way has lost it.
pub async fn begin(tx: &mut Tx, tenant: TenantScope, connection: Uid, due: Option<Timestamp>) -> Result<()> {
    let body = encode(&Scrape::new(tx.now()))?;
    execute!(
        tx,
        "INSERT INTO scrapes (tenant_id, connection, due, body) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, connection) DO UPDATE
         SET due = excluded.due, epoch = scrapes.epoch + 1, body = excluded.body",
        tenant.0.0,
        connection.0,
        due.map(Timestamp::as_micros),
        body,
    )?;
    Ok(())
}

/// Has it looked at again at this time, or not at all.
pub async fn set_due(tx: &mut Tx, tenant: TenantScope, connection: Uid, due: Option<Timestamp>) -> Result<()> {
    execute!(
        tx,
        "UPDATE scrapes SET due = $3 WHERE tenant_id = $1 AND connection = $2",
        tenant.0.0,
        connection.0,
        due.map(Timestamp::as_micros),
    )?;
    Ok(())
}

/// Claims those that are due, for a time, by the clock of the database.
pub async fn claim(tx: &mut Tx, lease: Duration, most: u32) -> Result<Vec<Claim>> {
    type Row = (Uuid, Uuid, i64, String);
    let now = tx.database_now().await?;
    let rows = fetch_all!(
        Row,
        tx,
        "UPDATE scrapes SET epoch = epoch + 1, due = $1
         WHERE due <= $2 AND (tenant_id, connection) IN (
             SELECT tenant_id, connection FROM scrapes WHERE due <= $2 ORDER BY due LIMIT $3)
         RETURNING tenant_id, connection, epoch, body",
        now.plus(lease).as_micros(),
        now.as_micros(),
        i64::from(most),
    )?;
    let claim = |(tenant, connection, epoch, body): Row| {
        let scrape = decode("scrapes", &body)?;
        Ok(Claim { tenant: TenantScope(Uid(tenant)), connection: Uid(connection), epoch, scrape })
    };
    rows.into_iter().map(claim).collect()
}

/// Writes what a look has found, and after which time it is looked again, if at all; `false` when somebody else has it by now.
pub async fn report(tx: &mut Tx, claim: &Claim, again: Option<Duration>) -> Result<bool> {
    let due = match again {
        Some(pause) => Some(tx.database_now().await?.plus(pause).as_micros()),
        None => None,
    };
    let rows = execute!(
        tx,
        "UPDATE scrapes SET due = $3, body = $4, epoch = epoch + 1 WHERE tenant_id = $1 AND connection = $2 AND epoch = $5",
        claim.tenant.0.0,
        claim.connection.0,
        due,
        encode(&claim.scrape)?,
        claim.epoch,
    )?;
    Ok(rows == 1)
}

/// When the systems of a tenant's connections were last asked, by the connection.
pub async fn looked(db: &mut Session, tenant: TenantScope) -> Result<HashMap<Uid, Timestamp>> {
    let rows = fetch_all!((Uuid, String), db, "SELECT connection, body FROM scrapes WHERE tenant_id = $1", tenant.0.0)?;
    let mut looked = HashMap::new();
    for (connection, body) in rows {
        if let Some(time) = decode::<Scrape>("scrapes", &body)?.looked {
            looked.insert(Uid(connection), time);
        }
    }
    Ok(looked)
}

/// When the system of a connection was last asked.
pub async fn last_look(db: &mut Session, tenant: TenantScope, connection: Uid) -> Result<Option<Timestamp>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM scrapes WHERE tenant_id = $1 AND connection = $2",
        tenant.0.0,
        connection.0,
    )?;
    Ok(row.map(|(body,)| decode::<Scrape>("scrapes", &body)).transpose()?.and_then(|scrape| scrape.looked))
}

/// Removes that of a connection that is deleted.
pub async fn delete(tx: &mut Tx, tenant: TenantScope, connection: Uid) -> Result<()> {
    execute!(tx, "DELETE FROM scrapes WHERE tenant_id = $1 AND connection = $2", tenant.0.0, connection.0)?;
    Ok(())
}
