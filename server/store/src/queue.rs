//! The queue of a runner pool: runs that could be taken, and what each tenant was given.
//!
//! A look reads one run of each tenant that has some waiting, whatever their number: it steps from tenant to tenant through the
//! index of waiting runs. Tenants without a free place among their concurrent runs, and those that are suspended, are left out as a
//! whole, and so are applies of deployments that another run is changing.

use std::time::Duration;

use freehold_domain::{
    Error, Reason, Result,
    access::TenantScope,
    fault,
    queue::{Share, Waiting},
    quotas::Dimension,
    runners::Runner,
    runs::Run,
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{Session, Tx, session::decode};

/// Reads the first run of each tenant that a runner of this pool ($1) with this engine ($2) could take. Public for tests, which ask
/// the databases how they carry it out.
///
/// Runs are read in subqueries of one row, and never in a join: for one, Postgres would read the whole table, since it takes the
/// rows that the policy of tenants lets through for few. A cross join keeps SQLite from beginning with the table of all tenants.
pub const HEADS: &str = "
    WITH RECURSIVE tenant (id) AS (
        SELECT (
            SELECT tenant_id FROM runs WHERE pool = $1 AND engine = $2 AND place IS NOT NULL ORDER BY tenant_id LIMIT 1
        )
        UNION ALL
        SELECT (
            SELECT runs.tenant_id FROM runs
            WHERE runs.pool = $1 AND runs.engine = $2 AND runs.place IS NOT NULL AND runs.tenant_id > tenant.id
            ORDER BY runs.tenant_id LIMIT 1
        )
        FROM tenant WHERE tenant.id IS NOT NULL
    ),
    head (tenant_id, uid) AS MATERIALIZED (
        SELECT tenant.id, (
            SELECT uid FROM runs AS one
            WHERE one.pool = $1 AND one.engine = $2 AND one.tenant_id = tenant.id AND one.place IS NOT NULL
                AND (one.phase <> 'APPLY_QUEUED' OR NOT EXISTS (
                    SELECT 1 FROM runs AS holder
                    WHERE holder.tenant_id = one.tenant_id AND holder.deployment = one.deployment
                        AND holder.phase IN ('APPLYING', 'VERIFYING', 'RECOVERING')
                ))
            ORDER BY one.place, one.uid LIMIT 1
        )
        FROM tenant CROSS JOIN quotas AS slots
        WHERE slots.tenant_id = tenant.id AND slots.dimension = 'concurrent_runs'
            AND (slots.max IS NULL OR slots.used + slots.reserved < slots.max)
    ),
    waiting AS MATERIALIZED (
        SELECT head.tenant_id, head.uid,
            (SELECT class FROM runs WHERE runs.tenant_id = head.tenant_id AND runs.uid = head.uid) AS class,
            (SELECT place FROM runs WHERE runs.tenant_id = head.tenant_id AND runs.uid = head.uid) AS place
        FROM head WHERE head.uid IS NOT NULL
    )
    SELECT waiting.tenant_id, waiting.uid, waiting.class, waiting.place, tenants.queue_weight,
        COALESCE(share.began, 0) AS began, COALESCE(share.ended, 0) AS ended,
        COALESCE((SELECT began FROM queue_shares WHERE pool = $1 ORDER BY began DESC LIMIT 1), 0) AS clock
    FROM waiting CROSS JOIN tenants
    LEFT JOIN queue_shares AS share ON share.pool = $1 AND share.tenant_id = waiting.tenant_id
    WHERE tenants.uid = waiting.tenant_id AND waiting.place IS NOT NULL AND (tenants.active OR waiting.class = 'RECOVERY')";

#[derive(sqlx::FromRow)]
struct WaitingRow {
    tenant_id: Uuid,
    uid: Uuid,
    class: String,
    place: i64,
    queue_weight: i64,
    began: i64,
    ended: i64,
    clock: i64,
}

impl WaitingRow {
    fn into_waiting(self) -> Result<(Waiting, i64)> {
        let share = Share { weight: u32::try_from(self.queue_weight).unwrap_or(1), began: self.began, ended: self.ended };
        let waiting = Waiting {
            tenant: TenantScope(Uid(self.tenant_id)),
            run: Uid(self.uid),
            class: self.class.parse().map_err(Error::internal)?,
            place: Timestamp::from_micros(self.place),
            share,
        };
        Ok((waiting, self.clock))
    }
}

/// Some waiting runs, and the clock of their pool.
fn read(rows: Vec<WaitingRow>) -> Result<(Vec<Waiting>, i64)> {
    let mut clock = 0;
    let mut waiting = Vec::with_capacity(rows.len());
    for row in rows {
        let (one, time) = row.into_waiting()?;
        waiting.push(one);
        clock = time;
    }
    Ok((waiting, clock))
}

/// Reads the first run of each tenant that a runner of this pool with this engine could take, and the clock of the pool.
pub async fn heads(db: &mut Session, pool: &str, engine: &str) -> Result<(Vec<Waiting>, i64)> {
    let rows = fetch_all!(WaitingRow, db, HEADS, pool, engine)?;
    read(rows)
}

/// Reads the run of the same tenant that comes after one that cannot be taken.
pub async fn after(db: &mut Session, pool: &str, engine: &str, last: &Waiting) -> Result<Option<Waiting>> {
    let row = fetch_optional!(
        (Uuid, String, i64),
        db,
        "SELECT uid, class, place FROM runs AS one
         WHERE pool = $1 AND engine = $2 AND tenant_id = $3 AND (place, uid) > ($4, $5)
             AND (phase <> 'APPLY_QUEUED' OR NOT EXISTS (
                 SELECT 1 FROM runs AS holder
                 WHERE holder.tenant_id = one.tenant_id AND holder.deployment = one.deployment
                     AND holder.phase IN ('APPLYING', 'VERIFYING', 'RECOVERING')
             ))
         ORDER BY place, uid LIMIT 1",
        pool,
        engine,
        last.tenant.0.0,
        last.place.as_micros(),
        last.run.0,
    )?;
    row.map(|(uid, class, place)| {
        let class = class.parse().map_err(Error::internal)?;
        Ok(Waiting { run: Uid(uid), class, place: Timestamp::from_micros(place), ..*last })
    })
    .transpose()
}

/// Reads all runs, at most so many, that a runner of this pool with this engine could take if it were their turn, and the clock of
/// the pool.
pub async fn waiting(db: &mut Session, pool: &str, engine: &str, most: u32) -> Result<(Vec<Waiting>, i64)> {
    let rows = fetch_all!(
        WaitingRow,
        db,
        "SELECT one.tenant_id, one.uid, one.class, one.place, tenants.queue_weight,
             COALESCE(share.began, 0) AS began, COALESCE(share.ended, 0) AS ended,
             COALESCE((SELECT began FROM queue_shares WHERE pool = $1 ORDER BY began DESC LIMIT 1), 0) AS clock
         FROM runs AS one
         JOIN tenants ON tenants.uid = one.tenant_id AND (tenants.active OR one.class = 'RECOVERY')
         JOIN quotas AS slots ON slots.tenant_id = one.tenant_id AND slots.dimension = 'concurrent_runs'
             AND (slots.max IS NULL OR slots.used + slots.reserved < slots.max)
         LEFT JOIN queue_shares AS share ON share.pool = $1 AND share.tenant_id = one.tenant_id
         WHERE one.pool = $1 AND one.engine = $2 AND one.place IS NOT NULL
             AND (one.phase <> 'APPLY_QUEUED' OR NOT EXISTS (
                 SELECT 1 FROM runs AS holder
                 WHERE holder.tenant_id = one.tenant_id AND holder.deployment = one.deployment
                     AND holder.phase IN ('APPLYING', 'VERIFYING', 'RECOVERING')
             ))
         ORDER BY one.tenant_id, one.place, one.uid LIMIT $3",
        pool,
        engine,
        i64::from(most),
    )?;
    read(rows)
}

/// Writes what a tenant was given of a pool, unless it was given more since it was read.
///
/// Fails with `ETAG_MISMATCH` then: another runner took a run of the same tenant at the same time.
pub async fn charge(tx: &mut Tx, pool: &str, tenant: TenantScope, before: Share, after: Share) -> Result<()> {
    if before == after || fault::mutant("fairness") {
        return Ok(());
    }
    let rows = execute!(
        tx,
        "INSERT INTO queue_shares (pool, tenant_id, began, ended) VALUES ($1, $2, $3, $4)
         ON CONFLICT (pool, tenant_id) DO UPDATE SET began = excluded.began, ended = excluded.ended
         WHERE queue_shares.ended = $5",
        pool,
        tenant.0.0,
        after.began,
        after.ended,
        before.ended,
    )?;
    if rows == 1 {
        Ok(())
    } else {
        Err(Error::new(Reason::EtagMismatch, "another run of the tenant was taken at the same time; look again"))
    }
}

/// How long the last jobs of a pool took on average; `None` when none has ended.
pub async fn job_time(db: &mut Session, pool: &str) -> Result<Option<Duration>> {
    let row = fetch_optional!(
        (Option<i64>,),
        db,
        "SELECT CAST(AVG(job_ended - job_began) AS BIGINT)
         FROM (SELECT job_began, job_ended FROM runs WHERE pool = $1 AND job_ended IS NOT NULL ORDER BY job_ended DESC LIMIT 20)
             AS latest",
        pool,
    )?;
    Ok(row.and_then(|(micros,)| micros).map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
}

/// Reads runs of a pool that a runner works on, at most so many.
pub async fn under_way(db: &mut Session, pool: &str, most: u32) -> Result<Vec<Run>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM runs WHERE lease_until IS NOT NULL AND pool = $1 LIMIT $2",
        pool,
        i64::from(most),
    )?;
    rows.iter().map(|(body,)| decode("runs", body)).collect()
}

/// Reads the newest runners of a pool, at most so many.
pub async fn runners(db: &mut Session, pool: &str, most: u32) -> Result<Vec<Runner>> {
    let rows =
        fetch_all!((String,), db, "SELECT body FROM runners WHERE pool = $1 ORDER BY uid DESC LIMIT $2", pool, i64::from(most))?;
    rows.iter().map(|(body,)| decode("runners", body)).collect()
}

/// Reads the names of runs that hold a place of a quota of their tenant, the oldest first, at most so many.
pub async fn holders(db: &mut Session, tenant: TenantScope, dimension: Dimension, most: u32) -> Result<Vec<String>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT owner_name FROM reservations WHERE tenant_id = $1 AND dimension = $2 ORDER BY uid LIMIT $3",
        tenant.0.0,
        dimension.as_str(),
        i64::from(most),
    )?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}
