//! Names of resources: paths whose collections alternate with ids (AIP-122).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::time::Uid;

/// Last part of a name that people choose: `[a-z][a-z0-9-]{0,62}`, not ending in `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An id that nobody chose: a prefix and the random end of a uid.
    pub fn generated(prefix: &str, uid: Uid) -> Self {
        let digits = uid.0.simple().to_string();
        Self(format!("{prefix}-{}", &digits[digits.len() - 10..]))
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let right = (1..=63).contains(&bytes.len())
            && bytes[0].is_ascii_lowercase()
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
            && !text.ends_with('-');
        if right {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{}` is not an id: use 1 to 63 of a-z, 0-9 and -, beginning with a letter and not ending in -",
                shown(text)
            ))
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Text of a caller, cut and cleaned so that it can stand in an error.
pub fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

/// Splits a name along its collections; `None` when it does not have just these.
fn parts<'a, const N: usize>(name: &'a str, collections: [&str; N]) -> Option<[&'a str; N]> {
    let mut found = [""; N];
    let mut segments = name.split('/');
    for (slot, collection) in found.iter_mut().zip(collections) {
        if segments.next()? != collection {
            return None;
        }
        *slot = segments.next()?;
    }
    segments.next().is_none().then_some(found)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident { $($field:ident : $type:ty => $collection:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the fields are the parts of the name")]
        pub struct $name { $(pub $field: $type),+ }

        impl $name {
            /// The name with its variable parts, as documentation shows it.
            pub const PATTERN: &str = concat!($($collection, "/{", stringify!($field), "}/"),+);
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let pattern = Self::PATTERN.trim_end_matches('/');
                let [$($field),+] = parts(text, [$($collection),+])
                    .ok_or_else(|| format!("`{}` is not a name of the form `{pattern}`", shown(text)))?;
                // The reason comes first: where there is room for a part only, it is the part that helps.
                let wrong = |why: &dyn fmt::Display| format!("{why} (in `{}`, whose form is `{pattern}`)", shown(text));
                Ok(Self { $($field: $field.parse::<$type>().map_err(|why| wrong(&why))?),+ })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut separator = "";
                $(
                    f.write_str(separator)?;
                    f.write_str(concat!($collection, "/"))?;
                    self.$field.fmt(f)?;
                    separator = "/";
                )+
                let _ = separator;
                Ok(())
            }
        }

        text_serde!($name);
    };
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}
pub(crate) use text_serde;

text_serde!(Id);

name! {
    /// `tenants/acme`.
    TenantName { tenant: Id => "tenants" }
}

impl TenantName {
    /// The tenant that a resource of this name belongs to, if it belongs to one.
    pub fn of(resource: &str) -> Option<Self> {
        let tenant = resource.strip_prefix("tenants/")?.split('/').next()?;
        tenant.parse().ok().map(|tenant| Self { tenant })
    }
}

name! {
    /// `tenants/acme/projects/shop`.
    ProjectName { tenant: Id => "tenants", project: Id => "projects" }
}
name! {
    /// `tenants/acme/projects/shop/environments/dev`.
    EnvironmentName { tenant: Id => "tenants", project: Id => "projects", environment: Id => "environments" }
}
name! {
    /// `tenants/acme/projects/shop/environments/dev/deployments/web`.
    DeploymentName { tenant: Id => "tenants", project: Id => "projects", environment: Id => "environments", deployment: Id => "deployments" }
}
name! {
    /// `…/deployments/web/runs/{uid}`.
    RunName { tenant: Id => "tenants", project: Id => "projects", environment: Id => "environments", deployment: Id => "deployments", run: Uid => "runs" }
}
name! {
    /// `…/deployments/web/stateVersions/{serial}`.
    StateVersionName { tenant: Id => "tenants", project: Id => "projects", environment: Id => "environments", deployment: Id => "deployments", serial: i64 => "stateVersions" }
}
name! {
    /// `…/deployments/web/driftItems/{uid}`.
    DriftItemName { tenant: Id => "tenants", project: Id => "projects", environment: Id => "environments", deployment: Id => "deployments", drift_item: Uid => "driftItems" }
}
name! {
    /// `tenants/acme/driftExceptions/{uid}`.
    DriftExceptionName { tenant: Id => "tenants", drift_exception: Uid => "driftExceptions" }
}
name! {
    /// `tenants/acme/blueprints/greeting`.
    BlueprintName { tenant: Id => "tenants", blueprint: Id => "blueprints" }
}
name! {
    /// `tenants/acme/blueprints/greeting/versions/1.0.0`.
    VersionName { tenant: Id => "tenants", blueprint: Id => "blueprints", version: semver::Version => "versions" }
}
name! {
    /// `tenants/acme/approvalPolicies/careful`.
    ApprovalPolicyName { tenant: Id => "tenants", approval_policy: Id => "approvalPolicies" }
}
name! {
    /// `tenants/acme/secretStores/vault`.
    SecretStoreName { tenant: Id => "tenants", secret_store: Id => "secretStores" }
}
name! {
    /// `tenants/acme/connections/ops`.
    ConnectionName { tenant: Id => "tenants", connection: Id => "connections" }
}
name! {
    /// `tenants/acme/connections/ops/inboundMessages/{uid}`.
    InboundMessageName { tenant: Id => "tenants", connection: Id => "connections", inbound_message: Uid => "inboundMessages" }
}
name! {
    /// `tenants/acme/connections/ops/accounts/{uid}`.
    ConnectionAccountName { tenant: Id => "tenants", connection: Id => "connections", account: Uid => "accounts" }
}
name! {
    /// `tenants/acme/receipts/1`.
    ReceiptName { tenant: Id => "tenants", sequence: i64 => "receipts" }
}
name! {
    /// `tenants/acme/quotas/projects`.
    QuotaName { tenant: Id => "tenants", dimension: crate::quotas::Dimension => "quotas" }
}
name! {
    /// `tenants/acme/reservations/{uid}`.
    ReservationName { tenant: Id => "tenants", reservation: Uid => "reservations" }
}
name! {
    /// `tenants/acme/users/ada`.
    UserName { tenant: Id => "tenants", user: Id => "users" }
}
name! {
    /// `tenants/acme/serviceAccounts/ci`.
    ServiceAccountName { tenant: Id => "tenants", service_account: Id => "serviceAccounts" }
}
name! {
    /// `tenants/acme/serviceAccounts/ci/workloadIdentities/{uid}`.
    WorkloadIdentityName { tenant: Id => "tenants", service_account: Id => "serviceAccounts", workload_identity: Uid => "workloadIdentities" }
}
name! {
    /// `tenants/acme/apiKeys/{uid}`.
    ApiKeyName { tenant: Id => "tenants", api_key: Uid => "apiKeys" }
}
name! {
    /// `tenants/acme/roleBindings/{uid}`.
    RoleBindingName { tenant: Id => "tenants", role_binding: Uid => "roleBindings" }
}
name! {
    /// `tenants/acme/operations/{uid}`.
    OperationName { tenant: Id => "tenants", operation: Uid => "operations" }
}
name! {
    /// `tenants/acme/auditRecords/{uid}`.
    AuditRecordName { tenant: Id => "tenants", audit_record: Uid => "auditRecords" }
}
name! {
    /// `auditRecords/{uid}`, of the installation.
    InstallationRecordName { audit_record: Uid => "auditRecords" }
}
name! {
    /// `tenants/acme/webhookEndpoints/ops`.
    WebhookEndpointName { tenant: Id => "tenants", webhook_endpoint: Id => "webhookEndpoints" }
}
name! {
    /// `tenants/acme/webhookEndpoints/ops/deliveries/{uid}`.
    WebhookDeliveryName { tenant: Id => "tenants", webhook_endpoint: Id => "webhookEndpoints", delivery: Uid => "deliveries" }
}
name! {
    /// `tenants/acme/notificationRules/ops`.
    NotificationRuleName { tenant: Id => "tenants", notification_rule: Id => "notificationRules" }
}
name! {
    /// `tenants/acme/notificationRules/ops/notifications/{uid}`.
    NotificationName { tenant: Id => "tenants", notification_rule: Id => "notificationRules", notification: Uid => "notifications" }
}
name! {
    /// `runnerPools/default`.
    RunnerPoolName { runner_pool: Id => "runnerPools" }
}
name! {
    /// `runnerPools/default/registrationTokens/{uid}`.
    RegistrationTokenName { runner_pool: Id => "runnerPools", registration_token: Uid => "registrationTokens" }
}
name! {
    /// `runnerPools/default/runners/r1`.
    RunnerName { runner_pool: Id => "runnerPools", runner: Id => "runners" }
}

impl DeploymentName {
    /// Without the tenant, as people write it: `shop/dev/web`.
    pub fn short(&self) -> String {
        format!("{}/{}/{}", self.project, self.environment, self.deployment)
    }
}

impl RunName {
    /// Without the tenant, as people write it: `shop/dev/web/{uid}`.
    pub fn short(&self) -> String {
        format!("{}/{}", self.deployment_name().short(), self.run)
    }
}

macro_rules! parent {
    ($child:ident => $parent:ident { $($field:ident),+ }, $method:ident) => {
        impl $child {
            /// The resource that this one is part of.
            pub fn $method(&self) -> $parent {
                $parent { $($field: self.$field.clone()),+ }
            }
        }
    };
}

parent!(ProjectName => TenantName { tenant }, tenant_name);
parent!(EnvironmentName => TenantName { tenant }, tenant_name);
parent!(EnvironmentName => ProjectName { tenant, project }, project_name);
parent!(DeploymentName => TenantName { tenant }, tenant_name);
parent!(DeploymentName => EnvironmentName { tenant, project, environment }, environment_name);
parent!(RunName => TenantName { tenant }, tenant_name);
parent!(RunName => DeploymentName { tenant, project, environment, deployment }, deployment_name);
parent!(StateVersionName => DeploymentName { tenant, project, environment, deployment }, deployment_name);
parent!(DriftItemName => TenantName { tenant }, tenant_name);
parent!(DriftItemName => DeploymentName { tenant, project, environment, deployment }, deployment_name);
parent!(DriftExceptionName => TenantName { tenant }, tenant_name);
parent!(BlueprintName => TenantName { tenant }, tenant_name);
parent!(VersionName => TenantName { tenant }, tenant_name);
parent!(VersionName => BlueprintName { tenant, blueprint }, blueprint_name);
parent!(ApprovalPolicyName => TenantName { tenant }, tenant_name);
parent!(SecretStoreName => TenantName { tenant }, tenant_name);
parent!(ConnectionName => TenantName { tenant }, tenant_name);
parent!(InboundMessageName => ConnectionName { tenant, connection }, connection_name);
parent!(ConnectionAccountName => ConnectionName { tenant, connection }, connection_name);
parent!(QuotaName => TenantName { tenant }, tenant_name);
parent!(UserName => TenantName { tenant }, tenant_name);
parent!(ServiceAccountName => TenantName { tenant }, tenant_name);
parent!(WorkloadIdentityName => ServiceAccountName { tenant, service_account }, service_account_name);
parent!(ApiKeyName => TenantName { tenant }, tenant_name);
parent!(RoleBindingName => TenantName { tenant }, tenant_name);
parent!(OperationName => TenantName { tenant }, tenant_name);
parent!(AuditRecordName => TenantName { tenant }, tenant_name);
parent!(WebhookEndpointName => TenantName { tenant }, tenant_name);
parent!(WebhookDeliveryName => TenantName { tenant }, tenant_name);
parent!(WebhookDeliveryName => WebhookEndpointName { tenant, webhook_endpoint }, webhook_endpoint_name);
parent!(NotificationRuleName => TenantName { tenant }, tenant_name);
parent!(NotificationName => TenantName { tenant }, tenant_name);
parent!(NotificationName => NotificationRuleName { tenant, notification_rule }, notification_rule_name);
parent!(RegistrationTokenName => RunnerPoolName { runner_pool }, runner_pool_name);
parent!(RunnerName => RunnerPoolName { runner_pool }, runner_pool_name);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike_and_wrong_ones_say_the_form() {
        let name: DeploymentName = "tenants/acme/projects/shop/environments/dev/deployments/web".parse().expect("valid");
        assert_eq!(name.to_string(), "tenants/acme/projects/shop/environments/dev/deployments/web");
        assert_eq!(name.environment_name().to_string(), "tenants/acme/projects/shop/environments/dev");
        for wrong in ["", "tenants/", "tenants/Acme", "tenants/acme/", "/tenants/acme", "tenants/acme/projects/x", "tenants/a\n"]
        {
            let why = wrong.parse::<TenantName>().expect_err(wrong);
            assert!(why.contains("tenants/{tenant}"), "{why}");
        }
        for wrong in ["", "-a", "a-", "A", "ä", "1a", &"a".repeat(64)] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong}");
        }
    }
}
