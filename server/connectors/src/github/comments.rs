//! One comment for each thing that is told on a pull request, changed in place.

use reqwest::Method as Verb;
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Settings, call,
    endpoints::{number, of_repo},
    shown,
};
use crate::{
    ConnectorError, Context, Effect, ErrorKind, Halt, Operation,
    outbound::Request,
    schema::{req, text, word},
};

const OPERATION: &str = "pulls.comment";
/// What our comments begin with.
pub(super) const MARKER: &str = "<!-- freehold:";
/// Comments that are looked through.
const MOST: usize = 3000;

pub(super) fn operations() -> Vec<Operation> {
    let marker =
        word().max(100).pattern("^[A-Za-z0-9._:/-]+$").describe("What the comment is about, for example the deployment.");
    let input = of_repo([req("number", number()), req("marker", marker), req("body", text().max(60_000))]);
    vec![Operation::new(OPERATION, Effect::Idempotent, "Writes or changes our comment of this marker.", input)]
}

/// Changes our comment with the marker, or writes one. If nobody knows whether it was written, it is looked for before it is
/// written once more, so that there are not two of them.
pub(super) async fn upsert(cx: &Context, input: Value) -> Result<Value, Halt> {
    let settings: Settings = cx.settings()?;
    let text = |name: &str| input[name].as_str().unwrap_or_default();
    let marker = format!("{MARKER}{} -->", text("marker"));
    let body = json!({ "body": format!("{marker}\n{}", text("body")) });
    let fields = super::subset(&input, &["repo", "number"]).as_object().cloned().unwrap_or_default();
    let list = call::url(&settings, &call::path("/repos/{repo}/issues/{number}/comments", &mut fields.clone())?);
    if let Some(id) = find(cx, &settings, &list, &marker).await? {
        return change(cx, &settings, fields, id, &body).await;
    }
    let write = Request::new(OPERATION, Effect::Unsafe, Verb::POST, list.clone()).json_body(&body);
    let lost = match call::send(cx, write.clone()).await {
        Ok(answer) => return Ok(told(&answer.value(), true)),
        Err(halt) if halt.failure().is_some_and(|error| error.maybe_done && error.kind == ErrorKind::Transient) => halt,
        Err(halt) => return Err(halt),
    };
    match find(cx, &settings, &list, &marker).await {
        Ok(Some(id)) => change(cx, &settings, fields, id, &body).await,
        Ok(None) => Ok(told(&call::send(cx, write).await?.value(), true)),
        // Still nobody knows.
        Err(_) => Err(lost),
    }
}

/// The id of our comment with the marker.
async fn find(cx: &Context, settings: &Settings, list: &Url, marker: &str) -> Result<Option<Value>, Halt> {
    let found = call::pages(cx, Request::new(OPERATION, Effect::Read, Verb::GET, list.clone()), "", MOST).await?;
    let mine = me(cx, settings).await?;
    let ours = |comment: &&Value| comment["body"].as_str().is_some_and(|text| text.starts_with(marker)) && mine.wrote(comment);
    Ok(found["items"].as_array().into_iter().flatten().find(ours).map(|comment| comment["id"].clone()))
}

async fn change(
    cx: &Context,
    settings: &Settings,
    mut fields: Map<String, Value>,
    id: Value,
    body: &Value,
) -> Result<Value, Halt> {
    fields.insert("comment".to_owned(), id);
    let url = call::url(settings, &call::path("/repos/{repo}/issues/comments/{comment}", &mut fields)?);
    let request = Request::new(OPERATION, Effect::Idempotent, Verb::PATCH, url).json_body(body);
    Ok(told(&call::send(cx, request).await?.value(), false))
}

fn told(comment: &Value, created: bool) -> Value {
    json!({ "id": comment["id"], "html_url": comment["html_url"], "created": created })
}

/// Who writes our comments: anybody can write a marker.
enum Me {
    App(String),
    Account(String),
}

impl Me {
    fn wrote(&self, comment: &Value) -> bool {
        match self {
            Self::App(id) => shown(&comment["performed_via_github_app"]["id"]) == *id,
            Self::Account(login) => comment["user"]["login"].as_str() == Some(login),
        }
    }
}

async fn me(cx: &Context, settings: &Settings) -> Result<Me, Halt> {
    if let Some(app) = settings.app_id {
        return Ok(Me::App(app.to_string()));
    }
    let request = Request::new(OPERATION, Effect::Read, Verb::GET, call::url(settings, "/user"));
    let found = call::send(cx, request).await?.value();
    let login = found["login"]
        .as_str()
        .ok_or_else(|| ConnectorError::new(ErrorKind::Permanent, "GitHub names no account of the token"))?;
    Ok(Me::Account(login.to_owned()))
}
