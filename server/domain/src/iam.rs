//! People and programs of a tenant, how they prove who they are, and which roles they have.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    access::Principal,
    names::{
        ApiKeyName, EnvironmentName, Id, ProjectName, RoleBindingName, ServiceAccountName, TenantName, UserName,
        WorkloadIdentityName, shown,
    },
    resource::Meta,
    time::Timestamp,
};

/// The longest life of an API key.
pub const API_KEY_LIFE: Duration = Duration::from_secs(400 * 86_400);

/// A person in a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct User {
    pub name: UserName,
    pub meta: Meta,
    pub email: String,
    pub state: UserState,
    #[serde(default)]
    pub identity: Option<UserIdentity>,
}

/// An account at an identity provider that signs in as a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UserIdentity {
    pub issuer: String,
    pub subject: String,
    pub bind_time: Timestamp,
}

impl UserIdentity {
    /// Whether it is this account.
    pub fn is(&self, issuer: &str, subject: &str) -> bool {
        self.issuer == issuer && self.subject == subject
    }
}

/// Whether a user can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum UserState {
    Invited,
    Active,
    Deactivated,
}

/// A program in a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct ServiceAccount {
    pub name: ServiceAccountName,
    pub meta: Meta,
}

/// A certificate identity that a service account answers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct WorkloadIdentity {
    pub name: WorkloadIdentityName,
    pub spiffe_id: String,
    pub create_time: Timestamp,
    pub creator: String,
}

/// A long-lived secret, exchanged for short tokens. Only a digest of the secret is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct ApiKey {
    pub name: ApiKeyName,
    pub display_name: String,
    pub principal: Principal,
    pub prefix: String,
    pub create_time: Timestamp,
    pub expire_time: Timestamp,
    pub revoke_time: Option<Timestamp>,
    pub last_used_time: Option<Timestamp>,
    pub creator: String,
}

impl ApiKey {
    /// Whether it can be exchanged now.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoke_time.is_none() && now < self.expire_time
    }
}

/// Gives a role to a member on a resource and all below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct RoleBinding {
    pub name: RoleBindingName,
    pub role: String,
    pub member: Principal,
    pub resource: String,
    pub expire_time: Option<Timestamp>,
    pub create_time: Timestamp,
    pub creator: String,
}

/// Where a role can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Scope {
    Tenant(TenantName),
    Project(ProjectName),
    Environment(EnvironmentName),
}

impl Scope {
    /// The tenant that it is or is in.
    pub fn tenant_name(&self) -> TenantName {
        match self {
            Self::Tenant(name) => name.clone(),
            Self::Project(name) => name.tenant_name(),
            Self::Environment(name) => name.tenant_name(),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(name) => name.fmt(f),
            Self::Project(name) => name.fmt(f),
            Self::Environment(name) => name.fmt(f),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let tenant = text.parse().map(Self::Tenant);
        tenant.or_else(|_| text.parse().map(Self::Project)).or_else(|_| text.parse().map(Self::Environment)).map_err(
            |_: String| {
                format!("`{}` is not a tenant, project or environment; for example `tenants/acme/projects/shop`", shown(text))
            },
        )
    }
}

/// The id that a mail address suggests: its local part, with `-` for what an id cannot have. `None` when nothing is left.
pub fn user_id(email: &str) -> Option<Id> {
    let local = email.split('@').next().unwrap_or_default().to_ascii_lowercase();
    let words = local.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()).filter(|word| !word.is_empty());
    let joined = words.collect::<Vec<_>>().join("-");
    let id = joined.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    id[..id.len().min(52)].trim_end_matches('-').parse().ok()
}

/// Checks a mail address: one `@` with something on both sides, no spaces, at most 254 characters (RFC 5321).
pub fn email(text: &str) -> Result<String, String> {
    let well = text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.') && !domain.contains('@'))
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if well { Ok(text.to_lowercase()) } else { Err(format!("`{}` is not a mail address", shown(text))) }
}

/// Checks a SPIFFE id: `spiffe://trust-domain/path` (SPIFFE-ID standard, at most 2048 bytes).
pub fn spiffe_id(text: &str) -> Result<String, String> {
    let parts = text.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/'));
    let well = text.len() <= 2048
        && parts.is_some_and(|(domain, path)| {
            let domain_ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
            let path_ok = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            !domain.is_empty()
                && domain.bytes().all(domain_ok)
                && path
                    .split('/')
                    .all(|segment| !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(path_ok))
        });
    if well { Ok(text.to_owned()) } else { Err(format!("`{}` is not of the form spiffe://trust-domain/path", shown(text))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_address_suggests_an_id_or_none() {
        for (email, id) in [
            ("ada@acme.example", Some("ada")),
            ("Ada.Lovelace+work@acme.example", Some("ada-lovelace-work")),
            ("-.ada_.-@acme.example", Some("ada")),
            ("007.bond@acme.example", Some("bond")),
            ("123@acme.example", None),
            ("ünïx@acme.example", Some("n-x")),
        ] {
            assert_eq!(user_id(email).as_ref().map(Id::as_str), id, "{email}");
        }
        let long = user_id(&format!("{}@acme.example", "a.".repeat(60))).expect("something is left");
        assert!(long.as_str().len() <= 52, "there is room for a random end");
    }

    #[test]
    fn roles_are_given_on_tenants_projects_and_environments_only() {
        for (text, tenant) in [
            ("tenants/acme", Some("tenants/acme")),
            ("tenants/acme/projects/shop", Some("tenants/acme")),
            ("tenants/acme/projects/shop/environments/dev", Some("tenants/acme")),
            ("tenants/acme/blueprints/web", None),
            ("tenants/acme/projects/shop/environments/dev/deployments/web", None),
            ("runnerPools/default", None),
            ("", None),
        ] {
            let read = text.parse::<Scope>().ok();
            assert_eq!(read.as_ref().map(|scope| scope.tenant_name().to_string()).as_deref(), tenant, "{text}");
            assert!(read.is_none_or(|scope| scope.to_string() == text));
        }
    }
}
