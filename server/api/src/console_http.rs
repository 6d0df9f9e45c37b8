//! The web console, over HTTP, in front of the layers of the listener `web`: the built files of clients/web/dist, which are part of
//! the program. Calls, preflights and everything else that is not `GET` or `HEAD` pass on.
//!
//! | Path | Answer |
//! |---|---|
//! | a file | that file; names with a digest may be kept for ever |
//! | any other that has no file's ending | the page, which knows its own paths; asked for anew each time |
//! | any other | 404 |

use std::{collections::HashMap, sync::LazyLock};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST,
        IF_NONE_MATCH, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use ring::digest::{SHA256, digest};
use tonic::body::Body;
use tower::{ServiceExt as _, service_fn};

use crate::{
    layers::{Request, Response},
    stack::Stack,
};

mod files {
    use super::File;
    include!(concat!(env!("OUT_DIR"), "/console.rs"));
}

/// Where files are whose names hold a digest of what is in them.
const DIGESTED: &str = "/assets/";
const PAGE: &str = "/index.html";
/// Nothing but what this listener serves, and nothing inside of the page itself: a text that finds its way into it does not run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      font-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// A file of the console as it was built.
struct File {
    path: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// A file as it is sent.
struct Asset {
    kind: HeaderValue,
    cache: HeaderValue,
    /// In the order in which they are preferred; the last one is not compressed.
    variants: Vec<Variant>,
}

struct Variant {
    encoding: Option<&'static str>,
    tag: HeaderValue,
    content: &'static [u8],
}

static ASSETS: LazyLock<HashMap<&str, Asset>> =
    LazyLock::new(|| files::FILES.iter().map(|file| (file.path, Asset::new(file))).collect());

/// Serves the console before these calls.
pub fn console(calls: Stack) -> Stack {
    Stack::new(service_fn(move |request: Request| {
        let calls = calls.clone();
        async move {
            if matches!(*request.method(), Method::GET | Method::HEAD) {
                return Ok(answer(&request));
            }
            calls.oneshot(request).await
        }
    }))
}

fn answer(request: &Request) -> Response {
    let path = request.uri().path();
    let found = ASSETS.get(path).or_else(|| if has_ending(path) { None } else { ASSETS.get(PAGE) });
    let mut response = match found {
        Some(asset) => asset.answer(request.headers()),
        None => missing(),
    };
    if request.method() == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    if !on_this_machine(request) {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

impl Asset {
    fn new(file: &File) -> Self {
        let sum = digest(&SHA256, file.plain);
        let sum: String = sum.as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        let variant = |encoding: Option<&'static str>, content| {
            // Each form of a file is another sequence of bytes, so each has a tag of its own (RFC 9110, section 8.8.3).
            let tag = encoding.map_or_else(|| format!("\"{sum}\""), |encoding| format!("\"{sum}-{encoding}\""));
            Variant { encoding, tag: HeaderValue::from_str(&tag).expect("hex and names"), content }
        };
        let compressed = [("br", file.brotli), ("gzip", file.gzip)];
        let compressed = compressed.into_iter().filter_map(|(name, content)| Some(variant(Some(name), content?)));
        let digested = file.path.starts_with(DIGESTED);
        Self {
            kind: HeaderValue::from_static(kind(file.path)),
            cache: HeaderValue::from_static(if digested { "public, max-age=31536000, immutable" } else { "no-cache" }),
            variants: compressed.chain([variant(None, file.plain)]).collect(),
        }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let accepted = |variant: &&Variant| variant.encoding.is_none_or(|encoding| accepts(asked, encoding));
        let variant = self.variants.iter().find(accepted).expect("the last one is for everybody");
        let known = has_tag(asked, &variant.tag);
        let content = if known { Body::empty() } else { full(variant.content) };
        let mut response = Response::new(content);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, self.cache.clone());
        headers.insert(ETAG, variant.tag.clone());
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(CONTENT_TYPE, self.kind.clone());
        headers.insert(CONTENT_LENGTH, variant.content.len().into());
        if let Some(encoding) = variant.encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }
}

fn missing() -> Response {
    let mut response = Response::new(full(b"there is no such file\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn full(content: &'static [u8]) -> Body {
    Body::new(http_body_util::Full::new(Bytes::from_static(content)))
}

/// What a browser is to make of a file.
fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether a path names a file: the console's own paths have no point in their last part.
fn has_ending(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.contains('.'))
}

/// Whether an encoding is welcome: named, and not with the weight 0.
fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.and_then(|weight| weight.parse::<f32>().ok()).is_some_and(|weight| weight <= 0.0)
        });
        named && !refused
    })
}

/// Whether the browser has this form of the file already.
fn has_tag(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|known| {
        let known = known.strip_prefix("W/").unwrap_or(known);
        known == "*" || known.as_bytes() == tag.as_bytes()
    })
}

/// Whether it is asked for as `localhost`, where the promise to be reached over TLS only would bind every other server of this
/// machine.
fn on_this_machine(request: &Request) -> bool {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(http::uri::Authority::as_str).or(named).unwrap_or_default();
    host.rsplit_once(':').map_or(host, |(name, _)| name) == "localhost"
}
