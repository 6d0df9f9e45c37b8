//! Requests to GitHub: who asks, pages, and what has not changed since.

use std::{collections::HashMap, sync::Mutex as StdMutex, sync::PoisonError};

use bytes::Bytes;
use reqwest::{Method as Verb, header::HeaderMap};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Settings, auth,
    dialect::GitHub as Dialect,
    endpoints::{Endpoint, Place},
};
use crate::{
    ConnectorError, Context, ErrorKind, Halt,
    outbound::{Answer, Request},
};

/// Answers that are kept, to ask whether they still hold: that costs nothing of the limit.
const KEPT: usize = 128;
/// Longer answers are not kept.
const LONGEST: usize = 64 << 10;
/// Items of a page, the most that GitHub gives.
const PAGE: usize = 100;

/// What is remembered of a connection.
#[derive(Default)]
pub(super) struct Memory {
    pub installation: auth::Installation,
    answers: StdMutex<HashMap<String, Kept>>,
}

#[derive(Clone)]
struct Kept {
    etag: String,
    headers: HeaderMap,
    body: Bytes,
}

/// The URL of a path of the API, whose parts are written as URLs have them already.
pub(super) fn url(settings: &Settings, path: &str) -> Url {
    let mut url = settings.base_url.clone();
    url.set_path(&format!("{}{path}", settings.base_url.path().trim_end_matches('/')));
    url
}

/// What every request says; one may say itself what it accepts.
pub(super) fn headers(request: Request) -> Result<Request, ConnectorError> {
    let request = request.header("x-github-api-version", "2022-11-28")?;
    if request.headers.contains_key("accept") { Ok(request) } else { request.header("accept", "application/vnd.github+json") }
}

/// Sends a request with the token of the connection, and once more with another one if GitHub does not accept that.
pub(super) async fn send(cx: &Context, request: Request) -> Result<Answer, Halt> {
    let request = headers(request)?;
    let token = auth::token(cx, None).await?;
    match conditional(cx, request.clone().bearer(&token)?).await {
        Err(halt) if halt.failure().is_some_and(|error| error.kind == ErrorKind::Auth) => {
            conditional(cx, request.bearer(&auth::token(cx, Some(&token)).await?)?).await
        }
        other => other,
    }
}

/// Sends a request as the app itself, not as one of its installations.
pub(super) async fn send_as_app(cx: &Context, request: Request) -> Result<Answer, Halt> {
    let request = headers(request)?.bearer(&auth::jwt(cx, false).await?)?;
    cx.send(&Dialect, request).await
}

/// Asks whether an answer that is kept still holds, and gives that if it does.
async fn conditional(cx: &Context, mut request: Request) -> Result<Answer, Halt> {
    if request.method != Verb::GET || !request.json {
        return cx.send(&Dialect, request).await;
    }
    let memory = cx.outbound.memory::<Memory>();
    let answers = || memory.answers.lock().unwrap_or_else(PoisonError::into_inner);
    let key = request.url.to_string();
    let kept = answers().get(&key).cloned();
    if let Some(kept) = &kept {
        request = request.header("if-none-match", &kept.etag)?;
        request.accepts = &[304];
    }
    let answer = cx.send(&Dialect, request).await?;
    if let Some(kept) = kept.filter(|_| answer.status == 304) {
        return Ok(Answer { status: 200, headers: kept.headers, body: kept.body });
    }
    if let Some(etag) = answer.header("etag").filter(|_| answer.body.len() <= LONGEST) {
        let kept = Kept { etag: etag.to_owned(), headers: answer.headers.clone(), body: answer.body.clone() };
        let mut answers = answers();
        if answers.len() >= KEPT && !answers.contains_key(&key) {
            // Whichever: what is asked for often is kept again soon.
            let victim = answers.keys().next().cloned();
            victim.and_then(|victim| answers.remove(&victim));
        }
        answers.insert(key, kept);
    }
    Ok(answer)
}

/// Calls an endpoint of the table.
pub(super) async fn call(cx: &Context, endpoint: &'static Endpoint, mut input: Value) -> Result<Value, Halt> {
    let settings: Settings = cx.settings()?;
    let fields = input.as_object_mut().ok_or_else(|| ConnectorError::new(ErrorKind::Invalid, "the input is no object"))?;
    let most = fields.get("limit").and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok()).unwrap_or(1000);
    if endpoint.pages.is_some() {
        fields.remove("limit");
    }
    let mut url = url(&settings, &path(endpoint.path, fields)?);
    if endpoint.place == Place::Query {
        if !fields.is_empty() {
            url.query_pairs_mut().extend_pairs(fields.iter().map(|(name, value)| (name, super::shown(value))));
        }
        fields.clear();
    }
    if endpoint.secret {
        let credentials = cx.credentials(false).await?;
        endpoint.put_secret(&mut input, credentials.require("webhook_secret")?);
    }
    if let Some(fixed) = endpoint.fixed {
        input = fixed(input);
    }
    let mut request = Request::new(endpoint.operation, endpoint.effect, endpoint.verb.clone(), url);
    request.resource = endpoint.resource;
    if endpoint.place == Place::Body {
        request = request.json_body(&input);
    }
    match endpoint.pages {
        Some(list) => pages(cx, request, list, most).await,
        None => match send(cx, request).await {
            Ok(answer) if answer.body.is_empty() => Ok(crate::connector::done()),
            Ok(answer) => Ok(answer.value()),
            Err(halt) => already(endpoint, halt),
        },
    }
}

/// A refusal that says that all is as it was asked to be.
fn already(endpoint: &Endpoint, halt: Halt) -> Result<Value, Halt> {
    match halt.failure().and_then(|error| error.vendor_status) {
        Some(status) if endpoint.already == Some(status) => Ok(json!({ "already": true })),
        _ => Err(halt),
    }
}

/// Reads page after page by the links between them, up to as many items as were asked for. `list` names where they are in an
/// answer; an empty name stands for the answer itself.
pub(super) async fn pages(cx: &Context, mut request: Request, list: &str, most: usize) -> Result<Value, Halt> {
    let size = PAGE.min(most).to_string();
    request.url.query_pairs_mut().append_pair("per_page", &size);
    let mut found = Vec::new();
    loop {
        let answer = send(cx, request.clone()).await?;
        let next = next(&request.url, &answer)?;
        let mut body = answer.value();
        let items = if list.is_empty() { body } else { body[list].take() };
        if let Value::Array(items) = items {
            found.extend(items);
        }
        match next {
            Some(url) if found.len() < most => request.url = url,
            next => {
                let complete = next.is_none() && found.len() <= most;
                found.truncate(most);
                let name = if list.is_empty() { "items" } else { list };
                return Ok(json!({ name: found, "complete": complete }));
            }
        }
    }
}

/// The next page, by the header `Link`. It must be where the first one was: the token goes there.
pub(super) fn next(url: &Url, answer: &Answer) -> Result<Option<Url>, ConnectorError> {
    let links = answer.header("link").unwrap_or_default();
    let Some(target) = links.split(',').find_map(|link| {
        let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        rest.split(';').any(|part| part.trim() == r#"rel="next""#).then_some(target)
    }) else {
        return Ok(None);
    };
    let wrong =
        || ConnectorError::new(ErrorKind::Permanent, "GitHub names a next page that is somewhere else; look at `base_url`");
    let next: Url = target.parse().map_err(|_| wrong())?;
    if next.origin() != url.origin() { Err(wrong()) } else { Ok(Some(next)) }
}

/// A path with its fields filled in; they are taken out of the input.
pub(super) fn path(template: &str, fields: &mut Map<String, Value>) -> Result<String, ConnectorError> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        let value = super::shown(&fields.remove(name).unwrap_or_default());
        // A repository is two names, and a path any number of them; whatever else has a slash is one name with a slash in it.
        let segments: Vec<_> = if matches!(name, "repo" | "path") { value.split('/').collect() } else { vec![value.as_str()] };
        if segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return Err(ConnectorError::invalid(vec![freehold_domain::Violation::new(
                name,
                "is no name; leave out empty parts and dots",
            )]));
        }
        let encoded: Vec<_> = segments.iter().map(|segment| freehold_domain::redact::percent_encoded(segment, false)).collect();
        out.push_str(&encoded.join("/"));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_leads_out_of_its_place_in_a_path() {
        let fill = |template: &str, fields: Value| path(template, &mut fields.as_object().expect("an object").clone());
        let good = [
            (
                "/repos/{repo}/contents/{path}",
                json!({ "repo": "o/r", "path": "a b/ä.md" }),
                "/repos/o/r/contents/a%20b/%C3%A4.md",
            ),
            (
                "/repos/{repo}/commits/{ref}",
                json!({ "repo": "o/r", "ref": "feature/x?y#z" }),
                "/repos/o/r/commits/feature%2Fx%3Fy%23z",
            ),
            ("/repos/{repo}/issues/{number}", json!({ "repo": "o/r", "number": 7 }), "/repos/o/r/issues/7"),
        ];
        for (template, fields, expected) in good {
            assert_eq!(fill(template, fields).as_deref(), Ok(expected));
        }
        for bad in [json!({ "repo": "../.." }), json!({ "repo": "o/" }), json!({ "repo": "o//r" }), json!({ "repo": "./r" })] {
            assert!(fill("/repos/{repo}", bad.clone()).is_err(), "{bad}");
        }
        assert!(fill("/x/{ref}", json!({ "ref": ".." })).is_err());
    }

    #[test]
    fn the_next_page_is_where_the_first_one_was() {
        let url: Url = "https://api.github.com/x".parse().expect("a URL");
        let next = |link: &str| {
            let headers = HeaderMap::from_iter([(reqwest::header::LINK, link.parse().expect("a header"))]);
            next(&url, &Answer { status: 200, headers, body: Bytes::new() }).map(|url| url.map(String::from))
        };
        let both = r#"<https://api.github.com/x?page=1>; rel="prev", <https://api.github.com/x?page=3>; rel="next""#;
        assert_eq!(next(both), Ok(Some("https://api.github.com/x?page=3".to_owned())));
        assert_eq!(next(r#"<https://api.github.com/x?page=1>; rel="first""#), Ok(None));
        assert!(next(r#"<https://evil.example/x?page=3>; rel="next""#).is_err());
    }
}
