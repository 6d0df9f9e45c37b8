//! Archives and logs: bytes that GitHub keeps elsewhere and points to.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reqwest::Method as Verb;
use serde_json::{Value, json};
use url::Url;

use super::{
    Settings, call,
    dialect::GitHub as Dialect,
    endpoints::{number, of_repo, sha},
};
use crate::{
    ConnectorError, Context, Effect, ErrorKind, Halt, Operation,
    outbound::Request,
    schema::{integer, object, opt, req, text},
    signature,
};

/// Most bytes, and how many if nothing is said.
pub(super) const MOST: u64 = 64 << 20;
const USUAL: u64 = 16 << 20;

pub(super) fn operations() -> Vec<Operation> {
    let most = || opt("max_bytes", integer().min(1).max(MOST).default(USUAL));
    let found = || object([req("base64", text()), req("bytes", integer()), req("sha256", text())]);
    vec![
        Operation::new(
            "repos.archive",
            Effect::Read,
            "Fetches all files of a commit as a tarball.",
            of_repo([req("sha", sha()), most()]),
        )
        .output(found()),
        Operation::new(
            "runs.logs",
            Effect::Read,
            "Fetches the logs of a run of a workflow as a zip file.",
            of_repo([req("run", number()), most()]),
        )
        .output(found()),
    ]
}

/// Fetches what an operation says, as text.
pub(super) async fn fetch(cx: &Context, operation: &'static str, mut input: Value) -> Result<Value, Halt> {
    let settings: Settings = cx.settings()?;
    let most = input["max_bytes"].as_u64().unwrap_or(USUAL);
    let template = if operation == "runs.logs" { "/repos/{repo}/actions/runs/{run}/logs" } else { "/repos/{repo}/tarball/{sha}" };
    let fields = input.as_object_mut().ok_or_else(|| ConnectorError::new(ErrorKind::Invalid, "the input is no object"))?;
    let found = get(cx, operation, call::url(&settings, &call::path(template, fields)?), most).await?;
    Ok(json!({ "base64": STANDARD.encode(&found), "bytes": found.len(), "sha256": signature::digest(&found) }))
}

/// Asks where the bytes are, and gets them there, once and without our token: the place is somebody else's.
pub(super) async fn get(cx: &Context, operation: &'static str, url: Url, most: u64) -> Result<Bytes, Halt> {
    let bytes = |url: Url| {
        let mut request = Request::new(operation, Effect::Read, Verb::GET, url);
        request.json = false;
        request.max_answer = usize::try_from(most).unwrap_or(usize::MAX);
        request
    };
    let mut request = bytes(url);
    request.accepts = &[302];
    let mut answer = call::send(cx, request).await?;
    if answer.status == 302 {
        let target = answer.header("location").and_then(|target| target.parse::<Url>().ok());
        let target = target.ok_or_else(|| ConnectorError::new(ErrorKind::Permanent, "GitHub points nowhere"))?;
        // The place is open to whoever has its query.
        cx.learn(target.query().unwrap_or_default());
        let mut request = bytes(target);
        request.resource = "bytes";
        answer = cx.send(&Dialect, request).await?;
    }
    Ok(answer.body)
}
