//! One attempt of one call: headers, token, server, and what its failure means.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use freehold_proto::{Method, common::v1::MethodKind};
use futures::{FutureExt as _, TryStreamExt as _, future::BoxFuture, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use crate::{
    Code, Error,
    call::{Attempt, Transport},
    codec::BytesCodec,
    connect::refused,
    error::Result,
    pool::Pool,
    retry, status,
    token::Tokens,
};

/// Largest answer taken; a plan or a blueprint of the largest size fits.
const LARGEST_ANSWER: usize = 16 << 20;

const EXCHANGE: &str = "/freehold.iam.v1.TokenService/ExchangeToken";

/// A cloneable channel to the server for generated clients, as a tower service.
///
/// It has all that the typed calls have: several endpoints, certificates that are read again, tokens that are renewed, the
/// headers of this client and a deadline for every call. With [`retries`](Self::retries) it repeats calls as the contract
/// allows; a write is repeated on the promise that its request carries a `request_id`.
#[derive(Clone)]
pub struct RawChannel {
    pub(crate) wire: Arc<Wire>,
    pub(crate) retries: bool,
}

/// What all channels of a client share.
pub(crate) struct Wire {
    pub(crate) pool: Pool,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) tenant: Option<HeaderValue>,
    pub(crate) deadline: Duration,
    pub(crate) policy: retry::Policy,
}

#[cfg(feature = "raw")]
impl RawChannel {
    /// Switches repeats on or off; they are on at first.
    pub fn retries(mut self, on: bool) -> Self {
        self.retries = on;
        self
    }
}

impl Service<Request<Body>> for RawChannel {
    type Response = Response<Body>;
    type Error = tonic::Status;
    type Future = BoxFuture<'static, Result<Response<Body>, tonic::Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), tonic::Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { wire, retries } = self.clone();
        async move {
            let answer = if retries { wire.persist(request).await } else { wire.attempt(request).await };
            answer.map_err(status::to_status)
        }
        .boxed()
    }
}

impl Wire {
    /// Makes the call, again if need be. The request is held in memory meanwhile; in this contract it is one message.
    async fn persist(self: Arc<Self>, request: Request<Body>) -> Result<Response<Body>> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await.map_err(status::from_status)?.to_bytes();
        let method = freehold_proto::method(head.uri.path());
        let kind = method.map_or(MethodKind::Call, |method| method.kind);
        insert(&mut head.headers, "x-request-id", &new_id());
        let deadline = tokio::time::Instant::now() + self.time_for(&head.headers, method);
        let renew = || self.tokens.as_ref().is_some_and(Tokens::refused);
        retry::run(
            self.policy,
            kind,
            deadline,
            renew,
            |error| self.pool.allows(error),
            |_| {
                let mut request = Request::new(Body::new(Full::new(body.clone())));
                *request.method_mut() = head.method.clone();
                *request.uri_mut() = head.uri.clone();
                *request.version_mut() = head.version;
                *request.headers_mut() = head.headers.clone();
                let this = self.clone();
                async move {
                    let answer = this.attempt(request).await?;
                    status::in_headers(answer.headers())?;
                    Ok(answer)
                }
            },
        )
        .await
    }

    /// How long a call may take: as its header says, else as this client or the contract does.
    fn time_for(&self, headers: &HeaderMap, method: Option<&Method>) -> Duration {
        let said = headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse_timeout);
        said.unwrap_or_else(|| default_deadline(self.deadline, method))
    }

    /// Makes the call once.
    async fn attempt(self: Arc<Self>, mut request: Request<Body>) -> Result<Response<Body>> {
        let path = request.uri().path().to_owned();
        let method = freehold_proto::method(&path);
        let time = self.time_for(request.headers(), method);
        let headers = request.headers_mut();
        insert(headers, "grpc-timeout", &format!("{}m", time.as_millis().max(1)));
        insert(headers, "x-freehold-client", concat!("rust/", env!("CARGO_PKG_VERSION")));
        insert(headers, "x-request-id", &new_id());
        let request_id = headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        if let Some(tenant) = &self.tenant
            && !headers.contains_key("x-freehold-tenant")
        {
            headers.insert("x-freehold-tenant", tenant.clone());
        }
        if let Some(tokens) = self.tokens.as_ref().filter(|_| path != EXCHANGE) {
            let value = tokens.header(&self).await?;
            request.headers_mut().insert(http::header::AUTHORIZATION, value);
        }
        let (server, mut channel) = self.pool.pick(method.is_some_and(|method| method.streams))?;
        let answer = match channel.ready().await {
            Ok(ready) => ready.call(request).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => {
                match status::in_headers(answer.headers()) {
                    Ok(()) => {
                        server.works();
                        server.budget.earn();
                    }
                    Err(error) => {
                        server.budget.spend(&error);
                        if error.is_unavailable() { server.failed() } else { server.works() }
                    }
                }
                Ok(answer)
            }
            Err(error) => {
                server.failed();
                let error = match server.watch().refusal() {
                    Some(refusal) => refused(&server.name(), server.has_identity(), refusal),
                    None => status::from_transport(error, &server.name()),
                };
                server.budget.spend(&error);
                Err(error.or_request_id(&request_id))
            }
        }
    }

    fn grpc(self: &Arc<Self>) -> tonic::client::Grpc<RawChannel> {
        tonic::client::Grpc::new(RawChannel { wire: self.clone(), retries: false }).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Exchanges an API key for a token; the answer is the encoded response.
    pub(crate) async fn exchange(self: &Arc<Self>, request: Bytes) -> Result<Bytes> {
        let deadline = tokio::time::Instant::now() + self.deadline;
        retry::run(
            self.policy,
            MethodKind::Call,
            deadline,
            || false,
            |error| self.pool.allows(error),
            |left| {
                let attempt = Attempt { path: EXCHANGE, body: request.clone(), tenant: None, request_id: new_id(), time: left };
                self.clone().unary_once(attempt)
            },
        )
        .await
    }

    async fn unary_once(self: Arc<Self>, attempt: Attempt) -> Result<Bytes> {
        let id = attempt.request_id.clone();
        let answer = self.grpc().unary(outgoing(&attempt)?, PathAndQuery::from_static(attempt.path), BytesCodec).await;
        answer.map(tonic::Response::into_inner).map_err(|error| status::from_status(error).or_request_id(&id))
    }

    async fn stream_once(self: Arc<Self>, attempt: Attempt) -> Result<BoxStream<'static, Result<Bytes>>> {
        let id = attempt.request_id.clone();
        let answer = self.grpc().server_streaming(outgoing(&attempt)?, PathAndQuery::from_static(attempt.path), BytesCodec).await;
        let stream = answer.map_err(|error| status::from_status(error).or_request_id(&id))?.into_inner();
        Ok(Box::pin(stream.map_err(move |error| status::from_status(error).or_request_id(&id))))
    }
}

impl Transport for Arc<Wire> {
    fn unary(&self, attempt: Attempt) -> BoxFuture<'_, Result<Bytes>> {
        self.clone().unary_once(attempt).boxed()
    }

    fn stream(&self, attempt: Attempt) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes>>>> {
        self.clone().stream_once(attempt).boxed()
    }

    fn renew(&self) -> bool {
        self.tokens.as_ref().is_some_and(Tokens::refused)
    }

    fn allows(&self, error: &Error) -> bool {
        self.pool.allows(error)
    }
}

/// The deadline of a call that was given none: this client's, or longer where the contract expects it (long polls, streams).
pub(crate) fn default_deadline(usual: Duration, method: Option<&Method>) -> Duration {
    method.map_or(usual, |method| method.max_deadline.max(usual))
}

pub(crate) fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn outgoing(attempt: &Attempt) -> Result<tonic::Request<Bytes>> {
    let mut request = tonic::Request::new(attempt.body.clone());
    request.set_timeout(attempt.time);
    let headers = request.metadata_mut();
    let pairs = [("x-request-id", Some(&attempt.request_id)), ("x-freehold-tenant", attempt.tenant.as_ref())];
    for (name, value) in pairs.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let value =
            value.parse().map_err(|_| Error::new(Code::InvalidArgument, format!("`{value}` cannot be sent as {name}")))?;
        headers.insert(name, value);
    }
    Ok(request)
}

/// Sets a header that is not there yet.
fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.entry(HeaderName::from_static(name)).or_insert(value);
    }
}

/// Reads `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}
