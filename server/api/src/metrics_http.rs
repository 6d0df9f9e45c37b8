//! `GET /metrics` of the listener `admin`, for Prometheus; everything else are calls.

use std::sync::Arc;

use freehold_service::{
    App,
    metrics::{CONTENT_TYPE, text},
};
use http::{HeaderValue, Method, StatusCode, header};
use tonic::body::Body;
use tower::{ServiceExt as _, service_fn};

use crate::{
    layers::{Request, Response},
    stack::Stack,
};

/// Answers scrapers, with the metrics of this server, in front of the layers of the listener `admin`.
pub fn scraped(app: Arc<App>, calls: Stack) -> Stack {
    Stack::new(service_fn(move |request: Request| {
        let (app, calls) = (Arc::clone(&app), calls.clone());
        async move {
            if request.uri().path() == "/metrics" && request.method() == Method::GET {
                return Ok(answer(&app).await);
            }
            calls.oneshot(request).await
        }
    }))
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
