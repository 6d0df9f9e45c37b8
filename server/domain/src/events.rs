//! What is announced of every change, who may see it, and how readers choose from it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    blueprints::{Condition, Facts, Subject},
    error::Violations,
    time::{Timestamp, Uid},
};

/// The most kinds that a reader may name.
pub const MAX_KINDS: usize = 50;

/// What a filter can be about.
pub const SUBJECT: Subject =
    ("event", &["uid", "kind", "resource", "resource_uid", "resource_version", "time", "principal", "request_id", "data"]);

/// What one must be allowed to do with a resource to see what happens to it, by the first part of an event's kind.
const READERS: &[(&str, &str)] = &[
    ("api_key", "iam.apiKeys.list"),
    ("approval_policy", "approvals.policies.get"),
    ("blueprint", "blueprints.blueprints.get"),
    ("connection", "integrations.connections.get"),
    ("deployment", "deployments.deployments.get"),
    ("drift", "deployments.driftItems.get"),
    ("drift_exception", "deployments.driftExceptions.get"),
    ("drift_item", "deployments.driftItems.get"),
    ("environment", "tenants.environments.get"),
    ("notification", "integrations.notifications.get"),
    ("notification_rule", "integrations.notificationRules.get"),
    ("project", "tenants.projects.get"),
    ("quota", "quotas.quotas.get"),
    ("receipt_key", "approvals.receipts.list"),
    ("registration_token", "runners.pools.get"),
    ("role_binding", "iam.roleBindings.list"),
    ("run", "deployments.runs.get"),
    ("runner", "runners.pools.get"),
    ("runner_pool", "runners.pools.get"),
    ("secret_store", "secrets.stores.get"),
    ("service_account", "iam.serviceAccounts.get"),
    ("tenant", "tenants.tenants.get"),
    ("user", "iam.users.get"),
    ("webhook_delivery", "integrations.webhookDeliveries.get"),
    ("webhook_endpoint", "integrations.webhookEndpoints.get"),
    ("workload_identity", "iam.workloadIdentities.list"),
];

/// Something that happened to a resource, announced in the transaction that made it happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened, `{resource}.{verb}`, for example `project.created`.
    pub kind: String,
    /// The resource.
    pub resource: String,
    /// Its uid; events of one uid are in the order of their versions.
    pub uid: Uid,
    /// Its version after the change.
    pub version: i64,
    /// Facts for readers, as JSON, without secrets.
    pub data: Value,
}

impl Event {
    /// An event without further facts.
    pub fn new(kind: &str, resource: impl ToString, uid: Uid, version: i64) -> Self {
        Self { kind: kind.to_owned(), resource: resource.to_string(), uid, version, data: Value::Null }
    }

    /// Adds facts.
    #[must_use]
    pub fn with(mut self, data: Value) -> Self {
        self.data = data;
        self
    }
}

/// The permission that shows events of this kind; `None` for kinds that nobody has announced, which nobody sees.
pub fn permission(kind: &str) -> Option<&'static str> {
    let resource = kind.split('.').next()?;
    READERS.iter().find(|(name, _)| *name == resource).map(|(_, permission)| *permission)
}

/// An event as it is kept, with who made it happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// When; events of before there were times have that of their identity.
    #[serde(default)]
    pub time: Timestamp,
    /// Who did it.
    #[serde(default)]
    pub principal: String,
    /// The call that did it.
    #[serde(default)]
    pub request_id: String,
}

/// An event at its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its place: events become visible in the order of their places, and none appears before one that was seen.
    pub position: i64,
    /// Its identity.
    pub uid: Uid,
    /// The tenant it belongs to; nil for the installation.
    pub tenant: Uid,
    /// What happened.
    pub announced: Announced,
}

/// Which events a reader wants, below one resource.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    parent: String,
    kinds: Vec<String>,
    filter: Option<Condition>,
}

impl Selection {
    /// Events of the parent and all below it; everything when it is empty.
    ///
    /// # Errors
    /// Notes kinds that are not written as `run.created` or `run.*`, and everything that is wrong with the filter.
    pub fn new(parent: String, kinds: Vec<String>, filter: &str, wrong: &mut Violations) -> Self {
        Self::new_in("", parent, kinds, filter, wrong)
    }

    /// The same of a part of a request, whose fields begin with this.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_in(within: &str, parent: String, kinds: Vec<String>, filter: &str, wrong: &mut Violations) -> Self {
        if kinds.len() > MAX_KINDS {
            wrong.add(format!("{within}kinds"), format!("at most {MAX_KINDS}; leave them out for all"));
        }
        for (at, kind) in kinds.iter().enumerate().take(MAX_KINDS) {
            if !is_pattern(kind) {
                let field = format!("{within}kinds[{at}]");
                wrong.add(field, "not a kind of event: write `run.created`, or `run.*` for all of a resource");
            }
        }
        let filter = parse_filter(&format!("{within}filter"), filter, wrong);
        Self { parent, kinds, filter }
    }

    /// Whether the reader wants it. What a filter says nothing about, because a fact that it reads is not there, is not wanted.
    pub fn admits(&self, logged: &Logged) -> bool {
        let event = &logged.announced.event;
        is_below(&event.resource, &self.parent)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| fits(kind, &event.kind)))
            && self.filter.as_ref().is_none_or(|filter| filter.holds(&facts(logged)) == Ok(true))
    }
}

/// Reads a filter over events; an empty one is none.
///
/// # Errors
/// Notes everything that is wrong with it.
pub fn parse_filter(field: &str, filter: &str, wrong: &mut Violations) -> Option<Condition> {
    if filter.is_empty() {
        return None;
    }
    match Condition::parse(filter, &[SUBJECT]) {
        Ok(condition) => Some(condition),
        Err(misreadings) => {
            misreadings.iter().for_each(|misreading| wrong.add(field, misreading.to_string()));
            None
        }
    }
}

/// What filters and templates can read of an event.
pub fn facts(logged: &Logged) -> Facts {
    let Announced { event, time, principal, request_id } = &logged.announced;
    let data = if event.data.is_object() { event.data.clone() } else { Value::Object(Map::new()) };
    let fields = [
        ("uid", logged.uid.to_string().into()),
        ("kind", event.kind.as_str().into()),
        ("resource", event.resource.as_str().into()),
        ("resource_uid", event.uid.to_string().into()),
        ("resource_version", event.version.into()),
        ("time", time.to_string().into()),
        ("principal", principal.as_str().into()),
        ("request_id", request_id.as_str().into()),
        ("data", data),
    ];
    Facts::from([("event".to_owned(), fields.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into_iter().collect())])
}

/// Whether a resource is this parent or below it.
pub fn is_below(resource: &str, parent: &str) -> bool {
    match resource.strip_prefix(parent) {
        Some(rest) => parent.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

fn is_pattern(kind: &str) -> bool {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    kind.split_once('.').is_some_and(|(resource, verb)| word(resource) && (verb == "*" || word(verb)))
}

fn fits(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(resource) => kind.starts_with(resource),
        None => pattern == kind,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::access::TENANT_PERMISSIONS;

    fn logged(kind: &str, resource: &str, data: Value) -> Logged {
        let uid = Uid(uuid::Uuid::from_u128(7));
        let announced = Announced {
            event: Event::new(kind, resource, uid, 3).with(data),
            time: Timestamp::from_micros(0),
            principal: "tenants/acme/users/ada".to_owned(),
            request_id: "r1".to_owned(),
        };
        Logged { position: 1, uid, tenant: uid, announced }
    }

    fn select(parent: &str, kinds: &[&str], filter: &str) -> Result<Selection, Vec<String>> {
        let mut wrong = Violations::new();
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let selection = Selection::new(parent.to_owned(), kinds, filter, &mut wrong);
        wrong.finish().map(|()| selection).map_err(|error| {
            error.violations().iter().map(|violation| format!("{}: {}", violation.field, violation.description)).collect()
        })
    }

    #[test]
    fn a_reader_gets_what_it_selects_and_nothing_beside() {
        let shop = "tenants/acme/projects/shop";
        let run = logged("run.moved", &format!("{shop}/environments/dev/deployments/web/runs/1"), json!({"phase": "DONE"}));
        for (parent, kinds, filter, wanted) in [
            ("", &[][..], "", true),
            ("tenants/acme", &[], "", true),
            ("tenants/acm", &[], "", false),
            ("tenants/acme/projects/sho", &[], "", false),
            (shop, &["run.moved"], "", true),
            (shop, &["run.*"], "", true),
            (shop, &["run.created", "deployment.*"], "", false),
            (shop, &["runner.*"], "", false),
            (shop, &[], "event.data.phase == 'DONE'", true),
            (shop, &[], "event.data.phase != 'DONE'", false),
            (shop, &[], "event.principal.endsWith('/ada') && event.resource_version == 3", true),
            // What cannot be told is not wanted.
            (shop, &[], "event.data.outcome == 'FAILED'", false),
            (shop, &[], "has(event.data.outcome)", false),
        ] {
            let selection = select(parent, kinds, filter).expect("a selection");
            assert_eq!(selection.admits(&run), wanted, "{parent} {kinds:?} {filter}");
        }
        // Facts that are no object cannot be read, and keep nobody from the rest.
        let text = logged("workload_identity.created", "tenants/acme", json!("spiffe://a/b"));
        assert!(select("", &[], "!has(event.data.phase)").expect("a selection").admits(&text));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let wrong = select("", &["run", "Run.moved", "run.*", ".x", "a.b.c"], "event.knd == 'a' && other").expect_err("wrong");
        let fields: Vec<&str> = wrong.iter().map(|wrong| wrong.split(':').next().unwrap_or_default()).collect();
        assert_eq!(fields, ["kinds[0]", "kinds[1]", "kinds[3]", "kinds[4]", "filter", "filter"], "{wrong:?}");
    }

    #[test]
    fn who_sees_events_is_said_by_permissions_that_exist() {
        for (resource, permission) in READERS {
            assert!(TENANT_PERMISSIONS.contains(permission) || permission.starts_with("runners."), "{resource}: {permission}");
        }
        assert_eq!(permission("run.moved"), Some("deployments.runs.get"));
        assert_eq!(permission("unheard.of"), None);
    }

    #[test]
    fn events_of_before_they_named_who_did_it_are_read() {
        let old = r#"{"kind":"project.created","resource":"tenants/acme/projects/shop","uid":"00000000-0000-0000-0000-000000000007","version":1,"data":null}"#;
        let announced: Announced = serde_json::from_str(old).expect("an event");
        assert_eq!((announced.event.kind.as_str(), announced.principal.as_str()), ("project.created", ""));
        let new = serde_json::to_string(&announced).expect("JSON");
        assert_eq!(serde_json::from_str::<Announced>(&new).expect("an event"), announced);
    }
}
