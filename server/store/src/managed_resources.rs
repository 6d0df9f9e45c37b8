//! How many resources each deployment has.

use std::collections::BTreeMap;

use freehold_domain::{Result, access::TenantScope, time::Uid};

use crate::{Session, Tx};

/// Numbers by engine and group of types.
pub type Counts = BTreeMap<(String, String), i64>;

/// Writes the numbers of a deployment in the place of those that there were.
pub async fn replace(tx: &mut Tx, tenant: TenantScope, deployment: Uid, counts: &Counts) -> Result<()> {
    let rows = fetch_all!(
        (String, String, i64),
        tx,
        "SELECT engine, type_group, count FROM managed_resources WHERE tenant_id = $1 AND deployment = $2",
        tenant.0.0,
        deployment.0,
    )?;
    let before: Counts = rows.into_iter().map(|(engine, group, count)| ((engine, group), count)).collect();
    if before == *counts {
        return Ok(());
    }
    execute!(tx, "DELETE FROM managed_resources WHERE tenant_id = $1 AND deployment = $2", tenant.0.0, deployment.0)?;
    for ((engine, group), count) in counts {
        execute!(
            tx,
            "INSERT INTO managed_resources (tenant_id, deployment, engine, type_group, count) VALUES ($1, $2, $3, $4, $5)",
            tenant.0.0,
            deployment.0,
            engine,
            group,
            count,
        )?;
    }
    Ok(())
}

/// Numbers of all deployments of all tenants together.
pub async fn totals(db: &mut Session) -> Result<Counts> {
    let rows = fetch_all!(
        (String, String, i64),
        db,
        "SELECT engine, type_group, CAST(SUM(count) AS BIGINT) FROM managed_resources GROUP BY engine, type_group",
    )?;
    Ok(rows.into_iter().map(|(engine, group, count)| ((engine, group), count)).collect())
}
