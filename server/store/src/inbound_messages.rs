//! Rows of what other systems call us for, with sealed payloads.

use std::time::Duration;

use freehold_domain::{
    Result,
    access::TenantScope,
    connections::{InboundMessage, MessageState},
    resource::{Listed, Page},
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// A message that asks for something, being done.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose it is.
    pub tenant: TenantScope,
    /// The connection that it came over.
    pub connection: Uid,
    /// Number of the claim; whoever has a newer one has taken it over.
    pub epoch: i64,
    /// The message.
    pub message: InboundMessage,
    /// Its payload, sealed.
    pub payload: Vec<u8>,
}

/// Adds one; answers whether it is new, by its delivery and by what was signed. One that asks for something is due at once.
pub async fn insert(tx: &mut Tx, tenant: TenantScope, connection: Uid, message: &InboundMessage, payload: &[u8]) -> Result<bool> {
    let due = match message.state {
        MessageState::Received => Some(tx.database_now().await?.as_micros()),
        MessageState::Handled | MessageState::Failed => None,
    };
    let rows = execute!(
        tx,
        "INSERT INTO inbound_messages (tenant_id, uid, connection, delivery_id, digest, kind, received, state, due, body, payload)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
        tenant.0.0,
        message.name.inbound_message.0,
        connection.0,
        &message.delivery_id,
        &message.digest,
        &message.kind,
        message.received.as_micros(),
        message.state.as_str(),
        due,
        encode(message)?,
        payload,
    )?;
    Ok(rows == 1)
}

/// Whether a delivery is here.
pub async fn has(db: &mut Session, tenant: TenantScope, connection: Uid, delivery_id: &str) -> Result<bool> {
    let row = fetch_optional!(
        (Uuid,),
        db,
        "SELECT uid FROM inbound_messages WHERE tenant_id = $1 AND connection = $2 AND delivery_id = $3",
        tenant.0.0,
        connection.0,
        delivery_id,
    )?;
    Ok(row.is_some())
}

/// Claims messages that are due, oldest first, for a time, by the clock of the database.
pub async fn claim(tx: &mut Tx, lease: Duration, most: u32) -> Result<Vec<Claim>> {
    type Row = (Uuid, Uuid, i64, String, Vec<u8>);
    let now = tx.database_now().await?;
    let rows = fetch_all!(
        Row,
        tx,
        "UPDATE inbound_messages SET epoch = epoch + 1, due = $1
         WHERE due <= $2 AND (tenant_id, uid) IN (
             SELECT tenant_id, uid FROM inbound_messages WHERE due <= $2 ORDER BY due LIMIT $3)
         RETURNING tenant_id, connection, epoch, body, payload",
        now.plus(lease).as_micros(),
        now.as_micros(),
        i64::from(most),
    )?;
    let claim = |(tenant, connection, epoch, body, payload): Row| {
        let message = decode("inbound_messages", &body)?;
        Ok(Claim { tenant: TenantScope(Uid(tenant)), connection: Uid(connection), epoch, message, payload })
    };
    rows.into_iter().map(claim).collect()
}

/// Writes what has become of a claimed message, which is done once more after this pause if there is one; `false` when somebody else
/// has it by now.
pub async fn report(tx: &mut Tx, claim: &Claim, again: Option<Duration>) -> Result<bool> {
    let due = match again {
        Some(pause) => Some(tx.database_now().await?.plus(pause).as_micros()),
        None => None,
    };
    let rows = execute!(
        tx,
        "UPDATE inbound_messages SET state = $3, due = $4, body = $5, epoch = epoch + 1
         WHERE tenant_id = $1 AND uid = $2 AND epoch = $6",
        claim.tenant.0.0,
        claim.message.name.inbound_message.0,
        claim.message.state.as_str(),
        due,
        encode(&claim.message)?,
        claim.epoch,
    )?;
    Ok(rows == 1)
}

/// Reads one, with its payload.
pub async fn get(db: &mut Session, tenant: TenantScope, connection: Uid, uid: Uid) -> Result<Option<(InboundMessage, Vec<u8>)>> {
    let row = fetch_optional!(
        (String, Vec<u8>),
        db,
        "SELECT body, payload FROM inbound_messages WHERE tenant_id = $1 AND connection = $2 AND uid = $3",
        tenant.0.0,
        connection.0,
        uid.0,
    )?;
    row.map(|(body, payload)| Ok((decode("inbound_messages", &body)?, payload))).transpose()
}

/// Reads a page of those of a connection.
pub async fn list(db: &mut Session, tenant: TenantScope, connection: Uid, page: Page) -> Result<Listed<InboundMessage>> {
    let limit = i64::from(page.size) + 1;
    let rows = if page.newest_first {
        fetch_all!(
            (String,),
            db,
            "SELECT body FROM inbound_messages WHERE tenant_id = $1 AND connection = $2 AND uid < $3 ORDER BY uid DESC LIMIT $4",
            tenant.0.0,
            connection.0,
            page.after.map_or(Uuid::max(), |uid| uid.0),
            limit,
        )?
    } else {
        fetch_all!(
            (String,),
            db,
            "SELECT body FROM inbound_messages WHERE tenant_id = $1 AND connection = $2 AND uid > $3 ORDER BY uid LIMIT $4",
            tenant.0.0,
            connection.0,
            page.after.map_or(Uuid::nil(), |uid| uid.0),
            limit,
        )?
    };
    let items = rows.iter().map(|(body,)| decode("inbound_messages", body)).collect::<Result<Vec<InboundMessage>>>()?;
    Ok(Listed::from_rows(items, page, |message| message.name.inbound_message))
}

/// Removes all of a connection that is deleted.
pub async fn delete_all(tx: &mut Tx, tenant: TenantScope, connection: Uid) -> Result<()> {
    execute!(tx, "DELETE FROM inbound_messages WHERE tenant_id = $1 AND connection = $2", tenant.0.0, connection.0)?;
    Ok(())
}

/// Forgets what came before this time, at most so many of all tenants; answers how many.
pub async fn forget(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64> {
    let rows = execute!(
        tx,
        "DELETE FROM inbound_messages WHERE (tenant_id, uid) IN
         (SELECT tenant_id, uid FROM inbound_messages WHERE received < $1 ORDER BY received LIMIT $2)",
        before.as_micros(),
        i64::from(most),
    )?;
    Ok(rows)
}
