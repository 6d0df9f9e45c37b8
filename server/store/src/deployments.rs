//! Rows of deployments, their revisions and state versions.

use freehold_domain::{
    deployments::{Deployment, Revision, StateVersion},
    names::{DeploymentName, EnvironmentName},
    time::{Timestamp, Uid},
};
use uuid::Uuid;

entity!(
    "deployments",
    Deployment,
    DeploymentName,
    blueprint = |deployment: &Deployment| deployment.blueprint_version.blueprint_name().to_string(),
);

/// Reads one by its uid.
pub async fn get_by_uid(db: &mut Session, tenant: TenantScope, uid: Uid) -> Result<Option<Deployment>> {
    let row =
        fetch_optional!((String,), db, "SELECT body FROM deployments WHERE tenant_id = $1 AND uid = $2", tenant.0.0, uid.0,)?;
    row.map(|(body,)| decode("deployments", &body)).transpose()
}

/// How many there are in a tenant that are still somebody's.
pub async fn count(db: &mut Session, tenant: TenantScope) -> Result<i64> {
    let rows = fetch_all!((i64,), db, "SELECT COUNT(*) FROM deployments WHERE tenant_id = $1 AND purge_at IS NULL", tenant.0.0)?;
    Ok(rows.first().map_or(0, |(count,)| *count))
}

/// A deployment that the server is to look at, and since when.
pub struct DriftDue {
    /// Whose it is.
    pub tenant: TenantScope,
    /// Its uid.
    pub deployment: Uid,
    /// Since when.
    pub due: Timestamp,
}

/// Reads the deployments, of any tenant, that the server is to look at for drift by now; those that have waited longest first.
pub async fn drift_due(db: &mut Session, now: Timestamp, most: u32) -> Result<Vec<DriftDue>> {
    let rows = fetch_all!(
        (Uuid, Uuid, i64),
        db,
        "SELECT tenant_id, uid, drift_due FROM deployments WHERE drift_due <= $1 ORDER BY drift_due LIMIT $2",
        now.as_micros(),
        i64::from(most),
    )?;
    let due = |(tenant, uid, due)| DriftDue {
        tenant: TenantScope(Uid(tenant)),
        deployment: Uid(uid),
        due: Timestamp::from_micros(due),
    };
    Ok(rows.into_iter().map(due).collect())
}

/// Notes when the server is to look at a deployment for drift, `None` for never, in the place of what was noted; answers whether that
/// still was so.
pub async fn move_drift_due(tx: &mut Tx, seen: &DriftDue, next: Option<Timestamp>) -> Result<bool> {
    let rows = execute!(
        tx,
        "UPDATE deployments SET drift_due = $1 WHERE tenant_id = $2 AND uid = $3 AND drift_due = $4",
        next.map(Timestamp::as_micros),
        seen.tenant.0.0,
        seen.deployment.0,
        seen.due.as_micros(),
    )?;
    Ok(rows == 1)
}

/// Has the server look at a deployment for drift at this time, or never.
pub async fn set_drift_due(tx: &mut Tx, tenant: TenantScope, deployment: Uid, due: Option<Timestamp>) -> Result<()> {
    execute!(
        tx,
        "UPDATE deployments SET drift_due = $1 WHERE tenant_id = $2 AND uid = $3",
        due.map(Timestamp::as_micros),
        tenant.0.0,
        deployment.0,
    )?;
    Ok(())
}

/// Has the server look at a deployment that it does not look at so far.
pub async fn begin_drift_due(tx: &mut Tx, tenant: TenantScope, deployment: Uid, due: Timestamp) -> Result<()> {
    execute!(
        tx,
        "UPDATE deployments SET drift_due = $1 WHERE tenant_id = $2 AND uid = $3 AND drift_due IS NULL",
        due.as_micros(),
        tenant.0.0,
        deployment.0,
    )?;
    Ok(())
}

/// Has the server look at all deployments of an environment at this time, to see when they are due by a policy that has changed.
pub async fn set_drift_due_in(tx: &mut Tx, tenant: TenantScope, environment: &EnvironmentName, due: Timestamp) -> Result<()> {
    execute!(
        tx,
        "UPDATE deployments SET drift_due = $1 WHERE tenant_id = $2 AND parent = $3",
        due.as_micros(),
        tenant.0.0,
        environment.to_string(),
    )?;
    Ok(())
}

/// Adds a revision.
pub async fn insert_revision(tx: &mut Tx, tenant: TenantScope, deployment: Uid, uid: Uid, revision: &Revision) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO revisions (tenant_id, uid, deployment, number, body) VALUES ($1, $2, $3, $4, $5)",
        tenant.0.0,
        uid.0,
        deployment.0,
        revision.number,
        encode(revision)?,
    )?;
    Ok(())
}

/// Reads a revision.
pub async fn get_revision(db: &mut Session, tenant: TenantScope, deployment: Uid, number: i64) -> Result<Option<Revision>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM revisions WHERE tenant_id = $1 AND deployment = $2 AND number = $3",
        tenant.0.0,
        deployment.0,
        number,
    )?;
    row.map(|(body,)| decode("revisions", &body)).transpose()
}

/// Reads a page of revisions.
pub async fn list_revisions(
    db: &mut Session,
    tenant: TenantScope,
    deployment: Uid,
    page: Page,
) -> Result<Listed<(Uid, Revision)>> {
    let rows = fetch_all!(
        (Uuid, String),
        db,
        "SELECT uid, body FROM revisions WHERE tenant_id = $1 AND deployment = $2 AND uid > $3 ORDER BY uid LIMIT $4",
        tenant.0.0,
        deployment.0,
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items =
        rows.iter().map(|(uid, body)| Ok((Uid(*uid), decode("revisions", body)?))).collect::<Result<Vec<(Uid, Revision)>>>()?;
    Ok(Listed::from_rows(items, page, |(uid, _)| *uid))
}

/// Adds a state version. Fails with `PLAN_STALE` when one with this serial exists.
pub async fn insert_state(tx: &mut Tx, tenant: TenantScope, deployment: Uid, version: &StateVersion) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO state_versions (tenant_id, deployment, serial, body) VALUES ($1, $2, $3, $4)",
        tenant.0.0,
        deployment.0,
        version.serial,
        encode(version)?,
    )
    .map_err(|failure| {
        if failure.is_unique() { Error::new(Reason::PlanStale, "the state has moved on; plan again") } else { failure.into() }
    })?;
    Ok(())
}

/// Reads a state version.
pub async fn get_state(db: &mut Session, tenant: TenantScope, deployment: Uid, serial: i64) -> Result<Option<StateVersion>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM state_versions WHERE tenant_id = $1 AND deployment = $2 AND serial = $3",
        tenant.0.0,
        deployment.0,
        serial,
    )?;
    row.map(|(body,)| decode("state_versions", &body)).transpose()
}

/// Reads up to `size` state versions after a serial.
pub async fn list_states(
    db: &mut Session,
    tenant: TenantScope,
    deployment: Uid,
    after: i64,
    size: u32,
) -> Result<Vec<StateVersion>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM state_versions WHERE tenant_id = $1 AND deployment = $2 AND serial > $3 ORDER BY serial LIMIT $4",
        tenant.0.0,
        deployment.0,
        after,
        i64::from(size),
    )?;
    rows.iter().map(|(body,)| decode("state_versions", body)).collect()
}

/// Reads a page of the deployments of a tenant, over all its environments.
pub async fn list_all(db: &mut Session, tenant: TenantScope, page: Page) -> Result<Listed<Deployment>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM deployments WHERE tenant_id = $1 AND uid > $2 ORDER BY uid LIMIT $3",
        tenant.0.0,
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("deployments", body)).collect::<Result<Vec<Deployment>>>()?;
    Ok(Listed::from_rows(items, page, |deployment| deployment.meta.uid))
}

/// Says when a deployment is looked at next, and when it is forgotten, as it says itself.
pub async fn schedule(tx: &mut Tx, tenant: TenantScope, deployment: &Deployment) -> Result<()> {
    execute!(
        tx,
        "UPDATE deployments SET attend_at = $1, purge_at = $2 WHERE tenant_id = $3 AND uid = $4",
        deployment.lifetime.next().map(Timestamp::as_micros),
        deployment.abandonment.as_ref().map(|abandonment| abandonment.purge_time().as_micros()),
        tenant.0.0,
        deployment.meta.uid.0,
    )?;
    Ok(())
}

/// Deployments that are to be looked at by this time, the longest first.
pub async fn attended(db: &mut Session, now: Timestamp, most: u32) -> Result<Vec<(TenantScope, Uid)>> {
    let rows = fetch_all!(
        (Uuid, Uuid),
        db,
        "SELECT tenant_id, uid FROM deployments WHERE attend_at <= $1 ORDER BY attend_at LIMIT $2",
        now.as_micros(),
        i64::from(most),
    )?;
    Ok(rows.into_iter().map(|(tenant, uid)| (TenantScope(Uid(tenant)), Uid(uid))).collect())
}

/// Takes up a deployment that is to be looked at by this time, and has it looked at next at another one; answers whether it still was.
/// Of those who do so at the same time it is one, and the others wait for it.
pub async fn attend(tx: &mut Tx, tenant: TenantScope, uid: Uid, now: Timestamp, next: Timestamp) -> Result<bool> {
    let rows = execute!(
        tx,
        "UPDATE deployments SET attend_at = $1 WHERE tenant_id = $2 AND uid = $3 AND attend_at <= $4",
        next.as_micros(),
        tenant.0.0,
        uid.0,
        now.as_micros(),
    )?;
    Ok(rows == 1)
}

/// Abandoned deployments whose time is over, the longest first.
pub async fn abandoned(db: &mut Session, now: Timestamp, most: u32) -> Result<Vec<(TenantScope, Uid)>> {
    let rows = fetch_all!(
        (Uuid, Uuid),
        db,
        "SELECT tenant_id, uid FROM deployments WHERE purge_at <= $1 ORDER BY purge_at LIMIT $2",
        now.as_micros(),
        i64::from(most),
    )?;
    Ok(rows.into_iter().map(|(tenant, uid)| (TenantScope(Uid(tenant)), Uid(uid))).collect())
}
