//! The order in which a call passes the layers, in one expression.

use std::{convert::Infallible, sync::Arc, time::Duration};

use freehold_domain::time::Random;
use http::{HeaderName, HeaderValue, Method, header};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, service::Routes};
use tonic_web::GrpcWebLayer;
use tower::{ServiceBuilder, util::BoxCloneSyncService};
use tower_http::cors::CorsLayer;

use crate::{
    identity::Identify,
    layers::{
        Around, Chain, Handlers, Rate, Request, Response, authenticate::Authenticate, catch_panic::CatchPanic,
        deadline::KeepDeadline, message_limit::LimitMessages, policy::FindMethod, rate_limit::LimitRate, request_id,
        request_id::GiveRequestId, shield::Shield, tenant::ReadTenant, trace::Trace,
    },
    policy::Surface,
    tokens::TokenKeys,
};

/// All layers with the handlers behind them: what a [`Listener`](crate::listener::Listener) serves.
pub type Stack = BoxCloneSyncService<Request, Response, Infallible>;

/// What the layers of a listener need.
pub struct Edge<I> {
    /// The listener.
    pub surface: Surface,
    /// Names callers.
    pub identity: Arc<I>,
    /// Verifies tokens.
    pub tokens: Arc<TokenKeys>,
    /// Draws request ids.
    pub random: Arc<dyn Random>,
    /// Runs handlers that write. Close it and wait for it after the listeners have drained.
    pub tasks: TaskTracker,
    /// Cancelled when the server drains: streams end then, and their clients open them again elsewhere.
    pub drain: CancellationToken,
    /// How much each caller may ask. Each listener counts for itself.
    pub rate: Rate,
    /// Bytes of the largest message of a request; generated servers must decode as much.
    pub max_message_bytes: usize,
    /// For `web`: origins whose pages may call, such as `https://console.example`. Same-origin pages need none.
    pub origins: Vec<HeaderValue>,
}

impl<I: Identify> Edge<I> {
    /// Puts the layers before these services.
    pub fn stack(self, routes: Routes) -> Stack {
        let surface = self.surface;
        let calls = ServiceBuilder::new()
            // Every call has an id, which its answer carries.
            .layer(Around::new(GiveRequestId { random: self.random }))
            // A span around it all, and a line in the access log at the end.
            .layer(Around::new(Trace { surface }))
            // A panic below becomes INTERNAL.
            .layer(Around::new(CatchPanic))
            // What is not in the method table of this listener is UNIMPLEMENTED; forged proxy headers go.
            .layer(Around::new(FindMethod { surface }))
            // The caller's deadline, within the method's longest; it covers everything below and cuts streams, as a drain does.
            .layer(Around::new(KeepDeadline { drain: self.drain }))
            // The tenant header has the syntax of an id.
            .layer(Around::new(ReadTenant))
            // Certificate and token are proven and belong together; without a caller only public methods are reached.
            .layer(Around::new(Authenticate { surface, tokens: self.tokens, identity: self.identity }))
            // Each principal, or address, has its token bucket.
            .layer(Around::new(LimitRate::new(self.rate)))
            // No message is larger than the server takes.
            .layer(Around::new(LimitMessages { most: self.max_message_bytes }))
            // Handlers that write run to their end, whoever still waits.
            .layer(Around::new(Shield { tasks: self.tasks }))
            .service(Handlers(routes.prepare()));
        let calls = Chain(Arc::new(calls));
        match surface {
            // Browsers ask first (CORS), and speak gRPC-web over HTTP/1.1 or HTTP/2.
            Surface::Web => BoxCloneSyncService::new(
                ServiceBuilder::new().layer(cors(self.origins)).layer(GrpcWebLayer::new()).service(calls),
            ),
            Surface::Api | Surface::Runner | Surface::State | Surface::Admin => BoxCloneSyncService::new(calls),
        }
    }
}

/// Pages of these origins may call and may read how it went: without the exposed headers, an immediate error of gRPC-web,
/// which is all headers, would look like an empty success.
fn cors(origins: Vec<HeaderValue>) -> CorsLayer {
    let header = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header("grpc-timeout"),
            header("traceparent"),
            header("x-freehold-tenant"),
            header("x-grpc-web"),
            header("x-user-agent"),
            request_id::HEADER,
        ])
        .expose_headers([Status::GRPC_STATUS, Status::GRPC_MESSAGE, Status::GRPC_STATUS_DETAILS, request_id::HEADER])
        .max_age(Duration::from_secs(7200))
}
