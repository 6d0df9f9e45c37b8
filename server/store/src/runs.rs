//! Rows of runs, which are also the queue of the runners; their steps and logs.

use std::time::Duration;

use freehold_domain::{
    Error, Reason, Result,
    access::TenantScope,
    queue::Class,
    resource::{Listed, Page},
    runs::Run,
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// Adds a run.
pub async fn insert(tx: &mut Tx, tenant: TenantScope, run: &Run) -> Result<()> {
    let class = Class::of(run);
    execute!(
        tx,
        "INSERT INTO runs (tenant_id, uid, deployment, phase, pool, engine, version, epoch, deadline, class, place, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        tenant.0.0,
        run.uid().0,
        run.deployment.0,
        run.phase.as_str(),
        run.pool.to_string(),
        &run.engine,
        run.version,
        run.epoch,
        run.deadline.map(Timestamp::as_micros),
        class.map(Class::as_str),
        class.map(|class| class.place(run.create_time).as_micros()),
        encode(run)?,
    )?;
    Ok(())
}

/// Writes the next version of a run, and its lease: set to end at this time, or ended.
///
/// The version that the writer has seen is compared, and with it the fence: every new holder has made a new version. Fails with
/// `ETAG_MISMATCH` when somebody else was first, with `OPERATION_IN_PROGRESS` when another run is changing the deployment.
pub async fn update(tx: &mut Tx, tenant: TenantScope, seen: i64, run: &Run, lease_until: Option<Timestamp>) -> Result<()> {
    let class = Class::of(run);
    let rows = execute!(
        tx,
        "UPDATE runs SET phase = $1, version = $2, epoch = $3, ask = $4, lease_until = $5, deadline = $6, class = $7, place = $8,
             job_began = $9, job_ended = $10, body = $11
         WHERE tenant_id = $12 AND uid = $13 AND version = $14",
        run.phase.as_str(),
        run.version,
        run.epoch,
        run.ask.filter(|_| run.phase.is_leased()).map(|ask| ask.0),
        lease_until.map(Timestamp::as_micros),
        run.deadline.map(Timestamp::as_micros),
        class.map(Class::as_str),
        class.map(|class| class.place(run.create_time).as_micros()),
        run.job_begin_time.map(Timestamp::as_micros),
        run.job_end_time.map(Timestamp::as_micros),
        encode(run)?,
        tenant.0.0,
        run.uid().0,
        seen,
    )
    .map_err(|failure| {
        if failure.is_unique() {
            Error::new(Reason::OperationInProgress, "another run is changing this deployment").with("operation", &run.name)
        } else {
            failure.into()
        }
    })?;
    if rows == 1 {
        Ok(())
    } else {
        Err(Error::new(Reason::EtagMismatch, "the run has moved on; read it again").with("current_etag", run.etag()))
    }
}

/// Reads one.
pub async fn get(db: &mut Session, tenant: TenantScope, uid: Uid) -> Result<Option<Run>> {
    let row = fetch_optional!((String,), db, "SELECT body FROM runs WHERE tenant_id = $1 AND uid = $2", tenant.0.0, uid.0,)?;
    row.map(|(body,)| decode("runs", &body)).transpose()
}

/// Reads a page of the runs of a deployment.
pub async fn list(db: &mut Session, tenant: TenantScope, deployment: Uid, page: Page) -> Result<Listed<Run>> {
    let size = i64::from(page.size) + 1;
    let rows = if page.newest_first {
        fetch_all!(
            (String,),
            db,
            "SELECT body FROM runs WHERE tenant_id = $1 AND deployment = $2 AND uid < $3 ORDER BY uid DESC LIMIT $4",
            tenant.0.0,
            deployment.0,
            page.after.map_or(Uuid::max(), |uid| uid.0),
            size,
        )?
    } else {
        fetch_all!(
            (String,),
            db,
            "SELECT body FROM runs WHERE tenant_id = $1 AND deployment = $2 AND uid > $3 ORDER BY uid LIMIT $4",
            tenant.0.0,
            deployment.0,
            page.after.map_or(Uuid::nil(), |uid| uid.0),
            size,
        )?
    };
    let items = rows.iter().map(|(body,)| decode("runs", body)).collect::<Result<Vec<Run>>>()?;
    Ok(Listed::from_rows(items, page, Run::uid))
}

/// A run of a tenant.
pub type RunKey = (TenantScope, Uid);

/// Reads the runs of a deployment that have not ended.
pub async fn unfinished(db: &mut Session, tenant: TenantScope, deployment: Uid) -> Result<Vec<Run>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM runs WHERE tenant_id = $1 AND deployment = $2 AND phase <> 'DONE' ORDER BY uid",
        tenant.0.0,
        deployment.0,
    )?;
    rows.iter().map(|(body,)| decode("runs", body)).collect()
}

/// The run that was the answer to this ask and still is under its lease.
pub async fn asked(db: &mut Session, ask: Uid) -> Result<Option<RunKey>> {
    let row = fetch_optional!((Uuid, Uuid), db, "SELECT tenant_id, uid FROM runs WHERE ask = $1", ask.0)?;
    Ok(row.map(|(tenant, uid)| (TenantScope(Uid(tenant)), Uid(uid))))
}

/// Runs whose lease has ended.
pub async fn expired(db: &mut Session, now: Timestamp, most: u32) -> Result<Vec<RunKey>> {
    let rows = fetch_all!(
        (Uuid, Uuid),
        db,
        "SELECT tenant_id, uid FROM runs WHERE lease_until <= $1 ORDER BY lease_until LIMIT $2",
        now.as_micros(),
        i64::from(most),
    )?;
    Ok(rows.into_iter().map(|(tenant, uid)| (TenantScope(Uid(tenant)), Uid(uid))).collect())
}

/// Runs whose phase has taken too long.
pub async fn overdue(db: &mut Session, now: Timestamp, most: u32) -> Result<Vec<RunKey>> {
    let rows = fetch_all!(
        (Uuid, Uuid),
        db,
        "SELECT tenant_id, uid FROM runs WHERE deadline <= $1 ORDER BY deadline LIMIT $2",
        now.as_micros(),
        i64::from(most),
    )?;
    Ok(rows.into_iter().map(|(tenant, uid)| (TenantScope(Uid(tenant)), Uid(uid))).collect())
}

/// When the lease of a run ends.
pub async fn lease_until(db: &mut Session, tenant: TenantScope, uid: Uid) -> Result<Option<Timestamp>> {
    let row = fetch_optional!(
        (Option<i64>,),
        db,
        "SELECT lease_until FROM runs WHERE tenant_id = $1 AND uid = $2",
        tenant.0.0,
        uid.0,
    )?;
    Ok(row.and_then(|(until,)| until).map(Timestamp::from_micros))
}

/// Extends the lease with this fence; answers whether it was still held. One that is over but was not taken back is still held.
pub async fn extend_lease(
    tx: &mut Tx,
    tenant: TenantScope,
    uid: Uid,
    epoch: i64,
    now: Timestamp,
    lease: Duration,
) -> Result<bool> {
    let rows = execute!(
        tx,
        "UPDATE runs SET lease_until = $1 WHERE tenant_id = $2 AND uid = $3 AND epoch = $4 AND lease_until IS NOT NULL",
        now.plus(lease).as_micros(),
        tenant.0.0,
        uid.0,
        epoch,
    )?;
    Ok(rows == 1)
}

/// What is known of one step of an apply; `data` is sealed.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct StepRow {
    pub step_id: String,
    pub address: String,
    pub state: String,
    pub data: Vec<u8>,
    pub error: String,
}

/// Writes a step in the place of what was known of it.
pub async fn put_step(tx: &mut Tx, tenant: TenantScope, run: Uid, step: &StepRow) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO run_steps (tenant_id, run, step_id, address, state, data, error) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant_id, run, step_id) DO UPDATE
         SET state = excluded.state, data = excluded.data, error = excluded.error",
        tenant.0.0,
        run.0,
        &step.step_id,
        &step.address,
        &step.state,
        &step.data,
        &step.error,
    )?;
    Ok(())
}

/// Reads all steps of a run.
pub async fn steps(db: &mut Session, tenant: TenantScope, run: Uid) -> Result<Vec<StepRow>> {
    Ok(fetch_all!(
        StepRow,
        db,
        "SELECT step_id, address, state, data, error FROM run_steps WHERE tenant_id = $1 AND run = $2 ORDER BY step_id",
        tenant.0.0,
        run.0,
    )?)
}

/// How many lines of log a run has.
pub async fn log_lines(db: &mut Session, tenant: TenantScope, run: Uid) -> Result<i64> {
    let row = fetch_optional!((i64,), db, "SELECT log_lines FROM runs WHERE tenant_id = $1 AND uid = $2", tenant.0.0, run.0,)?;
    Ok(row.map_or(0, |(lines,)| lines))
}

/// Adds lines, as one JSON array, at this offset; answers whether the offset and the fence were right.
pub async fn append_log(
    tx: &mut Tx,
    tenant: TenantScope,
    run: Uid,
    epoch: i64,
    first: i64,
    lines: i64,
    body: &str,
) -> Result<bool> {
    let rows = execute!(
        tx,
        "UPDATE runs SET log_lines = log_lines + $1 WHERE tenant_id = $2 AND uid = $3 AND log_lines = $4 AND epoch = $5",
        lines,
        tenant.0.0,
        run.0,
        first,
        epoch,
    )?;
    if rows == 1 {
        execute!(
            tx,
            "INSERT INTO run_logs (tenant_id, run, first, lines, body) VALUES ($1, $2, $3, $4, $5)",
            tenant.0.0,
            run.0,
            first,
            lines,
            body,
        )?;
    }
    Ok(rows == 1)
}

/// Reads pieces of log that hold lines from this offset on: offset of the first line, and a JSON array of lines.
pub async fn read_log(db: &mut Session, tenant: TenantScope, run: Uid, from: i64, most: u32) -> Result<Vec<(i64, String)>> {
    Ok(fetch_all!(
        (i64, String),
        db,
        "SELECT first, body FROM run_logs WHERE tenant_id = $1 AND run = $2 AND first + lines > $3 ORDER BY first LIMIT $4",
        tenant.0.0,
        run.0,
        from,
        i64::from(most),
    )?)
}
