//! Rows of the graph of a tenant: which deployment needs which.

use std::collections::BTreeSet;

use freehold_domain::{
    Error, Reason, Result,
    access::TenantScope,
    dependencies::Binding,
    deployments::Deployment,
    time::{Timestamp, Uid},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// What a deployment needs another one for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    /// It was said that the other one comes first.
    pub explicit: bool,
    /// Inputs that are outputs of it.
    pub bindings: Vec<Binding>,
}

/// One deployment that needs another one, by their uids.
pub struct Edge {
    /// Which needs.
    pub deployment: Uid,
    /// Its name.
    pub name: String,
    /// Which is needed.
    pub upstream: Uid,
    /// Its name.
    pub upstream_name: String,
    /// When it is looked whether its outputs have changed.
    pub due: Option<Timestamp>,
    /// What for.
    pub needed: Needed,
}

#[derive(sqlx::FromRow)]
struct EdgeRow {
    deployment: Uuid,
    name: String,
    upstream: Uuid,
    upstream_name: String,
    due: Option<i64>,
    body: String,
}

/// Reads the edges of a tenant, by the names of the deployments that need something, at most so many.
pub async fn all(db: &mut Session, tenant: TenantScope, most: u32) -> Result<Vec<Edge>> {
    let rows = fetch_all!(
        EdgeRow,
        db,
        "SELECT e.deployment, d.name AS name, e.upstream, u.name AS upstream_name, e.due, e.body FROM dependencies AS e
         JOIN deployments AS d ON d.tenant_id = e.tenant_id AND d.uid = e.deployment
         JOIN deployments AS u ON u.tenant_id = e.tenant_id AND u.uid = e.upstream
         WHERE e.tenant_id = $1 ORDER BY d.name, u.name LIMIT $2",
        tenant.0.0,
        i64::from(most),
    )?;
    let edge = |row: EdgeRow| {
        Ok(Edge {
            deployment: Uid(row.deployment),
            name: row.name,
            upstream: Uid(row.upstream),
            upstream_name: row.upstream_name,
            due: row.due.map(Timestamp::from_micros),
            needed: decode("dependencies", &row.body)?,
        })
    };
    rows.into_iter().map(edge).collect()
}

/// Reads what a deployment needs, by uid.
pub async fn of(db: &mut Session, tenant: TenantScope, deployment: Uid) -> Result<Vec<(Uid, Needed)>> {
    let rows = fetch_all!(
        (Uuid, String),
        db,
        "SELECT upstream, body FROM dependencies WHERE tenant_id = $1 AND deployment = $2 ORDER BY upstream",
        tenant.0.0,
        deployment.0,
    )?;
    rows.into_iter().map(|(upstream, body)| Ok((Uid(upstream), decode("dependencies", &body)?))).collect()
}

/// Reads the deployments that need this one, by name.
pub async fn dependants(db: &mut Session, tenant: TenantScope, upstream: Uid) -> Result<Vec<Deployment>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT d.body FROM dependencies AS e JOIN deployments AS d ON d.tenant_id = e.tenant_id AND d.uid = e.deployment
         WHERE e.tenant_id = $1 AND e.upstream = $2 ORDER BY d.name",
        tenant.0.0,
        upstream.0,
    )?;
    rows.iter().map(|(body,)| decode("deployments", body)).collect()
}

/// Says what a deployment needs, in the place of what it needed before. What of it stays keeps what is due.
///
/// Fails with `RESOURCE_NOT_FOUND` when one of those that it needs is gone.
pub async fn replace(tx: &mut Tx, tenant: TenantScope, deployment: Uid, needed: &[(Uid, Needed)]) -> Result<()> {
    let wanted: BTreeSet<Uid> = needed.iter().map(|(upstream, _)| *upstream).collect();
    for (gone, _) in of(tx, tenant, deployment).await?.iter().filter(|(upstream, _)| !wanted.contains(upstream)) {
        execute!(
            tx,
            "DELETE FROM dependencies WHERE tenant_id = $1 AND deployment = $2 AND upstream = $3",
            tenant.0.0,
            deployment.0,
            gone.0,
        )?;
    }
    for (upstream, needed) in needed {
        execute!(
            tx,
            "INSERT INTO dependencies (tenant_id, deployment, upstream, body) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant_id, deployment, upstream) DO UPDATE SET body = excluded.body",
            tenant.0.0,
            deployment.0,
            upstream.0,
            encode(needed)?,
        )
        .map_err(|failure| {
            if failure.is_reference() {
                Error::new(Reason::ResourceNotFound, "a deployment that it depends on was deleted meanwhile; read it again")
            } else {
                failure.into()
            }
        })?;
    }
    Ok(())
}

/// Reads which deployments need this one, and what for, by uid.
pub async fn on(db: &mut Session, tenant: TenantScope, upstream: Uid) -> Result<Vec<(Uid, Needed)>> {
    let rows = fetch_all!(
        (Uuid, String),
        db,
        "SELECT deployment, body FROM dependencies WHERE tenant_id = $1 AND upstream = $2 ORDER BY deployment",
        tenant.0.0,
        upstream.0,
    )?;
    rows.into_iter().map(|(deployment, body)| Ok((Uid(deployment), decode("dependencies", &body)?))).collect()
}

/// Has it looked from this time on whether what a deployment takes of another one has changed.
pub async fn mark(tx: &mut Tx, tenant: TenantScope, deployment: Uid, upstream: Uid, due: Timestamp) -> Result<()> {
    execute!(
        tx,
        "UPDATE dependencies SET due = $1 WHERE tenant_id = $2 AND deployment = $3 AND upstream = $4",
        due.as_micros(),
        tenant.0.0,
        deployment.0,
        upstream.0,
    )?;
    Ok(())
}

/// Has it looked from this time on whether anything that a deployment takes has changed.
pub async fn mark_all(tx: &mut Tx, tenant: TenantScope, deployment: Uid, due: Timestamp) -> Result<()> {
    execute!(
        tx,
        "UPDATE dependencies SET due = $1 WHERE tenant_id = $2 AND deployment = $3",
        due.as_micros(),
        tenant.0.0,
        deployment.0,
    )?;
    Ok(())
}

/// Has nobody look at what a deployment takes, whatever was due.
pub async fn unmark(tx: &mut Tx, tenant: TenantScope, deployment: Uid) -> Result<()> {
    execute!(tx, "UPDATE dependencies SET due = NULL WHERE tenant_id = $1 AND deployment = $2", tenant.0.0, deployment.0)?;
    Ok(())
}

/// Has it looked later at what is due of a deployment.
pub async fn postpone(tx: &mut Tx, tenant: TenantScope, deployment: Uid, until: Timestamp) -> Result<()> {
    execute!(
        tx,
        "UPDATE dependencies SET due = $1 WHERE tenant_id = $2 AND deployment = $3 AND due IS NOT NULL",
        until.as_micros(),
        tenant.0.0,
        deployment.0,
    )?;
    Ok(())
}

/// Takes up what is due of a deployment at this time; answers whether there was something. Of those who do so at the same time it
/// is one.
pub async fn take_due(tx: &mut Tx, tenant: TenantScope, deployment: Uid, now: Timestamp) -> Result<bool> {
    let rows = execute!(
        tx,
        "UPDATE dependencies SET due = NULL WHERE tenant_id = $1 AND deployment = $2 AND due <= $3",
        tenant.0.0,
        deployment.0,
        now.as_micros(),
    )?;
    Ok(rows > 0)
}

/// Tenants in which something is due, the longest first.
pub async fn due(db: &mut Session, now: Timestamp, most: u32) -> Result<Vec<TenantScope>> {
    let rows = fetch_all!(
        (Uuid,),
        db,
        "SELECT tenant_id FROM dependencies WHERE due <= $1 GROUP BY tenant_id ORDER BY MIN(due) LIMIT $2",
        now.as_micros(),
        i64::from(most),
    )?;
    Ok(rows.into_iter().map(|(tenant,)| TenantScope(Uid(tenant))).collect())
}

/// Has nothing need a deployment any more.
pub async fn release(tx: &mut Tx, tenant: TenantScope, upstream: Uid) -> Result<()> {
    execute!(tx, "DELETE FROM dependencies WHERE tenant_id = $1 AND upstream = $2", tenant.0.0, upstream.0)?;
    Ok(())
}
