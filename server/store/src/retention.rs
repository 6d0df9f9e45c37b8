//! Rows that are not kept any longer. They go in small batches, so that nobody waits long behind one.

use freehold_domain::{Result, access::TenantScope};

use crate::Tx;

/// Removes a batch of rows of a tenant from the first of these tables that has some. `key` is what makes a row unique there.
macro_rules! purge {
    ($tx:ident, $tenant:ident, $most:ident: $($table:literal by $key:literal,)+) => {$(
        let rows = execute!(
            $tx,
            concat!(
                "DELETE FROM ", $table, " WHERE tenant_id = $1 AND (", $key, ") IN
                 (SELECT ", $key, " FROM ", $table, " WHERE tenant_id = $1 LIMIT $2)"
            ),
            $tenant.0.0,
            i64::from($most),
        )?;
        if rows > 0 {
            return Ok(rows);
        }
    )+};
}

/// Removes rows of a tenant from every table but its own, at most so many; answers how many. When that is none, none are left.
///
/// A table comes after those that refer to it, so that no row takes others with it, however many there are.
pub async fn purge(tx: &mut Tx, tenant: TenantScope, most: u32) -> Result<u64> {
    purge!(tx, tenant, most:
        "webhook_deliveries" by "uid",
        "webhook_endpoints" by "uid",
        "notifications" by "uid",
        "notification_groups" by "rule, name",
        "notification_rules" by "uid",
        "drift_items" by "uid",
        "drift_exceptions" by "uid",
        "run_logs" by "run, first",
        "run_steps" by "run, step_id",
        "runs" by "uid",
        "revisions" by "uid",
        "state_versions" by "deployment, serial",
        "dependencies" by "deployment, upstream",
        "deployments" by "uid",
        "blueprint_versions" by "uid",
        "blueprints" by "uid",
        "environments" by "uid",
        "approval_policy_uses" by "named_by",
        "approval_policies" by "uid",
        "inbound_messages" by "uid",
        "connection_accounts" by "uid",
        "link_codes" by "connection, external_id",
        "run_threads" by "connection, run",
        "scrapes" by "connection",
        "connections" by "uid",
        "receipts" by "sequence",
        "receipt_chains" by "sequence",
        "secret_stores" by "uid",
        "projects" by "uid",
        "payloads" by "owner, kind, serial",
        "workload_identities" by "uid",
        "api_keys" by "uid",
        "role_bindings" by "uid",
        "service_accounts" by "uid",
        "user_identities" by "user_uid",
        "users" by "uid",
        "operations" by "uid",
        "reservations" by "uid",
        "quotas" by "dimension",
        "queue_shares" by "pool",
        "idempotency" by "principal, method, request_id",
        "outbox" by "uid",
        "audit_records" by "uid",
    );
    Ok(0)
}

/// Forgets answers to requests whose time is over, at most so many; answers how many.
pub async fn forget_answers(tx: &mut Tx, most: u32) -> Result<u64> {
    let now = tx.now().as_micros();
    let rows = execute!(
        tx,
        "DELETE FROM idempotency WHERE (tenant_id, principal, method, request_id) IN
         (SELECT tenant_id, principal, method, request_id FROM idempotency WHERE expires <= $1 ORDER BY expires LIMIT $2)",
        now,
        i64::from(most),
    )?;
    Ok(rows)
}
