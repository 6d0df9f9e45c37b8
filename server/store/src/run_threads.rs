//! Rows of runs that are shown in other systems: what was shown, and who shows it now.

use std::time::Duration;

use freehold_domain::{
    Result,
    access::TenantScope,
    commands::Place,
    run_threads::RunThread,
    runs::Run,
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// A thread that is being brought up to date.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose it is.
    pub tenant: TenantScope,
    /// The connection that it is shown over.
    pub connection: Uid,
    /// The run.
    pub run: Uid,
    /// Number of the claim; whoever has a newer one has taken it over.
    pub epoch: i64,
    /// How often something had happened to the run.
    touched: i64,
    /// What is shown.
    pub thread: RunThread,
}

/// What comes after a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is shown as it was; what happened since the claim makes it due again.
    Shown,
    /// It is tried again after this pause.
    Again(Duration),
    /// Nothing more is shown.
    Ended,
}

/// Begins to show a run over a connection, unless that is done already.
pub async fn follow(tx: &mut Tx, tenant: TenantScope, connection: Uid, run: &Run, place: &Place) -> Result<()> {
    let due = tx.database_now().await?.as_micros();
    execute!(
        tx,
        "INSERT INTO run_threads (tenant_id, connection, run, deployment, due, body) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, connection, run) DO NOTHING",
        tenant.0.0,
        connection.0,
        run.uid().0,
        run.deployment.0,
        due,
        encode(&RunThread::new(place.clone()))?,
    )?;
    Ok(())
}

/// Notes that something has happened to a run; answers whether it is shown anywhere. What waits after a failure goes on to wait.
pub async fn touch(tx: &mut Tx, tenant: TenantScope, run: Uid) -> Result<bool> {
    let now = tx.database_now().await?.as_micros();
    let rows = execute!(
        tx,
        "UPDATE run_threads SET touched = touched + 1, due = COALESCE(due, $3)
         WHERE tenant_id = $1 AND run = $2 AND ended IS NULL",
        tenant.0.0,
        run.0,
        now,
    )?;
    Ok(rows > 0)
}

/// Whether a run, or any run of the tenant, is shown over some connection.
pub async fn is_followed(db: &mut Session, tenant: TenantScope, run: Option<Uid>) -> Result<bool> {
    let row = fetch_optional!(
        (i64,),
        db,
        "SELECT epoch FROM run_threads WHERE tenant_id = $1 AND (run = $2 OR $2 IS NULL) AND ended IS NULL LIMIT 1",
        tenant.0.0,
        run.map(|run| run.0),
    )?;
    Ok(row.is_some())
}

/// What is shown of a run over a connection.
pub async fn get(db: &mut Session, tenant: TenantScope, connection: Uid, run: Uid) -> Result<Option<RunThread>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM run_threads WHERE tenant_id = $1 AND connection = $2 AND run = $3",
        tenant.0.0,
        connection.0,
        run.0,
    )?;
    row.map(|(body,)| decode("run_threads", &body)).transpose()
}

/// Places where newer runs of the deployment of this one are shown over the connection, at most so many.
pub async fn newer(db: &mut Session, tenant: TenantScope, connection: Uid, run: &Run, most: u32) -> Result<Vec<Place>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM run_threads WHERE tenant_id = $1 AND connection = $2 AND deployment = $3 AND run > $4
         ORDER BY run DESC LIMIT $5",
        tenant.0.0,
        connection.0,
        run.deployment.0,
        run.uid().0,
        i64::from(most),
    )?;
    rows.iter().map(|(body,)| decode::<RunThread>("run_threads", body).map(|thread| thread.place)).collect()
}

/// Claims threads that are due, for a time, by the clock of the database.
pub async fn claim(tx: &mut Tx, lease: Duration, most: u32) -> Result<Vec<Claim>> {
    type Row = (Uuid, Uuid, Uuid, i64, i64, String);
    let now = tx.database_now().await?;
    let rows = fetch_all!(
        Row,
        tx,
        "UPDATE run_threads SET epoch = epoch + 1, due = $1
         WHERE due <= $2 AND (tenant_id, connection, run) IN (
             SELECT tenant_id, connection, run FROM run_threads WHERE due <= $2 ORDER BY due LIMIT $3)
         RETURNING tenant_id, connection, run, epoch, touched, body",
        now.plus(lease).as_micros(),
        now.as_micros(),
        i64::from(most),
    )?;
    let claim = |(tenant, connection, run, epoch, touched, body): Row| {
        let thread = decode("run_threads", &body)?;
        Ok(Claim { tenant: TenantScope(Uid(tenant)), connection: Uid(connection), run: Uid(run), epoch, touched, thread })
    };
    rows.into_iter().map(claim).collect()
}

/// Writes what was shown so far under a claim, which goes on; `false` when somebody else has it by now.
pub async fn save(tx: &mut Tx, claim: &Claim) -> Result<bool> {
    let rows = execute!(
        tx,
        "UPDATE run_threads SET body = $5 WHERE tenant_id = $1 AND connection = $2 AND run = $3 AND epoch = $4",
        claim.tenant.0.0,
        claim.connection.0,
        claim.run.0,
        claim.epoch,
        encode(&claim.thread)?,
    )?;
    Ok(rows == 1)
}

/// Ends a claim with what was shown; `false` when somebody else has it by now.
pub async fn report(tx: &mut Tx, claim: &Claim, next: Next) -> Result<bool> {
    let now = tx.database_now().await?;
    let (again, ended) = match next {
        Next::Shown => (None, None),
        Next::Again(pause) => (Some(now.plus(pause).as_micros()), None),
        Next::Ended => (None, Some(tx.now().as_micros())),
    };
    let rows = execute!(
        tx,
        "UPDATE run_threads SET body = $5, epoch = epoch + 1, ended = $6,
             due = CASE WHEN $6 IS NOT NULL THEN NULL WHEN touched = $7 THEN $8 ELSE COALESCE($8, $9) END
         WHERE tenant_id = $1 AND connection = $2 AND run = $3 AND epoch = $4",
        claim.tenant.0.0,
        claim.connection.0,
        claim.run.0,
        claim.epoch,
        encode(&claim.thread)?,
        ended,
        claim.touched,
        again,
        now.as_micros(),
    )?;
    Ok(rows == 1)
}

/// Removes all of a connection that is deleted.
pub async fn delete_all(tx: &mut Tx, tenant: TenantScope, connection: Uid) -> Result<()> {
    execute!(tx, "DELETE FROM run_threads WHERE tenant_id = $1 AND connection = $2", tenant.0.0, connection.0)?;
    Ok(())
}

/// Removes threads that ended before this time, at most so many; answers how many.
pub async fn forget(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64> {
    let rows = execute!(
        tx,
        "DELETE FROM run_threads WHERE (tenant_id, connection, run) IN
         (SELECT tenant_id, connection, run FROM run_threads WHERE ended < $1 ORDER BY ended LIMIT $2)",
        before.as_micros(),
        i64::from(most),
    )?;
    Ok(rows)
}
