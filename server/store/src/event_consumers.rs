//! Where those who work through the log of events are in it.

use std::time::Duration;

use freehold_domain::Result;
use uuid::Uuid;

use crate::{
    Session, Tx,
    events::{self, Cursor},
};

/// A consumer's place, held by whoever has the newest epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What was done is before this.
    pub at: Cursor,
    /// Number of the claim.
    pub epoch: i64,
}

/// Adds a consumer at a place, unless it is there.
pub async fn ensure(tx: &mut Tx, name: &str, at: Cursor) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO event_consumers (name, position, event, epoch) VALUES ($1, $2, $3, 0) ON CONFLICT (name) DO NOTHING",
        name,
        at.position,
        at.uid,
    )?;
    Ok(())
}

/// A consumer's place; nobody else moves it before this transaction ends. `None` when there is no such consumer.
pub async fn hold(tx: &mut Tx, name: &str) -> Result<Option<Cursor>> {
    let row = fetch_optional!(
        (i64, Uuid),
        tx,
        "UPDATE event_consumers SET position = position WHERE name = $1 RETURNING position, event",
        name,
    )?;
    Ok(row.map(|(position, uid)| Cursor { position, uid }))
}

/// Moves a consumer that this transaction holds.
pub async fn advance(tx: &mut Tx, name: &str, to: Cursor) -> Result<()> {
    execute!(tx, "UPDATE event_consumers SET position = $2, event = $3 WHERE name = $1", name, to.position, to.uid)?;
    Ok(())
}

/// Events that a consumer has before it; all of them for one that was never here.
pub async fn behind(db: &mut Session, name: &str) -> Result<i64> {
    let row = fetch_optional!((i64,), db, "SELECT position FROM event_consumers WHERE name = $1", name)?;
    let ends = events::ends(db).await?;
    let at = row.map_or(ends.forgotten, |(position,)| position.max(ends.forgotten));
    Ok(ends.last.position - at)
}

/// Claims a consumer for a time, by the clock of the database; `None` while somebody else has it, or when there is none.
pub async fn claim(tx: &mut Tx, name: &str, lease: Duration) -> Result<Option<Claim>> {
    let now = tx.database_now().await?;
    let row = fetch_optional!(
        (i64, Uuid, i64),
        tx,
        "UPDATE event_consumers SET epoch = epoch + 1, lease_until = $2
         WHERE name = $1 AND (lease_until IS NULL OR lease_until <= $3) RETURNING position, event, epoch",
        name,
        now.plus(lease).as_micros(),
        now.as_micros(),
    )?;
    Ok(row.map(|(position, uid, epoch)| Claim { at: Cursor { position, uid }, epoch }))
}

/// Moves a claimed consumer and extends the claim; `false` when somebody else has it by now.
pub async fn report(tx: &mut Tx, name: &str, epoch: i64, to: Cursor, lease: Duration) -> Result<bool> {
    let until = tx.database_now().await?.plus(lease);
    let rows = execute!(
        tx,
        "UPDATE event_consumers SET position = $3, event = $4, lease_until = $5 WHERE name = $1 AND epoch = $2",
        name,
        epoch,
        to.position,
        to.uid,
        until.as_micros(),
    )?;
    Ok(rows == 1)
}

/// Gives a claim back.
pub async fn release(tx: &mut Tx, name: &str, epoch: i64) -> Result<()> {
    execute!(tx, "UPDATE event_consumers SET lease_until = NULL WHERE name = $1 AND epoch = $2", name, epoch)?;
    Ok(())
}
