//! Who is calling, given what was proven.

use freehold_domain::{
    Error, Reason, Result,
    access::{CallFacts, Caller, Grant, Principal, Proof, Role},
    iam::UserState,
    tenants::TenantState,
    time::Timestamp,
};
use freehold_store::{Session, access, service_accounts, users as rows};

use crate::{
    app::{App, Place},
    registration, users,
};

/// What a call has proven.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of the caller")]
pub enum Proven {
    /// A client certificate of a trusted authority.
    Certificate { spiffe_id: String, expire_time: Timestamp },
    /// A token of this server; with the identity of the certificate that it is bound to, if it is.
    Token { principal: String, spiffe_id: Option<String>, expire_time: Timestamp },
}

/// Names the caller, with its roles, and counts the call.
///
/// Fails with `CERT_UNKNOWN` or `TOKEN_INVALID` when this is nobody or may not sign in, `QUOTA_EXCEEDED` when its tenant has no
/// calls left today.
pub async fn identify(app: &App, proven: Proven, call: CallFacts) -> Result<Caller> {
    let (principal, proof, spiffe_id, expire_time) = match proven {
        Proven::Certificate { spiffe_id, expire_time } => {
            (principal_of(app, &spiffe_id).await?, Proof::Certificate, Some(spiffe_id), expire_time)
        }
        Proven::Token { principal, spiffe_id, expire_time } => (principal.parse().ok(), Proof::Token, spiffe_id, expire_time),
    };
    let first = principal.as_ref().is_some_and(|principal| app.grants.get(principal).is_none());
    let known = match principal {
        Some(principal) => grants(app, &principal).await?.map(|grants| (principal, grants)),
        None => None,
    };
    let (principal, grants) = known.ok_or_else(|| nobody(proof))?;
    if let Principal::User(name) = &principal
        && first
    {
        users::signed_in(app, name).await?;
    }
    if let Some(tenant) = principal.tenant() {
        app.count_call(&tenant).await?;
    }
    Ok(Caller { principal, proof, spiffe_id, expire_time: Some(expire_time), grants, call })
}

/// The same caller a while later: as long as its proof holds, with the roles that it has now.
///
/// Fails with `TOKEN_EXPIRED`, or as [`identify`] does.
pub async fn again(app: &App, caller: &Caller) -> Result<Caller> {
    if caller.expire_time.is_some_and(|end| end <= app.now()) {
        return Err(match caller.proof {
            Proof::Token => Error::new(Reason::TokenExpired, "the token has ended; get a new one and go on with that"),
            proof => nobody(proof),
        });
    }
    let grants = grants(app, &caller.principal).await?.ok_or_else(|| nobody(caller.proof))?;
    Ok(Caller { grants, ..caller.clone() })
}

/// Roles of a principal; `None` when there is no such principal, or it may not sign in.
pub(crate) async fn grants(app: &App, principal: &Principal) -> Result<Option<Vec<Grant>>> {
    let tenant = match principal {
        Principal::Platform(_) => return Ok(everywhere("roles/platform-admin")),
        Principal::Runner(name) => {
            return Ok(if registration::is_removed(app, name).await? { None } else { everywhere("roles/runner") });
        }
        Principal::Server => return Ok(None),
        Principal::User(name) => name.tenant_name(),
        Principal::ServiceAccount(name) => name.tenant_name(),
    };
    let place = app.place(&tenant).await?.filter(|place| place.tenant.state != TenantState::Deleted);
    let Some(place) = place else { return Ok(None) };
    if let Some(grants) = app.grants.get(principal) {
        return Ok(Some(grants));
    }
    let reading = app.grants.reading();
    let grants = read_grants(&mut app.store.read().await?, &place, principal).await?;
    if let Some(grants) = &grants {
        app.grants.put(reading, principal.clone(), grants.clone());
    }
    Ok(grants)
}

/// The same of somebody who acts in this tenant, as the database says and not as it said a while ago.
pub(crate) async fn present_grants(
    app: &App,
    db: &mut Session,
    place: &Place,
    principal: &Principal,
) -> Result<Option<Vec<Grant>>> {
    match principal.tenant() {
        None => grants(app, principal).await,
        Some(tenant) if tenant == place.tenant.name => read_grants(db, place, principal).await,
        Some(_) => Ok(None),
    }
}

async fn read_grants(db: &mut Session, place: &Place, principal: &Principal) -> Result<Option<Vec<Grant>>> {
    let may_sign_in = match principal {
        Principal::User(name) => rows::get(db, place.scope, name).await?.is_some_and(|user| user.state != UserState::Deactivated),
        Principal::ServiceAccount(name) => service_accounts::get(db, place.scope, name).await?.is_some(),
        Principal::Platform(_) | Principal::Runner(_) | Principal::Server => false,
    };
    if !may_sign_in {
        return Ok(None);
    }
    let grants = access::bindings_of(db, place.scope, principal).await?.into_iter().filter_map(|binding| {
        Some(Grant { role: Role::find(&binding.role)?, resource: binding.resource, expire_time: binding.expire_time })
    });
    Ok(Some(grants.collect()))
}

/// Whether a certificate identity is a principal by its own name, `spiffe://{trust domain}/{principal}`.
pub(crate) fn names_principal(app: &App, spiffe_id: &str) -> bool {
    own_principal(&app.trust_domain, spiffe_id).is_some()
}

fn own_principal(trust_domain: &str, spiffe_id: &str) -> Option<Principal> {
    spiffe_id.strip_prefix("spiffe://")?.strip_prefix(trust_domain)?.strip_prefix('/')?.parse().ok()
}

/// Whom a certificate identity stands for: the principal that it names, or the service account that has taken it on.
async fn principal_of(app: &App, spiffe_id: &str) -> Result<Option<Principal>> {
    if let Some(principal) = own_principal(&app.trust_domain, spiffe_id) {
        return Ok(Some(principal));
    }
    if let Some(account) = app.identities.get(spiffe_id) {
        return Ok(Some(Principal::ServiceAccount(account)));
    }
    let reading = app.identities.reading();
    let identity = access::identity_by_spiffe_id(&mut app.store.read().await?, spiffe_id).await?;
    Ok(identity.map(|identity| {
        let account = identity.name.service_account_name();
        app.identities.put(reading, spiffe_id.to_owned(), account.clone());
        Principal::ServiceAccount(account)
    }))
}

fn everywhere(role: &str) -> Option<Vec<Grant>> {
    Role::find(role).map(|role| vec![Grant { role, resource: String::new(), expire_time: None }])
}

fn nobody(proof: Proof) -> Error {
    match proof {
        Proof::Certificate => Error::new(
            Reason::CertUnknown,
            "the client certificate names nobody here, or somebody who may not sign in; ask an administrator of the tenant",
        ),
        Proof::Token | Proof::Account(_) => Error::new(
            Reason::TokenInvalid,
            "the token stands for nobody, or for somebody who may no longer sign in; ask an administrator of the tenant",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_identities_of_the_own_trust_domain_name_principals() {
        for (spiffe_id, principal) in [
            ("spiffe://acme.example/platform/admin", Some("platform/admin")),
            ("spiffe://acme.example/tenants/acme/users/ada", Some("tenants/acme/users/ada")),
            ("spiffe://acme.example/runnerPools/default/runners/r1", Some("runnerPools/default/runners/r1")),
            ("spiffe://acme.example.evil.example/platform/admin", None),
            ("spiffe://evil.example/platform/admin", None),
            ("spiffe://evil.example/acme.example/platform/admin", None),
            ("spiffe://acme.example/ns/prod/sa/web", None),
            ("acme.example/platform/admin", None),
        ] {
            let found = own_principal("acme.example", spiffe_id).map(|principal| principal.to_string());
            assert_eq!(found.as_deref(), principal, "{spiffe_id}");
        }
    }
}
