//! `github`: repositories, issues, pull requests, checks, deployments, workflows, webhooks and teams, on github.com and on
//! GitHub Enterprise; as an app, by a token, or by what a person granted.

mod auth;
mod bytes;
mod call;
mod checks;
mod codeowners;
mod comments;
mod deliveries;
mod dialect;
mod endpoints;
mod inbound;
mod oauth;
mod reviews;
mod trees;

use freehold_domain::{Violation, blueprints::Folder, commands::Ask, scrapes::Missed, time::Timestamp};
use futures::future::{BoxFuture, FutureExt as _};
use reqwest::Method as Verb;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::{
    CheckReport, Connector, ConnectorError, Context, CredentialSlot, Credentials, Effect, ErrorKind, Halt, Inbound,
    InboundManifest, InboundRequest, Manifest, OAuth, Refused, Trees,
    outbound::{Limits, Request},
    schema::{integer, list, object, opt, req, text, word},
};
use endpoints::Endpoint;

/// Settings of a connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the API is; `https://HOST/api/v3` for an Enterprise server.
    #[serde(default = "github_com")]
    pub base_url: Url,
    /// Id of the app that the connection is; without one it has a token.
    #[serde(default)]
    pub app_id: Option<u64>,
    /// Which installation of the app it is.
    #[serde(default)]
    pub installation_id: Option<u64>,
    /// Id of the client, for grants by OAuth.
    #[serde(default)]
    pub client_id: Option<String>,
    /// What a grant asks for; apps have permissions instead.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Webhooks of repositories whose deliveries are looked after; an app looks after its own.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// Authorities in PEM that are trusted besides the public ones.
    #[serde(default)]
    pub ca_bundle: Option<String>,
}

/// A webhook of a repository.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// `owner/name`.
    pub repo: String,
    /// Its id.
    pub id: u64,
}

fn github_com() -> Url {
    "https://api.github.com".parse().expect("it is a URL")
}

impl Settings {
    /// Where people are, and where grants are made: beside the API, which has a path or a host of its own.
    fn web(&self) -> Url {
        let mut url = self.base_url.clone();
        url.set_path("/");
        let own_host = url.host_str().and_then(|host| host.strip_prefix("api.")).map(str::to_owned);
        if let Some(host) = own_host.filter(|_| self.base_url.path() == "/") {
            // Both are hosts that a URL had; there is nothing that could fail.
            let _ = url.set_host(Some(&host));
        }
        url
    }
}

/// The connector.
pub struct GitHub {
    manifest: Manifest,
}

impl Default for GitHub {
    fn default() -> Self {
        Self::new()
    }
}

impl GitHub {
    /// The connector.
    pub fn new() -> Self {
        let hook = object([req("repo", endpoints::repo()), req("id", integer().min(1))]);
        let settings = object([
            opt(
                "base_url",
                text()
                    .format("uri")
                    .max(2048)
                    .default("https://api.github.com")
                    .describe("`https://HOST/api/v3` for Enterprise."),
            ),
            opt("app_id", integer().min(1).describe("Id of the app that the connection is.")),
            opt("installation_id", integer().min(1).describe("Which installation of the app it is.")),
            opt("client_id", word().max(100).describe("Id of the client, for grants by OAuth.")),
            opt("scopes", list(word().max(100)).max(50).describe("What a grant asks for.")),
            opt("hooks", list(hook).max(100).describe("Webhooks of repositories whose deliveries are looked after.")),
            opt("ca_bundle", text().describe("Authorities in PEM that are trusted besides the public ones.")),
        ]);
        let slot = |name, summary| CredentialSlot { name, summary, required: false };
        let operations = endpoints::ALL.iter().map(Endpoint::operation);
        let more =
            [bytes::operations(), checks::operations(), comments::operations(), codeowners::operations(), reviews::operations()];
        Self {
            manifest: Manifest {
                kind: "github",
                display_name: "GitHub",
                summary: "Repositories, issues, pull requests, checks, deployments, workflows and teams.",
                settings: settings.into_value(),
                credentials: vec![
                    slot("private_key", "private key of the app, in PEM: the app's settings, Private keys"),
                    slot("token", "personal access token, or what a person granted; for connections without an app"),
                    slot("refresh_token", "what renews a grant that expires"),
                    slot("client_secret", "secret of the client, for grants by OAuth"),
                    slot("webhook_secret", "what proves GitHub's calls to us; webhooks that are made here get it"),
                    slot("previous_webhook_secret", "the one before it, while webhooks still use that"),
                ],
                operations: operations.chain(more.into_iter().flatten()).collect(),
                inbound: Some(InboundManifest { credential: "webhook_secret", kinds: &inbound::KINDS }),
            },
        }
    }
}

impl Connector for GitHub {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn check(&self, settings: &Value) -> Vec<Violation> {
        let mut found = crate::schema::check(&self.manifest.settings, settings, "");
        for (one, other) in [("app_id", "installation_id"), ("installation_id", "app_id")] {
            if settings.get(one).is_some() && settings.get(other).is_none() {
                found.push(Violation::new(other, format!("is missing; `{one}` is nothing without it")));
            }
        }
        found
    }

    /// GitHub counts by the hour and refuses bursts of writes; its headers say more, and are obeyed.
    fn limits(&self, _settings: &Value) -> Limits {
        Limits { rate: 15.0, burst: 60, ..Limits::default() }
    }

    fn perform<'a>(&'a self, cx: &'a Context, operation: &'static str, input: Value) -> BoxFuture<'a, Result<Value, Halt>> {
        async move {
            match operation {
                "repos.archive" | "runs.logs" => bytes::fetch(cx, operation, input).await,
                "checks.create" | "checks.update" => checks::write(cx, operation, input).await,
                "pulls.comment" => comments::upsert(cx, input).await,
                "pulls.review_state" => reviews::state(cx, input).await,
                "codeowners.get" => codeowners::get(cx, input).await,
                _ => {
                    let endpoint = endpoints::find(operation).ok_or_else(|| {
                        ConnectorError::new(ErrorKind::Invalid, format!("github has no operation `{operation}`"))
                    })?;
                    call::call(cx, endpoint, input).await
                }
            }
        }
        .boxed()
    }

    fn examine<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<CheckReport, Halt>> {
        async move {
            let settings: Settings = cx.settings()?;
            let app = settings.app_id.is_some();
            let path = match settings.installation_id {
                Some(installation) => format!("/app/installations/{installation}"),
                None => "/user".to_owned(),
            };
            let request = Request::new("test", Effect::Read, Verb::GET, call::url(&settings, &path));
            let answer = if app { call::send_as_app(cx, request).await? } else { call::send(cx, request).await? };
            let found = answer.value();
            if found["suspended_at"].is_string() {
                let message = "the installation of the app is suspended; an owner of the organisation can end that";
                return Err(ConnectorError::new(ErrorKind::Permission, message).into());
            }
            let version = answer.header("x-github-enterprise-version").map(str::to_owned);
            let text = |pointer: &str| found.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (identity, scopes) = if app {
                let permissions = found["permissions"].as_object().into_iter().flatten();
                let scopes = permissions.map(|(name, level)| format!("{name}:{}", level.as_str().unwrap_or_default())).collect();
                (format!("{} for {}", text("/app_slug"), text("/account/login")), scopes)
            } else {
                let scopes = answer.header("x-oauth-scopes").unwrap_or_default().split(',').map(str::trim);
                (text("/login"), scopes.filter(|scope| !scope.is_empty()).map(str::to_owned).collect())
            };
            let server = version.as_ref().map_or_else(|| "GitHub".to_owned(), |version| format!("GitHub Enterprise {version}"));
            let detail = format!("{} {identity} at {server}", if app { "the app" } else { "the account" });
            Ok(CheckReport { identity: Some(identity), scopes, version, ..CheckReport::good(detail) })
        }
        .boxed()
    }

    fn verify(&self, _settings: &Value, credentials: &Credentials, request: &InboundRequest) -> Result<Inbound, Refused> {
        inbound::verify(credentials, request)
    }

    fn ask(&self, kind: &str, payload: &Value) -> Option<Ask> {
        inbound::ask(kind, payload)
    }

    fn tells_missed(&self, settings: &Value) -> bool {
        settings.get("app_id").is_some() || settings["hooks"].as_array().is_some_and(|hooks| !hooks.is_empty())
    }

    fn missed<'a>(&'a self, cx: &'a Context, since: Timestamp) -> BoxFuture<'a, Result<Vec<Missed>, ConnectorError>> {
        async move { cx.settle(deliveries::missed(cx, since).await).await }.boxed()
    }

    fn redeliver<'a>(&'a self, cx: &'a Context, missed: &'a Missed) -> BoxFuture<'a, Result<(), ConnectorError>> {
        async move { cx.settle(deliveries::redeliver(cx, &missed.handle).await).await }.boxed()
    }

    fn trees(&self) -> Option<&dyn Trees> {
        Some(self)
    }

    fn oauth(&self) -> Option<&dyn OAuth> {
        Some(self)
    }
}

impl Trees for GitHub {
    fn resolve<'a>(
        &'a self,
        cx: &'a Context,
        repository: &'a str,
        revision: &'a str,
    ) -> BoxFuture<'a, Result<String, ConnectorError>> {
        async move { cx.settle(trees::resolve(cx, repository, revision).await).await }.boxed()
    }

    fn folders<'a>(
        &'a self,
        cx: &'a Context,
        repository: &'a str,
        commit: &'a str,
        folders: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Folder>, ConnectorError>> {
        async move { cx.settle(trees::folders(cx, repository, commit, folders).await).await }.boxed()
    }
}

/// An id or a text in an answer, as text.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A time in an answer.
fn time(value: &Value) -> Option<Timestamp> {
    let time: jiff::Timestamp = value.as_str()?.parse().ok()?;
    Some(Timestamp::from_micros(time.as_microsecond()))
}

/// A body that is made of the given fields of an input.
fn subset(input: &Value, names: &[&str]) -> Value {
    let mut body = json!({});
    for name in names {
        if let Some(value) = input.get(*name) {
            body[*name] = value.clone();
        }
    }
    body
}
