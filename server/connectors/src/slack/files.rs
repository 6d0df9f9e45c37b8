//! Files, by the flow for uploads from outside: ask for a place, put the bytes there, say that they are whole.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method as Verb;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{Dialect, clean, send};
use crate::{
    ConnectorError, Context, Effect, ErrorKind, Halt, Operation,
    context::read,
    outbound::Request,
    schema::{object, opt, req, text, word},
};

/// Most bytes of a file.
const MOST: usize = 32 << 20;

#[derive(Deserialize)]
struct Upload {
    name: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    thread_ts: Option<String>,
    #[serde(default)]
    comment: Option<String>,
}

pub(super) fn operation() -> Operation {
    let input = object([
        req("name", word().max(255).describe("What the file is called.")),
        opt("text", text().describe("What is in it, as text;")),
        opt("base64", text().describe("or as base64.")),
        opt("title", word().max(255)),
        opt("channel", word().describe("Where it is shared, by id; nobody else sees it if nothing is said.")),
        opt("thread_ts", word()),
        opt("comment", text().max(4000)),
    ]);
    Operation::new("files.upload", Effect::Unsafe, "Uploads a file and shares it.", input)
}

pub(super) async fn upload(cx: &Context, input: Value) -> Result<Value, Halt> {
    let upload: Upload = read(input, "the file")?;
    let bytes = match (&upload.text, &upload.base64) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(encoded)) => STANDARD.decode(encoded).map_err(|_| invalid("`base64` is not base64 with padding"))?,
        _ => return Err(invalid("give either `text` or `base64`").into()),
    };
    if bytes.is_empty() || bytes.len() > MOST {
        return Err(invalid(&format!("the file has {} bytes; 1 to {MOST} can be uploaded", bytes.len())).into());
    }
    let place = json!({ "filename": upload.name, "length": bytes.len() });
    // A place that is not used goes away by itself, so that asking twice does no harm; a dry run still stops here.
    let place = send(cx, "files.upload", "files.getUploadURLExternal", Effect::Idempotent, Verb::GET, &place).await?.value();
    let (url, id) = (place["upload_url"].as_str().unwrap_or_default(), place["file_id"].as_str().unwrap_or_default());
    let url: Url = url
        .parse()
        .map_err(|_| ConnectorError::new(ErrorKind::Permanent, "Slack named no place for the file; look at its status page"))?;
    cx.learn(url.path());
    let mut request = Request::new("files.upload", Effect::Idempotent, Verb::POST, url).body("application/octet-stream", bytes);
    (request.json, request.resource) = (false, "upload");
    cx.send(&Dialect, request).await?;

    let mut whole = json!({ "files": [{ "id": id, "title": upload.title.as_deref().unwrap_or(&upload.name) }] });
    for (name, value) in [("channel_id", upload.channel), ("thread_ts", upload.thread_ts), ("initial_comment", upload.comment)] {
        if let Some(value) = value {
            whole[name] = value.into();
        }
    }
    let done = send(cx, "files.upload", "files.completeUploadExternal", Effect::Unsafe, Verb::POST, &whole).await?;
    let mut done = clean(done.value());
    done["file_id"] = id.into();
    Ok(done)
}

fn invalid(message: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, message)
}
