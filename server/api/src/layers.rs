//! What every call passes on its way to a handler, one concern a file. [`stack`](crate::stack) puts them in order.

pub(crate) mod authenticate;
pub(crate) mod catch_panic;
pub(crate) mod deadline;
pub(crate) mod message_limit;
pub(crate) mod policy;
pub(crate) mod rate_limit;
pub(crate) mod request_id;
pub(crate) mod shield;
pub(crate) mod tenant;
pub(crate) mod trace;

use std::{
    convert::Infallible,
    future::Future,
    sync::Arc,
    task::{Context, Poll},
};

use freehold_domain::Error;
use futures::future::BoxFuture;
use tonic::{body::Body, service::Routes};
use tower::{Layer, Service, ServiceExt as _};

use crate::status;

pub use deadline::Deadline;
pub(crate) use rate_limit::LimitRate;
pub use rate_limit::Rate;
pub use request_id::{RequestId, TraceId};
pub use tenant::TenantHeader;

/// A call on its way in.
pub type Request = http::Request<Body>;
/// An answer on its way out.
pub type Response = http::Response<Body>;

/// One concern: looks at a call, lets it pass or answers itself, and looks at the answer.
pub(crate) trait Step: Send + Sync + 'static {
    /// Handles a call. `next` is all that comes after.
    fn run(&self, request: Request, next: &impl Next) -> impl Future<Output = Response> + Send;
}

/// What comes after a step.
pub(crate) trait Next: Clone + Send + Sync + 'static {
    /// Passes a call on.
    fn run(&self, request: Request) -> impl Future<Output = Response> + Send;
}

/// A step as a layer of tower.
pub(crate) struct Around<T>(Arc<T>);

impl<T: Step> Around<T> {
    pub(crate) fn new(step: T) -> Self {
        Self(Arc::new(step))
    }
}

impl<T, S> Layer<S> for Around<T> {
    type Service = Wrapped<T, S>;

    fn layer(&self, next: S) -> Wrapped<T, S> {
        Wrapped { step: self.0.clone(), next }
    }
}

/// A step before what comes after it.
pub(crate) struct Wrapped<T, S> {
    step: Arc<T>,
    next: S,
}

impl<T, S: Clone> Clone for Wrapped<T, S> {
    fn clone(&self) -> Self {
        Self { step: self.step.clone(), next: self.next.clone() }
    }
}

impl<T: Step, S: Next> Next for Wrapped<T, S> {
    fn run(&self, request: Request) -> impl Future<Output = Response> + Send {
        self.step.run(request, &self.next)
    }
}

/// The handlers, after all steps.
#[derive(Clone)]
pub(crate) struct Handlers(pub(crate) Routes);

impl Next for Handlers {
    async fn run(&self, request: Request) -> Response {
        match self.0.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// All steps and the handlers as a service. A call passes them as one future that refers to them, so that the number of steps
/// costs neither copies nor allocations.
pub(crate) struct Chain<N>(pub(crate) Arc<N>);

impl<N> Clone for Chain<N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<N: Next> Service<Request> for Chain<N> {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let chain = Arc::clone(&self.0);
        Box::pin(async move { Ok(chain.run(request).await) })
    }
}

/// Answers a call with an error, in the name of its request id.
fn refuse(request_id: Option<&RequestId>, error: &Error) -> Response {
    status::respond(error, request_id.map_or("", RequestId::as_str))
}
