//! The state backend of Terraform and OpenTofu, over HTTP: `https://…/state/v1/tenants/acme/projects/…/deployments/web`.
//!
//! It is a translation and nothing more: each request becomes a call of StateService, which passes the same layers as every other
//! call, and its answer becomes what the program expects
//! (<https://developer.hashicorp.com/terraform/language/backend/http>).
//!
//! | HTTP | Call | Answers |
//! |---|---|---|
//! | `GET` | DownloadState | 200 with the state; 404 when there is none yet |
//! | `LOCK` | LockState | 200; 423 with who holds it |
//! | `POST ?ID=lock` | WriteState, if it is what `Content-MD5` says | 200; 409 when the lock is not held any more, or the state is of another lineage or older |
//! | `UNLOCK` | UnlockState; BreakStateLock for `force-unlock`, which sends no lock, or nothing of it but its id | 200; 409 |
//!
//! Who calls says a client certificate, or HTTP Basic with an API key or a token as the password; the name is not looked at.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut as _, Bytes, BytesMut};
use freehold_proto::{
    deployments::v1::{
        BreakStateLockRequest, DownloadStateRequest, DownloadStateResponse, LockStateRequest, StateLock, UnlockStateRequest,
        WriteStateRequest,
    },
    iam::v1::{ExchangeTokenRequest, ExchangeTokenResponse},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use md5::{Digest as _, Md5};
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;
use tower::{ServiceExt as _, service_fn};

use crate::{
    layers::{Request, Response, request_id},
    stack::Stack,
};

/// Bytes of a state, at most.
pub const MAX_STATE: usize = 16 << 20;
/// Bytes around it in a message.
const SLACK: usize = 4096;
const PREFIX: &str = "/state/v1/";
const SERVICE: &str = "/freehold.deployments.v1.StateService";
const EXCHANGE: &str = "/freehold.iam.v1.TokenService/ExchangeToken";

/// An answer that ends a request early.
type Refusal = Box<Response>;

/// Speaks HTTP in front of the layers of the listener `state`.
pub fn state_backend(stack: Stack) -> Stack {
    Stack::new(service_fn(move |request: Request| {
        let stack = stack.clone();
        async move { Ok(answer(stack, request).await.unwrap_or_else(|refusal| *refusal)) }
    }))
}

async fn answer(stack: Stack, request: Request) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let Some(parent) = parts.uri.path().strip_prefix(PREFIX).map(str::to_owned) else {
        return Err(text(StatusCode::NOT_FOUND, "the address of a state is /state/v1/ and the name of its deployment"));
    };
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let body = match Limited::new(body, MAX_STATE).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Err(text(StatusCode::PAYLOAD_TOO_LARGE, "the state is larger than 16 MiB, or was cut off on its way")),
    };
    authorize(&stack, &mut parts).await?;
    let call = Call { stack, parts };
    match call.parts.method.as_str() {
        "GET" => call.download(parent).await,
        "POST" => {
            let lock_id = query.split('&').find_map(|pair| pair.strip_prefix("ID=")).unwrap_or_default().to_owned();
            expect_digest(&call.parts.headers, &body)?;
            let write = WriteStateRequest { parent, lock_id, content: body.to_vec(), request_id: String::new() };
            call.make("WriteState", &write).await.map(|_| done())
        }
        "LOCK" => {
            let lock = StateLock { id: lock_id(&body)?, info: String::from_utf8_lossy(&body).into_owned(), ..Default::default() };
            call.make("LockState", &LockStateRequest { parent, lock: Some(lock), request_id: String::new() })
                .await
                .map(|_| done())
        }
        "UNLOCK" => call.unlock(parent, &body).await,
        "DELETE" => Err(text(StatusCode::METHOD_NOT_ALLOWED, "a state is not deleted; destroy or delete the deployment")),
        _ => Err(text(StatusCode::METHOD_NOT_ALLOWED, "GET, POST, LOCK and UNLOCK are understood")),
    }
}

/// What is passed on as it came: the method is replaced, and everything that says who and where is kept.
struct Call {
    stack: Stack,
    parts: http::request::Parts,
}

impl Call {
    async fn make(&self, method: &str, message: &impl Message) -> Result<Bytes, Refusal> {
        call(&self.stack, &self.parts, &format!("{SERVICE}/{method}"), message).await.map_err(|status| refusal(method, &status))
    }

    /// Lets go of a lock. Who sends no more of it than its id has not taken it in the same breath: that is `force-unlock`, which wants
    /// it gone whosever it is.
    async fn unlock(&self, parent: String, body: &[u8]) -> Result<Response, Refusal> {
        let lock_id = if body.is_empty() || body == b"null" { String::new() } else { lock_id(body)? };
        if !lock_id.is_empty() {
            let unlock = UnlockStateRequest { parent: parent.clone(), lock_id: lock_id.clone(), request_id: String::new() };
            match self.make("UnlockState", &unlock).await {
                Err(refused) if refused.status() == StatusCode::CONFLICT && !names_holder(body) => {}
                done_or_refused => return done_or_refused.map(|_| done()),
            }
        }
        let reason = "force-unlock of Terraform or OpenTofu".to_owned();
        let broken = BreakStateLockRequest { parent, reason, lock_id, request_id: String::new() };
        self.make("BreakStateLock", &broken).await.map(|_| done())
    }

    async fn download(&self, parent: String) -> Result<Response, Refusal> {
        let mut rest = self.make("DownloadState", &DownloadStateRequest { parent, serial: 0 }).await?;
        let mut state = Vec::new();
        while let Some(piece) = next_message(&mut rest) {
            let piece = DownloadStateResponse::decode(piece)
                .map_err(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "the state could not be read"))?;
            state.extend_from_slice(&piece.content);
        }
        if state.is_empty() {
            return Err(text(StatusCode::NOT_FOUND, "there is no state yet"));
        }
        Ok(json_body(StatusCode::OK, state))
    }
}

/// Makes HTTP Basic into the bearer token that the layers know.
async fn authorize(stack: &Stack, parts: &mut http::request::Parts) -> Result<(), Refusal> {
    let Some(given) = parts.headers.remove(header::AUTHORIZATION) else { return Ok(()) };
    let unreadable = || unauthorized("send HTTP Basic with an API key or a token as the password");
    let basic = given.to_str().ok().and_then(|text| text.strip_prefix("Basic ")).ok_or_else(unreadable)?;
    let pair = STANDARD.decode(basic.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(unreadable)?;
    let (_, password) = pair.split_once(':').ok_or_else(unreadable)?;
    // A token is a JWS in its compact form; an API key has no dots.
    let token = if password.contains('.') {
        password.to_owned()
    } else {
        let ask = ExchangeTokenRequest { api_key: password.to_owned(), ..Default::default() };
        let mut answer = call(stack, parts, EXCHANGE, &ask).await.map_err(|status| refusal("ExchangeToken", &status))?;
        let answer = next_message(&mut answer).and_then(|message| ExchangeTokenResponse::decode(message).ok());
        answer.ok_or_else(unreadable)?.token
    };
    let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| unreadable())?;
    bearer.set_sensitive(true);
    parts.headers.insert(header::AUTHORIZATION, bearer);
    Ok(())
}

/// Makes one gRPC call through the layers; answers its messages, framed.
async fn call(stack: &Stack, parts: &http::request::Parts, path: &str, message: &impl Message) -> Result<Bytes, Status> {
    let mut frame = BytesMut::with_capacity(message.encoded_len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).map_err(|_| Status::resource_exhausted("the state is too large"))?);
    message.encode(&mut frame).map_err(|error| Status::internal(error.to_string()))?;
    let mut request = http::Request::new(Body::new(http_body_util::Full::new(frame.freeze())));
    *request.method_mut() = Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = path.parse().map_err(|_| Status::internal("a path of the contract is none"))?;
    *request.extensions_mut() = parts.extensions.clone();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    for name in [&header::AUTHORIZATION, &request_id::HEADER] {
        if let Some(value) = parts.headers.get(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    let Ok(response) = stack.clone().oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_STATE * 2 + SLACK).collect().await;
    let body = body.map_err(|error| Status::unavailable(format!("the answer was cut off: {error}")))?;
    let ended = body.trailers().cloned().unwrap_or_default();
    let said = |headers: &HeaderMap| Status::from_header_map(headers).filter(|status| status.code() != Code::Ok);
    match said(&head.headers).or_else(|| said(&ended)) {
        Some(status) => Err(status),
        None => Ok(body.to_bytes()),
    }
}

/// The next of the messages that one body holds.
fn next_message(body: &mut Bytes) -> Option<Bytes> {
    let length = u32::from_be_bytes(body.get(1..5)?.try_into().ok()?) as usize;
    if body.len() < 5 + length {
        return None;
    }
    let mut message = body.split_to(5 + length);
    Some(message.split_off(5))
}

fn lock_id(body: &[u8]) -> Result<String, Refusal> {
    let lock: Value = serde_json::from_slice(body).unwrap_or_default();
    let id = lock.get("ID").and_then(Value::as_str);
    id.map(str::to_owned).ok_or_else(|| text(StatusCode::BAD_REQUEST, "the body is the JSON of a lock, with its ID"))
}

/// Whether a lock says who took it.
fn names_holder(body: &[u8]) -> bool {
    let lock: Value = serde_json::from_slice(body).unwrap_or_default();
    ["Operation", "Who"].iter().any(|field| lock.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty()))
}

/// Fails unless the body is what `Content-MD5` says, where it says something (RFC 1864): a state that was damaged on its way would
/// be kept for good.
fn expect_digest(headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    match headers.get("content-md5") {
        Some(told) if told.as_bytes() != STANDARD.encode(Md5::digest(body)).as_bytes() => Err(text(
            StatusCode::BAD_REQUEST,
            "the state is not what its Content-MD5 says: it was damaged on its way; send it again",
        )),
        _ => Ok(()),
    }
}

/// A refusal as the program understands it.
fn refusal(method: &str, status: &Status) -> Refusal {
    let code = match status.code() {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Unauthenticated => return unauthorized(status.message()),
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Aborted if method == "LockState" => return locked(status),
        Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    // What passes by itself is tried again by the program.
    text(code, status.message())
}

/// Who holds the state, in the form in which the program shows it.
fn locked(status: &Status) -> Refusal {
    let details = status.get_error_details();
    let facts = details.error_info().map(|info| info.metadata.clone()).unwrap_or_default();
    let fact = |name: &str| facts.get(name).cloned().unwrap_or_default();
    // Of all this the program shows the id, so a run is told by it, too.
    let id = Some(fact("lock_id")).filter(|id| !id.is_empty()).unwrap_or_else(|| fact("operation"));
    let holder = json!({
        "ID": id, "Operation": fact("operation"), "Info": status.message(), "Who": fact("principal"),
        "Version": "", "Created": fact("create_time"), "Path": "",
    });
    Box::new(json_body(StatusCode::LOCKED, holder.to_string().into_bytes()))
}

fn unauthorized(message: &str) -> Refusal {
    let mut response = text(StatusCode::UNAUTHORIZED, message);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"freehold\""));
    response
}

fn done() -> Response {
    http::Response::new(Body::empty())
}

fn text(code: StatusCode, message: &str) -> Refusal {
    let mut response = http::Response::new(Body::new(http_body_util::Full::new(Bytes::from(format!("{message}\n")))));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Box::new(response)
}

fn json_body(code: StatusCode, body: Vec<u8>) -> Response {
    let mut response = http::Response::new(Body::new(http_body_util::Full::new(Bytes::from(body))));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
