//! Rows of what rules have gathered and not told yet, and of when they last told something.

use freehold_domain::{
    Result,
    access::TenantScope,
    notification_rules::Group,
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// A group whose time has come.
#[derive(Clone, Debug)]
pub struct Due {
    /// Whose it is.
    pub tenant: TenantScope,
    /// Its rule.
    pub rule: Uid,
    /// The group.
    pub group: Group,
}

/// Reads the group of a rule that has this name.
pub async fn get(db: &mut Session, tenant: TenantScope, rule: Uid, key: &str) -> Result<Option<Group>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM notification_groups WHERE tenant_id = $1 AND rule = $2 AND name = $3",
        tenant.0.0,
        rule.0,
        key,
    )?;
    row.map(|(body,)| decode("notification_groups", &body)).transpose()
}

/// How many groups of a rule gather.
pub async fn gathering(db: &mut Session, tenant: TenantScope, rule: Uid) -> Result<i64> {
    let row = fetch_optional!(
        (i64,),
        db,
        "SELECT COUNT(*) FROM notification_groups WHERE tenant_id = $1 AND rule = $2 AND due IS NOT NULL",
        tenant.0.0,
        rule.0,
    )?;
    Ok(row.map_or(0, |(count,)| count))
}

/// Writes a group.
pub async fn put(tx: &mut Tx, tenant: TenantScope, rule: Uid, group: &Group) -> Result<()> {
    let touched = tx.now().as_micros();
    execute!(
        tx,
        "INSERT INTO notification_groups (tenant_id, rule, name, due, touched, body) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, rule, name) DO UPDATE SET due = excluded.due, touched = excluded.touched, body = excluded.body",
        tenant.0.0,
        rule.0,
        &group.key,
        group.gathered.as_ref().map(|gathered| gathered.due.as_micros()),
        touched,
        encode(group)?,
    )?;
    Ok(())
}

/// Groups whose time has come, of all tenants, at most so many.
pub async fn due(tx: &mut Tx, most: u32) -> Result<Vec<Due>> {
    type Row = (Uuid, Uuid, String);
    let now = tx.now().as_micros();
    let rows = fetch_all!(
        Row,
        tx,
        "SELECT tenant_id, rule, body FROM notification_groups WHERE due <= $1 ORDER BY due LIMIT $2",
        now,
        i64::from(most),
    )?;
    let due = |(tenant, rule, body): Row| {
        Ok(Due { tenant: TenantScope(Uid(tenant)), rule: Uid(rule), group: decode("notification_groups", &body)? })
    };
    rows.into_iter().map(due).collect()
}

/// Whether there are any whose time has come by then.
pub async fn any_due(db: &mut Session, now: Timestamp) -> Result<bool> {
    let row = fetch_optional!((i64,), db, "SELECT due FROM notification_groups WHERE due <= $1 LIMIT 1", now.as_micros())?;
    Ok(row.is_some())
}

/// Removes all of a rule.
pub async fn delete_all(tx: &mut Tx, tenant: TenantScope, rule: Uid) -> Result<()> {
    execute!(tx, "DELETE FROM notification_groups WHERE tenant_id = $1 AND rule = $2", tenant.0.0, rule.0)?;
    Ok(())
}

/// Forgets groups that gather nothing and that nothing has happened to since this time, at most so many; answers how many.
pub async fn forget(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64> {
    execute!(
        tx,
        "DELETE FROM notification_groups WHERE (tenant_id, rule, name) IN
         (SELECT tenant_id, rule, name FROM notification_groups WHERE touched < $1 AND due IS NULL ORDER BY touched LIMIT $2)",
        before.as_micros(),
        i64::from(most),
    )
    .map_err(Into::into)
}
