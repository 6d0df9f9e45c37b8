//! Grants by people: in the browser, or by a code for machines without one.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use reqwest::Method as Verb;
use serde_json::{Value, json};

use super::{GitHub, Settings, dialect::GitHub as Dialect};
use crate::{
    ConnectorError, Context, Credentials, DeviceCode, Effect, ErrorKind, Grant, Halt, OAuth, Polled, context::read,
    outbound::Request,
};

impl OAuth for GitHub {
    fn authorize_url(&self, settings: &Value, redirect: &str, state: &str) -> Result<String, ConnectorError> {
        let settings: Settings = read(settings.clone(), "the settings of the connection")?;
        let mut url = settings.web();
        url.set_path("/login/oauth/authorize");
        url.query_pairs_mut()
            .append_pair("client_id", client(&settings)?)
            .append_pair("redirect_uri", redirect)
            .append_pair("state", state);
        if !settings.scopes.is_empty() {
            url.query_pairs_mut().append_pair("scope", &settings.scopes.join(" "));
        }
        Ok(url.into())
    }

    fn exchange<'a>(&'a self, cx: &'a Context, code: &'a str, redirect: &'a str) -> BoxFuture<'a, Result<Grant, ConnectorError>> {
        async move {
            cx.learn(code);
            cx.settle(grant(cx, &[("code", code), ("redirect_uri", redirect)]).await).await
        }
        .boxed()
    }

    fn refresh<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<Grant, ConnectorError>> {
        async move {
            let credentials = cx.credentials(false).await?;
            let token = credentials.require("refresh_token")?;
            cx.settle(grant(cx, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await).await
        }
        .boxed()
    }

    fn device_code<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<DeviceCode, ConnectorError>> {
        async move { cx.settle(device_code(cx).await).await }.boxed()
    }

    fn poll<'a>(&'a self, cx: &'a Context, device_code: &'a str) -> BoxFuture<'a, Result<Polled, ConnectorError>> {
        async move {
            cx.learn(device_code);
            cx.settle(poll(cx, device_code).await).await
        }
        .boxed()
    }
}

fn client(settings: &Settings) -> Result<&str, ConnectorError> {
    settings
        .client_id
        .as_deref()
        .ok_or_else(|| ConnectorError::unconfigured("the connection has no `client_id`; copy it from the settings of the app"))
}

async fn ask(cx: &Context, path: &str, form: &[(&str, &str)]) -> Result<Value, Halt> {
    let settings: Settings = cx.settings()?;
    let mut url = settings.web();
    url.set_path(path);
    let form: Vec<_> = [("client_id", client(&settings)?)].into_iter().chain(form.iter().copied()).collect();
    // A code is good once, so that nothing here is repeated if it may have arrived.
    let mut request = Request::new("oauth", Effect::Unsafe, Verb::POST, url).form(&form).header("accept", "application/json")?;
    request.resource = "oauth";
    Ok(cx.send(&Dialect, request).await?.value())
}

async fn grant(cx: &Context, form: &[(&str, &str)]) -> Result<Grant, Halt> {
    let credentials = cx.credentials(false).await?;
    let secret = [("client_secret", credentials.require("client_secret")?)];
    let form: Vec<_> = secret.into_iter().chain(form.iter().copied()).collect();
    let answer = ask(cx, "/login/oauth/access_token", &form).await?;
    match answer["error"].as_str() {
        None => Ok(granted(cx, &answer)?),
        Some(code) => Err(refused(code, &answer).into()),
    }
}

async fn device_code(cx: &Context) -> Result<DeviceCode, Halt> {
    let settings: Settings = cx.settings()?;
    let answer = ask(cx, "/login/device/code", &[("scope", &settings.scopes.join(" "))]).await?;
    if let Some(code) = answer["error"].as_str() {
        return Err(refused(code, &answer).into());
    }
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let seconds = |name: &str, usual: u64| Duration::from_secs(answer[name].as_u64().unwrap_or(usual));
    cx.learn(&text("device_code"));
    Ok(DeviceCode {
        user_code: text("user_code"),
        verification_uri: text("verification_uri"),
        device_code: text("device_code"),
        interval: seconds("interval", 5),
        expires_in: seconds("expires_in", 900),
    })
}

async fn poll(cx: &Context, device_code: &str) -> Result<Polled, Halt> {
    let form = [("device_code", device_code), ("grant_type", "urn:ietf:params:oauth:grant-type:device_code")];
    let answer = ask(cx, "/login/oauth/access_token", &form).await?;
    let interval = Duration::from_secs(answer["interval"].as_u64().unwrap_or(5));
    match answer["error"].as_str() {
        None => Ok(Polled::Granted(Box::new(granted(cx, &answer)?))),
        Some("authorization_pending" | "slow_down") => Ok(Polled::Pending(interval)),
        Some(code) => Err(refused(code, &answer).into()),
    }
}

/// GitHub says all this with status 200.
fn refused(code: &str, answer: &Value) -> ConnectorError {
    let kind = match code {
        "access_denied" => ErrorKind::Permission,
        "device_flow_disabled" | "redirect_uri_mismatch" | "unsupported_grant_type" | "incorrect_device_code" => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Auth,
    };
    let told = answer["error_description"].as_str().unwrap_or_default();
    ConnectorError::new(kind, format!("GitHub answered `{code}`: {told}")).code(code)
}

fn granted(cx: &Context, answer: &Value) -> Result<Grant, ConnectorError> {
    let mut credentials = Credentials::none();
    for (slot, name) in [("token", "access_token"), ("refresh_token", "refresh_token")] {
        if let Some(secret) = answer[name].as_str() {
            cx.learn(secret);
            credentials = credentials.with(slot, secret);
        }
    }
    credentials.get("token").ok_or_else(|| ConnectorError::new(ErrorKind::Permanent, "GitHub granted no token"))?;
    let expires = answer["expires_in"].as_u64().map(|seconds| cx.now().plus(Duration::from_secs(seconds)));
    let facts = json!({ "scope": answer["scope"], "token_type": answer["token_type"],
                        "refresh_expires_in": answer["refresh_token_expires_in"] });
    Ok(Grant { credentials, expires, facts })
}
