//! Rows that are not kept any longer. They go in small batches, so that nobody waits long behind one.

use freehold_domain::{Result, access::TenantScope, time::Timestamp};
use uuid::Uuid;

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
        "receipts" by "sequence",
        "receipt_chains" by "sequence",
        "projects" by "uid",
        "payloads" by "owner, kind, serial",
        "workload_identities" by "uid",
        "api_keys" by "uid",
        "role_bindings" by "uid",
        "service_accounts" by "uid",
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

/// Removes events that were announced before this time from the outbox, at most so many; answers how many.
pub async fn forget_events(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64> {
    let rows = execute!(
        tx,
        "DELETE FROM outbox WHERE uid IN (SELECT uid FROM outbox WHERE uid < $1 ORDER BY uid LIMIT $2)",
        first_uid(before),
        i64::from(most),
    )?;
    Ok(rows)
}

/// The lowest UUIDv7 of a time: they begin with the milliseconds since 1970, in 48 bits (RFC 9562, section 5.7).
fn first_uid(time: Timestamp) -> Uuid {
    let millis = u128::try_from(time.as_micros() / 1000).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_in_the_order_of_their_times() {
        let millis = 1_700_000_000_123;
        let uid = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, millis / 1000, 123_000_000));
        let at = |millis: u64| first_uid(Timestamp::from_micros(i64::try_from(millis).expect("a time") * 1000));
        assert!(at(millis) <= uid && uid < at(millis + 1));
    }
}
