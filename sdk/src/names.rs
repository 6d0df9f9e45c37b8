//! Resource names: full ones, and the short ones that people type.

use crate::Violation;

/// A kind of resource, by how its names look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tenant,
    Project,
    Environment,
    Deployment,
    Run,
    StateVersion,
    DriftItem,
    DriftException,
    /// A tenant, environment or deployment.
    DriftScope,
    Blueprint,
    BlueprintDraft,
    BlueprintVersion,
    Quota,
    ApprovalPolicy,
    SecretStore,
    Connector,
    Connection,
    InboundMessage,
    ConnectionAccount,
    User,
    ServiceAccount,
    WorkloadIdentity,
    ApiKey,
    RoleBinding,
    /// A user or a service account; the short form keeps the collection, `users/ada`.
    Member,
    /// A tenant, project or environment.
    Scope,
    Operation,
    AuditRecord,
    Role,
    RunnerPool,
    Runner,
    RegistrationToken,
    WebhookEndpoint,
    WebhookDelivery,
    NotificationRule,
    Notification,
}

impl Kind {
    /// What to call it, and its pattern: `*` stands for one part.
    fn pattern(self) -> (&'static str, &'static str) {
        match self {
            Self::Tenant => ("tenant", "tenants/*"),
            Self::Project => ("project", "tenants/*/projects/*"),
            Self::Environment => ("environment", "tenants/*/projects/*/environments/*"),
            Self::Deployment => ("deployment", "tenants/*/projects/*/environments/*/deployments/*"),
            Self::Run => ("run", "tenants/*/projects/*/environments/*/deployments/*/runs/*"),
            Self::StateVersion => ("state version", "tenants/*/projects/*/environments/*/deployments/*/stateVersions/*"),
            Self::DriftItem => ("drift item", "tenants/*/projects/*/environments/*/deployments/*/driftItems/*"),
            Self::DriftException => ("drift exception", "tenants/*/driftExceptions/*"),
            Self::DriftScope => ("tenant, environment or deployment", "tenants/*"),
            Self::Blueprint => ("blueprint", "tenants/*/blueprints/*"),
            Self::BlueprintDraft => ("blueprint draft", "tenants/*/blueprints/*/draft"),
            Self::BlueprintVersion => ("blueprint version", "tenants/*/blueprints/*/versions/*"),
            Self::Quota => ("quota", "tenants/*/quotas/*"),
            Self::ApprovalPolicy => ("approval policy", "tenants/*/approvalPolicies/*"),
            Self::SecretStore => ("secret store", "tenants/*/secretStores/*"),
            Self::Connector => ("connector", "connectors/*"),
            Self::Connection => ("connection", "tenants/*/connections/*"),
            Self::InboundMessage => ("inbound message", "tenants/*/connections/*/inboundMessages/*"),
            Self::ConnectionAccount => ("connection account", "tenants/*/connections/*/accounts/*"),
            Self::User => ("user", "tenants/*/users/*"),
            Self::ServiceAccount => ("service account", "tenants/*/serviceAccounts/*"),
            Self::WorkloadIdentity => ("workload identity", "tenants/*/serviceAccounts/*/workloadIdentities/*"),
            Self::ApiKey => ("API key", "tenants/*/apiKeys/*"),
            Self::RoleBinding => ("role binding", "tenants/*/roleBindings/*"),
            Self::Member => ("member", "tenants/*/users/*"),
            Self::Scope => ("tenant, project or environment", "tenants/*"),
            Self::Operation => ("operation", "tenants/*/operations/*"),
            Self::AuditRecord => ("audit record", "tenants/*/auditRecords/*"),
            Self::WebhookEndpoint => ("webhook endpoint", "tenants/*/webhookEndpoints/*"),
            Self::WebhookDelivery => ("webhook delivery", "tenants/*/webhookEndpoints/*/deliveries/*"),
            Self::NotificationRule => ("notification rule", "tenants/*/notificationRules/*"),
            Self::Notification => ("notification", "tenants/*/notificationRules/*/notifications/*"),
            Self::Role => ("role", "roles/*"),
            Self::RunnerPool => ("runner pool", "runnerPools/*"),
            Self::Runner => ("runner", "runnerPools/*/runners/*"),
            Self::RegistrationToken => ("registration token", "runnerPools/*/registrationTokens/*"),
        }
    }

    /// How its short form looks.
    fn short(self) -> &'static str {
        match self {
            Self::Tenant => "acme",
            Self::Project => "shop",
            Self::Environment => "shop/dev",
            Self::Deployment => "shop/dev/web",
            Self::Run => "shop/dev/web/{run}",
            Self::StateVersion => "shop/dev/web/{serial}",
            Self::DriftItem => "shop/dev/web/{uid}",
            Self::DriftScope => "shop/dev or shop/dev/web",
            Self::Blueprint | Self::BlueprintDraft => "greeting",
            Self::BlueprintVersion => "greeting@1.0.0",
            Self::Quota => "projects",
            Self::ApprovalPolicy => "careful",
            Self::SecretStore => "vault",
            Self::Connector => "github",
            Self::Connection => "ops",
            Self::InboundMessage | Self::ConnectionAccount => "ops/{uid}",
            Self::User => "ada",
            Self::ServiceAccount => "ci",
            Self::WorkloadIdentity => "ci/{uid}",
            Self::ApiKey | Self::RoleBinding | Self::DriftException | Self::Operation | Self::AuditRecord => "{uid}",
            Self::Member => "users/ada or serviceAccounts/ci",
            Self::Scope => "shop or shop/dev",
            Self::Role => "{role}",
            Self::RunnerPool => "default",
            Self::Runner => "default/{runner}",
            Self::RegistrationToken => "default/{uid}",
            Self::WebhookEndpoint => "ops",
            Self::WebhookDelivery => "ops/{uid}",
            Self::NotificationRule => "failures",
            Self::Notification => "failures/{uid}",
        }
    }
}

/// The full form of a name. A short form takes its tenant from the client.
pub(crate) fn full(kind: Kind, name: &str, tenant: Option<&str>) -> Result<String, Violation> {
    let candidates: &[Kind] = match kind {
        Kind::Scope => &[Kind::Tenant, Kind::Project, Kind::Environment],
        Kind::DriftScope => &[Kind::Tenant, Kind::Environment, Kind::Deployment],
        Kind::Member => &[Kind::User, Kind::ServiceAccount],
        Kind::AuditRecord if name.starts_with("auditRecords/") => return Ok(name.to_owned()),
        _ => &[kind],
    };
    if candidates.iter().any(|kind| matches(kind.pattern().1, name)) {
        return Ok(name.to_owned());
    }
    let of_tenant = kind.pattern().1.starts_with("tenants/*/") || matches!(kind, Kind::Scope | Kind::DriftScope);
    let Some(below) = short(kind, name) else { return Err(unreadable(kind, name)) };
    match (of_tenant, tenant) {
        (false, _) => Ok(below),
        (true, Some(tenant)) if below.is_empty() => Ok(format!("tenants/{tenant}")),
        (true, Some(tenant)) => Ok(format!("tenants/{tenant}/{below}")),
        (true, None) => Err(Violation::new(
            "tenant",
            format!(
                "`{name}` is short for {} of a tenant, and no tenant is set; set it (FREEHOLD_TENANT) or give the full name",
                with_article(kind.pattern().0)
            ),
        )),
    }
}

fn with_article(noun: &str) -> String {
    // A user is spoken with a consonant.
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'A']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// What a short form stands for, without the part that names the tenant.
fn short(kind: Kind, name: &str) -> Option<String> {
    let pattern = match kind {
        Kind::Scope => return scope(name, [Kind::Project, Kind::Environment]),
        Kind::DriftScope => return scope(name, [Kind::Environment, Kind::Deployment]),
        Kind::Member => {
            return ["users/*", "serviceAccounts/*"].iter().any(|known| matches(known, name)).then(|| name.to_owned());
        }
        _ => kind.pattern().1,
    };
    let pattern = pattern.strip_prefix("tenants/*/").unwrap_or(pattern);
    // The name inside its tenant, too: it has more parts than the short form, so the two cannot be mixed up.
    if matches(pattern, name) {
        return Some(name.to_owned());
    }
    let separator = if kind == Kind::BlueprintVersion { '@' } else { '/' };
    let mut parts = name.split(separator);
    let mut out = Vec::new();
    for segment in pattern.split('/') {
        out.push(if segment == "*" { parts.next().filter(|part| is_part(part))? } else { segment });
    }
    parts.next().is_none().then(|| out.join("/"))
}

fn scope(name: &str, kinds: [Kind; 2]) -> Option<String> {
    match name {
        "" => Some(String::new()),
        _ => kinds.into_iter().find_map(|kind| short(kind, name)),
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = name.split('/');
    pattern
        .split('/')
        .all(|segment| parts.next().is_some_and(|part| if segment == "*" { is_part(part) } else { part == segment }))
        && parts.next().is_none()
}

fn is_part(part: &str) -> bool {
    !part.is_empty() && !part.contains(['/', '@'])
}

fn unreadable(kind: Kind, name: &str) -> Violation {
    let (word, pattern) = kind.pattern();
    if name.is_empty() && kind == Kind::Tenant {
        return Violation::new("tenant", "no tenant is set; set it (FREEHOLD_TENANT) or name it");
    }
    Violation::new(
        "name",
        format!(
            "`{name}` does not name {}; write it like `{}` or `{}`",
            with_article(word),
            kind.short(),
            pattern.replace('*', "…")
        ),
    )
}

/// The parent of a resource and the last part of its name: `tenants/acme` and `shop` of `tenants/acme/projects/shop`.
pub(crate) fn split(full: &str) -> (&str, &str) {
    let (collection, id) = full.rsplit_once('/').unwrap_or(("", full));
    (collection.rsplit_once('/').map_or("", |(parent, _)| parent), id)
}

/// The tenant that a full name belongs to.
pub(crate) fn tenant_of(full: &str) -> Option<&str> {
    full.strip_prefix("tenants/")?.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_full_names() {
        let table = [
            (Kind::Tenant, "acme", "tenants/acme"),
            (Kind::Tenant, "tenants/globex", "tenants/globex"),
            (Kind::Project, "shop", "tenants/acme/projects/shop"),
            (Kind::Project, "tenants/globex/projects/shop", "tenants/globex/projects/shop"),
            (Kind::Environment, "shop/dev", "tenants/acme/projects/shop/environments/dev"),
            (Kind::Environment, "tenants/dev", "tenants/acme/projects/tenants/environments/dev"),
            (Kind::Deployment, "shop/dev/web", "tenants/acme/projects/shop/environments/dev/deployments/web"),
            (Kind::Run, "shop/dev/web/0199", "tenants/acme/projects/shop/environments/dev/deployments/web/runs/0199"),
            (Kind::StateVersion, "shop/dev/web/3", "tenants/acme/projects/shop/environments/dev/deployments/web/stateVersions/3"),
            (Kind::Blueprint, "greeting", "tenants/acme/blueprints/greeting"),
            (Kind::BlueprintDraft, "greeting", "tenants/acme/blueprints/greeting/draft"),
            (Kind::BlueprintVersion, "greeting@1.0.0-rc.1", "tenants/acme/blueprints/greeting/versions/1.0.0-rc.1"),
            (Kind::Quota, "api_calls_per_day", "tenants/acme/quotas/api_calls_per_day"),
            (Kind::User, "users/ada", "tenants/acme/users/ada"),
            (Kind::Environment, "projects/p/environments/e", "tenants/acme/projects/p/environments/e"),
            (Kind::WorkloadIdentity, "ci/0199", "tenants/acme/serviceAccounts/ci/workloadIdentities/0199"),
            (Kind::Member, "serviceAccounts/ci", "tenants/acme/serviceAccounts/ci"),
            (Kind::Member, "tenants/globex/users/ada", "tenants/globex/users/ada"),
            (Kind::Scope, "", "tenants/acme"),
            (Kind::Scope, "shop", "tenants/acme/projects/shop"),
            (Kind::Scope, "shop/dev", "tenants/acme/projects/shop/environments/dev"),
            (Kind::Scope, "tenants/globex", "tenants/globex"),
            (Kind::DriftScope, "", "tenants/acme"),
            (Kind::DriftScope, "shop/dev", "tenants/acme/projects/shop/environments/dev"),
            (Kind::DriftScope, "shop/dev/web", "tenants/acme/projects/shop/environments/dev/deployments/web"),
            (Kind::DriftItem, "shop/dev/web/0199", "tenants/acme/projects/shop/environments/dev/deployments/web/driftItems/0199"),
            (Kind::DriftException, "0199", "tenants/acme/driftExceptions/0199"),
            (Kind::AuditRecord, "auditRecords/0199", "auditRecords/0199"),
            (Kind::Role, "tenant-admin", "roles/tenant-admin"),
            (Kind::RunnerPool, "runnerPools/default", "runnerPools/default"),
            (Kind::Runner, "default/one", "runnerPools/default/runners/one"),
        ];
        for (kind, name, expected) in table {
            assert_eq!(full(kind, name, Some("acme")).as_deref(), Ok(expected), "{kind:?} {name}");
            assert_eq!(full(kind, expected, None).as_deref(), Ok(expected), "a full name needs no tenant");
        }
    }

    #[test]
    fn what_is_no_name_says_how_one_looks() {
        let wrong = [
            (Kind::Deployment, "shop/dev"),
            (Kind::Deployment, "tenants/acme/projects/shop"),
            (Kind::Project, "shop/dev"),
            (Kind::Project, ""),
            (Kind::Environment, "shop/"),
            (Kind::BlueprintVersion, "greeting"),
            (Kind::Member, "ada"),
        ];
        for (kind, name) in wrong {
            let violation = full(kind, name, Some("acme")).expect_err(name);
            assert!(violation.description.contains(kind.short()), "{violation:?}");
        }
        let violation = full(Kind::Project, "shop", None).expect_err("no tenant");
        assert_eq!(violation.field, "tenant");
        assert!(violation.description.contains("FREEHOLD_TENANT"), "{violation:?}");
        assert_eq!(full(Kind::Role, "viewer", None).as_deref(), Ok("roles/viewer"));
    }

    #[test]
    fn a_name_splits_into_parent_and_id() {
        assert_eq!(split("tenants/acme/projects/shop"), ("tenants/acme", "shop"));
        assert_eq!(split("tenants/acme"), ("", "acme"));
        assert_eq!(tenant_of("tenants/acme/projects/shop"), Some("acme"));
        assert_eq!(tenant_of("runnerPools/default"), None);
    }
}
