//! Rows of users.

use freehold_domain::{iam::User, names::UserName};

entity!("users", User, UserName, email = |user: &User| user.email.clone());

/// Reads the one with this mail address.
pub async fn get_by_email(db: &mut Session, tenant: TenantScope, email: &str) -> Result<Option<User>> {
    let row = fetch_optional!((String,), db, "SELECT body FROM users WHERE tenant_id = $1 AND email = $2", tenant.0.0, email)?;
    row.map(|(body,)| decode("users", &body)).transpose()
}

/// Reads the one whom this account at an identity provider signs in as.
pub async fn get_by_identity(db: &mut Session, tenant: TenantScope, issuer: &str, subject: &str) -> Result<Option<User>> {
    let row = fetch_optional!(
        (String,),
        db,
        "SELECT u.body FROM user_identities AS i JOIN users AS u ON u.tenant_id = i.tenant_id AND u.uid = i.user_uid
         WHERE i.tenant_id = $1 AND i.issuer = $2 AND i.subject = $3",
        tenant.0.0,
        issuer,
        subject,
    )?;
    row.map(|(body,)| decode("users", &body)).transpose()
}

/// Binds a user to an account. Fails with `ETAG_MISMATCH` when the user or the account was bound meanwhile.
pub async fn link(tx: &mut Tx, tenant: TenantScope, user: &User, issuer: &str, subject: &str) -> Result<()> {
    let rows = execute!(
        tx,
        "INSERT INTO user_identities (tenant_id, user_uid, issuer, subject) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        tenant.0.0,
        user.meta.uid.0,
        issuer,
        subject,
    )?;
    if rows == 1 { Ok(()) } else { Err(user.meta.etag_mismatch()) }
}

/// Unbinds a user from its account, if it has one.
pub async fn unlink(tx: &mut Tx, tenant: TenantScope, user: &User) -> Result<()> {
    let (tenant, user) = (tenant.0.0, user.meta.uid.0);
    execute!(tx, "DELETE FROM user_identities WHERE tenant_id = $1 AND user_uid = $2", tenant, user)?;
    Ok(())
}
