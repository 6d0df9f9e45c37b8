//! Rows of what other systems call us for, with sealed payloads.

use freehold_domain::{
    Result,
    access::TenantScope,
    connections::InboundMessage,
    resource::{Listed, Page},
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// Adds one; answers whether it is new, by its delivery and by what was signed.
pub async fn insert(tx: &mut Tx, tenant: TenantScope, connection: Uid, message: &InboundMessage, payload: &[u8]) -> Result<bool> {
    let rows = execute!(
        tx,
        "INSERT INTO inbound_messages (tenant_id, uid, connection, delivery_id, digest, kind, received, state, body, payload)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
        tenant.0.0,
        message.name.inbound_message.0,
        connection.0,
        &message.delivery_id,
        &message.digest,
        &message.kind,
        message.received.as_micros(),
        "RECEIVED",
        encode(message)?,
        payload,
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
