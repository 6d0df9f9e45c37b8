//! Sealed bytes that no query looks into.

use freehold_domain::{Result, access::TenantScope, quotas::Dimension, time::Uid};

use crate::{Session, Tx};

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Inputs of a deployment or a run.
    Inputs,
    /// Plan of a run, as its engine wrote it.
    Plan,
    /// Plan of a run for people.
    PlanSummary,
    /// State of a deployment.
    State,
    /// Outputs of a deployment.
    Outputs,
    /// Files of a blueprint's draft or version.
    Files,
    /// State and lines of log that a runner offered of an apply that it had lost; by fence.
    LateResult,
    /// Secrets of a connection or a webhook endpoint.
    Credentials,
}

impl Kind {
    /// Its name in the database, and in what the bytes are sealed with.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Plan => "plan",
            Self::PlanSummary => "plan_summary",
            Self::State => "state",
            Self::Outputs => "outputs",
            Self::Files => "files",
            Self::LateResult => "late_result",
            Self::Credentials => "credentials",
        }
    }
}

/// Writes bytes in the place of earlier ones, and counts them as stored.
pub async fn put(tx: &mut Tx, tenant: TenantScope, owner: Uid, kind: Kind, serial: i64, bytes: &[u8]) -> Result<()> {
    let before = fetch_optional!(
        (i64,),
        tx,
        "SELECT CAST(LENGTH(bytes) AS BIGINT) FROM payloads WHERE tenant_id = $1 AND owner = $2 AND kind = $3 AND serial = $4",
        tenant.0.0,
        owner.0,
        kind.as_str(),
        serial,
    )?;
    execute!(
        tx,
        "INSERT INTO payloads (tenant_id, owner, kind, serial, bytes) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, owner, kind, serial) DO UPDATE SET bytes = excluded.bytes",
        tenant.0.0,
        owner.0,
        kind.as_str(),
        serial,
        bytes,
    )?;
    let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    tx.take(Dimension::StorageBytes, size - before.map_or(0, |(length,)| length));
    Ok(())
}

/// Reads bytes.
pub async fn get(db: &mut Session, tenant: TenantScope, owner: Uid, kind: Kind, serial: i64) -> Result<Option<Vec<u8>>> {
    let row = fetch_optional!(
        (Vec<u8>,),
        db,
        "SELECT bytes FROM payloads WHERE tenant_id = $1 AND owner = $2 AND kind = $3 AND serial = $4",
        tenant.0.0,
        owner.0,
        kind.as_str(),
        serial,
    )?;
    Ok(row.map(|(bytes,)| bytes))
}

/// Removes all bytes of an owner, and gives their space back.
pub async fn delete_all(tx: &mut Tx, tenant: TenantScope, owner: Uid) -> Result<()> {
    let freed = fetch_all!(
        (i64,),
        tx,
        "DELETE FROM payloads WHERE tenant_id = $1 AND owner = $2 RETURNING CAST(LENGTH(bytes) AS BIGINT)",
        tenant.0.0,
        owner.0,
    )?;
    tx.take(Dimension::StorageBytes, -freed.iter().map(|(length,)| length).sum::<i64>());
    Ok(())
}

/// Removes all bytes of the runs of a deployment, and gives their space back.
pub async fn delete_of_runs(tx: &mut Tx, tenant: TenantScope, deployment: Uid) -> Result<()> {
    let freed = fetch_all!(
        (i64,),
        tx,
        "DELETE FROM payloads WHERE tenant_id = $1 AND owner IN (SELECT uid FROM runs WHERE tenant_id = $1 AND deployment = $2)
         RETURNING CAST(LENGTH(bytes) AS BIGINT)",
        tenant.0.0,
        deployment.0,
    )?;
    tx.take(Dimension::StorageBytes, -freed.iter().map(|(length,)| length).sum::<i64>());
    Ok(())
}

/// Removes the bytes with this serial, and gives their space back.
pub async fn delete(tx: &mut Tx, tenant: TenantScope, owner: Uid, kind: Kind, serial: i64) -> Result<()> {
    let freed = fetch_all!(
        (i64,),
        tx,
        "DELETE FROM payloads WHERE tenant_id = $1 AND owner = $2 AND kind = $3 AND serial = $4 RETURNING CAST(LENGTH(bytes) AS BIGINT)",
        tenant.0.0,
        owner.0,
        kind.as_str(),
        serial,
    )?;
    tx.take(Dimension::StorageBytes, -freed.iter().map(|(length,)| length).sum::<i64>());
    Ok(())
}

/// Whether there are bytes with this serial.
pub async fn exists(db: &mut Session, tenant: TenantScope, owner: Uid, kind: Kind, serial: i64) -> Result<bool> {
    let row = fetch_optional!(
        (i64,),
        db,
        "SELECT serial FROM payloads WHERE tenant_id = $1 AND owner = $2 AND kind = $3 AND serial = $4",
        tenant.0.0,
        owner.0,
        kind.as_str(),
        serial,
    )?;
    Ok(row.is_some())
}
