//! Rows of notification rules.

use freehold_domain::{names::NotificationRuleName, notification_rules::NotificationRule, time::Uid};

entity!("notification_rules", NotificationRule, NotificationRuleName);

/// Every rule of a tenant.
pub async fn all(db: &mut Session, tenant: TenantScope) -> Result<Vec<NotificationRule>> {
    let rows = fetch_all!((String,), db, "SELECT body FROM notification_rules WHERE tenant_id = $1 ORDER BY uid", tenant.0.0)?;
    rows.iter().map(|(body,)| decode("notification_rules", body)).collect()
}

/// Reads one by its uid.
pub async fn by_uid(db: &mut Session, tenant: TenantScope, uid: Uid) -> Result<Option<NotificationRule>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT body FROM notification_rules WHERE tenant_id = $1 AND uid = $2",
        tenant.0.0,
        uid.0,
    )?;
    row.map(|(body,)| decode("notification_rules", &body)).transpose()
}
