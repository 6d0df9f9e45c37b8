//! Rows of webhook endpoints.

use freehold_domain::{names::WebhookEndpointName, time::Uid, webhook_endpoints::WebhookEndpoint};

entity!("webhook_endpoints", WebhookEndpoint, WebhookEndpointName);

/// Every endpoint of a tenant.
pub async fn all(db: &mut Session, tenant: TenantScope) -> Result<Vec<WebhookEndpoint>> {
    let rows = fetch_all!((String,), db, "SELECT body FROM webhook_endpoints WHERE tenant_id = $1 ORDER BY uid", tenant.0.0)?;
    rows.iter().map(|(body,)| decode("webhook_endpoints", body)).collect()
}

/// Reads one by its uid.
pub async fn by_uid(db: &mut Session, tenant: TenantScope, uid: Uid) -> Result<Option<WebhookEndpoint>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM webhook_endpoints WHERE tenant_id = $1 AND uid = $2",
        tenant.0.0,
        uid.0,
    )?;
    row.map(|(body,)| decode("webhook_endpoints", &body)).transpose()
}
