//! `GET /metrics` of the listener `admin`, for Prometheus; everything else are calls.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use freehold_service::{
    App,
    metrics::{CONTENT_TYPE, text},
};
use http::{HeaderValue, Method, StatusCode, header};
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use crate::{
    layers::{Request, Response},
    stack::Stack,
};

/// Answers scrapers in front of the layers of the listener `admin`.
#[derive(Clone)]
pub struct Scraped {
    /// Whose metrics.
    pub app: Arc<App>,
    /// Answers calls.
    pub calls: Stack,
}

impl Service<Request> for Scraped {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { app, calls } = self.clone();
        Box::pin(async move {
            if request.uri().path() == "/metrics" && request.method() == Method::GET {
                return Ok(answer(&app).await);
            }
            calls.oneshot(request).await
        })
    }
}

async fn answer(app: &App) -> Response {
    let (status, kind, text) = match text(app).await {
        Ok(text) => (StatusCode::OK, CONTENT_TYPE, text),
        Err(error) => {
            tracing::warn!(error = error.chain(), "the metrics could not be read");
            (StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", format!("{}\n", error.message()))
        }
    };
    let mut response = Response::new(Body::new(http_body_util::Full::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
