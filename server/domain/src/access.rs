//! Who is calling, and what it may do: principals, roles, grants. Everything that is not granted is denied.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    error::{Error, Reason, Result},
    names::{Id, RunnerName, ServiceAccountName, TenantName, UserName, shown, text_serde},
    time::{Timestamp, Uid},
};

/// Somebody or something that calls. Its name is also the path of its SPIFFE id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// An administrator of the whole installation: `platform/admin`.
    Platform(Id),
    /// A person of a tenant.
    User(UserName),
    /// A program of a tenant.
    ServiceAccount(ServiceAccountName),
    /// A runner.
    Runner(RunnerName),
    /// The server itself, in its own duties: `server`. Nobody signs in as this.
    Server,
}

impl Principal {
    /// The tenant it belongs to, if one.
    pub fn tenant(&self) -> Option<TenantName> {
        match self {
            Self::Platform(_) | Self::Runner(_) | Self::Server => None,
            Self::User(name) => Some(name.tenant_name()),
            Self::ServiceAccount(name) => Some(name.tenant_name()),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform(id) => write!(f, "platform/{id}"),
            Self::User(name) => name.fmt(f),
            Self::ServiceAccount(name) => name.fmt(f),
            Self::Runner(name) => name.fmt(f),
            Self::Server => f.write_str("server"),
        }
    }
}

impl FromStr for Principal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let platform = || text.strip_prefix("platform/")?.parse().ok().map(Self::Platform);
        platform()
            .or_else(|| (text == "server").then_some(Self::Server))
            .or_else(|| text.parse().ok().map(Self::User))
            .or_else(|| text.parse().ok().map(Self::ServiceAccount))
            .or_else(|| text.parse().ok().map(Self::Runner))
            .ok_or_else(|| {
                format!(
                    "`{}` is nobody: name a user, `{}`, or a service account, `{}`",
                    shown(text),
                    UserName::PATTERN,
                    ServiceAccountName::PATTERN
                )
            })
    }
}

text_serde!(Principal);

/// How an identity was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By the client certificate.
    Certificate,
    /// By a token of this server.
    Token,
    /// By a connector of this name: the call of another system was proven, and the account there is linked. `oidc` is a sign-in by
    /// the identity provider.
    Account(&'static str),
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Account(connector) => connector,
        })
    }
}

/// A set of permissions.
#[derive(Debug, PartialEq, Eq)]
pub struct Role {
    /// Last part of its name.
    pub id: &'static str,
    /// Name for people.
    pub display_name: &'static str,
    /// Permissions, `area.resources.verb`; `*` stands for any one part.
    pub permissions: &'static [&'static str],
}

/// Every role there is.
pub static ROLES: &[Role] = &[
    Role { id: "platform-admin", display_name: "Platform administrator", permissions: &["*.*.*"] },
    Role {
        id: "tenant-admin",
        display_name: "Tenant administrator",
        permissions: &[
            "tenants.tenants.get",
            "tenants.tenants.list",
            "tenants.tenants.update",
            "tenants.projects.*",
            "tenants.environments.*",
            "approvals.policies.*",
            "approvals.receipts.list",
            "iam.*.*",
            "blueprints.*.*",
            "deployments.*.*",
            "quotas.quotas.get",
            "quotas.quotas.list",
            "quotas.reservations.list",
            "operations.*.*",
            "audit.*.*",
            "events.*.*",
            "integrations.*.*",
            "secrets.*.*",
        ],
    },
    Role {
        id: "developer",
        display_name: "Developer",
        permissions: &[
            "tenants.*.get",
            "tenants.projects.list",
            "tenants.environments.list",
            "approvals.*.get",
            "approvals.*.list",
            "blueprints.*.get",
            "blueprints.*.list",
            "blueprints.blueprints.validate",
            "deployments.deployments.create",
            "deployments.deployments.get",
            "deployments.deployments.list",
            "deployments.deployments.update",
            "deployments.deployments.extend",
            "deployments.deployments.delete",
            "deployments.outputs.bind",
            "deployments.driftExceptions.get",
            "deployments.driftExceptions.list",
            "deployments.driftItems.get",
            "deployments.driftItems.list",
            "deployments.driftItems.acknowledge",
            "deployments.driftItems.assign",
            "deployments.runs.plan",
            "deployments.runs.apply",
            "deployments.runs.destroy",
            "deployments.runs.detectDrift",
            "deployments.runs.cancel",
            "deployments.runs.get",
            "deployments.runs.list",
            "deployments.state.get",
            "deployments.state.list",
            "events.events.list",
            "integrations.connections.get",
            "integrations.connections.list",
            "integrations.notificationRules.get",
            "integrations.notificationRules.list",
            "integrations.notifications.get",
            "integrations.notifications.list",
            "integrations.notifications.acknowledge",
            "secrets.stores.get",
            "secrets.stores.list",
            "quotas.*.get",
            "quotas.*.list",
            "operations.*.*",
        ],
    },
    Role {
        id: "approver",
        display_name: "Approver of runs",
        permissions: &["*.*.get", "*.*.list", "deployments.runs.approve", "deployments.runs.cancel"],
    },
    Role {
        id: "blueprint-author",
        display_name: "Blueprint author",
        permissions: &["tenants.tenants.get", "blueprints.*.*", "events.events.list"],
    },
    Role { id: "viewer", display_name: "Viewer", permissions: &["*.*.get", "*.*.list"] },
    Role { id: "runner", display_name: "Runner", permissions: &["runners.jobs.work"] },
];

/// Every permission that means something inside a tenant. Those on runners do not: pools belong to the installation.
pub static TENANT_PERMISSIONS: &[&str] = &[
    "approvals.policies.create",
    "approvals.policies.delete",
    "approvals.policies.get",
    "approvals.policies.list",
    "approvals.policies.update",
    "approvals.receiptKeys.rotate",
    "approvals.receipts.list",
    "audit.records.get",
    "audit.records.list",
    "blueprints.blueprints.create",
    "blueprints.blueprints.delete",
    "blueprints.blueprints.get",
    "blueprints.blueprints.list",
    "blueprints.blueprints.update",
    "blueprints.blueprints.validate",
    "blueprints.drafts.get",
    "blueprints.drafts.update",
    "blueprints.versions.get",
    "blueprints.versions.list",
    "blueprints.versions.publish",
    "deployments.deployments.abandon",
    "deployments.deployments.create",
    "deployments.deployments.delete",
    "deployments.deployments.extend",
    "deployments.deployments.get",
    "deployments.deployments.list",
    "deployments.deployments.update",
    "deployments.driftExceptions.create",
    "deployments.driftExceptions.delete",
    "deployments.driftExceptions.get",
    "deployments.driftExceptions.list",
    "deployments.driftItems.accept",
    "deployments.driftItems.acknowledge",
    "deployments.driftItems.assign",
    "deployments.driftItems.get",
    "deployments.driftItems.list",
    "deployments.runs.apply",
    "deployments.runs.approve",
    "deployments.runs.cancel",
    "deployments.runs.destroy",
    "deployments.runs.detectDrift",
    "deployments.runs.get",
    "deployments.runs.list",
    "deployments.runs.plan",
    "deployments.state.breakLock",
    "deployments.state.download",
    "deployments.state.get",
    "deployments.state.import",
    "deployments.state.list",
    "deployments.state.lock",
    "deployments.state.restore",
    "deployments.state.write",
    "events.events.list",
    "iam.apiKeys.create",
    "iam.apiKeys.list",
    "iam.apiKeys.revoke",
    "iam.roleBindings.create",
    "iam.roleBindings.delete",
    "iam.roleBindings.list",
    "iam.serviceAccounts.create",
    "iam.serviceAccounts.delete",
    "iam.serviceAccounts.get",
    "iam.serviceAccounts.list",
    "iam.users.deactivate",
    "iam.users.delete",
    "iam.users.get",
    "iam.users.invite",
    "iam.users.list",
    "iam.users.unlink",
    "iam.workloadIdentities.create",
    "iam.workloadIdentities.delete",
    "iam.workloadIdentities.list",
    "integrations.connections.create",
    "integrations.connections.delete",
    "integrations.connections.get",
    "integrations.connections.invoke",
    "integrations.connections.list",
    "integrations.connections.rotate",
    "integrations.connections.test",
    "integrations.connections.update",
    "integrations.inboundMessages.get",
    "integrations.inboundMessages.list",
    "integrations.notificationRules.create",
    "integrations.notificationRules.delete",
    "integrations.notificationRules.get",
    "integrations.notificationRules.list",
    "integrations.notificationRules.preview",
    "integrations.notificationRules.update",
    "integrations.notifications.acknowledge",
    "integrations.notifications.get",
    "integrations.notifications.list",
    "integrations.notifications.retry",
    "integrations.webhookDeliveries.get",
    "integrations.webhookDeliveries.list",
    "integrations.webhookDeliveries.redeliver",
    "integrations.webhookEndpoints.create",
    "integrations.webhookEndpoints.delete",
    "integrations.webhookEndpoints.get",
    "integrations.webhookEndpoints.list",
    "integrations.webhookEndpoints.rotate",
    "integrations.webhookEndpoints.test",
    "integrations.webhookEndpoints.update",
    "operations.operations.get",
    "operations.operations.list",
    "quotas.quotas.get",
    "quotas.quotas.list",
    "quotas.quotas.recount",
    "quotas.quotas.setLimit",
    "quotas.reservations.list",
    "secrets.stores.create",
    "secrets.stores.delete",
    "secrets.stores.get",
    "secrets.stores.list",
    "secrets.stores.update",
    "tenants.environments.create",
    "tenants.environments.delete",
    "tenants.environments.get",
    "tenants.environments.list",
    "tenants.environments.update",
    "tenants.projects.create",
    "tenants.projects.delete",
    "tenants.projects.get",
    "tenants.projects.list",
    "tenants.projects.update",
    "tenants.tenants.create",
    "tenants.tenants.delete",
    "tenants.tenants.get",
    "tenants.tenants.list",
    "tenants.tenants.suspend",
    "tenants.tenants.update",
];

impl Role {
    /// The role of this name, `roles/{role}`.
    pub fn find(name: &str) -> Option<&'static Self> {
        let id = name.strip_prefix("roles/")?;
        ROLES.iter().find(|role| role.id == id)
    }

    /// The role of this name, if it can be given.
    pub fn grantable(name: &str) -> Result<&'static Self, String> {
        Self::find(name).filter(|role| role.is_grantable()).ok_or_else(|| {
            let all: Vec<String> = ROLES.iter().filter(|role| role.is_grantable()).map(Self::name).collect();
            format!("`{}` is not a role that can be given; there are {}", shown(name), all.join(", "))
        })
    }

    /// Its full name.
    pub fn name(&self) -> String {
        format!("roles/{}", self.id)
    }

    /// Whether it allows this.
    pub fn allows(&self, permission: &str) -> bool {
        self.permissions.iter().any(|pattern| matches(pattern, permission))
    }

    /// Can be given inside a tenant. The others come with the identity itself.
    pub fn is_grantable(&self) -> bool {
        !matches!(self.id, "platform-admin" | "runner")
    }
}

fn matches(pattern: &str, permission: &str) -> bool {
    let mut wanted = permission.split('.');
    let all = pattern.split('.').all(|part| wanted.next().is_some_and(|given| part == "*" || part == given));
    all && wanted.next().is_none()
}

/// A role on a resource and all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it allows.
    pub role: &'static Role,
    /// Where: a resource name, or empty for the whole installation.
    pub resource: String,
    /// When it ends by itself.
    pub expire_time: Option<Timestamp>,
}

impl Grant {
    /// Whether it holds on the resource at this time.
    pub fn holds(&self, resource: &str, now: Timestamp) -> bool {
        self.covers(resource) && self.expire_time.is_none_or(|end| now < end)
    }

    fn covers(&self, resource: &str) -> bool {
        match resource.strip_prefix(self.resource.as_str()) {
            Some(rest) => self.resource.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

/// Whether these allow this to be done to the resource.
pub fn allows(grants: &[Grant], permission: &str, resource: &str, now: Timestamp) -> bool {
    grants
        .iter()
        .any(|grant| grant.covers(resource) && grant.role.allows(permission) && grant.expire_time.is_none_or(|end| now < end))
}

/// Facts of one call, for audit and logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFacts {
    /// Id of the call, as in the logs.
    pub request_id: String,
    /// Trace of the call.
    pub trace_id: String,
    /// Address of the caller.
    pub source_address: String,
    /// `package.Service/Method`.
    pub method: &'static str,
    /// The permission that the method needs; empty when any caller may.
    pub permission: &'static str,
    /// The method changes nothing.
    pub reads: bool,
    /// The tenant that the caller says this is about, to be held against what the request names.
    pub tenant: Option<Id>,
}

/// Key of a tenant in every query of the store. Only [`Tenant`](crate::tenants::Tenant) resolution makes one, so no query runs
/// for a tenant that the caller may not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantScope(pub Uid);

/// Who is calling, with what it may do.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// How that was proven.
    pub proof: Proof,
    /// Identity of the client certificate.
    pub spiffe_id: Option<String>,
    /// When the proof ends.
    pub expire_time: Option<Timestamp>,
    /// What it may do, and where.
    pub grants: Vec<Grant>,
    /// The call.
    pub call: CallFacts,
}

impl Caller {
    /// Whether it may do this to the resource.
    pub fn may(&self, permission: &str, resource: &str, now: Timestamp) -> bool {
        allows(&self.grants, permission, resource, now)
    }

    /// Fails unless it may do what this call does to the resource.
    pub fn require(&self, resource: &str, now: Timestamp) -> Result<()> {
        self.require_permission(self.call.permission, resource, now)
    }

    /// Fails unless it has this permission on the resource.
    pub fn require_permission(&self, permission: &str, resource: &str, now: Timestamp) -> Result<()> {
        if self.may(permission, resource, now) {
            return Ok(());
        }
        let place = if resource.is_empty() { "the installation" } else { resource };
        Err(Error::new(
            Reason::PermissionMissing,
            format!("{} needs `{permission}` on {place}; ask an administrator for a role that has it", self.principal),
        )
        .with("permission", permission)
        .with("resource", place))
    }

    /// Fails unless it may itself do on the resource all that the role allows there: nobody gives away what they do not have.
    pub fn require_role(&self, role: &Role, resource: &str, now: Timestamp) -> Result<()> {
        let allowed = TENANT_PERMISSIONS.iter().filter(|permission| role.allows(permission));
        allowed.copied().try_for_each(|permission| self.require_permission(permission, resource, now))
    }

    /// Fails when the caller has said that this call is about another tenant.
    pub fn expect_tenant(&self, tenant: &TenantName) -> Result<()> {
        match &self.call.tenant {
            Some(said) if *said != tenant.tenant => Err(Error::new(
                Reason::TenantMismatch,
                format!(
                    "the header `x-freehold-tenant` says {said} and the request is about {tenant}; leave the header out or send the same"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Whether it is an administrator of the whole installation.
    pub fn is_platform(&self) -> bool {
        matches!(self.principal, Principal::Platform(_))
    }

    /// Whether this tenant exists for the caller at all: its own, or any for platform administrators.
    pub fn sees(&self, tenant: &TenantName) -> bool {
        match &self.principal {
            Principal::Platform(_) => true,
            other => other.tenant().as_ref() == Some(tenant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(grants: &[(&str, &str)]) -> Caller {
        Caller {
            principal: "tenants/acme/users/ada".parse().expect("valid"),
            proof: Proof::Certificate,
            spiffe_id: None,
            expire_time: None,
            grants: grants
                .iter()
                .map(|(role, resource)| Grant {
                    role: Role::find(role).expect("exists"),
                    resource: (*resource).to_owned(),
                    expire_time: None,
                })
                .collect(),
            call: CallFacts::default(),
        }
    }

    #[test]
    fn a_grant_covers_its_resource_and_what_is_below_and_nothing_beside() {
        let now = Timestamp::from_micros(0);
        let ada = caller(&[("roles/developer", "tenants/acme/projects/shop")]);
        let shop = "tenants/acme/projects/shop";
        assert!(ada.may("tenants.projects.get", shop, now));
        assert!(ada.may("deployments.deployments.create", &format!("{shop}/environments/dev"), now));
        assert!(!ada.may("tenants.projects.get", "tenants/acme/projects/shop2", now));
        assert!(!ada.may("tenants.projects.get", "tenants/acme", now));
        assert!(!ada.may("deployments.runs.approve", shop, now));
        assert!(!caller(&[]).may("tenants.projects.get", shop, now));
    }

    #[test]
    fn an_expired_grant_is_none() {
        let mut ada = caller(&[("roles/viewer", "tenants/acme")]);
        ada.grants[0].expire_time = Some(Timestamp::from_micros(10));
        assert!(ada.may("tenants.tenants.get", "tenants/acme", Timestamp::from_micros(9)));
        assert!(!ada.may("tenants.tenants.get", "tenants/acme", Timestamp::from_micros(10)));
    }

    #[test]
    fn nobody_gives_a_role_that_allows_more_than_they_may() {
        let (acme, shop) = ("tenants/acme", "tenants/acme/projects/shop");
        type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str, Option<&'a str>);
        let table: &[Row<'_>] = &[
            (&[("roles/tenant-admin", acme)], "roles/tenant-admin", acme, None),
            (&[("roles/tenant-admin", acme)], "roles/developer", shop, None),
            (&[("roles/tenant-admin", acme)], "roles/approver", acme, None),
            (&[("roles/tenant-admin", acme)], "roles/blueprint-author", acme, None),
            (&[("roles/tenant-admin", acme)], "roles/viewer", acme, None),
            (&[("roles/platform-admin", "")], "roles/tenant-admin", acme, None),
            (&[("roles/tenant-admin", acme)], "roles/platform-admin", acme, Some("approvals.receiptKeys.rotate")),
            (&[("roles/tenant-admin", acme)], "roles/viewer", "tenants/rival", Some("approvals.policies.get")),
            (&[("roles/tenant-admin", shop)], "roles/viewer", acme, Some("approvals.policies.get")),
            (&[("roles/developer", acme)], "roles/viewer", acme, Some("audit.records.get")),
            (&[("roles/developer", acme)], "roles/tenant-admin", acme, Some("approvals.policies.create")),
            (&[("roles/viewer", acme)], "roles/approver", acme, Some("deployments.runs.approve")),
            (&[("roles/viewer", acme), ("roles/developer", shop)], "roles/developer", shop, None),
            (
                &[("roles/viewer", acme), ("roles/developer", shop)],
                "roles/developer",
                acme,
                Some("blueprints.blueprints.validate"),
            ),
            (&[], "roles/viewer", acme, Some("approvals.policies.get")),
        ];
        for (has, role, resource, missing) in table {
            let given = caller(has).require_role(Role::find(role).expect("exists"), resource, Timestamp::from_micros(0));
            let found = given.err().map(|error| error.metadata()["permission"].clone());
            assert_eq!(found.as_deref(), *missing, "{has:?} gives {role} on {resource}");
        }
    }

    #[test]
    fn principals_are_read_and_written_alike() {
        for text in [
            "platform/admin",
            "tenants/acme/users/ada",
            "tenants/acme/serviceAccounts/ci",
            "runnerPools/default/runners/r1",
            "server",
        ] {
            assert_eq!(text.parse::<Principal>().expect(text).to_string(), text);
        }
        assert!("tenants/acme".parse::<Principal>().is_err());
    }
}
