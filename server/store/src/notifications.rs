//! Rows of what somebody is told, and who passes it on now.

use std::time::Duration;

use freehold_domain::{
    Result,
    access::TenantScope,
    notifications::{Notification, SendState},
    resource::{Listed, Page},
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// A notification that is being passed on.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose it is.
    pub tenant: TenantScope,
    /// Number of the claim; whoever has a newer one has taken it over.
    pub epoch: i64,
    /// The notification.
    pub notification: Notification,
}

/// Adds a notification of a rule.
pub async fn insert(tx: &mut Tx, tenant: TenantScope, rule: Uid, notification: &Notification) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO notifications (tenant_id, uid, rule, state, due, touched, body) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant.0.0,
        notification.name.notification.0,
        rule.0,
        notification.state().as_str(),
        notification.due().map(Timestamp::as_micros),
        notification.create_time.as_micros(),
        encode(notification)?,
    )?;
    Ok(())
}

/// Claims notifications of which a message is due, for a time, by the clock of the database.
pub async fn claim(tx: &mut Tx, lease: Duration, most: u32) -> Result<Vec<Claim>> {
    type Row = (Uuid, i64, String);
    let now = tx.database_now().await?;
    let rows = fetch_all!(
        Row,
        tx,
        "UPDATE notifications SET epoch = epoch + 1, due = $1 WHERE due <= $2 AND (tenant_id, uid) IN
         (SELECT tenant_id, uid FROM notifications WHERE due <= $2 ORDER BY due LIMIT $3)
         RETURNING tenant_id, epoch, body",
        now.plus(lease).as_micros(),
        now.as_micros(),
        i64::from(most),
    )?;
    let claim = |(tenant, epoch, body): Row| {
        Ok(Claim { tenant: TenantScope(Uid(tenant)), epoch, notification: decode("notifications", &body)? })
    };
    rows.into_iter().map(claim).collect()
}

/// Writes what has become of a claimed one; `false` when somebody else has it by now.
pub async fn report(tx: &mut Tx, claim: &Claim) -> Result<bool> {
    Ok(write(tx, claim.tenant, &claim.notification, Some(claim.epoch)).await? == 1)
}

/// Writes one, whoever passes it on.
pub async fn update(tx: &mut Tx, tenant: TenantScope, notification: &Notification) -> Result<()> {
    write(tx, tenant, notification, None).await.map(drop)
}

async fn write(tx: &mut Tx, tenant: TenantScope, notification: &Notification, epoch: Option<i64>) -> Result<u64> {
    let touched = tx.now().as_micros();
    execute!(
        tx,
        "UPDATE notifications SET state = $3, due = $4, touched = $5, body = $6, epoch = epoch + 1
         WHERE tenant_id = $1 AND uid = $2 AND (epoch = $7 OR $7 IS NULL)",
        tenant.0.0,
        notification.name.notification.0,
        notification.state().as_str(),
        notification.due().map(Timestamp::as_micros),
        touched,
        encode(notification)?,
        epoch,
    )
    .map_err(Into::into)
}

/// Reads one of a rule; the answer holds the row until the transaction ends.
pub async fn hold(tx: &mut Tx, tenant: TenantScope, rule: Uid, uid: Uid) -> Result<Option<Notification>> {
    let row = fetch_optional!(
        (String,),
        tx,
        "UPDATE notifications SET epoch = epoch WHERE tenant_id = $1 AND uid = $2 AND rule = $3 RETURNING body",
        tenant.0.0,
        uid.0,
        rule.0,
    )?;
    row.map(|(body,)| decode("notifications", &body)).transpose()
}

/// Reads one of a rule.
pub async fn get(db: &mut Session, tenant: TenantScope, rule: Uid, uid: Uid) -> Result<Option<Notification>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM notifications WHERE tenant_id = $1 AND uid = $2 AND rule = $3",
        tenant.0.0,
        uid.0,
        rule.0,
    )?;
    row.map(|(body,)| decode("notifications", &body)).transpose()
}

/// Reads a page of a rule's, newest first; all, or those in one state.
pub async fn list(
    db: &mut Session,
    tenant: TenantScope,
    rule: Uid,
    state: Option<SendState>,
    page: Page,
) -> Result<Listed<Notification>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM notifications WHERE tenant_id = $1 AND rule = $2 AND uid < $3 AND (state = $4 OR $4 = '')
         ORDER BY uid DESC LIMIT $5",
        tenant.0.0,
        rule.0,
        page.after.map_or(Uuid::max(), |uid| uid.0),
        state.map_or("", SendState::as_str),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("notifications", body)).collect::<Result<Vec<Notification>>>()?;
    Ok(Listed::from_rows(items, page, |notification| notification.name.notification))
}

/// Removes all of a rule.
pub async fn delete_all(tx: &mut Tx, tenant: TenantScope, rule: Uid) -> Result<()> {
    execute!(tx, "DELETE FROM notifications WHERE tenant_id = $1 AND rule = $2", tenant.0.0, rule.0)?;
    Ok(())
}

/// Forgets those that are over and that nothing has happened to since this time, at most so many; answers how many.
pub async fn forget(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64> {
    execute!(
        tx,
        "DELETE FROM notifications WHERE (tenant_id, uid) IN
         (SELECT tenant_id, uid FROM notifications WHERE touched < $1 AND due IS NULL ORDER BY touched LIMIT $2)",
        before.as_micros(),
        i64::from(most),
    )
    .map_err(Into::into)
}
