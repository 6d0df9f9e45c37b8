//! `POST /hooks/{uid of a connection}` of the listener `web`: what other systems call us for.
//!
//! A call is proven by the connection's own credential, kept in the database, and only then answered. Who cannot prove it learns
//! nothing: 401 and an empty body, whatever was wrong.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use freehold_domain::{Error, connections::InboundRequest, time::Uid};
use freehold_service::{App, inbound};
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tower::{ServiceExt as _, service_fn};

use crate::{
    layers::{LimitRate, Rate, Request, Response},
    listener::network,
    peer::SourceAddr,
    stack::Stack,
};

/// Beginning of the path.
pub const PREFIX: &str = "/hooks/";
/// Bytes of a body, at most.
const MAX_BODY: usize = 1 << 20;
/// Headers beyond these are not looked at.
const MAX_HEADERS: usize = 100;
/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(20);
/// Calls of one address, each second in the long run and at once: systems call for all their customers from a few addresses.
const OF_ADDRESS: Rate = Rate { per_second: 100, burst: 400 };
/// Proven calls of one connection.
const OF_CONNECTION: Rate = Rate { per_second: 50, burst: 500 };

struct Hooks {
    app: Arc<App>,
    tasks: TaskTracker,
    addresses: LimitRate,
    connections: LimitRate,
}

/// Answers other systems, in front of the layers of the listener `web`. What is proven is kept in a task of its own: a system that
/// hangs up does not decide how far that goes.
pub fn hooks(app: Arc<App>, tasks: TaskTracker, calls: Stack) -> Stack {
    let (addresses, connections) = (LimitRate::new(OF_ADDRESS), LimitRate::new(OF_CONNECTION));
    let hooks = Arc::new(Hooks { app, tasks, addresses, connections });
    Stack::new(service_fn(move |request: Request| {
        let (hooks, calls) = (Arc::clone(&hooks), calls.clone());
        async move {
            let Some(uid) = request.uri().path().strip_prefix(PREFIX).map(str::to_owned) else {
                return calls.oneshot(request).await;
            };
            Ok(hooks.answer(&uid, request).await.unwrap_or_else(|refused| refused))
        }
    }))
}

impl Hooks {
    async fn answer(self: &Arc<Self>, uid: &str, request: Request) -> Result<Response, Response> {
        let (head, body) = request.into_parts();
        let address = head.extensions.get::<SourceAddr>().map(|source| network(source.0.ip()).to_string());
        let slow = |wait: Duration| {
            let mut response = empty(StatusCode::TOO_MANY_REQUESTS);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
            response
        };
        self.addresses.take(address.unwrap_or_default(), 1, Instant::now()).map_err(slow)?;
        if head.method != Method::POST {
            return Err(empty(StatusCode::METHOD_NOT_ALLOWED));
        }
        let uid: Uid = uid.parse().map_err(|_| empty(StatusCode::NOT_FOUND))?;
        let called = inbound::called(&self.app, uid).await.map_err(|error| fault(&error))?;
        let called = called.ok_or_else(|| empty(StatusCode::NOT_FOUND))?;
        let body = match timeout(BODY, Limited::new(body, MAX_BODY).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(empty(StatusCode::PAYLOAD_TOO_LARGE));
            }
            Ok(Err(_)) | Err(_) => return Err(empty(StatusCode::REQUEST_TIMEOUT)),
        };
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let headers = head.headers.iter().take(MAX_HEADERS);
        let request = InboundRequest {
            headers: headers.filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect(),
            body: body.to_vec(),
            received: self.app.now(),
        };
        let proven = inbound::prove(&self.app, &called, request).await.map_err(|error| fault(&error))?;
        let received = proven.map_err(|refused| {
            empty(if refused.reason == "malformed" { StatusCode::BAD_REQUEST } else { StatusCode::UNAUTHORIZED })
        })?;
        self.connections.take(uid.to_string(), 1, Instant::now()).map_err(slow)?;
        let hooks = Arc::clone(self);
        let kept = self.tasks.spawn(async move {
            inbound::keep(&hooks.app, &called, &received).await?;
            Ok::<_, Error>(received.reply)
        });
        match kept.await {
            Ok(Ok(None)) => Ok(empty(StatusCode::OK)),
            Ok(Ok(Some(reply))) => {
                let mut response = http::Response::new(Body::new(http_body_util::Full::new(Bytes::from(reply.to_string()))));
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(response)
            }
            Ok(Err(error)) => Err(fault(&error)),
            Err(_) => Err(empty(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }
}

/// A call that could not be kept comes again, if the system is told so.
fn fault(error: &Error) -> Response {
    tracing::error!(error = error.chain(), "a call for a connection could not be kept");
    empty(StatusCode::SERVICE_UNAVAILABLE)
}

fn empty(status: StatusCode) -> Response {
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
