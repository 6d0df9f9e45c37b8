//! Rows of users.

use freehold_domain::{iam::User, names::UserName};

entity!("users", User, UserName, email = |user: &User| user.email.clone());

/// Reads the one with this mail address.
pub async fn get_by_email(db: &mut Session, tenant: TenantScope, email: &str) -> Result<Option<User>> {
    let row = fetch_optional!((String,), db, "SELECT body FROM users WHERE tenant_id = $1 AND email = $2", tenant.0.0, email)?;
    row.map(|(body,)| decode("users", &body)).transpose()
}
