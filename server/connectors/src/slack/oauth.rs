//! Installing the app, and renewing its token.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::{BoxFuture, FutureExt as _};
use reqwest::Method as Verb;
use serde_json::{Value, json};

use super::{Dialect, Settings, Slack};
use crate::{ConnectorError, Context, Credentials, Effect, Grant, Halt, OAuth, context::read, outbound::Request};

impl OAuth for Slack {
    fn authorize_url(&self, settings: &Value, redirect: &str, state: &str) -> Result<String, ConnectorError> {
        let settings: Settings = read(settings.clone(), "the settings of the connection")?;
        let mut url = settings.base_url.clone();
        url.set_path("/oauth/v2/authorize");
        url.query_pairs_mut()
            .append_pair("client_id", client(&settings)?)
            .append_pair("scope", &settings.scopes.join(","))
            .append_pair("redirect_uri", redirect)
            .append_pair("state", state);
        Ok(url.into())
    }

    fn exchange<'a>(&'a self, cx: &'a Context, code: &'a str, redirect: &'a str) -> BoxFuture<'a, Result<Grant, ConnectorError>> {
        async move {
            cx.learn(code);
            cx.settle(access(cx, &[("code", code), ("redirect_uri", redirect)]).await).await
        }
        .boxed()
    }

    fn refresh<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<Grant, ConnectorError>> {
        async move {
            let credentials = cx.credentials(false).await?;
            let token = credentials.require("refresh_token")?;
            cx.settle(access(cx, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await).await
        }
        .boxed()
    }
}

fn client(settings: &Settings) -> Result<&str, ConnectorError> {
    settings.client_id.as_deref().ok_or_else(|| {
        ConnectorError::unconfigured("the connection has no `client_id`; copy it from the app's page, Basic Information")
    })
}

/// A code and a refresh token are good once, so that nothing here is repeated if it may have arrived.
async fn access(cx: &Context, form: &[(&str, &str)]) -> Result<Grant, Halt> {
    let settings: Settings = cx.settings()?;
    let credentials = cx.credentials(false).await?;
    let basic = STANDARD.encode(format!("{}:{}", client(&settings)?, credentials.require("client_secret")?));
    let mut request = Request::new("oauth", Effect::Unsafe, Verb::POST, settings.method("oauth.v2.access"))
        .form(form)
        .header("authorization", &format!("Basic {basic}"))?;
    request.resource = "oauth.v2.access";
    let answer = cx.send(&Dialect, request).await?.value();
    let mut credentials = Credentials::none();
    for (slot, pointer) in
        [("bot_token", "/access_token"), ("refresh_token", "/refresh_token"), ("webhook_url", "/incoming_webhook/url")]
    {
        if let Some(secret) = answer.pointer(pointer).and_then(Value::as_str) {
            cx.learn(secret);
            credentials = credentials.with(slot, secret);
        }
    }
    let expires = answer["expires_in"].as_u64().map(|seconds| cx.now().plus(Duration::from_secs(seconds)));
    let facts = json!({
        "scope": answer["scope"], "team": answer["team"], "enterprise": answer["enterprise"], "app_id": answer["app_id"],
        "bot_user_id": answer["bot_user_id"], "channel": answer.pointer("/incoming_webhook/channel"),
    });
    Ok(Grant { credentials, expires, facts })
}
