//! How resources look in tables.

use anstyle::{AnsiColor, Style};
use freehold::{
    ApiKey, ApprovalPolicy, ApprovalRule, AuditRecord, Blueprint, BlueprintChange, BlueprintFile, BlueprintVersion, Connection,
    ConnectionAccount, Connector, DependencyEdge, Deployment, DeploymentOutput, DriftException, DriftItem, DriftMatcher,
    Environment, Event, InboundMessage, ManagedResource, Notification, NotificationRule, Operation, OperationDescription,
    Project, Quota, Receipt, ReceiptKey, RegistrationToken, Reservation, Revision, Role, RoleBinding, Run, Runner, RunnerPool,
    SecretDriver, SecretStore, ServiceAccount, StateVersion, Tenant, Timestamp, User, WebhookDelivery, WebhookEndpoint,
    WorkloadIdentity,
};
use serde::Serialize;
use serde_json::Value;

use crate::table::Cell;

/// A row of a table of its kind.
pub(crate) trait Show: Serialize {
    /// Titles of the columns.
    const HEAD: &'static [&'static str];
    fn row(&self) -> Vec<Cell>;
}

/// The short form of a resource name, which can be typed back: `shop/dev/web`, `greeting@1.0.0`.
pub(crate) fn short(name: &str) -> String {
    let parts: Vec<_> = name.split('/').collect();
    let is_ours = matches!(parts[0], "tenants" | "runnerPools" | "roles");
    let parts = if parts.first() == Some(&"tenants") && parts.len() > 2 { &parts[2..] } else { &parts[..] };
    match parts {
        ["blueprints", blueprint, "versions", version] => format!("{blueprint}@{version}"),
        // A principal keeps its collection, because users and service accounts are shown side by side.
        [collection @ ("users" | "serviceAccounts"), id] => format!("{collection}/{id}"),
        _ if parts.len() % 2 == 0 && is_ours => parts.iter().skip(1).step_by(2).copied().collect::<Vec<_>>().join("/"),
        _ => name.to_owned(),
    }
}

/// A name without the part that names the tenant, for where resources of all kinds are shown side by side.
fn inside(name: &str) -> String {
    let below = name.strip_prefix("tenants/").and_then(|rest| rest.split_once('/')).map(|(_, below)| below);
    below.unwrap_or(name).to_owned()
}

/// Last part of a name.
fn id(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

/// A time in UTC, to the second.
pub(crate) fn time(time: Option<Timestamp>) -> String {
    time.map(|time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()).unwrap_or_default()
}

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// A state, coloured by whether it is good.
pub(crate) fn state(state: impl ToString) -> Cell {
    let text = state.to_string();
    let colour = match text.as_str() {
        "ACTIVE" | "ONLINE" | "SUCCEEDED" | "NO_CHANGES" | "ALLOWED" | "COMMITTED" | "CLEAN" | "RESOLVED" | "ENABLED" => {
            Some(AnsiColor::Green)
        }
        "SUSPENDED" | "ABANDONED" | "PARTIAL" | "DRAINING" | "AWAITING_APPROVAL" | "RECOVERING" | "INVITED" | "SUPERSEDED"
        | "STALE" | "EXPIRED" | "DRIFTED" | "SKIPPED" | "OPEN" | "REOPENED" | "REMEDIATING" => Some(AnsiColor::Yellow),
        "DELETED" | "QUARANTINED" | "ERRORED" | "FAILED" | "LOST" | "DENIED" | "REJECTED" | "QUOTA_BLOCKED" | "OFFLINE"
        | "DEACTIVATED" | "CANCELLED" => Some(AnsiColor::Red),
        _ => None,
    };
    Cell::styled(text, colour.map_or(Style::new(), AnsiColor::on_default))
}

/// The kind of a store of secrets, and where they are.
fn secrets_of(driver: Option<&SecretDriver>) -> (&'static str, String) {
    match driver {
        Some(SecretDriver::Vault { address, namespace, mount, .. }) if namespace.is_empty() => {
            ("vault", format!("{address} {mount}"))
        }
        Some(SecretDriver::Vault { address, namespace, mount, .. }) => ("vault", format!("{address} {namespace}/{mount}")),
        Some(SecretDriver::Environment { prefix }) => ("environment", format!("{prefix}*")),
        Some(SecretDriver::Directory { path }) => ("directory", path.clone()),
        _ => ("-", String::new()),
    }
}

macro_rules! show {
    ($($kind:ty => $head:expr, |$it:ident| [$($cell:expr),+ $(,)?];)+) => {$(
        impl Show for $kind {
            const HEAD: &'static [&'static str] = &$head;

            fn row(&self) -> Vec<Cell> {
                let $it = self;
                vec![$(Cell::from($cell)),+]
            }
        }
    )+};
}

show! {
    Tenant => ["NAME", "STATE", "DISPLAY NAME", "CREATED"], |it| [
        short(&it.name), state(it.state), it.display_name.as_str(), time(it.create_time),
    ];
    Project => ["NAME", "DISPLAY NAME", "CREATED"], |it| [short(&it.name), it.display_name.as_str(), time(it.create_time)];
    Environment => ["NAME", "KIND", "APPROVAL", "RUNNER POOL", "CREATED"], |it| [
        short(&it.name),
        it.kind.to_string(),
        it.approval_policy.as_deref().map_or_else(
            || yes(it.require_approval || it.kind == freehold::EnvironmentKind::Prod).to_owned(),
            short,
        ),
        it.runner_pool.as_deref().map_or_else(|| "default".to_owned(), short),
        time(it.create_time),
    ];
    ApprovalPolicy => ["NAME", "RULES", "DISPLAY NAME", "CREATED"], |it| [
        short(&it.name), it.rules.len().to_string(), it.display_name.as_str(), time(it.create_time),
    ];
    ApprovalRule => ["RULE", "APPROVALS", "FROM", "WHEN"], |it| [
        it.name.as_str(),
        it.require.as_ref().map_or(0, |require| require.approvals).to_string(),
        it.require.iter().flat_map(|require| &require.from).map(|from| short(from)).collect::<Vec<_>>().join(", "),
        it.when.as_str(),
    ];
    SecretStore => ["NAME", "KIND", "WHERE", "CREATED"], |it| [
        short(&it.name), secrets_of(it.driver.as_ref()).0, secrets_of(it.driver.as_ref()).1, time(it.create_time),
    ];
    Connector => ["NAME", "SYSTEM", "OPERATIONS", "WHAT IT DOES"], |it| [
        it.kind.as_str(), it.display_name.as_str(), it.operations.len().to_string(), it.summary.as_str(),
    ];
    OperationDescription => ["OPERATION", "EFFECT", "WHAT IT DOES"], |it| [
        it.operation.as_str(), it.effect.to_string(), it.summary.as_str(),
    ];
    Connection => ["NAME", "CONNECTOR", "STATE", "LAST TEST", "CREATED"], |it| [
        short(&it.name),
        it.connector.as_str(),
        state(it.state),
        it.last_check.as_ref().map_or_else(|| "-".to_owned(), |check| check.detail.clone()),
        time(it.create_time),
    ];
    ConnectionAccount => ["NAME", "ACCOUNT", "EXTERNAL ID", "PRINCIPAL", "LINKED"], |it| [
        short(&it.name), it.display_name.as_str(), it.external_id.as_str(), short(&it.principal), time(it.create_time),
    ];
    InboundMessage => ["NAME", "KIND", "STATE", "RECEIVED"], |it| [
        short(&it.name), it.kind.as_str(), state(it.state), time(it.receive_time),
    ];
    Receipt => ["NUMBER", "KIND", "RUN", "SIGNED", "DIGEST"], |it| [
        it.sequence.to_string(), it.kind.to_string(), short(&it.run), time(it.create_time), it.digest.as_str(),
    ];
    ReceiptKey => ["NAME", "KEY ID", "CREATED"], |it| [id(&it.name), it.key_id.as_str(), time(it.create_time)];
    Quota => ["DIMENSION", "LIMIT", "USED", "RESERVED", "AVAILABLE"], |it| [
        id(&it.name), number(it.limit), it.used.to_string(), it.reserved.to_string(), number(it.available),
    ];
    Reservation => ["DIMENSION", "AMOUNT", "STATE", "OWNER", "SINCE"], |it| [
        it.dimension.to_string().to_lowercase(), it.amount.to_string(), state(it.state), short(&it.owner), time(it.create_time),
    ];
    User => ["NAME", "EMAIL", "STATE", "DISPLAY NAME"], |it| [
        id(&it.name), it.email.as_str(), state(it.state), it.display_name.as_str(),
    ];
    ServiceAccount => ["NAME", "DISPLAY NAME", "CREATED"], |it| [id(&it.name), it.display_name.as_str(), time(it.create_time)];
    WorkloadIdentity => ["NAME", "SPIFFE ID", "CREATED"], |it| [short(&it.name), it.spiffe_id.as_str(), time(it.create_time)];
    ApiKey => ["NAME", "PREFIX", "PRINCIPAL", "EXPIRES", "LAST USED", "REVOKED"], |it| [
        id(&it.name),
        it.prefix.as_str(),
        short(&it.principal),
        time(it.expire_time),
        time(it.last_used_time),
        time(it.revoke_time),
    ];
    Role => ["NAME", "DISPLAY NAME", "PERMISSIONS"], |it| [id(&it.name), it.display_name.as_str(), it.permissions.join(", ")];
    RoleBinding => ["NAME", "ROLE", "MEMBER", "ON", "EXPIRES"], |it| [
        id(&it.name), id(&it.role), short(&it.member), short(&it.resource), time(it.expire_time),
    ];
    Blueprint => ["NAME", "LATEST", "DISPLAY NAME", "CREATED"], |it| [
        short(&it.name), it.latest_version.as_deref().unwrap_or("-"), it.display_name.as_str(), time(it.create_time),
    ];
    BlueprintFile => ["FILE", "BYTES"], |it| [it.path.as_str(), it.content.len().to_string()];
    BlueprintVersion => ["NAME", "ENGINE", "PUBLISHED", "BY", "NOTES"], |it| [
        short(&it.name), it.engine.as_str(), time(it.create_time), short(&it.create_principal), it.notes.as_str(),
    ];
    BlueprintChange => ["PATH", "CHANGE", "IMPACT", "BEFORE", "AFTER"], |it| [
        it.path.as_str(), it.kind.to_string(), it.impact.to_string(), json(&it.before), json(&it.after),
    ];
    Deployment => ["NAME", "STATE", "BLUEPRINT", "REVISION", "DRIFT", "LAST RUN"], |it| [
        short(&it.name),
        state(it.state),
        short(&it.blueprint_version),
        it.observed_revision.to_string(),
        state(it.drift_state),
        it.last_run.as_deref().map(id).unwrap_or_default(),
    ];
    DependencyEdge => ["DEPLOYMENT", "NEEDS", "OUTPUTS AS INPUTS"], |it| [
        short(&it.deployment),
        short(&it.upstream),
        it.bindings.iter().map(|binding| format!("{} as {}", binding.output, binding.input)).collect::<Vec<_>>().join(", "),
    ];
    DriftItem => ["NAME", "STATE", "CLASS", "ADDRESS", "PATH", "BEFORE", "AFTER", "OWNER", "LAST SEEN"], |it| [
        short(&it.name),
        state(it.state),
        it.class.to_string(),
        it.address.as_str(),
        it.path.as_deref().unwrap_or("(gone)"),
        value(&it.before, it.sensitive),
        value(&it.after, it.sensitive),
        it.owner.as_deref().map(short).unwrap_or_default(),
        time(it.last_seen_time),
    ];
    DriftException => ["NAME", "COVERS", "REASON", "OWNER", "ENDS"], |it| [
        id(&it.name), it.matcher.as_ref().map(covers).unwrap_or_default(), it.reason.as_str(), short(&it.owner), time(it.expire_time),
    ];
    Revision => ["REVISION", "BLUEPRINT", "MADE", "RUN"], |it| [
        it.number.to_string(), short(&it.blueprint_version), time(it.create_time), id(&it.run),
    ];
    Run => ["NAME", "KIND", "PHASE", "OUTCOME", "BY", "CREATED"], |it| [
        short(&it.name),
        it.kind.to_string(),
        state(it.phase),
        it.outcome.map(state).unwrap_or_default(),
        short(&it.create_principal),
        time(it.create_time),
    ];
    StateVersion => ["SERIAL", "RESOURCES", "BYTES", "WRITTEN", "BY"], |it| [
        it.serial.to_string(), it.addresses.len().to_string(), it.size_bytes.to_string(), time(it.create_time),
        it.run.as_deref().map(id).or(it.create_principal.as_deref().map(short)).unwrap_or_default(),
    ];
    ManagedResource => ["ADDRESS", "TYPE", "ID"], |it| [
        it.address.as_str(), it.r#type.as_str(), it.id.as_deref().unwrap_or_default(),
    ];
    DeploymentOutput => ["NAME", "VALUE"], |it| [
        it.name.as_str(),
        if it.sensitive && it.value.is_none() { "(sensitive)".to_owned() } else { json(&it.value) },
    ];
    RunnerPool => ["NAME", "DISPLAY NAME", "CREATED"], |it| [short(&it.name), it.display_name.as_str(), time(it.create_time)];
    RegistrationToken => ["NAME", "PREFIX", "EXPIRES", "RUNNER", "REVOKED"], |it| [
        short(&it.name),
        it.prefix.as_str(),
        time(it.expire_time),
        it.runner.as_deref().map(short).unwrap_or_default(),
        time(it.revoke_time),
    ];
    Runner => ["NAME", "STATE", "RUNNING", "ENGINES", "VERSION", "PLATFORM", "SANDBOX", "LAST SEEN"], |it| [
        short(&it.name),
        state(it.state),
        format!("{}/{}", it.running, it.capacity),
        it.engines.join(", "),
        it.version.as_str(),
        it.platform.as_str(),
        it.sandbox.as_str(),
        time(it.last_seen_time),
    ];
    AuditRecord => ["TIME", "PRINCIPAL", "DECISION", "METHOD", "RESOURCE", "REASON"], |it| [
        time(it.time),
        short(&it.principal),
        state(it.decision),
        id(&it.method),
        inside(&it.resource),
        it.reason.as_deref().unwrap_or_default(),
    ];
    Event => ["TIME", "KIND", "RESOURCE", "PRINCIPAL", "DATA"], |it| [
        time(it.time),
        id(&it.kind),
        inside(&it.resource),
        short(&it.principal),
        it.data.as_ref().map(ToString::to_string).unwrap_or_default(),
    ];
    WebhookEndpoint => ["NAME", "URL", "KINDS", "STATE", "FAILING SINCE"], |it| [
        id(&it.name),
        it.url.clone(),
        it.kinds.join(", "),
        state(it.state),
        time(it.failing_since),
    ];
    WebhookDelivery => ["NAME", "KIND", "RESOURCE", "STATE", "TRIES", "STATUS", "NEXT", "ERROR"], |it| [
        short(&it.name),
        id(&it.kind),
        inside(&it.resource),
        state(it.state),
        it.attempt_count.to_string(),
        it.attempts.last().map(|attempt| attempt.status.to_string()).unwrap_or_default(),
        time(it.next_attempt_time),
        it.attempts.last().and_then(|attempt| attempt.error.clone()).unwrap_or_default(),
    ];
    NotificationRule => ["NAME", "KINDS", "BY", "WAIT", "STATE"], |it| [
        id(&it.name),
        it.kinds.join(", "),
        it.message.as_ref().map(|message| format!("{} {}", short(&message.connection), message.operation)).unwrap_or_default(),
        it.wait.map(|wait| format!("{}s", wait.as_secs())).unwrap_or_default(),
        state(it.state),
    ];
    Notification => ["NAME", "GROUP", "ALARM", "COUNT", "STATE", "TRIES", "ERROR"], |it| [
        short(&it.name),
        it.group.as_deref().unwrap_or_default(),
        it.alarm.map(state).unwrap_or_default(),
        (it.count + it.suppressed_count).to_string(),
        state(it.state),
        it.sends.first().map(|send| send.attempt_count.to_string()).unwrap_or_default(),
        it.sends.iter().find_map(|send| send.error.clone()).unwrap_or_default(),
    ];
    Operation => ["NAME", "KIND", "TARGET", "DONE", "ERROR"], |it| [
        id(&it.name),
        it.kind.as_str(),
        short(&it.target),
        yes(it.done),
        it.error.as_ref().map(|error| error.reason.clone()).unwrap_or_default(),
    ];
}

/// A value of an item of drift, cut to what a table has room for.
fn value(value: &Option<Value>, sensitive: bool) -> String {
    const ROOM: usize = 24;
    if sensitive {
        return "(sensitive)".to_owned();
    }
    let text = json(value);
    match text.char_indices().nth(ROOM) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// What an exception covers, in one line.
fn covers(matcher: &DriftMatcher) -> String {
    let parts = [
        ("deployment", &matcher.deployment),
        ("type", &matcher.r#type),
        ("address", &matcher.address),
        ("path", &matcher.path),
        ("value", &matcher.value),
    ];
    let parts = parts.into_iter().filter_map(|(name, pattern)| pattern.as_ref().map(|pattern| format!("{name}={pattern}")));
    let labels = matcher.labels.iter().map(|(key, value)| format!("label {key}={value}"));
    parts.chain(labels).collect::<Vec<_>>().join(", ")
}

/// A value in one line; a text without quotes.
pub(crate) fn json(value: &Option<Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_can_be_typed() {
        let table = [
            ("tenants/acme", "acme"),
            ("tenants/acme/projects/shop", "shop"),
            ("tenants/acme/projects/shop/environments/dev/deployments/web", "shop/dev/web"),
            ("tenants/acme/blueprints/greeting/versions/1.0.0", "greeting@1.0.0"),
            ("tenants/acme/users/ada", "users/ada"),
            ("runnerPools/default/runners/one", "default/one"),
            ("platform/admin", "platform/admin"),
        ];
        for (name, expected) in table {
            assert_eq!(short(name), expected);
        }
    }
}
