//! Rows of deliveries: what is on its way to whom, and who tries it now.

use std::time::Duration;

use freehold_domain::{
    Result,
    access::TenantScope,
    names::WebhookDeliveryName,
    resource::{Listed, Page},
    time::{Timestamp, Uid},
    webhook_deliveries::{DeliveryState, WebhookDelivery},
    webhook_endpoints::WebhookEndpoint,
};
use uuid::Uuid;

use crate::{
    Session, Tx,
    session::{decode, encode},
};

/// A delivery that is being tried.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose it is.
    pub tenant: TenantScope,
    /// Where it goes.
    pub endpoint: Uid,
    /// Number of the claim; whoever has a newer one has taken it over.
    pub epoch: i64,
    /// The delivery.
    pub delivery: WebhookDelivery,
}

/// Adds a delivery of the event at this place, unless the endpoint has one of it.
pub async fn insert(
    tx: &mut Tx,
    tenant: TenantScope,
    endpoint: &WebhookEndpoint,
    position: i64,
    delivery: &WebhookDelivery,
) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO webhook_deliveries (tenant_id, uid, endpoint, event, position, ordered, state, due, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id, endpoint, event) DO NOTHING",
        tenant.0.0,
        delivery.name.delivery.0,
        endpoint.meta.uid.0,
        delivery.event.0,
        position,
        endpoint.ordered,
        delivery.state.as_str(),
        delivery.due.map(Timestamp::as_micros),
        encode(delivery)?,
    )?;
    Ok(())
}

/// Claims deliveries that are due, for a time, by the clock of the database. Of an endpoint that wants them in order, only the first.
pub async fn claim(tx: &mut Tx, lease: Duration, most: u32) -> Result<Vec<Claim>> {
    type Row = (Uuid, Uuid, i64, String);
    let now = tx.database_now().await?;
    let rows = fetch_all!(
        Row,
        tx,
        "UPDATE webhook_deliveries SET epoch = epoch + 1, due = $1
         WHERE due <= $2 AND (tenant_id, uid) IN (
             SELECT tenant_id, uid FROM webhook_deliveries AS waiting
             WHERE due <= $2 AND (NOT ordered OR NOT EXISTS (
                 SELECT 1 FROM webhook_deliveries AS earlier
                 WHERE earlier.tenant_id = waiting.tenant_id AND earlier.endpoint = waiting.endpoint
                 AND earlier.position < waiting.position AND earlier.due IS NOT NULL))
             ORDER BY due LIMIT $3)
         RETURNING tenant_id, endpoint, epoch, body",
        now.plus(lease).as_micros(),
        now.as_micros(),
        i64::from(most),
    )?;
    let claim = |(tenant, endpoint, epoch, body): Row| {
        let delivery = decode("webhook_deliveries", &body)?;
        Ok(Claim { tenant: TenantScope(Uid(tenant)), endpoint: Uid(endpoint), epoch, delivery })
    };
    rows.into_iter().map(claim).collect()
}

/// Writes what has become of a claimed delivery; `false` when somebody else has it by now.
pub async fn report(tx: &mut Tx, claim: &Claim) -> Result<bool> {
    let rows = write(tx, claim.tenant, &claim.delivery, Some(claim.epoch)).await?;
    Ok(rows == 1)
}

/// Writes a delivery, whoever tries it.
pub async fn update(tx: &mut Tx, tenant: TenantScope, delivery: &WebhookDelivery) -> Result<()> {
    write(tx, tenant, delivery, None).await.map(drop)
}

async fn write(tx: &mut Tx, tenant: TenantScope, delivery: &WebhookDelivery, epoch: Option<i64>) -> Result<u64> {
    let ended = delivery.due.is_none().then(|| tx.now().as_micros());
    execute!(
        tx,
        "UPDATE webhook_deliveries SET state = $3, due = $4, ended = $5, body = $6, epoch = epoch + 1
         WHERE tenant_id = $1 AND uid = $2 AND (epoch = $7 OR $7 IS NULL)",
        tenant.0.0,
        delivery.name.delivery.0,
        delivery.state.as_str(),
        delivery.due.map(Timestamp::as_micros),
        ended,
        encode(delivery)?,
        epoch,
    )
    .map_err(Into::into)
}

/// Reads one of an endpoint; the answer holds the row until the transaction ends.
pub async fn hold(
    tx: &mut Tx,
    tenant: TenantScope,
    endpoint: Uid,
    name: &WebhookDeliveryName,
) -> Result<Option<WebhookDelivery>> {
    let row = fetch_optional!(
        (String,),
        tx,
        "UPDATE webhook_deliveries SET epoch = epoch WHERE tenant_id = $1 AND uid = $2 AND endpoint = $3 RETURNING body",
        tenant.0.0,
        name.delivery.0,
        endpoint.0,
    )?;
    row.map(|(body,)| decode("webhook_deliveries", &body)).transpose()
}

/// Reads one of an endpoint.
pub async fn get(db: &mut Session, tenant: TenantScope, endpoint: Uid, uid: Uid) -> Result<Option<WebhookDelivery>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM webhook_deliveries WHERE tenant_id = $1 AND uid = $2 AND endpoint = $3",
        tenant.0.0,
        uid.0,
        endpoint.0,
    )?;
    row.map(|(body,)| decode("webhook_deliveries", &body)).transpose()
}

/// Reads a page of an endpoint's, newest first; all, or those in one state.
pub async fn list(
    db: &mut Session,
    tenant: TenantScope,
    endpoint: Uid,
    state: Option<DeliveryState>,
    page: Page,
) -> Result<Listed<WebhookDelivery>> {
    let rows = fetch_all!(
        (String,),
        db,
        "SELECT body FROM webhook_deliveries WHERE tenant_id = $1 AND endpoint = $2 AND uid < $3 AND (state = $4 OR $4 = '')
         ORDER BY uid DESC LIMIT $5",
        tenant.0.0,
        endpoint.0,
        page.after.map_or(Uuid::max(), |uid| uid.0),
        state.map_or("", DeliveryState::as_str),
        i64::from(page.size) + 1,
    )?;
    let items = rows.iter().map(|(body,)| decode("webhook_deliveries", body)).collect::<Result<Vec<WebhookDelivery>>>()?;
    Ok(Listed::from_rows(items, page, |delivery| delivery.name.delivery))
}

/// Removes deliveries that ended before this time, at most so many; answers how many.
pub async fn forget(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64> {
    execute!(
        tx,
        "DELETE FROM webhook_deliveries WHERE (tenant_id, uid) IN
         (SELECT tenant_id, uid FROM webhook_deliveries WHERE ended < $1 ORDER BY ended LIMIT $2)",
        before.as_micros(),
        i64::from(most),
    )
    .map_err(Into::into)
}
