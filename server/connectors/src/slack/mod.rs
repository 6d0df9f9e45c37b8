//! `slack`: messages, alerts, channels, files and dialogs by a bot's token; messages alone by an incoming webhook; events, buttons,
//! dialogs and slash commands in.

mod blocks;
mod dialect;
mod files;
mod inbound;
mod methods;
mod oauth;

use std::time::Duration;

use freehold_domain::commands::Ask;
use futures::future::{BoxFuture, FutureExt as _};
use reqwest::Method as Verb;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::{
    CheckReport, Connector, ConnectorError, Context, CredentialSlot, Credentials, Effect, ErrorKind, Halt, Inbound,
    InboundManifest, InboundRequest, Manifest, OAuth, Refused,
    outbound::{Answer, Limits, Request},
    schema::{list, object, opt, text, word},
};
use dialect::Slack as Dialect;
use methods::Method;

/// Settings of a connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the API is; `https://slack-gov.com/api` for GovSlack.
    #[serde(default = "slack_com")]
    pub base_url: Url,
    /// Id of the app, for installing it by OAuth.
    #[serde(default)]
    pub client_id: Option<String>,
    /// What the app asks for when it is installed.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Authorities in PEM that are trusted besides the public ones.
    #[serde(default)]
    pub ca_bundle: Option<String>,
    /// Id of a channel in which every run that changes something is shown.
    #[serde(default)]
    pub runs_channel: Option<String>,
    /// Only runs of this resource and all below it.
    #[serde(default)]
    pub runs_below: Option<String>,
}

fn slack_com() -> Url {
    "https://slack.com/api".parse().expect("it is a URL")
}

impl Settings {
    /// The URL of a method of the API.
    fn method(&self, name: &str) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}/{name}", self.base_url.path().trim_end_matches('/')));
        url
    }
}

/// The connector.
pub struct Slack {
    manifest: Manifest,
}

impl Default for Slack {
    fn default() -> Self {
        Self::new()
    }
}

impl Slack {
    /// The connector.
    pub fn new() -> Self {
        let settings = object([
            opt("base_url", text().format("uri").max(2048).default("https://slack.com/api").describe("Where the API is.")),
            opt("client_id", word().max(100).describe("Id of the app, for installing it by OAuth.")),
            opt("scopes", list(word().max(100)).max(100).describe("What the app asks for when it is installed.")),
            opt("ca_bundle", text().describe("Authorities in PEM that are trusted besides the public ones.")),
            opt("runs_channel", word().max(100).describe("Id of a channel in which every run that changes something is shown.")),
            opt("runs_below", text().max(500).describe("Only runs of this resource and all below it, by its full name.")),
        ]);
        let slot = |name, summary| CredentialSlot { name, summary, required: false };
        Self {
            manifest: Manifest {
                kind: "slack",
                display_name: "Slack",
                summary: "Messages, alerts, approvals by button, channels and files.",
                settings: settings.into_value(),
                credentials: vec![
                    slot("bot_token", "token of the bot, `xoxb-…`: the app's page, OAuth & Permissions"),
                    slot("webhook_url", "URL of an incoming webhook; enough for messages to one channel"),
                    slot("signing_secret", "what proves Slack's calls to us: the app's page, Basic Information"),
                    slot("client_secret", "the app's secret, for installing it by OAuth"),
                    slot("refresh_token", "what renews a token that expires, where token rotation is on"),
                ],
                operations: methods::ALL.iter().map(Method::operation).chain([files::operation()]).collect(),
                inbound: Some(InboundManifest { credential: "signing_secret", kinds: &inbound::KINDS }),
            },
        }
    }
}

impl Connector for Slack {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Slack counts each method by itself and says with each refusal how long to wait; this only keeps bursts away.
    fn limits(&self, _settings: &Value) -> Limits {
        Limits { rate: 10.0, burst: 20, request: Duration::from_secs(20), ..Limits::default() }
    }

    fn perform<'a>(&'a self, cx: &'a Context, operation: &'static str, input: Value) -> BoxFuture<'a, Result<Value, Halt>> {
        async move {
            match operation {
                "messages.alert" => alert(cx, &input).await,
                "messages.webhook" => through_webhook(cx, &input).await,
                "interactions.respond" => respond(cx, input).await,
                "files.upload" => files::upload(cx, input).await,
                _ => {
                    let method = methods::find(operation).ok_or_else(|| unknown(operation))?;
                    if method.pages.is_some() { pages(cx, method, input).await } else { call(cx, method, &input).await }
                }
            }
        }
        .boxed()
    }

    fn examine<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<CheckReport, Halt>> {
        async move {
            let credentials = cx.credentials(false).await?;
            if credentials.get("bot_token").is_none() && credentials.get("webhook_url").is_some() {
                return Ok(CheckReport::good("an incoming webhook; only a message can show whether it works"));
            }
            let answer = send(cx, "auth.test", "auth.test", Effect::Read, Verb::POST, &json!({})).await?;
            let found = answer.value();
            let scopes = answer.header("x-oauth-scopes").unwrap_or_default().split(',').map(str::trim);
            let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
            Ok(CheckReport {
                identity: Some(format!("{} ({})", text("user"), text("user_id"))),
                scopes: scopes.filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
                ..CheckReport::good(format!("{} of {}", text("user"), text("team")))
            })
        }
        .boxed()
    }

    fn verify(&self, _settings: &Value, credentials: &Credentials, request: &InboundRequest) -> Result<Inbound, Refused> {
        inbound::verify(credentials, request)
    }

    fn ask(&self, kind: &str, payload: &Value) -> Option<Ask> {
        inbound::ask(kind, payload)
    }

    fn oauth(&self) -> Option<&dyn OAuth> {
        Some(self)
    }
}

fn unknown(operation: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, format!("slack has no operation `{operation}`"))
}

/// Calls a method of the API with the bot's token. What is read is asked for by a query, because not every method takes JSON.
async fn send(
    cx: &Context,
    operation: &'static str,
    method: &'static str,
    effect: Effect,
    verb: Verb,
    input: &Value,
) -> Result<Answer, Halt> {
    let settings: Settings = cx.settings()?;
    let build = |credentials: &Credentials| {
        let mut url = settings.method(method);
        let token = credentials.require("bot_token")?;
        if verb == Verb::GET {
            let mut query = url.query_pairs_mut();
            for (name, value) in input.as_object().into_iter().flatten() {
                match value {
                    Value::String(text) => query.append_pair(name, text),
                    other => query.append_pair(name, &other.to_string()),
                };
            }
        }
        let mut request = Request::new(operation, effect, verb.clone(), url).bearer(token)?;
        request.resource = method;
        Ok(if verb == Verb::GET { request } else { request.json_body(input) })
    };
    cx.send_with(&Dialect, build).await
}

async fn call(cx: &Context, method: &Method, input: &Value) -> Result<Value, Halt> {
    match send(cx, method.operation, method.api, method.effect, method.verb(), input).await {
        Ok(answer) => Ok(clean(answer.value())),
        Err(halt) => {
            let code = halt.failure().and_then(|error| error.vendor_code.as_deref()).unwrap_or_default();
            // Whoever asks again after an answer was lost is told that it is done already; that is what was asked for.
            if method.already.contains(&code) { Ok(json!({ "already": code })) } else { Err(halt) }
        }
    }
}

/// Reads page after page, up to as many as were asked for.
async fn pages(cx: &Context, method: &Method, mut input: Value) -> Result<Value, Halt> {
    const PAGE: usize = 200;
    let Some(field) = method.pages else { return call(cx, method, &input).await };
    let most = input["limit"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(1000);
    let mut found = Vec::new();
    loop {
        input["limit"] = PAGE.min(most - found.len()).into();
        let mut page = call(cx, method, &input).await?;
        let cursor = page.pointer("/response_metadata/next_cursor").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Value::Array(items) = page[field].take() {
            found.extend(items);
        }
        if cursor.is_empty() || found.len() >= most {
            found.truncate(most);
            return Ok(json!({ field: found, "complete": cursor.is_empty() }));
        }
        input["cursor"] = cursor.into();
    }
}

/// An alert: a message with a colour. With the time stamp of an earlier one it takes its place, so that one run has one message.
async fn alert(cx: &Context, input: &Value) -> Result<Value, Halt> {
    let mut message = blocks::alert(input);
    let method = if input["ts"].is_string() { "messages.update" } else { "messages.post" };
    for name in ["channel", "thread_ts", "ts", "metadata"] {
        if let Some(value) = input.get(name) {
            message[name] = value.clone();
        }
    }
    let method = methods::find(method).ok_or_else(|| unknown(method))?;
    let answer = send(cx, "messages.alert", method.api, method.effect, Verb::POST, &message).await?;
    Ok(clean(answer.value()))
}

/// A message by an incoming webhook, whose URL is the secret.
async fn through_webhook(cx: &Context, input: &Value) -> Result<Value, Halt> {
    let message = if input["severity"].is_string() { blocks::alert(input) } else { input.clone() };
    let build = |credentials: &Credentials| {
        let url = credentials.require("webhook_url")?.parse().map_err(|_| {
            ConnectorError::unconfigured("the credential `webhook_url` is no URL; copy it from the app's page, Incoming Webhooks")
        })?;
        let mut request = Request::new("messages.webhook", Effect::Unsafe, Verb::POST, url).json_body(&message);
        (request.json, request.resource) = (false, "webhook");
        Ok(request)
    };
    cx.send_with(&Dialect, build).await?;
    Ok(crate::connector::done())
}

/// Answers an interaction where it happened, by the URL that came with it. Slack lets it be used five times in half an hour.
async fn respond(cx: &Context, mut input: Value) -> Result<Value, Halt> {
    let settings: Settings = cx.settings()?;
    let wrong = || ConnectorError::new(ErrorKind::Invalid, "`response_url` is none of Slack's; pass on the one that came in");
    let text = input["response_url"].take();
    let url: Url = text.as_str().unwrap_or_default().parse().map_err(|_| wrong())?;
    let host = url.host_str().unwrap_or_default();
    if ![Some("hooks.slack.com"), Some("hooks.slack-gov.com"), settings.base_url.host_str()].contains(&Some(host)) {
        return Err(wrong().into());
    }
    cx.learn(url.path());
    if let Some(fields) = input.as_object_mut() {
        fields.remove("response_url");
    }
    let mut request = Request::new("interactions.respond", Effect::Unsafe, Verb::POST, url).json_body(&input);
    (request.json, request.resource) = (false, "respond");
    cx.send(&Dialect, request).await?;
    Ok(crate::connector::done())
}

/// What is worth keeping of an answer.
fn clean(mut answer: Value) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("ok");
        fields.remove("warning");
    }
    answer
}
