//! Counters of what a tenant holds. Every change is one conditional update: the limit is part of the `WHERE`.

use freehold_domain::{
    Error, Result,
    access::TenantScope,
    fault,
    quotas::{Dimension, Quota, Reservation},
    resource::{Listed, Page},
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{Session, Tx};

#[derive(sqlx::FromRow)]
struct QuotaRow {
    dimension: String,
    max: Option<i64>,
    used: i64,
    reserved: i64,
    version: i64,
    window_start: i64,
    updated: i64,
}

impl QuotaRow {
    fn into_quota(self) -> Result<Quota> {
        let dimension: Dimension = self.dimension.parse().map_err(Error::internal)?;
        Ok(Quota {
            dimension,
            limit: self.max,
            used: self.used,
            reserved: self.reserved,
            version: self.version,
            window: dimension.is_window().then(|| Timestamp::from_micros(self.window_start)),
            update_time: Timestamp::from_micros(self.updated),
        })
    }
}

/// Gives a new tenant the default limit of one dimension.
pub async fn insert_default(tx: &mut Tx, tenant: TenantScope, dimension: Dimension) -> Result<()> {
    let now = tx.now();
    let window = if dimension.is_window() { Timestamp::from_day(now.day()).as_micros() } else { 0 };
    execute!(
        tx,
        "INSERT INTO quotas (tenant_id, dimension, max, used, reserved, version, window_start, updated)
         VALUES ($1, $2, $3, 0, 0, 1, $4, $5)",
        tenant.0.0,
        dimension.as_str(),
        Some(dimension.default_limit()),
        window,
        now.as_micros(),
    )?;
    Ok(())
}

/// Reads one.
pub async fn get(db: &mut Session, tenant: TenantScope, dimension: Dimension) -> Result<Option<Quota>> {
    let row = fetch_optional!(
        QuotaRow,
        db,
        "SELECT dimension, max, used, reserved, version, window_start, updated FROM quotas
         WHERE tenant_id = $1 AND dimension = $2",
        tenant.0.0,
        dimension.as_str(),
    )?;
    row.map(QuotaRow::into_quota).transpose()
}

/// Reads all of a tenant.
pub async fn list(db: &mut Session, tenant: TenantScope) -> Result<Vec<Quota>> {
    let rows = fetch_all!(
        QuotaRow,
        db,
        "SELECT dimension, max, used, reserved, version, window_start, updated FROM quotas WHERE tenant_id = $1 ORDER BY dimension",
        tenant.0.0,
    )?;
    rows.into_iter().map(QuotaRow::into_quota).collect()
}

/// Sets the limit of the version that was read; answers whether it still was that one.
pub async fn set_limit(tx: &mut Tx, tenant: TenantScope, quota: &Quota) -> Result<bool> {
    let rows = execute!(
        tx,
        "UPDATE quotas SET max = $1, version = version + 1, updated = $2 WHERE tenant_id = $3 AND dimension = $4 AND version = $5",
        quota.limit,
        quota.update_time.as_micros(),
        tenant.0.0,
        quota.dimension.as_str(),
        quota.version - 1,
    )?;
    Ok(rows == 1)
}

/// Takes this much, or gives it back when it is negative. Where it is limited, fails with `QUOTA_EXCEEDED` when it does not fit.
pub(crate) async fn take(
    db: &mut Session,
    tenant: TenantScope,
    dimension: Dimension,
    amount: i64,
    limited: bool,
    now: Timestamp,
) -> Result<()> {
    let statement = if !limited || fault::mutant("quota") {
        "UPDATE quotas SET used = used + $1, updated = $2 WHERE tenant_id = $3 AND dimension = $4"
    } else {
        "UPDATE quotas SET used = used + $1, updated = $2
         WHERE tenant_id = $3 AND dimension = $4 AND ($1 < 0 OR max IS NULL OR used + reserved + $1 <= max)"
    };
    let rows = execute!(db, statement, amount, now.as_micros(), tenant.0.0, dimension.as_str(),)?;
    if rows == 1 { Ok(()) } else { Err(refused(db, tenant, dimension, amount, now).await?) }
}

#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
pub(crate) async fn reserve(
    db: &mut Session,
    tenant: TenantScope,
    dimension: Dimension,
    amount: i64,
    owner: Uid,
    owner_name: &str,
    uid: Uid,
    now: Timestamp,
) -> Result<()> {
    execute!(
        db,
        "INSERT INTO reservations (tenant_id, uid, dimension, amount, owner, owner_name, created) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant.0.0,
        uid.0,
        dimension.as_str(),
        amount,
        owner.0,
        owner_name,
        now.as_micros(),
    )?;
    let rows = execute!(
        db,
        "UPDATE quotas SET reserved = reserved + $1, updated = $2
         WHERE tenant_id = $3 AND dimension = $4 AND (max IS NULL OR used + reserved + $1 <= max)",
        amount,
        now.as_micros(),
        tenant.0.0,
        dimension.as_str(),
    )?;
    if rows == 1 { Ok(()) } else { Err(refused(db, tenant, dimension, amount, now).await?) }
}

pub(crate) async fn free(db: &mut Session, tenant: TenantScope, dimension: Dimension, owner: Uid, now: Timestamp) -> Result<()> {
    let held = fetch_optional!(
        (i64,),
        db,
        "DELETE FROM reservations WHERE tenant_id = $1 AND owner = $2 AND dimension = $3 RETURNING amount",
        tenant.0.0,
        owner.0,
        dimension.as_str(),
    )?;
    if let Some((amount,)) = held {
        execute!(
            db,
            "UPDATE quotas SET reserved = reserved - $1, updated = $2 WHERE tenant_id = $3 AND dimension = $4",
            amount,
            now.as_micros(),
            tenant.0.0,
            dimension.as_str(),
        )?;
    }
    Ok(())
}

/// Takes up to `wanted` of a window, beginning a new window when the day has changed; answers how much.
pub async fn take_window(tx: &mut Tx, tenant: TenantScope, dimension: Dimension, wanted: i64) -> Result<i64> {
    let now = tx.now();
    begin_window(tx, tenant, dimension, now).await?;
    let Some(quota) = get(tx, tenant, dimension).await? else { return Err(Error::not_found("the tenant")) };
    let amount = quota.available().map_or(wanted, |left| left.min(wanted));
    if amount > 0 {
        take(tx, tenant, dimension, amount, true, now).await?;
    }
    Ok(amount)
}

/// Begins a new window when the day has changed.
pub(crate) async fn begin_window(db: &mut Session, tenant: TenantScope, dimension: Dimension, now: Timestamp) -> Result<()> {
    execute!(
        db,
        "UPDATE quotas SET used = 0, window_start = $1 WHERE tenant_id = $2 AND dimension = $3 AND window_start < $1",
        Timestamp::from_day(now.day()).as_micros(),
        tenant.0.0,
        dimension.as_str(),
    )?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct ReservationRow {
    uid: Uuid,
    dimension: String,
    amount: i64,
    owner_name: String,
    created: i64,
}

impl ReservationRow {
    fn into_reservation(self) -> Result<Reservation> {
        Ok(Reservation {
            uid: Uid(self.uid),
            dimension: self.dimension.parse().map_err(Error::internal)?,
            amount: self.amount,
            owner: self.owner_name,
            create_time: Timestamp::from_micros(self.created),
        })
    }
}

/// Reads a page of what runs under way have put aside.
pub async fn list_reservations(db: &mut Session, tenant: TenantScope, page: Page) -> Result<Listed<Reservation>> {
    let rows = fetch_all!(
        ReservationRow,
        db,
        "SELECT uid, dimension, amount, owner_name, created FROM reservations WHERE tenant_id = $1 AND uid > $2 ORDER BY uid LIMIT $3",
        tenant.0.0,
        page.after.map_or(Uuid::nil(), |uid| uid.0),
        i64::from(page.size) + 1,
    )?;
    let items = rows.into_iter().map(ReservationRow::into_reservation).collect::<Result<Vec<_>>>()?;
    Ok(Listed::from_rows(items, page, |reservation| reservation.uid))
}

/// Counts from the rows themselves, mends the counter, and answers what it was off by.
pub async fn recount(tx: &mut Tx, tenant: TenantScope, dimension: Dimension) -> Result<i64> {
    let id = tenant.0.0;
    // The counter is locked before the rows are counted: who has taken from it has committed, and who has not takes after this.
    execute!(tx, "UPDATE quotas SET used = used WHERE tenant_id = $1 AND dimension = $2", id, dimension.as_str())?;
    let counted = match dimension {
        Dimension::Projects => fetch_all!((i64,), tx, "SELECT COUNT(*) FROM projects WHERE tenant_id = $1", id)?,
        Dimension::Environments => fetch_all!((i64,), tx, "SELECT COUNT(*) FROM environments WHERE tenant_id = $1", id)?,
        Dimension::Blueprints => fetch_all!((i64,), tx, "SELECT COUNT(*) FROM blueprints WHERE tenant_id = $1", id)?,
        Dimension::Deployments => {
            fetch_all!((i64,), tx, "SELECT COUNT(*) FROM deployments WHERE tenant_id = $1 AND purge_at IS NULL", id)?
        }
        Dimension::Users => fetch_all!((i64,), tx, "SELECT COUNT(*) FROM users WHERE tenant_id = $1", id)?,
        Dimension::WebhookEndpoints => fetch_all!((i64,), tx, "SELECT COUNT(*) FROM webhook_endpoints WHERE tenant_id = $1", id)?,
        Dimension::NotificationRules => {
            fetch_all!((i64,), tx, "SELECT COUNT(*) FROM notification_rules WHERE tenant_id = $1", id)?
        }
        Dimension::Connections => fetch_all!((i64,), tx, "SELECT COUNT(*) FROM connections WHERE tenant_id = $1", id)?,
        Dimension::StorageBytes => fetch_all!(
            (i64,),
            tx,
            "SELECT CAST(COALESCE(SUM(LENGTH(bytes)), 0) AS BIGINT) FROM payloads WHERE tenant_id = $1",
            id
        )?,
        Dimension::ConcurrentRuns | Dimension::QueuedRuns | Dimension::ApiCallsPerDay | Dimension::DriftChecksPerDay => vec![],
    };
    let Some(quota) = get(tx, tenant, dimension).await? else { return Err(Error::not_found("the quota")) };
    let held = fetch_all!(
        (i64,),
        tx,
        "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM reservations WHERE tenant_id = $1 AND dimension = $2",
        id,
        dimension.as_str(),
    )?;
    let used = counted.first().map_or(quota.used, |(count,)| *count);
    let reserved = held.first().map_or(0, |(sum,)| *sum);
    let difference = quota.used + quota.reserved - used - reserved;
    if difference != 0 {
        execute!(
            tx,
            "UPDATE quotas SET used = $1, reserved = $2 WHERE tenant_id = $3 AND dimension = $4",
            used,
            reserved,
            id,
            dimension.as_str(),
        )?;
    }
    Ok(difference)
}

async fn refused(db: &mut Session, tenant: TenantScope, dimension: Dimension, amount: i64, now: Timestamp) -> Result<Error> {
    Ok(match get(db, tenant, dimension).await? {
        Some(quota) => quota.exceeded(amount, now),
        None => Error::not_found("the tenant"),
    })
}
