//! Rows of approval policies, and who names them.

use freehold_domain::{approvals::ApprovalPolicy, names::ApprovalPolicyName};

entity!("approval_policies", ApprovalPolicy, ApprovalPolicyName);

/// Notes that an environment or project names this policy, or none. Fails with `FIELD_INVALID` of `field` when there is no such
/// policy; one that is named stays.
pub async fn name(
    tx: &mut Tx,
    tenant: TenantScope,
    by: impl ToString,
    policy: Option<&ApprovalPolicyName>,
    field: &str,
) -> Result<()> {
    let Some(policy) = policy else {
        execute!(tx, "DELETE FROM approval_policy_uses WHERE tenant_id = $1 AND named_by = $2", tenant.0.0, by.to_string(),)?;
        return Ok(());
    };
    // Asked first: a clash would end the transaction on Postgres, and nothing could be said of the other fields.
    if !hold(tx, tenant, policy).await? {
        return Err(Error::field(field, format!("{policy} does not exist; create it first, or name another one")));
    }
    execute!(
        tx,
        "INSERT INTO approval_policy_uses (tenant_id, named_by, policy) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id, named_by) DO UPDATE SET policy = excluded.policy",
        tenant.0.0,
        by.to_string(),
        policy.to_string(),
    )?;
    Ok(())
}
