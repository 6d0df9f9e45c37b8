//! An event as subscribers get it: CloudEvents 1.0 in the structured mode of its binding to NATS.

use freehold_domain::{events::Logged, names::TenantName, time::Uid};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Type of the body, in the header `content-type`.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

/// Whose events these are, where others say the id of a tenant.
const INSTALLATION: &str = "installation";

/// A message to be published.
pub(super) struct Envelope {
    pub(super) subject: String,
    pub(super) body: Vec<u8>,
}

impl Envelope {
    /// The message of an event; without its facts when it would be larger than this.
    pub(super) fn new(prefix: &str, trust_domain: &str, logged: &Logged, most: usize) -> Self {
        let tenant = tenant(logged);
        let event = &logged.announced.event;
        let subject = format!("{prefix}.{tenant}.{}", event.kind);
        let mut fields = attributes(trust_domain, &tenant, logged);
        let bare = Value::Object(fields.clone()).to_string();
        if event.data.is_object() {
            fields.insert("data".to_owned(), event.data.clone());
        }
        let whole = Value::Object(fields).to_string();
        let body = if whole.len() <= most { whole } else { bare };
        Self { subject, body: body.into_bytes() }
    }
}

/// The second part of a subject. Ids of tenants begin with a letter, so the tenant whose id is `installation` cannot be taken for
/// the installation.
fn tenant(logged: &Logged) -> String {
    let of = TenantName::of(&logged.announced.event.resource).filter(|_| logged.tenant != Uid(Uuid::nil()));
    match of.as_ref().map(|name| name.tenant.as_str()) {
        None => INSTALLATION.to_owned(),
        Some(INSTALLATION) => format!("_{INSTALLATION}"),
        Some(id) => id.to_owned(),
    }
}

/// Everything but the facts. An attribute that would be empty is left out, as the specification wants it.
fn attributes(trust_domain: &str, tenant: &str, logged: &Logged) -> Map<String, Value> {
    let announced = &logged.announced;
    let event = &announced.event;
    let mut fields = Map::new();
    let mut put = |name: &str, value: String| {
        if !value.is_empty() {
            fields.insert(name.to_owned(), value.into());
        }
    };
    put("specversion", "1.0".to_owned());
    put("id", logged.uid.to_string());
    put("source", format!("freehold://{trust_domain}"));
    put("type", format!("dev.freehold.{}", event.kind));
    put("subject", event.resource.clone());
    put("time", announced.time.to_string());
    put("datacontenttype", "application/json".to_owned());
    put("resourceuid", event.uid.to_string());
    put("principal", announced.principal.clone());
    put("requestid", announced.request_id.clone());
    put("tenant", tenant.to_owned());
    fields.insert("resourceversion".to_owned(), event.version.into());
    fields
}

#[cfg(test)]
mod tests {
    use freehold_domain::{
        events::{Announced, Event},
        time::Timestamp,
    };
    use serde_json::json;

    use super::*;

    fn logged(resource: &str, tenant: u128) -> Logged {
        let announced = Announced {
            event: Event::new("run.moved", resource, Uid(Uuid::from_u128(9)), 4).with(json!({"phase": "DONE"})),
            time: Timestamp::from_micros(1_500_000),
            principal: "tenants/acme/users/ada".to_owned(),
            request_id: String::new(),
        };
        Logged { position: 1, uid: Uid(Uuid::from_u128(7)), tenant: Uid(Uuid::from_u128(tenant)), announced }
    }

    #[test]
    fn a_message_says_all_that_is_known_in_the_words_of_the_specification() {
        let envelope = Envelope::new("freehold", "example.org", &logged("tenants/acme/projects/shop", 3), 4096);
        assert_eq!(envelope.subject, "freehold.acme.run.moved");
        let body: Value = serde_json::from_slice(&envelope.body).expect("JSON");
        assert_eq!(
            body,
            json!({
                "specversion": "1.0",
                "id": "00000000-0000-0000-0000-000000000007",
                "source": "freehold://example.org",
                "type": "dev.freehold.run.moved",
                "subject": "tenants/acme/projects/shop",
                "time": "1970-01-01T00:00:01.5Z",
                "datacontenttype": "application/json",
                "resourceuid": "00000000-0000-0000-0000-000000000009",
                "principal": "tenants/acme/users/ada",
                "tenant": "acme",
                "resourceversion": 4,
                "data": {"phase": "DONE"},
            })
        );
        let right = |name: &String| (1..=20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase());
        assert!(body.as_object().is_some_and(|fields| fields.keys().all(right)), "{body}");
    }

    #[test]
    fn what_is_too_large_is_told_without_its_facts() {
        let envelope = Envelope::new("freehold", "example.org", &logged("tenants/acme/projects/shop", 3), 64);
        let body: Value = serde_json::from_slice(&envelope.body).expect("JSON");
        assert_eq!((body.get("data"), body["resourceversion"].as_i64()), (None, Some(4)));
    }

    #[test]
    fn no_tenant_is_told_what_is_for_the_installation() {
        for (resource, tenant, subject) in [
            ("runnerPools/default", 0, "freehold.installation.run.moved"),
            ("tenants/acme", 0, "freehold.installation.run.moved"),
            ("tenants/installation", 3, "freehold._installation.run.moved"),
            ("tenants/acme", 3, "freehold.acme.run.moved"),
        ] {
            assert_eq!(Envelope::new("freehold", "example.org", &logged(resource, tenant), 4096).subject, subject);
        }
    }
}
