//! The log of events: written with what they tell of, read by their places.

use freehold_domain::{
    Result,
    access::TenantScope,
    events::{Announced, Logged},
    fault,
    time::{Timestamp, Uid},
};
use sqlx::postgres::PgListener;
use uuid::Uuid;

use crate::{
    INSTALLATION, Session, Store, Tx,
    session::{Backend, Failure, decode, encode},
    store::Database,
};

/// Events that get their places in one transaction, at most.
const PLACED: i64 = 2000;

/// A place in the log, between what was seen there and what comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Place of the last event that was seen; 0 before the first.
    pub position: i64,
    /// Its identity, by which the log of another history is told from this one; nil when there was none.
    pub uid: Uuid,
}

/// Where the log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The last place that is not kept any longer; 0 when all of them are.
    pub forgotten: i64,
    /// The last event that is there.
    pub last: Cursor,
}

/// Adds an event. Its place is given when it is committed.
pub(crate) async fn insert(db: &mut Session, tenant: TenantScope, uid: Uid, announced: &Announced) -> Result<()> {
    execute!(
        db,
        "INSERT INTO outbox (uid, tenant_id, resource, version, body) VALUES ($1, $2, $3, $4, $5)",
        uid.0,
        tenant.0.0,
        announced.event.uid.0,
        announced.event.version,
        encode(announced)?,
    )?;
    Ok(())
}

impl Store {
    /// Gives places to events that were committed and have none; answers whether there may be more. On a database with one writer
    /// they have them from the beginning.
    pub async fn place_events(&self) -> Result<bool> {
        let Database::Postgres(_) = &self.database else { return Ok(false) };
        let mut db = self.read().await?;
        let Backend::Postgres(session) = &mut db.0 else { return Ok(false) };
        let (placed,): (i64,) = sqlx::query_as("SELECT place_events($1)")
            .bind(PLACED)
            .fetch_one(session.connection())
            .await
            .map_err(Failure::from)?;
        Ok(placed == PLACED)
    }

    /// Passes on to [`announced`](Self::announced) what other replicas have given places to, until the database cannot be heard. On
    /// a database that nobody else writes to there is nothing to hear.
    pub async fn hear_events(&self) -> Result<()> {
        let Database::Postgres(pool) = &self.database else { return std::future::pending().await };
        let mut listener = PgListener::connect_with(pool).await.map_err(Failure::from)?;
        listener.listen("freehold_events").await.map_err(Failure::from)?;
        loop {
            listener.recv().await.map_err(Failure::from)?;
            self.announced.notify_one();
        }
    }
}

/// The cursor before the oldest event that is kept.
pub fn oldest_cursor(ends: Ends) -> Cursor {
    Cursor { position: ends.forgotten, uid: Uuid::nil() }
}

/// Where the log begins and ends.
pub async fn ends(db: &mut Session) -> Result<Ends> {
    let (forgotten, position, uid) = fetch_optional!(
        (i64, Option<i64>, Option<Uuid>),
        db,
        "SELECT forgotten, position, uid FROM outbox_ends LEFT JOIN outbox
         ON position = (SELECT position FROM outbox WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1)",
    )?
    .unwrap_or_default();
    let last = position.zip(uid).map(|(position, uid)| Cursor { position, uid });
    Ok(Ends { forgotten, last: last.unwrap_or(Cursor { position: forgotten, uid: Uuid::nil() }) })
}

/// Events after a place and up to another one, in order; those of one tenant, or all for the installation.
pub async fn between(db: &mut Session, tenant: TenantScope, after: i64, to: i64, most: u32) -> Result<Vec<Logged>> {
    type Row = (i64, Uuid, Uuid, String);
    let rows = if fault::mutant("cursor") && matches!(db.0, Backend::Postgres(_)) {
        fetch_all!(
            Row,
            db,
            "SELECT sequence, uid, tenant_id, body FROM outbox WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $3",
            after,
            to,
            i64::from(most),
        )?
    } else if tenant == INSTALLATION {
        fetch_all!(
            Row,
            db,
            "SELECT position, uid, tenant_id, body FROM outbox WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
            after,
            to,
            i64::from(most),
        )?
    } else {
        fetch_all!(
            Row,
            db,
            "SELECT position, uid, tenant_id, body FROM outbox
             WHERE tenant_id = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4",
            tenant.0.0,
            after,
            to,
            i64::from(most),
        )?
    };
    rows.into_iter().map(|(position, uid, tenant, body)| logged(position, uid, tenant, &body)).collect()
}

fn logged(position: i64, uid: Uuid, tenant: Uuid, body: &str) -> Result<Logged> {
    let mut announced: Announced = decode("outbox", body)?;
    if announced.time == Timestamp::default() {
        announced.time = time_of(uid);
    }
    Ok(Logged { position, uid: Uid(uid), tenant: Uid(tenant), announced })
}

/// The newest events of a tenant, at most so many, oldest first.
pub async fn newest(db: &mut Session, tenant: TenantScope, most: u32) -> Result<Vec<Logged>> {
    let rows = fetch_all!(
        (i64, Uuid, Uuid, String),
        db,
        "SELECT position, uid, tenant_id, body FROM outbox
         WHERE tenant_id = $1 AND position IS NOT NULL ORDER BY position DESC LIMIT $2",
        tenant.0.0,
        i64::from(most),
    )?;
    rows.into_iter().rev().map(|(position, uid, tenant, body)| logged(position, uid, tenant, &body)).collect()
}

/// The place of an event that is kept.
pub async fn place_of(db: &mut Session, event: Uid) -> Result<Option<Cursor>> {
    let row = fetch_optional!((i64,), db, "SELECT position FROM outbox WHERE uid = $1 AND position IS NOT NULL", event.0)?;
    Ok(row.map(|(position,)| Cursor { position, uid: event.0 }))
}

/// Whether the event of a cursor is, or was, at its place in this log.
pub async fn knows(db: &mut Session, cursor: Cursor, ends: Ends) -> Result<bool> {
    if cursor.position <= ends.forgotten || cursor.position > ends.last.position {
        return Ok(cursor.position == ends.forgotten);
    }
    let row = fetch_optional!((Uuid,), db, "SELECT uid FROM outbox WHERE position = $1", cursor.position)?;
    Ok(row.is_some_and(|(uid,)| uid == cursor.uid))
}

/// The cursor before the first kept event at or after a time.
pub async fn at(db: &mut Session, time: Timestamp, ends: Ends) -> Result<Cursor> {
    // Replicas do not agree on the time to the millisecond, so the first by its identity may not have the first place.
    const CLOSE: i64 = 1000;
    let row = fetch_optional!(
        (Option<i64>,),
        db,
        "SELECT MIN(position) FROM (SELECT position FROM outbox WHERE uid >= $1 AND position IS NOT NULL ORDER BY uid LIMIT $2) AS near",
        first_uid(time),
        CLOSE,
    )?;
    let Some(first) = row.and_then(|(position,)| position) else { return Ok(ends.last) };
    let before = fetch_optional!(
        (i64, Uuid),
        db,
        "SELECT position, uid FROM outbox WHERE position < $1 ORDER BY position DESC LIMIT 1",
        first,
    )?;
    Ok(before.map_or(oldest_cursor(ends), |(position, uid)| Cursor { position, uid }))
}

/// Time of the oldest event that is kept.
pub async fn oldest(db: &mut Session) -> Result<Option<Timestamp>> {
    let row = fetch_optional!((Uuid,), db, "SELECT uid FROM outbox WHERE position IS NOT NULL ORDER BY position LIMIT 1")?;
    Ok(row.map(|(uid,)| time_of(uid)))
}

/// Removes events that were announced before this time, at most so many; answers how many. What goes is always the beginning of
/// the log, and nothing of which it was not found out who wants it.
pub async fn forget(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64> {
    let row = fetch_optional!(
        (Option<i64>,),
        tx,
        "SELECT MIN(position) FROM (SELECT position, uid FROM outbox WHERE position IS NOT NULL ORDER BY position LIMIT $1) AS oldest
         WHERE uid >= $2",
        i64::from(most),
        first_uid(before),
    )?;
    let kept = row.and_then(|(position,)| position);
    let row = fetch_optional!(
        (Option<i64>,),
        tx,
        "SELECT MAX(position) FROM (SELECT position FROM outbox WHERE position IS NOT NULL ORDER BY position LIMIT $1) AS oldest
         WHERE position < $2 AND position <= (SELECT COALESCE(MIN(position), $2) FROM event_consumers WHERE name = 'fan_out')",
        i64::from(most),
        kept.unwrap_or(i64::MAX),
    )?;
    let Some(last) = row.and_then(|(position,)| position) else { return Ok(0) };
    execute!(tx, "UPDATE outbox_ends SET forgotten = $1 WHERE id = 1", last)?;
    execute!(tx, "DELETE FROM outbox WHERE position <= $1", last).map_err(Into::into)
}

/// The lowest UUIDv7 of a time: they begin with the milliseconds since 1970, in 48 bits (RFC 9562, section 5.7).
fn first_uid(time: Timestamp) -> Uuid {
    let millis = u128::try_from(time.as_micros() / 1000).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

fn time_of(uid: Uuid) -> Timestamp {
    let millis = uid.as_u128() >> 80;
    Timestamp::from_micros(i64::try_from(millis).unwrap_or_default().saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_in_the_order_of_their_times() {
        let millis = 1_700_000_000_123;
        let uid = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, millis / 1000, 123_000_000));
        let at = |millis: u64| Timestamp::from_micros(i64::try_from(millis).expect("a time") * 1000);
        assert!(first_uid(at(millis)) <= uid && uid < first_uid(at(millis + 1)));
        assert_eq!(time_of(uid), at(millis));
    }
}
