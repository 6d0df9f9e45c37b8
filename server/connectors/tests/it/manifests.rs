//! What connectors say of themselves is what they do.

use std::{collections::BTreeSet, sync::Arc};

use freehold_connectors::{Connector, Effect, all, github, slack, smtp, webhook};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The least, and everything that a connection may say.
fn examples() -> Vec<(&'static str, Value)> {
    let ca = "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----";
    vec![
        ("github", json!({})),
        (
            "github",
            json!({ "base_url": "https://git.example/api/v3", "app_id": 1, "installation_id": 2, "client_id": "x",
                    "scopes": ["repo"], "hooks": [{ "repo": "acme/shop", "id": 3 }], "ca_bundle": ca }),
        ),
        ("slack", json!({})),
        (
            "slack",
            json!({ "base_url": "https://slack-gov.com/api", "client_id": "1.2", "scopes": ["chat:write"], "ca_bundle": ca,
                    "runs_channel": "C0OPS", "runs_below": "tenants/acme" }),
        ),
        ("smtp", json!({ "host": "relay.example", "from": "freehold@example.com" })),
        (
            "smtp",
            json!({ "host": "relay.example", "port": 2525, "tls": "implicit", "from": "Freehold <freehold@example.com>",
                    "reply_to": "ops@example.com", "username": "ada", "hello": "freehold.example", "ca_bundle": ca }),
        ),
        ("webhook", json!({})),
        (
            "webhook",
            json!({ "url": "https://x.example/in", "headers": { "X-Team": "ops" }, "receive": { "scheme": "standard" } }),
        ),
        (
            "webhook",
            json!({ "receive": { "scheme": "hmac", "header": "X-S", "prefix": "sha256=", "encoding": "base64",
                                 "timestamp_header": "X-T", "tolerance_seconds": 60, "id_header": "X-I", "kind_from": "$.type" },
                    "ca_bundle": ca }),
        ),
    ]
}

fn reads<T: DeserializeOwned>(settings: &Value) -> Result<(), String> {
    serde_json::from_value::<T>(settings.clone()).map(|_| ()).map_err(|error| error.to_string())
}

fn typed(kind: &str, settings: &Value) -> Result<(), String> {
    match kind {
        "github" => reads::<github::Settings>(settings),
        "slack" => reads::<slack::Settings>(settings),
        "smtp" => reads::<smtp::Settings>(settings),
        _ => reads::<webhook::Settings>(settings),
    }
}

fn connector(kind: &str) -> Arc<dyn Connector> {
    all().into_iter().find(|connector| connector.manifest().kind == kind).expect("there is one")
}

#[test]
fn what_the_schema_of_settings_takes_their_type_takes_and_the_other_way_round() {
    let mut named: BTreeSet<(&str, String)> = BTreeSet::new();
    for (kind, settings) in examples() {
        let connector = connector(kind);
        assert_eq!(connector.check(&settings), [], "{kind}: {settings}");
        assert_eq!(typed(kind, &settings), Ok(()), "{kind}: {settings}");
        for (name, value) in settings.as_object().expect("an object") {
            named.insert((kind, name.clone()));
            // Another type of value is wrong for both.
            let mut wrong = settings.clone();
            wrong[name] = if value.is_object() { json!([1]) } else { json!({ "a": [] }) };
            assert!(!connector.check(&wrong).is_empty(), "{kind}: {wrong}");
            assert!(typed(kind, &wrong).is_err(), "{kind}: {wrong}");
        }
        let mut more = settings.clone();
        more["surplus"] = json!(1);
        assert_eq!(connector.check(&more)[0].field, "surplus", "{kind}");
        assert!(typed(kind, &more).is_err(), "{kind}: {more}");
    }
    for connector in all() {
        let manifest = connector.manifest();
        for name in manifest.settings["properties"].as_object().expect("an object").keys() {
            assert!(named.contains(&(manifest.kind, name.clone())), "no example of {} has {name}", manifest.kind);
        }
    }
}

#[test]
fn operations_are_named_once_and_say_what_they_take() {
    for connector in all() {
        let manifest = connector.manifest();
        let mut names = BTreeSet::new();
        for operation in &manifest.operations {
            assert!(names.insert(operation.name), "{} is there twice", operation.name);
            assert!(operation.summary.ends_with('.') && operation.input["type"] == "object", "{}", operation.name);
            let reads = [".get", ".list", ".compare", ".search", ".permalink", ".by_email", ".archive", ".logs"];
            if operation.name != "channels.archive" && reads.iter().any(|end| operation.name.ends_with(end)) {
                assert_eq!(operation.effect, Effect::Read, "{}", operation.name);
            }
        }
        let slots: BTreeSet<_> = manifest.credentials.iter().map(|slot| slot.name).collect();
        assert_eq!(slots.len(), manifest.credentials.len(), "{}", manifest.kind);
        assert!(manifest.inbound.iter().all(|inbound| slots.contains(inbound.credential)), "{}", manifest.kind);
    }
}
