//! Rows of items of drift. Values come and go sealed.

use freehold_domain::{
    Result,
    access::TenantScope,
    drift::{DriftItem, DriftItemState},
    names::EnvironmentName,
    resource::{Listed, Page},
    time::{Timestamp, Uid},
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// An item with its sealed values.
pub type Row = (DriftItem, Vec<u8>);

/// Which items of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// All of them.
    Tenant,
    /// Those of the deployments of an environment.
    Environment(EnvironmentName),
    /// Those of a deployment.
    Deployment(Uid),
}

/// Adds an item.
pub async fn insert(tx: &mut Tx, tenant: TenantScope, item: &DriftItem, shown: &[u8]) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO drift_items
             (tenant_id, uid, deployment, environment, fingerprint, state, class, exception, resolved, version, shown, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        tenant.0.0,
        item.uid().0,
        item.deployment.0,
        item.name.deployment_name().environment_name().to_string(),
        &item.fingerprint,
        item.state.as_str(),
        item.class.as_str(),
        item.exception.map(|uid| uid.0),
        resolved(item),
        item.version,
        shown,
        encode(item)?,
    )?;
    Ok(())
}

/// Writes an item in the place of the version that was read, with its values. Fails with `ETAG_MISMATCH` when somebody else was
/// first.
pub async fn update(tx: &mut Tx, tenant: TenantScope, seen: i64, item: &DriftItem, shown: &[u8]) -> Result<()> {
    let rows = execute!(
        tx,
        "UPDATE drift_items SET state = $1, class = $2, exception = $3, resolved = $4, version = $5, shown = $6, body = $7
         WHERE tenant_id = $8 AND uid = $9 AND version = $10",
        item.state.as_str(),
        item.class.as_str(),
        item.exception.map(|uid| uid.0),
        resolved(item),
        item.version,
        shown,
        encode(item)?,
        tenant.0.0,
        item.uid().0,
        seen,
    )?;
    if rows == 1 { Ok(()) } else { Err(item.etag_mismatch()) }
}

fn resolved(item: &DriftItem) -> Option<i64> {
    item.resolve_time.filter(|_| item.state == DriftItemState::Resolved).map(Timestamp::as_micros)
}

/// Reads one.
pub async fn get(db: &mut Session, tenant: TenantScope, uid: Uid) -> Result<Option<Row>> {
    let row = fetch_optional!(
        (String, Vec<u8>),
        db,
        "SELECT body, shown FROM drift_items WHERE tenant_id = $1 AND uid = $2",
        tenant.0.0,
        uid.0,
    )?;
    row.map(read).transpose()
}

/// Reads a page of the items in these states and of these classes; each is given as `,NAME,NAME,`, and an empty text means any.
pub async fn list(
    db: &mut Session,
    tenant: TenantScope,
    place: &Place,
    states: &str,
    classes: &str,
    page: Page,
) -> Result<Listed<Row>> {
    let (environment, deployment) = match place {
        Place::Tenant => (String::new(), Uuid::nil()),
        Place::Environment(name) => (name.to_string(), Uuid::nil()),
        Place::Deployment(uid) => (String::new(), uid.0),
    };
    macro_rules! page {
        ($place:literal) => {
            fetch_all!(
                (String, Vec<u8>),
                db,
                concat!(
                    "SELECT body, shown FROM drift_items WHERE tenant_id = $1 AND uid > $2 AND ",
                    $place,
                    " AND ($5 = '' OR $5 LIKE '%,' || state || ',%') AND ($6 = '' OR $6 LIKE '%,' || class || ',%')
                     ORDER BY uid LIMIT $7"
                ),
                tenant.0.0,
                page.after.map_or(Uuid::nil(), |uid| uid.0),
                &environment,
                deployment,
                states,
                classes,
                i64::from(page.size) + 1,
            )
        };
    }
    let rows = match place {
        Place::Tenant => page!("$3 = '' AND $4 = $4"),
        Place::Environment(_) => page!("environment = $3 AND $4 = $4"),
        Place::Deployment(_) => page!("$3 = '' AND deployment = $4"),
    }?;
    let items = rows.into_iter().map(read).collect::<Result<Vec<Row>>>()?;
    Ok(Listed::from_rows(items, page, |(item, _)| item.uid()))
}

/// Reads all items of a deployment, resolved ones too.
pub async fn of_deployment(db: &mut Session, tenant: TenantScope, deployment: Uid) -> Result<Vec<Row>> {
    let rows = fetch_all!(
        (String, Vec<u8>),
        db,
        "SELECT body, shown FROM drift_items WHERE tenant_id = $1 AND deployment = $2 ORDER BY uid",
        tenant.0.0,
        deployment.0,
    )?;
    rows.into_iter().map(read).collect()
}

/// Reads the items of a deployment that are not resolved.
pub async fn unresolved(db: &mut Session, tenant: TenantScope, deployment: Uid) -> Result<Vec<Row>> {
    let rows = fetch_all!(
        (String, Vec<u8>),
        db,
        "SELECT body, shown FROM drift_items WHERE tenant_id = $1 AND deployment = $2 AND resolved IS NULL ORDER BY uid",
        tenant.0.0,
        deployment.0,
    )?;
    rows.into_iter().map(read).collect()
}

/// Reads items of a tenant that ask for somebody or are known to somebody, at most so many.
pub async fn open(db: &mut Session, tenant: TenantScope, most: u32) -> Result<Vec<Row>> {
    let rows = fetch_all!(
        (String, Vec<u8>),
        db,
        "SELECT body, shown FROM drift_items
         WHERE tenant_id = $1 AND state IN ('OPEN', 'REOPENED', 'ACKNOWLEDGED') ORDER BY uid LIMIT $2",
        tenant.0.0,
        i64::from(most),
    )?;
    rows.into_iter().map(read).collect()
}

/// Reads items that an exception covers, at most so many.
pub async fn covered(db: &mut Session, tenant: TenantScope, exception: Uid, most: u32) -> Result<Vec<Row>> {
    let rows = fetch_all!(
        (String, Vec<u8>),
        db,
        "SELECT body, shown FROM drift_items WHERE tenant_id = $1 AND exception = $2 ORDER BY uid LIMIT $3",
        tenant.0.0,
        exception.0,
        i64::from(most),
    )?;
    rows.into_iter().map(read).collect()
}

/// Removes items that were resolved before this time, of any tenant, at most so many; answers how many.
pub async fn forget(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64> {
    let rows = execute!(
        tx,
        "DELETE FROM drift_items WHERE (tenant_id, uid) IN
         (SELECT tenant_id, uid FROM drift_items WHERE resolved < $1 ORDER BY resolved LIMIT $2)",
        before.as_micros(),
        i64::from(most),
    )?;
    Ok(rows)
}

fn read((body, shown): (String, Vec<u8>)) -> Result<Row> {
    Ok((decode("drift_items", &body)?, shown))
}
