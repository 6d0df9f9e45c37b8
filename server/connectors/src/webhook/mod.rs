//! `webhook`: tells any HTTP service of events, signed, and takes signed calls of any service.

mod receive;
mod send;

use std::collections::BTreeMap;

use freehold_domain::Violation;
use futures::future::{BoxFuture, FutureExt as _};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::{
    CheckReport, Connector, ConnectorError, Context, CredentialSlot, Credentials, Effect, Halt, Inbound, InboundManifest,
    InboundRequest, Manifest, Operation, Refused,
    context::read,
    outbound::Limits,
    schema::{any, choice, integer, list, map, object, open_object, opt, req, text, word},
    standard_webhooks::Secret,
};

/// Settings of a connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where deliveries go. A connection that only receives has none.
    #[serde(default)]
    pub url: Option<Url>,
    /// Headers that each delivery carries besides ours. No secrets: they are shown to everybody who sees the connection.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How calls to us are signed.
    #[serde(default)]
    pub receive: Receive,
    /// Authorities in PEM that are trusted besides the public ones.
    #[serde(default)]
    pub ca_bundle: Option<String>,
}

/// How a service signs its calls to us.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, tag = "scheme", rename_all = "snake_case")]
pub enum Receive {
    /// As Standard Webhooks.
    #[default]
    Standard,
    /// HMAC-SHA256 in a header of the service's own.
    Hmac(Hmac),
}

/// HMAC-SHA256 of the body, or of the time, a dot and the body.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hmac {
    /// Header of the signature.
    pub header: String,
    /// What stands before the signature, for example `sha256=`.
    #[serde(default)]
    pub prefix: String,
    /// `hex` or `base64`.
    #[serde(default)]
    pub encoding: Encoding,
    /// Header of the time in seconds since 1970. Without one, a call that somebody has recorded stays good for ever.
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// How old a call may be.
    #[serde(default = "five_minutes")]
    pub tolerance_seconds: u64,
    /// Header of the delivery's id; the digest of the body otherwise.
    #[serde(default)]
    pub id_header: Option<String>,
    /// Header or, after `$.`, field of the body that says what happened.
    #[serde(default)]
    pub kind_from: Option<String>,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Two digits for each byte.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
}

const fn five_minutes() -> u64 {
    300
}

/// The connector.
pub struct Webhook {
    manifest: Manifest,
}

impl Default for Webhook {
    fn default() -> Self {
        Self::new()
    }
}

impl Webhook {
    /// The connector.
    pub fn new() -> Self {
        let receive = object([
            req("scheme", choice(&["standard", "hmac"]).describe("How calls to us are signed.")),
            opt("header", word().max(200).describe("Header of the signature; for `hmac`.")),
            opt("prefix", text().max(50).describe("What stands before the signature, for example `sha256=`.")),
            opt("encoding", choice(&["hex", "base64"]).default("hex")),
            opt(
                "timestamp_header",
                word().max(200).describe("Header of the time, in seconds; it is signed before the body, with a dot."),
            ),
            opt("tolerance_seconds", integer().min(1).max(86_400).default(300)),
            opt("id_header", word().max(200).describe("Header of the delivery's id.")),
            opt("kind_from", word().max(200).describe("Header, or `$.field` of the body, that says what happened.")),
        ]);
        let settings = object([
            opt("url", text().format("uri").max(2048).describe("Where deliveries go.")),
            opt("headers", map(text().max(2000)).describe("Headers of each delivery besides ours; no secrets.")),
            opt("receive", receive.describe("How calls to us are signed; Standard Webhooks if nothing is said.")),
            opt("ca_bundle", text().describe("Authorities in PEM that are trusted besides the public ones.")),
        ]);
        let delivery = object([
            req("type", word().max(200).describe("What happened, for example `run.applied`.")),
            req("data", open_object().describe("What there is to say about it.")),
            opt("timestamp", text().max(40).describe("When it happened, RFC 3339; now if nothing is said.")),
            opt(
                "id",
                word().max(200).pattern("^[A-Za-z0-9_:-]+$").describe("Id of the delivery; the key of the call otherwise."),
            ),
        ]);
        let delivered = object([
            req("id", text()),
            req("outcome", choice(&["delivered"])),
            req("status", integer()),
            req("headers", map(text())),
            req("body", text().describe("The first 4 KiB.")),
            opt("request", any()),
            opt("tags", list(text())),
        ]);
        let slot = |name, summary, required| CredentialSlot { name, summary, required };
        Self {
            manifest: Manifest {
                kind: "webhook",
                display_name: "Webhook",
                summary: "Sends signed events to any HTTP service, and takes signed calls of any.",
                settings: settings.into_value(),
                credentials: vec![
                    slot("secret", "what deliveries are signed with: `whsec_` and base64 of 24 to 64 bytes", false),
                    slot("previous_secret", "the one before it, while receivers still use that", false),
                    slot("authorization", "value of the header `Authorization`, where the receiver wants one", false),
                    slot("receive_secret", "what calls to us are signed with", false),
                    slot("previous_receive_secret", "the one before it, while Standard Webhooks still come with that", false),
                ],
                operations: vec![
                    Operation::new("deliver", Effect::Keyed, "Delivers an event; the same id is the same event.", delivery)
                        .output(delivered),
                ],
                inbound: Some(InboundManifest { credential: "receive_secret", kinds: &[] }),
            },
        }
    }
}

impl Connector for Webhook {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn check(&self, settings: &Value) -> Vec<Violation> {
        let mut found = crate::schema::check(&self.manifest.settings, settings, "");
        let scheme = settings.pointer("/receive/scheme").and_then(Value::as_str);
        for (field, _) in settings["receive"].as_object().into_iter().flatten().filter(|(field, _)| *field != "scheme") {
            if scheme == Some("standard") {
                found.push(Violation::new(format!("receive.{field}"), "means nothing for Standard Webhooks; leave it out"));
            }
        }
        if scheme == Some("hmac") && settings.pointer("/receive/header").is_none() {
            found.push(Violation::new("receive.header", "is missing; name the header of the signature"));
        }
        for (name, value) in settings["headers"].as_object().into_iter().flatten() {
            found.extend(send::check_header(name, value.as_str().unwrap_or_default()));
        }
        found
    }

    /// One delivery after the other, a few at once: a receiver that is slow must not take all that there is.
    fn limits(&self, _settings: &Value) -> Limits {
        Limits { in_flight: 4, request: std::time::Duration::from_secs(15), ..Limits::default() }
    }

    fn perform<'a>(&'a self, cx: &'a Context, _operation: &'static str, input: Value) -> BoxFuture<'a, Result<Value, Halt>> {
        async move { send::deliver(cx, read(input, "the delivery")?).await }.boxed()
    }

    fn examine<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<CheckReport, Halt>> {
        async move {
            let settings: Settings = cx.settings()?;
            if settings.url.is_none() {
                return Ok(CheckReport::good("receives only; it is proven by the first call that comes"));
            }
            let answer = send::deliver(cx, send::Delivery::test(cx.outbound.environment.random.uid())).await?;
            Ok(CheckReport::good(format!("a delivery of the type `freehold.test` was answered {}", answer["status"])))
        }
        .boxed()
    }

    fn verify(&self, settings: &Value, credentials: &Credentials, request: &InboundRequest) -> Result<Inbound, Refused> {
        let settings: Settings = serde_json::from_value(settings.clone())
            .map_err(|error| Refused::unconfigured(format!("the settings of the connection cannot be read: {error}")))?;
        receive::verify(&settings.receive, credentials, request)
    }
}

/// The secrets in these slots, those that are filled.
fn secrets(credentials: &Credentials, slots: [&str; 2]) -> Result<Vec<Secret>, ConnectorError> {
    let filled = slots.into_iter().filter_map(|slot| Some((slot, credentials.get(slot)?)));
    filled
        .map(|(slot, text)| {
            Secret::parse(text).map_err(|why| ConnectorError::unconfigured(format!("the credential `{slot}`: {why}")))
        })
        .collect()
}
